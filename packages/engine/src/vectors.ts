/**
 * Conformance vectors: programs with inputs and the exact outputs or fault, read from `vectors/engine/*.json`.
 *
 * An executor may take part in a network only if `checkVector` and `checkFunctionVector` accept it on all of them. The files are written
 * by `scripts/make-vectors.ts` from the reference executor.
 */
import {
  bytesToHex,
  equalBytes,
  hexToBytes,
  integer,
  list,
  literal,
  MusterError,
  nullable,
  oneOf,
  type Root,
  rootText,
  struct,
  text,
  toMusterError,
} from '@muster/protocol';
import { decodeProgram, encodeProgram } from './codec.ts';
import { tensorBytes, tensorFromBytes, tensorRoot } from './digest.ts';
import { type Executor, type Program, primitives, type Tensor, type TensorType } from './program.ts';

/** Where a run must stop: the first operation in program order that gives a NaN; −1 and `input` for a NaN in an input. */
export interface Fault {
  readonly operation: number;
  readonly primitive: string;
}

/** One case. Exactly one of `outputs` and `fault` is not null. */
export interface Vector {
  readonly name: string;
  readonly program: Program;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[] | null;
  readonly fault: Fault | null;
}

export const writtenFunctions = ['exp', 'log', 'sin', 'cos', 'erf', 'sqrt', 'reciprocal', 'floor', 'ceil'] as const;

/** A written function on `count` float32 whose bits are first, first + stride, …; `root` is the tensor root of the results. */
export interface FunctionVector {
  readonly name: string;
  readonly primitive: (typeof writtenFunctions)[number];
  readonly first: number;
  readonly stride: number;
  readonly count: number;
  readonly root: Root;
}

/** `reason` says the first thing that differs. */
export interface VectorResult {
  readonly ok: boolean;
  readonly reason: string | null;
}

const maxHex = 2 * 1024 * 1024;
const bytes = text(maxHex, /^0x(?:[0-9a-f]{2})*$/);
const vectorShape = struct({
  name: text(200),
  program: bytes,
  inputs: list(bytes, 4096),
  outputs: nullable(list(bytes, 4096)),
  fault: nullable(struct({ operation: integer(-1), primitive: oneOf('input', ...primitives) })),
});
const vectorFile = struct({ format: literal('muster-engine-vectors/1'), vectors: list(vectorShape, 10_000) });

const uint32 = integer(0, 0xffffffff);
const functionVectorShape = struct({
  name: text(200),
  primitive: oneOf(...writtenFunctions),
  first: uint32,
  stride: integer(1, 0xffffffff),
  count: integer(1, 2 ** 24),
  root: rootText,
});
const functionFile = struct({ format: literal('muster-function-vectors/1'), vectors: list(functionVectorShape, 10_000) });

/** Types of `program.outputs`. */
function outputTypes(program: Program): TensorType[] {
  const types: TensorType[] = [...program.inputs, ...program.constants, ...program.operations.flatMap((operation) => operation.outputs)];
  return program.outputs.map(({ value }) => types[value] as TensorType);
}

function tensors(types: readonly TensorType[], hex: readonly string[], field: string): Tensor[] {
  if (types.length !== hex.length) throw new MusterError('FIELD_INVALID', `${field}: ${hex.length} tensors for ${types.length}`, { field });
  return types.map(({ dtype, shape }, index) => tensorFromBytes({ dtype, shape }, hexToBytes(hex[index] as string)));
}

/** The vectors in `json`, the parsed text of a file. Throws FIELD_INVALID, PROGRAM_INVALID or TENSOR_MISMATCH. */
export function readVectors(json: unknown): Vector[] {
  return vectorFile(json, 'file').vectors.map(({ name, program: encoded, inputs, outputs, fault }) => {
    const program = decodeProgram(hexToBytes(encoded));
    if ((outputs === null) === (fault === null))
      throw new MusterError('FIELD_INVALID', `${name}: expected outputs or a fault`, { field: 'fault' });
    return {
      name,
      program,
      inputs: tensors(program.inputs, inputs, `${name}.inputs`),
      outputs: outputs === null ? null : tensors(outputTypes(program), outputs, `${name}.outputs`),
      fault,
    };
  });
}

function hexOf(tensor: Tensor): string {
  return bytesToHex(tensorBytes(tensor));
}

/** The JSON value of a file that `readVectors` reads. */
export function writeVectors(vectors: readonly Vector[]): object {
  return {
    format: 'muster-engine-vectors/1',
    vectors: vectors.map(({ name, program, inputs, outputs, fault }) => ({
      name,
      program: bytesToHex(encodeProgram(program)),
      inputs: inputs.map(hexOf),
      outputs: outputs === null ? null : outputs.map(hexOf),
      fault,
    })),
  };
}

/** What `executor` makes of `program` and `inputs`, as a vector. Errors other than NUMERIC_FAULT are thrown on. */
export function recordVector(executor: Executor, name: string, program: Program, inputs: readonly Tensor[]): Vector {
  const prepared = executor.prepare(program);
  try {
    return { name, program, inputs, outputs: prepared.run(inputs), fault: null };
  } catch (error) {
    const { code, details } = toMusterError(error);
    if (code !== 'NUMERIC_FAULT') throw error;
    return {
      name,
      program,
      inputs,
      outputs: null,
      fault: { operation: details['operation'] as number, primitive: details['primitive'] as string },
    };
  } finally {
    prepared.dispose();
  }
}

function differs(reason: string): VectorResult {
  return { ok: false, reason };
}

function describeFault(fault: Fault | null): string {
  return fault === null ? 'no fault' : `a fault in operation ${fault.operation} (${fault.primitive})`;
}

/** Whether `executor` gives exactly what `vector` says. Errors of the executor other than NUMERIC_FAULT become the reason. */
export function checkVector(executor: Executor, vector: Vector): VectorResult {
  let actual: Vector;
  try {
    actual = recordVector(executor, vector.name, vector.program, vector.inputs);
  } catch (error) {
    return differs(toMusterError(error).message);
  }
  if (actual.fault?.operation !== vector.fault?.operation || actual.fault?.primitive !== vector.fault?.primitive) {
    return differs(`${describeFault(actual.fault)}, expected ${describeFault(vector.fault)}`);
  }
  return compareOutputs(vector.outputs ?? [], actual.outputs ?? []);
}

/** Whether two lists of tensors are equal in type and every bit. */
export function compareOutputs(expected: readonly Tensor[], actual: readonly Tensor[]): VectorResult {
  if (expected.length !== actual.length) return differs(`${actual.length} outputs, expected ${expected.length}`);
  for (const [index, want] of expected.entries()) {
    const got = actual[index] as Tensor;
    if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join()) {
      return differs(`output ${index} is ${got.dtype}[${got.shape.join(',')}], expected ${want.dtype}[${want.shape.join(',')}]`);
    }
    if (equalBytes(tensorBytes(got), tensorBytes(want))) continue;
    const element = want.data.findIndex((value, i) => !Object.is(value, got.data[i]));
    return differs(`output ${index}, element ${element}: ${got.data[element]}, expected ${want.data[element]}`);
  }
  return { ok: true, reason: null };
}

/** The function vectors in `json`, the parsed text of a file. Throws FIELD_INVALID. */
export function readFunctionVectors(json: unknown): FunctionVector[] {
  return [...functionFile(json, 'file').vectors];
}

export function writeFunctionVectors(vectors: readonly FunctionVector[]): object {
  return { format: 'muster-function-vectors/1', vectors };
}

/** Root of the results of `executor` for a function vector. Throws NUMERIC_FAULT if one of them is a NaN. */
export function functionRoot(executor: Executor, { primitive, first, stride, count }: Omit<FunctionVector, 'root'>): Root {
  const type = { dtype: 'float32', shape: [count] } as const;
  const prepared = executor.prepare({
    version: 1,
    name: primitive,
    inputs: [{ name: 'x', ...type }],
    constants: [],
    operations: [{ primitive, inputs: [0], params: {}, outputs: [type] }],
    outputs: [{ name: 'y', value: 1 }],
  });
  const bits = Uint32Array.from({ length: count }, (_, i) => (first + i * stride) >>> 0);
  const [result] = prepared.run([{ ...type, data: new Float32Array(bits.buffer) }]);
  prepared.dispose();
  return tensorRoot(result as Tensor);
}

/** Whether `executor` computes the written function of `vector` bit for bit. */
export function checkFunctionVector(executor: Executor, vector: FunctionVector): VectorResult {
  try {
    const root = functionRoot(executor, vector);
    return root === vector.root ? { ok: true, reason: null } : differs(`root ${root}, expected ${vector.root}`);
  } catch (error) {
    return differs(toMusterError(error).message);
  }
}
