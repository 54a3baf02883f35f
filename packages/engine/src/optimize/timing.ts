/**
 * Seconds from counts: the time that a machine of known speed needs for a program. Speeds are measured elsewhere, with a clock.
 */
import { valueTypes } from '../check.ts';
import { flopsOf } from '../cost.ts';
import type { Operation, PrimitiveName, Program, TensorType } from '../program.ts';
import { sizeOf } from '../reference/layout.ts';
import { type Call, scheduleProgram } from './schedule.ts';

/** Speeds of one executor on one machine. */
export interface MachineSpeed {
  /** Products of two square matrices by their extent, ascending: float32 operations per second. */
  readonly products: readonly { readonly extent: number; readonly flopsPerSecond: number }[];
  /** Convolutions: float32 operations per second. */
  readonly convolutionFlopsPerSecond: number;
  /** Element-wise operations inside a fused group, elements per second: one rounding, and a function such as exp. */
  readonly simpleElementsPerSecond: number;
  readonly functionElementsPerSecond: number;
  /** Sums: elements per second. */
  readonly reducedElementsPerSecond: number;
  /** Bytes read and written per second by a large element-wise operation. */
  readonly bytesPerSecond: number;
  /** Time of a call that does nothing. */
  readonly secondsPerCall: number;
}

const functions: ReadonlySet<PrimitiveName> = new Set<PrimitiveName>(['exp', 'log', 'sin', 'cos', 'erf', 'mod', 'idiv']);

/** Speed of a product whose extents have this geometric mean: between the two measured ones, else the nearest. */
function productSpeed(products: MachineSpeed['products'], mean: number): number {
  const above = products.findIndex(({ extent }) => extent >= mean);
  const [low, high] = [products[above - 1] ?? products.at(-1), products[above]];
  if (low === undefined) return high?.flopsPerSecond ?? 1;
  if (high === undefined || above === 0) return (high ?? low).flopsPerSecond;
  const share = Math.log(mean / low.extent) / Math.log(high.extent / low.extent);
  return low.flopsPerSecond + share * (high.flopsPerSecond - low.flopsPerSecond);
}

/** Extents of `dot` as a product of matrices: rows · inner by inner · columns, `batch` times. */
export function productExtents(
  x: TensorType,
  y: TensorType,
): { readonly rows: number; readonly columns: number; readonly inner: number; readonly batch: number } {
  const inner = x.shape.at(-1) ?? 1;
  const [left, right] = [x.shape.slice(0, -1), y.shape.slice(0, -1)];
  const rank = Math.max(left.length, right.length);
  let [rows, columns, batch] = [1, 1, 1];
  for (let axis = 0; axis < rank; axis++) {
    const [a, b] = [left[axis - rank + left.length] ?? 1, right[axis - rank + right.length] ?? 1];
    if (a === 1) columns *= b;
    else if (b === 1) rows *= a;
    else batch *= a;
  }
  return { rows, columns, inner, batch };
}

/** Seconds of one call. */
export function callSeconds(program: Program, types: readonly TensorType[], call: Call, speed: MachineSpeed): number {
  const operations = call.operations.map((index) => program.operations[index] as Operation);
  const bytes = (call.readBytes + call.writeBytes) / speed.bytesPerSecond;
  const flops = operations.reduce((sum, operation) => sum + flopsOf(operation, types), 0);
  const [operation] = operations;
  switch (call.kind) {
    case 'product': {
      if (operation === undefined) return 0;
      const [x, y] = operation.inputs.map((input) => types[input] as TensorType);
      const { rows, columns, inner } = productExtents(x as TensorType, y as TensorType);
      const mean = Math.cbrt(rows * columns * inner);
      return speed.secondsPerCall + flops / productSpeed(speed.products, mean);
    }
    case 'convolution':
      return speed.secondsPerCall + flops / speed.convolutionFlopsPerSecond;
    case 'reduction':
      return speed.secondsPerCall + flops / speed.reducedElementsPerSecond;
    case 'elementwise': {
      let seconds = 0;
      for (const { primitive, outputs } of operations) {
        const rate = functions.has(primitive) ? speed.functionElementsPerSecond : speed.simpleElementsPerSecond;
        seconds += sizeOf(outputs[0]?.shape ?? []) / rate;
      }
      // Arithmetic and memory overlap only in part; the larger of the two is what is seen.
      return speed.secondsPerCall + Math.max(seconds, bytes);
    }
    case 'order':
    case 'random':
      return speed.secondsPerCall + flops / speed.simpleElementsPerSecond;
    case 'movement':
      return speed.secondsPerCall + bytes;
    default:
      return call.kind satisfies never;
  }
}

/** Seconds of one run of `program` (checked, or from `resizeProgram`) at `speed`. */
export function predictSeconds(program: Program, speed: MachineSpeed): number {
  const types = valueTypes(program);
  return scheduleProgram(program).calls.reduce((sum, call) => sum + callSeconds(program, types, call, speed), 0);
}
