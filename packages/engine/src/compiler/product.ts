/**
 * `dot` and `conv` as matrix products over strided views: broadcast operands are recognised by their zero strides and never
 * copied, and a convolution's patches are addressed by offset tables.
 */
import type { DType } from '../program.ts';
import { addressOf, type Instruction } from './instruction.ts';
import { at, offsetTable, sizeOf, type View } from './view.ts';

/** One axis of a sum of products with the strides of both operands and of the result. */
export interface ProductAxis {
  readonly extent: number;
  readonly left: number;
  readonly right: number;
  readonly out: number;
}

export interface ProductPlan {
  readonly left: View;
  readonly right: View;
  readonly out: View;
  /** Axes of the result, outermost first. */
  readonly axes: readonly ProductAxis[];
  /** Summed axes, outermost first; `out` is 0. */
  readonly summed: readonly ProductAxis[];
}

const kinds: Readonly<Record<DType, number>> = { float32: 0, int32: 1, uint32: 1, bool: 2 };

function offsets(axes: readonly ProductAxis[], which: 'left' | 'right' | 'out'): Int32Array {
  return offsetTable(
    axes.map((axis) => axis.extent),
    axes.map((axis) => axis[which]),
  );
}

function swap(axis: ProductAxis): ProductAxis {
  return { ...axis, left: axis.right, right: axis.left };
}

function count(axes: readonly ProductAxis[]): number {
  return sizeOf(axes.map((axis) => axis.extent));
}

/** Gives rows to one operand and columns to the other so that columns hold the innermost axis of the result. */
function orient(plan: ProductPlan): ProductPlan {
  const inner = plan.axes.findLast((axis) => axis.extent > 1);
  if (inner === undefined || inner.left === 0 || inner.right !== 0) return plan;
  return { left: plan.right, right: plan.left, out: plan.out, axes: plan.axes.map(swap), summed: plan.summed.map(swap) };
}

/** The kernel call for a sum of products. */
export function productInstruction(given: ProductPlan, operation: number): Instruction {
  const plan = orient(given);
  const used = plan.axes.filter((axis) => axis.extent !== 1);
  const columns = used.filter((axis) => axis.left === 0 && axis.right !== 0);
  const batch = used.filter((axis) => axis.left !== 0 && axis.right !== 0);
  const rows = used.filter((axis) => axis.right === 0);
  const m = count(rows);
  const n = count(columns);
  const direct = plan.out.dtype !== 'float32' || (m * n < 16 && count(batch) >= 4);
  return {
    operation,
    reads: [plan.left.buffer, plan.right.buffer],
    writes: [plan.out.buffer],
    emit: ({ table }) => [
      {
        kernel: direct ? 'product_direct' : 'product',
        words: [
          m,
          n,
          count(plan.summed),
          ...addressOf(plan.left),
          ...addressOf(plan.right),
          ...addressOf(plan.out),
          ...table(offsets(rows, 'left')),
          ...table(offsets(plan.summed, 'left')),
          ...table(offsets(columns, 'right')),
          ...table(offsets(plan.summed, 'right')),
          ...table(offsets(rows, 'out')),
          ...table(offsets(columns, 'out')),
          count(batch),
          ...table(offsets(batch, 'left')),
          ...table(offsets(batch, 'right')),
          ...table(offsets(batch, 'out')),
          kinds[plan.out.dtype],
        ],
      },
    ],
  };
}

/** Axes of `dot`: `left` and `right` are already broadcast to the result's axes plus the summed one. */
export function dotPlan(left: View, right: View, out: View): ProductPlan {
  const last = out.shape.length;
  return {
    left,
    right,
    out,
    axes: out.shape.map((extent, axis) => ({
      extent,
      left: at(left.strides, axis),
      right: at(right.strides, axis),
      out: at(out.strides, axis),
    })),
    summed: [{ extent: at(left.shape, last), left: at(left.strides, last), right: at(right.strides, last), out: 0 }],
  };
}

/** Axes of `conv` over an already padded `x` [v…, N, C, s…] and `w` [v…, O, C, k…]; result [v…, N, O, o…]. */
export function convPlan(
  x: View,
  w: View,
  out: View,
  vmapDims: number,
  steps: readonly number[],
  dilation: readonly number[],
): ProductPlan {
  const v = vmapDims;
  const axes: ProductAxis[] = [];
  for (let axis = 0; axis < v; axis++) {
    const extent = at(out.shape, axis);
    const stride = (view: View): number => (at(view.shape, axis) === 1 ? 0 : at(view.strides, axis));
    axes.push({ extent, left: stride(x), right: stride(w), out: at(out.strides, axis) });
  }
  axes.push({ extent: at(x.shape, v), left: at(x.strides, v), right: 0, out: at(out.strides, v) });
  axes.push({ extent: at(w.shape, v), left: 0, right: at(w.strides, v), out: at(out.strides, v + 1) });
  steps.forEach((step, index) => {
    axes.push({
      extent: at(out.shape, v + 2 + index),
      left: step * at(x.strides, v + 2 + index),
      right: 0,
      out: at(out.strides, v + 2 + index),
    });
  });
  const summed = [{ extent: at(x.shape, v + 1), left: at(x.strides, v + 1), right: at(w.strides, v + 1), out: 0 }];
  dilation.forEach((factor, index) => {
    const axis = v + 2 + index;
    summed.push({ extent: at(w.shape, axis), left: factor * at(x.strides, axis), right: at(w.strides, axis), out: 0 });
  });
  return { left: x, right: w, out, axes, summed };
}
