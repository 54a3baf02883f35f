/** Primitives that move bits without changing them: transpose, broadcast, reshape, flip, shrink, pad, concatenate, split, pool, gather. */
import type { ParamsOf, Tensor, TensorData, TensorType } from '../program.ts';
import { at, broadcastStrides, offsetsOf, stridesOf, take, zeros } from './layout.ts';

export function transpose(x: Tensor, { perm }: ParamsOf<'transpose'>, type: TensorType): TensorData {
  const strides = stridesOf(x.shape);
  return take(
    x.data,
    offsetsOf(
      type.shape,
      perm.map((axis) => at(strides, axis)),
    ),
    type,
  );
}

/** `axis` are the axes of the result that are new; the others are those of `x` in order, unit extents repeated. */
export function broadcast(x: Tensor, { axis }: ParamsOf<'broadcast'>, type: TensorType): TensorData {
  const own = stridesOf(x.shape);
  let next = 0;
  const strides = type.shape.map((_, a) => {
    if (axis.includes(a)) return 0;
    const source = next++;
    return at(x.shape, source) === 1 ? 0 : at(own, source);
  });
  return take(x.data, offsetsOf(type.shape, strides), type);
}

export function reshape(x: Tensor): TensorData {
  return x.data.slice();
}

export function flip(x: Tensor, { axis }: ParamsOf<'flip'>, type: TensorType): TensorData {
  const own = stridesOf(x.shape);
  const strides = own.map((stride, a) => (axis.includes(a) ? -stride : stride));
  const base = axis.reduce((sum, a) => sum + (at(x.shape, a) - 1) * at(own, a), 0);
  return take(x.data, offsetsOf(type.shape, strides, base), type);
}

/** The box of `type.shape` whose first element is at `start`. */
function box(x: Tensor, start: readonly number[], type: TensorType): TensorData {
  const strides = stridesOf(x.shape);
  const base = start.reduce((sum, coordinate, a) => sum + coordinate * at(strides, a), 0);
  return take(x.data, offsetsOf(type.shape, strides, base), type);
}

export function shrink(x: Tensor, { slice }: ParamsOf<'shrink'>, type: TensorType): TensorData {
  return box(
    x,
    slice.map(([start]) => start),
    type,
  );
}

export function split(x: Tensor, { axis, sizes }: ParamsOf<'split'>, types: readonly TensorType[]): TensorData[] {
  let start = 0;
  return sizes.map((size, part) => {
    const begin = x.shape.map((_, a) => (a === axis ? start : 0));
    start += size;
    return box(x, begin, at(types, part));
  });
}

/** Writes `x` into `target` of shape `type.shape` with its first element at `start`. */
function place(x: Tensor, start: readonly number[], type: TensorType, target: TensorData): void {
  const strides = stridesOf(type.shape);
  const base = start.reduce((sum, coordinate, a) => sum + coordinate * at(strides, a), 0);
  const offsets = offsetsOf(x.shape, strides, base);
  for (let i = 0; i < offsets.length; i++) target[at(offsets, i)] = at(x.data, i);
}

export function pad(x: Tensor, { width }: ParamsOf<'pad'>, type: TensorType): TensorData {
  const result = zeros(type);
  place(
    x,
    width.map(([before]) => before),
    type,
    result,
  );
  return result;
}

export function concatenate(inputs: readonly Tensor[], { axis }: ParamsOf<'concatenate'>, type: TensorType): TensorData {
  const result = zeros(type);
  let start = 0;
  for (const x of inputs) {
    place(
      x,
      x.shape.map((_, a) => (a === axis ? start : 0)),
      type,
      result,
    );
    start += at(x.shape, axis);
  }
  return result;
}

/** Strides into a tensor of `inShape` of the view [leading axes, window counts, window positions] that `pool` makes. */
export function poolStrides(inShape: readonly number[], window: readonly number[], strides: readonly number[]): number[] {
  const own = stridesOf(inShape);
  const lead = inShape.length - window.length;
  const spatial = own.slice(lead);
  return [...own.slice(0, lead), ...spatial.map((stride, i) => stride * at(strides, i)), ...spatial];
}

export function pool(x: Tensor, { window, strides }: ParamsOf<'pool'>, type: TensorType): TensorData {
  return take(x.data, offsetsOf(type.shape, poolStrides(x.shape, window, strides)), type);
}

/** `index` (read as int32) with the extent added once if negative, then clamped to 0 … extent − 1. An extent of 0 gives −1. */
export function clampIndex(index: number, extent: number): number {
  const signed = index | 0;
  return Math.min(Math.max(signed < 0 ? signed + extent : signed, 0), extent - 1);
}

/**
 * For each element of `viewShape` (the result of gather, the updates of scatter) the offset into a tensor of `shape` that it
 * reads or writes; −1 where an indexed axis has no elements. Index axes stand at `outDim` of `viewShape`.
 */
export function indexOffsets(
  shape: readonly number[],
  indices: readonly Tensor[],
  axis: readonly number[],
  outDim: number,
  viewShape: readonly number[],
): Int32Array {
  const own = stridesOf(shape);
  const free = shape.map((_, a) => a).filter((a) => !axis.includes(a));
  const indexRank = viewShape.length - free.length;
  const indexShape = viewShape.slice(outDim, outDim + indexRank);
  const freeStrides = free.map((a) => at(own, a));
  const offsets = offsetsOf(viewShape, freeStrides.toSpliced(outDim, 0, ...indexShape.map(() => 0)));
  indices.forEach((index, n) => {
    const a = at(axis, n);
    const within = broadcastStrides(index.shape, indexShape);
    const readers = offsetsOf(viewShape, freeStrides.map(() => 0).toSpliced(outDim, 0, ...within));
    for (let i = 0; i < offsets.length; i++) {
      const coordinate = clampIndex(at(index.data, at(readers, i)), at(shape, a));
      offsets[i] = at(offsets, i) < 0 || coordinate < 0 ? -1 : at(offsets, i) + coordinate * at(own, a);
    }
  });
  return offsets;
}

/** Elements of `x` at `indices`; zeros where the indexed axis has no elements. */
export function gather(x: Tensor, indices: readonly Tensor[], { axis, outDim }: ParamsOf<'gather'>, type: TensorType): TensorData {
  const result = zeros(type);
  const offsets = indexOffsets(x.shape, indices, axis, outDim, type.shape);
  for (let i = 0; i < offsets.length; i++) if (at(offsets, i) >= 0) result[i] = at(x.data, at(offsets, i));
  return result;
}
