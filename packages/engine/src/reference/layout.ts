/**
 * Row-major layout: strides and strided views as lists of element offsets.
 *
 * Every movement of the reference executor is "read these offsets in this order", which is slow and leaves nothing to misread.
 */
import { MusterError } from '@muster/protocol';
import type { DType, TensorData, TensorType } from '../program.ts';

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}

/** Elements between neighbours along each axis of a dense row-major `shape`. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = at(strides, axis + 1) * at(shape, axis + 1);
  return strides;
}

/** Offsets of a view: `base + Σ coordinate · stride` for every coordinate of `shape` in row-major order. */
export function offsetsOf(shape: readonly number[], strides: readonly number[], base = 0): Int32Array {
  const offsets = new Int32Array(sizeOf(shape));
  const coordinate = shape.map(() => 0);
  let offset = base;
  for (let i = 0; i < offsets.length; i++) {
    offsets[i] = offset;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      coordinate[axis] = at(coordinate, axis) + 1;
      offset += at(strides, axis);
      if (at(coordinate, axis) < at(shape, axis)) break;
      offset -= at(shape, axis) * at(strides, axis);
      coordinate[axis] = 0;
    }
  }
  return offsets;
}

/** Strides that read a tensor of shape `from` as if it had the shape `to` (NumPy broadcasting: missing and unit axes repeat). */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(from);
  const missing = to.length - from.length;
  return to.map((_, axis) => (axis < missing || at(from, axis - missing) === 1 ? 0 : at(own, axis - missing)));
}

/** A tensor's data of zeros: +0, 0, false. */
export function zeros(type: TensorType): TensorData {
  const size = sizeOf(type.shape);
  switch (type.dtype) {
    case 'float32':
      return new Float32Array(size);
    case 'int32':
      return new Int32Array(size);
    case 'uint32':
      return new Uint32Array(size);
    case 'bool':
      return new Uint8Array(size);
    default:
      throw unreachable(type.dtype);
  }
}

/** The elements of `data` at `offsets`, as data of `type`. */
export function take(data: TensorData, offsets: Int32Array, type: TensorType): TensorData {
  const result = zeros(type);
  for (let i = 0; i < offsets.length; i++) result[i] = at(data, at(offsets, i));
  return result;
}

/** `list[index]`, which the caller knows to exist. Throws INTERNAL otherwise. */
export function at<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index];
  if (value === undefined) throw new MusterError('INTERNAL', `index ${index} of a list of ${list.length}`);
  return value;
}

export function unreachable(value: never): MusterError {
  return new MusterError('INTERNAL', `unexpected ${String(value)}`);
}

/** Arithmetic of one element type, as `docs/spec/01-exact-arithmetic.md` has it. */
export interface Arithmetic {
  readonly add: (a: number, b: number) => number;
  readonly mul: (a: number, b: number) => number;
  readonly min: (a: number, b: number) => number;
  readonly max: (a: number, b: number) => number;
}

const f = Math.fround;
// Math.min and Math.max are IEEE-754-2019 minimum and maximum: −0 < +0, a NaN propagates.
const min = (a: number, b: number) => Math.min(a, b);
const max = (a: number, b: number) => Math.max(a, b);

/** Each rounds or wraps once. float32 sums, products and quotients computed in float64 and rounded again equal those rounded once. */
export const arithmetic: Readonly<Record<DType, Arithmetic>> = {
  float32: { add: (a, b) => f(a + b), mul: (a, b) => f(a * b), min, max },
  int32: { add: (a, b) => (a + b) | 0, mul: (a, b) => Math.imul(a, b), min, max },
  uint32: { add: (a, b) => (a + b) >>> 0, mul: (a, b) => Math.imul(a, b) >>> 0, min, max },
  bool: { add: (a, b) => a | b, mul: (a, b) => a & b, min, max },
};
