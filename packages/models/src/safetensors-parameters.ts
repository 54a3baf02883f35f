/**
 * A model's parameters out of a safetensors file, and into one. The container itself is `safetensors.ts`.
 *
 * A file from elsewhere has its own names, element types and, for PyTorch's linear layers, its own orientation; `ParameterMapping` says
 * how they correspond, and every parameter must be found exactly once.
 */
import { describeType, type NamedType, sameShape, sameType, type Tensor } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import {
  encodeSafetensors,
  type NamedTensor,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsTensor,
  shownName,
} from './safetensors.ts';

/** How the tensors of a file become the parameters of a model. Patterns may hold `*`, which stands for any characters. */
export interface ParameterMapping {
  /**
   * Parameter name (or pattern) → name in the file; each `*` on the right is what the `*` of that place on the left stood for. The first
   * rule that matches decides; without one the name is the parameter's own.
   */
  readonly names: readonly (readonly [parameter: string, tensor: string])[];
  /** Parameters (or patterns) whose tensor of two axes is stored transposed: `weight` of PyTorch's `Linear` is [outputs, inputs]. */
  readonly transposed: readonly string[];
  /** Whether tensors of the file that no parameter asks for are passed over instead of refused. */
  readonly ignoreExtra: boolean;
}

export const sameNames: ParameterMapping = { names: [], transposed: [], ignoreExtra: false };

function mismatch(message: string, parameter: string): MusterError {
  return new MusterError('TENSOR_MISMATCH', message, { parameter });
}

/** What the stars of `pattern` stand for in `name`, shortest first; null if it does not match. */
function starsOf(pattern: string, name: string): readonly string[] | null {
  const expression = pattern.split('*').map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&'));
  const found = new RegExp(`^${expression.join('(.*?)')}$`, 's').exec(name);
  return found === null ? null : found.slice(1);
}

function storedName(parameter: string, { names }: ParameterMapping): string {
  for (const [pattern, target] of names) {
    const stars = starsOf(pattern, parameter);
    if (stars === null) continue;
    let next = 0;
    return target.replaceAll('*', () => stars[next++] ?? '*');
  }
  return parameter;
}

/**
 * The parameters in `file` as `mapping` says, in the order of `parameters`, as float32 by the rule of `floatsOf`. Throws TENSOR_MISMATCH
 * naming the parameter for a missing tensor, a tensor that two parameters ask for, an extra tensor, a wrong shape or a dtype without a
 * rule; DATA_NOT_FINITE for NaN, infinities and what float32 cannot hold.
 */
export function parametersFromSafetensors(
  file: SafetensorsFile,
  parameters: readonly NamedType[],
  mapping: ParameterMapping = sameNames,
): Tensor[] {
  const stored = new Map(file.tensors.map((tensor) => [tensor.name, tensor]));
  const takenBy = new Map<string, string>();
  const missing: string[] = [];
  const found = parameters.map((parameter) => {
    const name = storedName(parameter.name, mapping);
    const other = takenBy.get(name);
    if (other !== undefined)
      throw mismatch(`${other} and ${parameter.name} are both mapped to the tensor ${shownName(name)}`, parameter.name);
    takenBy.set(name, parameter.name);
    const tensor = stored.get(name);
    if (tensor === undefined) missing.push(name === parameter.name ? shownName(name) : `${shownName(name)} (for ${parameter.name})`);
    return { parameter, tensor };
  });
  const extra = file.tensors.filter(({ name }) => !takenBy.has(name)).map(({ name }) => shownName(name));
  if (missing.length > 0) {
    const rest = extra.length === 0 ? '' : `; it has ${listed(extra)} instead`;
    throw mismatch(`the file has no tensor ${listed(missing)}${rest}`, missing[0] ?? '');
  }
  if (extra.length > 0 && !mapping.ignoreExtra) {
    throw mismatch(`no parameter takes the tensor ${listed(extra)} of the file`, extra[0] ?? '');
  }
  return found.map(({ parameter, tensor }) => read(parameter, tensor as SafetensorsTensor, mapping));
}

const listed = (names: readonly string[]): string =>
  names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;

function read(parameter: NamedType, stored: SafetensorsTensor, { transposed }: ParameterMapping): Tensor {
  const turn = transposed.some((pattern) => starsOf(pattern, parameter.name) !== null);
  const [rows, columns] = parameter.shape;
  const matrix = parameter.shape.length === 2 && rows !== undefined && columns !== undefined;
  if (turn && !matrix) throw mismatch(`${parameter.name} has not two axes, so it cannot be stored transposed`, parameter.name);
  const expected = turn && matrix ? [columns, rows] : parameter.shape;
  if (!sameShape(stored.shape, expected)) {
    const hint = !turn && matrix && sameShape(stored.shape, [columns, rows]) ? '; it is the transpose, which the mapping can say' : '';
    throw mismatch(
      `tensor ${shownName(stored.name)} is [${stored.shape.join(', ')}], ${parameter.name} needs [${expected.join(', ')}]${hint}`,
      parameter.name,
    );
  }
  const values = floatsOf(stored);
  return { dtype: 'float32', shape: parameter.shape, data: turn && matrix ? transpose(values, columns, rows) : values };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column] ?? 0;
  }
  return turned;
}

/** Element `i` of the data under a dtype, as a number that float32 holds or is the nearest to. Dtypes without a reader are refused. */
const readers: { readonly [D in SafetensorsDtype]?: (view: DataView, i: number) => number } = {
  BOOL: (view, i) => (view.getUint8(i) > 1 ? Number.NaN : view.getUint8(i)),
  U8: (view, i) => view.getUint8(i),
  I8: (view, i) => view.getInt8(i),
  U16: (view, i) => view.getUint16(2 * i, true),
  I16: (view, i) => view.getInt16(2 * i, true),
  U32: (view, i) => view.getUint32(4 * i, true),
  I32: (view, i) => view.getInt32(4 * i, true),
  U64: (view, i) => wholeNumber(view.getBigUint64(8 * i, true)),
  I64: (view, i) => wholeNumber(view.getBigInt64(8 * i, true)),
  F16: (view, i) => halfValue(view.getUint16(2 * i, true)),
  BF16: (view, i) => bfloatValue(view, i),
  F32: (view, i) => view.getFloat32(4 * i, true),
  F64: (view, i) => view.getFloat64(8 * i, true),
};

/** A 64-bit integer that float64 holds; rounding it twice could differ from rounding it once, so what it does not hold is NaN. */
function wholeNumber(value: bigint): number {
  return BigInt.asIntN(54, value) === value ? Number(value) : Number.NaN;
}

/** IEEE-754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const word = new DataView(new ArrayBuffer(4));

/** The upper half of a binary32. */
function bfloatValue(view: DataView, i: number): number {
  word.setUint32(0, view.getUint16(2 * i, true) << 16);
  return word.getFloat32(0);
}

/**
 * The elements of `tensor` as float32. F32, F16, BF16, BOOL and integers of up to 16 bits are exact; F64, I32, U32, I64 and U64 are rounded once,
 * to nearest even. Throws TENSOR_MISMATCH for another dtype, and DATA_NOT_FINITE for a value that is or becomes NaN or infinite, a 64-bit
 * integer beyond ±2⁵³, or a BOOL byte other than 0 and 1.
 */
export function floatsOf(tensor: SafetensorsTensor): Float32Array {
  const { name, dtype, shape, bytes } = tensor;
  const reader = readers[dtype];
  if (reader === undefined) {
    throw new MusterError('TENSOR_MISMATCH', `tensor ${shownName(name)} is ${dtype}, which has no float32 form here`, {
      tensor: name,
      dtype,
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  for (let i = 0; i < values.length; i++) {
    const value = Math.fround(reader(view, i));
    if (!Number.isFinite(value)) {
      throw new MusterError('DATA_NOT_FINITE', `tensor ${shownName(name)}, element ${i}: not a finite float32`, {
        tensor: name,
        element: i,
      });
    }
    values[i] = value;
  }
  return values;
}

/** The file of a model's `parameters` with `values` in the same order. Throws TENSOR_MISMATCH if they do not match. */
export function parametersToSafetensors(
  parameters: readonly NamedType[],
  values: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  if (parameters.length !== values.length) {
    throw new MusterError('TENSOR_MISMATCH', `${values.length} tensors for ${parameters.length} parameters`);
  }
  const named = parameters.map((parameter, index): NamedTensor => {
    const tensor = values[index] as Tensor;
    if (!sameType(tensor, parameter)) {
      throw mismatch(`parameter ${parameter.name} is ${describeType(tensor)}, expected ${describeType(parameter)}`, parameter.name);
    }
    return { name: parameter.name, tensor };
  });
  return encodeSafetensors(named, metadata);
}
