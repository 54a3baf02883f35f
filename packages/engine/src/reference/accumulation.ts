/**
 * Primitives that add up: reduce, dot, conv, pool_transpose, scatter. The order of every sum is part of the definition
 * (`docs/spec/01-exact-arithmetic.md`), so each loop below adds in exactly that order.
 */
import type { ParamsOf, Tensor, TensorData, TensorType } from '../program.ts';
import { arithmetic, at, broadcastStrides, offsetsOf, sizeOf, stridesOf, zeros } from './layout.ts';
import { indexOffsets, poolStrides } from './movement.ts';

const lanes = 16;

/** Sum or product of `values` in sixteen strided partial results and a fixed tree. Integers and bools give the same by any order. */
function lanewise(values: ArrayLike<number>, combine: (a: number, b: number) => number, start: number): number {
  const partial = Array.from({ length: lanes }, () => start);
  for (let i = 0; i < values.length; i++) partial[i % lanes] = combine(at(partial, i % lanes), at(values, i));
  for (let half = lanes / 2; half >= 1; half /= 2) {
    for (let l = 0; l < half; l++) partial[l] = combine(at(partial, l), at(partial, l + half));
  }
  return at(partial, 0);
}

export function reduce(x: Tensor, { op, axis }: ParamsOf<'reduce'>, type: TensorType): TensorData {
  const result = zeros(type);
  const strides = stridesOf(x.shape);
  const kept = x.shape.map((_, a) => a).filter((a) => !axis.includes(a));
  const outer = offsetsOf(
    kept.map((a) => at(x.shape, a)),
    kept.map((a) => at(strides, a)),
  );
  const inner = offsetsOf(
    axis.map((a) => at(x.shape, a)),
    axis.map((a) => at(strides, a)),
  );
  const combine = arithmetic[type.dtype][op];
  for (let i = 0; i < result.length; i++) {
    const values = Array.from(inner, (offset) => at(x.data, at(outer, i) + offset));
    result[i] = op === 'add' || op === 'mul' ? lanewise(values, combine, op === 'add' ? 0 : 1) : values.reduce(combine);
  }
  return result;
}

/** Σ_k x_k · y_k over the last axis, k ascending from +0, each product and each sum rounded once. */
export function dot(x: Tensor, y: Tensor, type: TensorType): TensorData {
  const result = zeros(type);
  const { add, mul } = arithmetic[type.dtype];
  const length = at(x.shape, x.shape.length - 1);
  const rows = (t: Tensor) => offsetsOf(type.shape, broadcastStrides(t.shape.slice(0, -1), type.shape));
  const xRows = rows(x);
  const yRows = rows(y);
  for (let i = 0; i < result.length; i++) {
    let acc = 0;
    for (let k = 0; k < length; k++) acc = add(acc, mul(at(x.data, at(xRows, i) * length + k), at(y.data, at(yRows, i) * length + k)));
    result[i] = acc;
  }
  return result;
}

/**
 * Cross-correlation. `x`: [*batch axes (vmapDims), N, C, *spatial], `w`: [*batch axes, O, C, *kernel], result
 * [*batch axes, N, O, *out]. Per output the sum runs over C, then kernel positions row-major, ascending from +0.
 */
export function conv(x: Tensor, w: Tensor, params: ParamsOf<'conv'>, type: TensorType): TensorData {
  const result = zeros(type);
  const { add, mul } = arithmetic.float32;
  const v = params.vmapDims;
  const batch = type.shape.slice(0, v);
  const [samples, outChannels] = [at(type.shape, v), at(type.shape, v + 1)];
  const channels = at(x.shape, v + 1);
  const [size, kernel, out] = [x.shape.slice(v + 2), w.shape.slice(v + 2), type.shape.slice(v + 2)];
  const [xPlane, wPlane] = [sizeOf(size), sizeOf(kernel)];
  const xBatches = offsetsOf(batch, broadcastStrides(x.shape.slice(0, v), batch));
  const wBatches = offsetsOf(batch, broadcastStrides(w.shape.slice(0, v), batch));
  const outPositions = coordinatesOf(out);
  const kernelPositions = coordinatesOf(kernel);
  let i = 0;
  for (let b = 0; b < xBatches.length; b++) {
    for (let n = 0; n < samples; n++) {
      for (let o = 0; o < outChannels; o++) {
        for (const position of outPositions) {
          let acc = 0;
          for (let c = 0; c < channels; c++) {
            const xStart = ((at(xBatches, b) * samples + n) * channels + c) * xPlane;
            const wStart = ((at(wBatches, b) * outChannels + o) * channels + c) * wPlane;
            for (let k = 0; k < kernelPositions.length; k++) {
              const offset = inputOffset(position, at(kernelPositions, k), size, params);
              acc = add(acc, mul(offset === undefined ? 0 : at(x.data, xStart + offset), at(w.data, wStart + k)));
            }
          }
          result[i++] = acc;
        }
      }
    }
  }
  return result;
}

/** All coordinates of `shape`, row-major. */
function coordinatesOf(shape: readonly number[]): readonly (readonly number[])[] {
  const strides = stridesOf(shape);
  return Array.from({ length: sizeOf(shape) }, (_, i) => shape.map((extent, axis) => Math.floor(i / at(strides, axis)) % extent));
}

/** Offset inside one channel of the input element under `kernel` at output `position`; undefined for padding and dilation holes. */
function inputOffset(
  position: readonly number[],
  kernel: readonly number[],
  size: readonly number[],
  params: ParamsOf<'conv'>,
): number | undefined {
  let offset = 0;
  for (let axis = 0; axis < size.length; axis++) {
    const place =
      at(position, axis) * at(params.strides, axis) + at(kernel, axis) * at(params.rhsDilation, axis) - at(at(params.padding, axis), 0);
    const coordinate = place / at(params.lhsDilation, axis);
    if (!Number.isInteger(coordinate) || coordinate < 0 || coordinate >= at(size, axis)) return undefined;
    offset = offset * at(size, axis) + coordinate;
  }
  return offset;
}

/** Each source element is added to the element `pool` would have read for it, in ascending source order, from +0. */
export function poolTranspose(x: Tensor, { inShape, window, strides }: ParamsOf<'pool_transpose'>, type: TensorType): TensorData {
  const result = zeros(type);
  const { add } = arithmetic[type.dtype];
  const targets = offsetsOf(x.shape, poolStrides(inShape, window, strides));
  for (let i = 0; i < targets.length; i++) {
    const target = at(targets, i);
    result[target] = add(at(result, target), at(x.data, i));
  }
  return result;
}

/** `add`: updates summed from +0 in ascending order of the updates; `set`: the last update wins. */
export function scatter(
  updates: Tensor,
  indices: readonly Tensor[],
  { axis, outDim, shape, mode }: ParamsOf<'scatter'>,
  type: TensorType,
): TensorData {
  const result = zeros(type);
  const { add } = arithmetic[type.dtype];
  const targets = indexOffsets(shape, indices, axis, outDim, updates.shape);
  for (let i = 0; i < targets.length; i++) {
    const target = at(targets, i);
    if (target < 0) continue;
    result[target] = mode === 'add' ? add(at(result, target), at(updates.data, i)) : at(updates.data, i);
  }
  return result;
}
