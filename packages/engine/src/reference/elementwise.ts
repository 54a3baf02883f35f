/** Element-wise primitives of the reference executor, with NumPy broadcasting. */
import type { DType, PrimitiveParams, Tensor, TensorData, TensorType } from '../program.ts';
import { at, broadcastStrides, offsetsOf, unreachable, zeros } from './layout.ts';
import { cosf, erff, expf, logf, reciprocalf, sinf, sqrtf } from './math.ts';

/** `rule` of the broadcast inputs at every element of `type`. */
export function mapElements(inputs: readonly Tensor[], type: TensorType, rule: (...values: number[]) => number): TensorData {
  const result = zeros(type);
  const readers = inputs.map((input) => ({ data: input.data, offsets: offsetsOf(type.shape, broadcastStrides(input.shape, type.shape)) }));
  for (let i = 0; i < result.length; i++) {
    result[i] = rule(...readers.map(({ data, offsets }) => at(data, at(offsets, i))));
  }
  return result;
}

/** Integers toward zero, x idiv 0 = 0; float32: trunc(fl(a / b)). */
export function integerDivision(dtype: DType): (a: number, b: number) => number {
  if (dtype === 'float32') return (a, b) => Math.trunc(Math.fround(a / b));
  const wrap = wrapTo(dtype);
  return (a, b) => (b === 0 ? 0 : wrap(Math.trunc(a / b)));
}

/** Remainder with the sign of the dividend; integers: x mod 0 = 0; float32: exact, a NaN for a zero divisor or infinite dividend. */
export function remainder(dtype: DType): (a: number, b: number) => number {
  if (dtype === 'float32') return (a, b) => a % b; // the exact remainder of two float32 is a float32
  return (a, b) => (b === 0 ? 0 : a % b);
}

/** Two's complement or modulo 2³². */
function wrapTo(dtype: DType): (x: number) => number {
  return dtype === 'int32' ? (x) => x | 0 : (x) => x >>> 0;
}

export function bitCombine(dtype: DType, op: PrimitiveParams['bit_combine']['op']): (a: number, b: number) => number {
  const wrap = wrapTo(dtype);
  switch (op) {
    case 'and':
      return (a, b) => wrap(a & b);
    case 'or':
      return (a, b) => wrap(a | b);
    case 'xor':
      return (a, b) => wrap(a ^ b);
    default:
      throw unreachable(op);
  }
}

/** Counts are read as unsigned; from 32 on the result is 0. `shr` fills with zeros for both integer types. */
export function bitShift(dtype: DType, op: PrimitiveParams['bit_shift']['op']): (a: number, b: number) => number {
  const wrap = wrapTo(dtype);
  const shift = op === 'shl' ? (a: number, b: number) => a << b : (a: number, b: number) => a >>> b;
  return (a, b) => (b >>> 0 >= 32 ? 0 : wrap(shift(a, b)));
}

export function compare(op: PrimitiveParams['compare']['op']): (a: number, b: number) => number {
  switch (op) {
    case 'less':
      return (a, b) => Number(a < b);
    case 'less_equal':
      return (a, b) => Number(a <= b);
    case 'equal':
      return (a, b) => Number(a === b);
    case 'not_equal':
      return (a, b) => Number(a !== b);
    default:
      throw unreachable(op);
  }
}

/** Integers: 0 − x, wrapping; float32: the sign bit flipped. */
export function negate(dtype: DType): (x: number) => number {
  const wrap = wrapTo(dtype);
  return dtype === 'float32' ? (x) => -x : (x) => wrap(-x);
}

/** float32 → integer toward zero, saturating; integer → float32 nearest even; → bool: x ≠ 0; int32 ↔ uint32 the same bits. */
export function cast(from: DType, to: DType): (x: number) => number {
  switch (to) {
    case 'float32':
      return Math.fround;
    case 'bool':
      return (x) => Number(x !== 0);
    case 'int32':
      return from === 'float32' ? (x) => Math.trunc(Math.min(Math.max(x, -2147483648), 2147483647)) : (x) => x | 0;
    case 'uint32':
      return from === 'float32' ? (x) => Math.trunc(Math.min(Math.max(x, 0), 4294967295)) : (x) => x >>> 0;
    default:
      throw unreachable(to);
  }
}

/** The same 32 bits as another type. */
export function bitcast(x: Tensor, type: TensorType): TensorData {
  const result = zeros(type);
  const from = new Uint8Array(x.data.buffer, x.data.byteOffset, x.data.byteLength);
  new Uint8Array(result.buffer).set(from);
  return result;
}

export const unaryFloat = {
  reciprocal: reciprocalf,
  floor: Math.floor,
  ceil: Math.ceil,
  sin: sinf,
  cos: cosf,
  exp: expf,
  log: logf,
  erf: erff,
  sqrt: sqrtf,
} as const;
