/**
 * The program: a closed, typed list of primitive operations in program order.
 *
 * This file holds the data model only. Encoding and validation live in `codec.ts`, tracing from jax-js in
 * `trace.ts`, execution in `reference/` and `wasm/`. The exact meaning of every primitive is written in
 * `docs/spec/01-exact-arithmetic.md`.
 */

export const dtypes = ['float32', 'int32', 'uint32', 'bool'] as const;
export type DType = (typeof dtypes)[number];

/** Element type and extents; a scalar has shape `[]`. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Typed array behind a tensor: float32 → Float32Array, int32 → Int32Array, uint32 → Uint32Array, bool → Uint8Array of 0 and 1. */
export type TensorData = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** A dense value, row-major. `data.length` is the product of `shape`. */
export interface Tensor extends TensorType {
  readonly data: TensorData;
}

/** The closed list. A jax-js primitive that is not here is refused by name when a program is built. */
export const primitives = [
  'add',
  'mul',
  'idiv',
  'mod',
  'min',
  'max',
  'bit_combine',
  'bit_shift',
  'neg',
  'reciprocal',
  'floor',
  'ceil',
  'cast',
  'bitcast',
  'sin',
  'cos',
  'exp',
  'log',
  'erf',
  'sqrt',
  'reduce',
  'dot',
  'conv',
  'pool',
  'pool_transpose',
  'compare',
  'where',
  'concatenate',
  'split',
  'random_bits',
  'gather',
  'scatter',
  'transpose',
  'broadcast',
  'reshape',
  'flip',
  'shrink',
  'pad',
  'sort',
  'argsort',
] as const;
export type PrimitiveName = (typeof primitives)[number];

/** Element-wise primitives whose operands broadcast. */
export const broadcastingPrimitives: ReadonlySet<PrimitiveName> = new Set<PrimitiveName>([
  'add',
  'mul',
  'idiv',
  'mod',
  'min',
  'max',
  'bit_combine',
  'bit_shift',
  'compare',
  'where',
]);

/** Element-wise primitives of one operand. */
export const unaryPrimitives: ReadonlySet<PrimitiveName> = new Set<PrimitiveName>([
  'neg',
  'reciprocal',
  'floor',
  'ceil',
  'cast',
  'bitcast',
  'sin',
  'cos',
  'exp',
  'log',
  'erf',
  'sqrt',
]);

/**
 * Parameters of each primitive, with the names jax-js gives them. Primitives not named here take none.
 * `axis` lists ascend strictly in `reduce`, `broadcast` and `flip`.
 */
export interface PrimitiveParams {
  bit_combine: { readonly op: 'and' | 'or' | 'xor' };
  bit_shift: { readonly op: 'shl' | 'shr' };
  cast: { readonly dtype: DType };
  bitcast: { readonly dtype: DType };
  reduce: { readonly op: 'add' | 'mul' | 'min' | 'max'; readonly axis: readonly number[] };
  /** x [v…, batch, inputs, …space], w [v…, outputs, inputs, …kernel] → [v…, batch, outputs, …]; negative padding crops. */
  conv: {
    readonly vmapDims: number;
    readonly strides: readonly number[];
    readonly padding: readonly (readonly [number, number])[];
    readonly lhsDilation: readonly number[];
    readonly rhsDilation: readonly number[];
  };
  /** The last axes of the input become the windows' counts, and the window's axes are appended. */
  pool: { readonly window: readonly number[]; readonly strides: readonly number[] };
  pool_transpose: { readonly inShape: readonly number[]; readonly window: readonly number[]; readonly strides: readonly number[] };
  compare: { readonly op: 'less' | 'equal' | 'not_equal' | 'less_equal' };
  concatenate: { readonly axis: number };
  split: { readonly axis: number; readonly sizes: readonly number[] };
  /** Inputs are the two halves of the keys, uint32, of equal shape, with which `shape` begins. */
  random_bits: { readonly shape: readonly number[]; readonly mode: 'xor' | 0 | 1 };
  gather: { readonly axis: readonly number[]; readonly outDim: number };
  scatter: { readonly axis: readonly number[]; readonly outDim: number; readonly shape: readonly number[]; readonly mode: 'add' | 'set' };
  transpose: { readonly perm: readonly number[] };
  /** `axis` are the new axes of the result; other axes may stretch from extent 1. */
  broadcast: { readonly shape: readonly number[]; readonly axis: readonly number[] };
  reshape: { readonly shape: readonly number[] };
  flip: { readonly axis: readonly number[] };
  shrink: { readonly slice: readonly (readonly [number, number])[] };
  pad: { readonly width: readonly (readonly [number, number])[] };
}

export type ParamsOf<P extends PrimitiveName> = P extends keyof PrimitiveParams ? PrimitiveParams[P] : Readonly<Record<string, never>>;

/**
 * One operation. `inputs` are value indices; `outputs` the types of its results: one, but for `split` (one per
 * size) and `argsort` (the sorted values, then the int32 indices).
 * Values are numbered: program inputs first, then constants, then every operation's outputs in order.
 * An operation only refers to values with smaller indices.
 */
export type Operation = {
  [P in PrimitiveName]: {
    readonly primitive: P;
    readonly inputs: readonly number[];
    readonly params: ParamsOf<P>;
    readonly outputs: readonly TensorType[];
  };
}[PrimitiveName];

export interface NamedType extends TensorType {
  readonly name: string;
}

/** A traced computation. Literals of the traced function are rank-0 constants. */
export interface Program {
  readonly version: 1;
  readonly name: string;
  readonly inputs: readonly NamedType[];
  readonly constants: readonly Tensor[];
  readonly operations: readonly Operation[];
  readonly outputs: readonly { readonly name: string; readonly value: number }[];
}

/** Runs programs in exact arithmetic. Every executor gives the same bits for the same program and inputs. */
export interface Executor {
  readonly name: string;
  /** Checks and plans once. Throws `MusterError` PROGRAM_INVALID. */
  prepare(program: Program): PreparedProgram;
}

export interface PreparedProgram {
  readonly program: Program;
  /**
   * Values of `program.outputs` for `inputs` given in the order of `program.inputs`.
   * Throws `MusterError` TENSOR_MISMATCH for a wrong dtype, shape or length and NUMERIC_FAULT with the operation's
   * index when an operation's float32 output holds a NaN. Inputs are not changed; outputs are fresh arrays.
   */
  run(inputs: readonly Tensor[]): Tensor[];
  dispose(): void;
}
