/**
 * Strided views of buffers: movement primitives change a view, not bytes.
 *
 * Strides and offsets count elements; a broadcast axis has stride 0, a flipped one a negative stride. Nothing here knows
 * about addresses: `layout.ts` gives buffers their place.
 */
import type { DType, TensorType } from '../program.ts';

/** A run of memory of one program. `firstUse` and `lastUse` are instruction indices, filled in while planning. */
export interface Buffer {
  readonly bytes: number;
  firstUse: number;
  lastUse: number;
  /** Byte address, 0 until `layout.ts` has placed it. */
  address: number;
}

/** A tensor inside a buffer. */
export interface View extends TensorType {
  readonly buffer: Buffer;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Axes described by extents and, for each of several tensors, strides. */
export interface Axes {
  readonly shape: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/** `values[index]`, which the caller knows to exist. */
export function at(values: readonly number[], index: number): number {
  return values[index] as number;
}

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Bytes of one element. */
export function elementBytes(dtype: DType): number {
  return dtype === 'bool' ? 1 : 4;
}

/** Strides of a dense row-major tensor. */
export function denseStrides(shape: readonly number[]): number[] {
  const strides: number[] = Array.from({ length: shape.length }, () => 0);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= at(shape, axis);
  }
  return strides;
}

/** True if the view's elements follow one another in row-major order. */
export function isDense(view: View): boolean {
  let step = 1;
  for (let axis = view.shape.length - 1; axis >= 0; axis--) {
    const extent = at(view.shape, axis);
    if (extent === 0) return true;
    if (extent !== 1 && at(view.strides, axis) !== step) return false;
    step *= extent;
  }
  return true;
}

/** True if all elements of the view are one element of memory. */
export function isSingle(view: View): boolean {
  return view.shape.every((extent, axis) => extent === 1 || at(view.strides, axis) === 0);
}

/** The same elements on `shape`, NumPy broadcasting: missing and size-1 axes get stride 0. */
export function broadcastTo(view: View, shape: readonly number[]): View {
  const missing = shape.length - view.shape.length;
  const strides = shape.map((extent, axis) => {
    if (axis < missing) return 0;
    return at(view.shape, axis - missing) === extent ? at(view.strides, axis - missing) : 0;
  });
  return { ...view, shape, strides };
}

/** Merges neighbouring axes that all tensors step through alike; drops axes of extent 1. At least one axis remains. */
export function coalesce(axes: Axes): Axes {
  const shape: number[] = [];
  const strides: number[][] = axes.strides.map(() => []);
  for (let axis = axes.shape.length - 1; axis >= 0; axis--) {
    const extent = at(axes.shape, axis);
    if (extent === 1) continue;
    const inner = shape.length - 1;
    const merges =
      inner >= 0 && axes.strides.every((s, tensor) => at(s, axis) === at(strides[tensor] as number[], inner) * at(shape, inner));
    if (merges) {
      shape[inner] = at(shape, inner) * extent;
    } else {
      shape.push(extent);
      axes.strides.forEach((s, tensor) => (strides[tensor] as number[]).push(at(s, axis)));
    }
  }
  if (shape.length === 0) {
    shape.push(1);
    for (const s of strides) s.push(1);
  }
  return { shape: shape.toReversed(), strides: strides.map((s) => s.toReversed()) };
}

/** Offsets of all positions of `shape` in row-major order. */
export function offsetTable(shape: readonly number[], strides: readonly number[]): Int32Array {
  const table = new Int32Array(sizeOf(shape));
  if (table.length === 0) return table;
  let filled = 1;
  // Outermost axis first: each axis spreads the offsets found so far.
  for (let axis = 0; axis < shape.length; axis++) {
    const extent = at(shape, axis);
    const stride = at(strides, axis);
    for (let i = filled - 1; i >= 0; i--) {
      const base = table[i] as number;
      for (let j = extent - 1; j >= 0; j--) table[i * extent + j] = base + j * stride;
    }
    filled *= extent;
  }
  return table;
}

/** The view on `shape` without moving bytes, or null if its strides do not allow that. */
export function reshapeView(view: View, shape: readonly number[]): View | null {
  if (sizeOf(shape) === 0 || isDense(view)) return { ...view, shape, strides: denseStrides(shape) };
  const merged = coalesce({ shape: view.shape, strides: [view.strides] });
  const from = merged.shape;
  const fromStrides = merged.strides[0] as readonly number[];
  const strides: number[] = Array.from({ length: shape.length }, () => 0);
  let axis = shape.length - 1;
  for (let source = from.length - 1; source >= 0; source--) {
    let step = at(fromStrides, source);
    let rest = at(from, source);
    while (rest > 1) {
      if (axis < 0) return null;
      const extent = at(shape, axis);
      if (rest % extent !== 0) return null;
      strides[axis] = step;
      step *= extent;
      rest /= extent;
      axis--;
    }
  }
  return { ...view, shape, strides };
}

export function transposeView(view: View, perm: readonly number[]): View {
  return { ...view, shape: perm.map((axis) => at(view.shape, axis)), strides: perm.map((axis) => at(view.strides, axis)) };
}

/** jax-js's broadcast: `axis` names the new axes of `shape`; the others are the view's, of equal extent or 1. */
export function broadcastView(view: View, shape: readonly number[], axis: readonly number[]): View {
  let source = 0;
  const strides = shape.map((extent, index) => {
    if (axis.includes(index)) return 0;
    const own = source++;
    return at(view.shape, own) === extent ? at(view.strides, own) : 0;
  });
  return { ...view, shape, strides };
}

export function flipView(view: View, axis: readonly number[]): View {
  let offset = view.offset;
  const strides = view.strides.map((stride, index) => {
    if (!axis.includes(index)) return stride;
    offset += Math.max(at(view.shape, index) - 1, 0) * stride;
    return -stride;
  });
  return { ...view, strides, offset };
}

export function shrinkView(view: View, slice: readonly (readonly [number, number])[]): View {
  let offset = view.offset;
  const shape = slice.map(([start, end], axis) => {
    offset += start * at(view.strides, axis);
    return end - start;
  });
  return { ...view, shape, offset };
}

/** Windows of the last axes as new trailing axes; they overlap in memory. */
export function poolView(view: View, shape: readonly number[], windowRank: number, steps: readonly number[]): View {
  const lead = view.shape.length - windowRank;
  const strides = [
    ...view.strides.slice(0, lead),
    ...steps.map((step, index) => step * at(view.strides, lead + index)),
    ...view.strides.slice(lead),
  ];
  return { ...view, shape, strides };
}
