/**
 * How one element of an operation's output comes about, step by step: for primitives that accumulate, the chain of roundings in the order
 * of `docs/spec/01-exact-arithmetic.md`; for the others, the elements it is made of. Spec: `docs/spec/20-dispute-trace.md`.
 *
 * Only types and coordinates are read, in time linear in ranks for each step, so that a contract can find any one step on its own. (What
 * `gather` reads and whether a `scatter` hits follow from index values; a step names the elements to open.)
 */
import { MusterError } from '@muster/protocol';
import type { DType, Operation, ParamsOf, PrimitiveName, Tensor, TensorData, TensorType } from '../program.ts';
import { arithmetic, at, broadcastStrides, sizeOf, stridesOf, unreachable, zeros } from '../reference/layout.ts';
import { clampIndex, poolStrides } from '../reference/movement.ts';
import { broadcastShapes } from '../shapes.ts';

/** An element (row-major index) of one of the operation's inputs. */
export interface ElementOperand {
  readonly kind: 'element';
  readonly input: number;
  readonly element: number;
}

/** An earlier accumulator, or a number that no tensor holds: the zero of a padded position. */
export type Operand = ElementOperand | { readonly kind: 'accumulator'; readonly index: number } | { readonly kind: 'zero' };

/** A `scatter` step counts only if the index in `operand`, wrapped and clamped to `extent`, is `coordinate`. */
export interface Condition {
  readonly operand: ElementOperand;
  readonly extent: number;
  readonly coordinate: number;
}

/** acc_k = combine(acc_left, term), each operation rounded once; `set` takes the term. If a condition fails, acc_k = acc_left. */
export interface AccumulationStep {
  readonly combine: 'add' | 'mul' | 'min' | 'max' | 'set';
  /** Index of an accumulator before this one. */
  readonly left: number;
  readonly right: Operand;
  /** The term is fl(right · factor); null: it is `right`. */
  readonly factor: ElementOperand | null;
  readonly conditions: readonly Condition[];
}

/** The chain acc_0 … acc_steps of one output element; the last is the element. */
export interface Accumulation {
  readonly dtype: DType;
  /** acc_0. */
  readonly start: number;
  readonly steps: number;
  /** Step k, from 1 to `steps`. */
  readonly step: (k: number) => AccumulationStep;
}

const lanes = 16;
const accumulates: ReadonlySet<PrimitiveName> = new Set<PrimitiveName>(['dot', 'conv', 'reduce', 'pool_transpose', 'scatter']);

/** Coordinates of row-major element `index` of `shape`. */
function coordinatesAt(shape: readonly number[], index: number): number[] {
  const strides = stridesOf(shape);
  return shape.map((extent, axis) => Math.floor(index / at(strides, axis)) % extent);
}

function offsetAt(coordinates: readonly number[], strides: readonly number[]): number {
  return coordinates.reduce((sum, coordinate, axis) => sum + coordinate * at(strides, axis), 0);
}

const element = (input: number, index: number): ElementOperand => ({ kind: 'element', input, element: index });

function plainStep(k: number, right: Operand, factor: ElementOperand | null = null): AccumulationStep {
  return { combine: 'add', left: k - 1, right, factor, conditions: [] };
}

function dotAccumulation(x: TensorType, y: TensorType, output: TensorType, index: number): Accumulation {
  const length = at(x.shape, x.shape.length - 1);
  const place = coordinatesAt(output.shape, index);
  const rowOf = (type: TensorType): number => offsetAt(place, broadcastStrides(type.shape.slice(0, -1), output.shape)) * length;
  const [xRow, yRow] = [rowOf(x), rowOf(y)];
  return {
    dtype: output.dtype,
    start: 0,
    steps: length,
    step: (k) => plainStep(k, element(0, xRow + k - 1), element(1, yRow + k - 1)),
  };
}

function convAccumulation(x: TensorType, w: TensorType, params: ParamsOf<'conv'>, output: TensorType, index: number): Accumulation {
  const v = params.vmapDims;
  const place = coordinatesAt(output.shape, index);
  const batch = output.shape.slice(0, v);
  const rowOf = (type: TensorType): number => offsetAt(place.slice(0, v), broadcastStrides(type.shape.slice(0, v), batch));
  const channels = at(x.shape, v + 1);
  const [size, kernel] = [x.shape.slice(v + 2), w.shape.slice(v + 2)];
  const [xPlane, wPlane] = [sizeOf(size), sizeOf(kernel)];
  const xStart = (rowOf(x) * at(x.shape, v) + at(place, v)) * channels * xPlane;
  const wStart = (rowOf(w) * at(w.shape, v) + at(place, v + 1)) * channels * wPlane;
  const position = place.slice(v + 2);
  return {
    dtype: output.dtype,
    start: 0,
    steps: channels * wPlane,
    step(k) {
      const [channel, within] = [Math.floor((k - 1) / wPlane), (k - 1) % wPlane];
      const taps = coordinatesAt(kernel, within);
      let offset = 0;
      let inside = true;
      size.forEach((extent, axis) => {
        const padded = at(position, axis) * at(params.strides, axis) + at(taps, axis) * at(params.rhsDilation, axis);
        const coordinate = (padded - at(at(params.padding, axis), 0)) / at(params.lhsDilation, axis);
        if (!Number.isInteger(coordinate) || coordinate < 0 || coordinate >= extent) inside = false;
        offset = offset * extent + coordinate;
      });
      const right: Operand = inside ? element(0, xStart + channel * xPlane + offset) : { kind: 'zero' };
      return plainStep(k, right, element(1, wStart + k - 1));
    },
  };
}

const largest = { float32: Infinity, int32: 2 ** 31 - 1, uint32: 2 ** 32 - 1, bool: 1 } as const;
const smallest = { float32: -Infinity, int32: -(2 ** 31), uint32: 0, bool: 0 } as const;

/**
 * Sums and products: step i + 1 adds element i to the accumulator sixteen before it (the start for the first sixteen), then fifteen steps fold the
 * sixteen lanes: lane l takes in lane l + 8 for l = 0 … 7, then the same with 4, 2 and 1. Minimum and maximum: one chain.
 */
function reduceAccumulation(x: TensorType, { op, axis }: ParamsOf<'reduce'>, output: TensorType, index: number): Accumulation {
  const strides = stridesOf(x.shape);
  const kept = x.shape.map((_, a) => a).filter((a) => !axis.includes(a));
  const base = offsetAt(
    coordinatesAt(output.shape, index),
    kept.map((a) => at(strides, a)),
  );
  const inner = axis.map((a) => at(x.shape, a));
  const innerStrides = axis.map((a) => at(strides, a));
  const count = sizeOf(inner);
  const term = (i: number): ElementOperand => element(0, base + offsetAt(coordinatesAt(inner, i), innerStrides));
  const { dtype } = x;
  if (op === 'min' || op === 'max') {
    const start = op === 'min' ? largest[dtype] : smallest[dtype];
    return { dtype, start, steps: count, step: (k) => ({ ...plainStep(k, term(k - 1)), combine: op }) };
  }
  // Accumulator that holds a lane after the elements: the last step that added to it, the start if none did.
  const lastOf = (lane: number): number => (lane < count ? count - ((count - 1 - lane) % lanes) : 0);
  const folded = (lane: number, half: number): number => {
    // The lane's accumulator before the folds of width `half`: its own fold of width 2 · half, if there was one.
    if (half === lanes / 2) return lastOf(lane);
    return foldStep(count, lane, 2 * half);
  };
  return {
    dtype,
    start: op === 'add' ? 0 : 1,
    steps: count + lanes - 1,
    step(k) {
      const common = { combine: op, factor: null, conditions: [] };
      if (k <= count) return { ...common, left: Math.max(k - lanes, 0), right: term(k - 1) };
      let fold = k - count - 1;
      let half = lanes / 2;
      for (; fold >= half; half /= 2) fold -= half;
      return { ...common, left: folded(fold, half), right: { kind: 'accumulator', index: folded(fold + half, half) } };
    },
  };
}

/** Number of the step in which lane `lane` takes in lane `lane + half`. */
function foldStep(count: number, lane: number, half: number): number {
  return count + 1 + (lanes - 2 * half) + lane;
}

function poolTransposeAccumulation(x: TensorType, params: ParamsOf<'pool_transpose'>, output: TensorType, index: number): Accumulation {
  const { inShape, window, strides } = params;
  const lead = inShape.length - window.length;
  const place = coordinatesAt(inShape, index);
  const own = stridesOf(x.shape);
  const base = offsetAt(place.slice(0, lead), own.slice(0, lead));
  const spatial = place.slice(lead);
  // Windows along each axis that hold the coordinate; the position inside follows from the window.
  const first = spatial.map((c, i) => Math.max(0, Math.ceil((c - at(window, i) + 1) / at(strides, i))));
  const counts = spatial.map((c, i) => Math.max(0, Math.min(at(x.shape, lead + i) - 1, Math.floor(c / at(strides, i))) - at(first, i) + 1));
  return {
    dtype: output.dtype,
    start: 0,
    steps: sizeOf(counts),
    step(k) {
      const windows = coordinatesAt(counts, k - 1).map((o, i) => o + at(first, i));
      const within = windows.map((o, i) => at(spatial, i) - o * at(strides, i));
      return plainStep(k, element(0, base + offsetAt([...windows, ...within], own.slice(lead))));
    },
  };
}

/** One step for each position of the index tensors, row-major; it changes nothing where the indices name another element. */
function scatterAccumulation(
  updates: TensorType,
  indices: readonly TensorType[],
  { axis, outDim, shape, mode }: ParamsOf<'scatter'>,
  output: TensorType,
  index: number,
): Accumulation {
  const place = coordinatesAt(shape, index);
  const free = place.filter((_, a) => !axis.includes(a));
  const indexShape = broadcastShapes(...indices.map((type) => type.shape));
  const own = stridesOf(updates.shape);
  return {
    dtype: output.dtype,
    start: 0,
    steps: sizeOf(indexShape),
    step(k) {
      const position = coordinatesAt(indexShape, k - 1);
      return {
        combine: mode,
        left: k - 1,
        right: element(0, offsetAt(free.toSpliced(outDim, 0, ...position), own)),
        factor: null,
        conditions: indices.map((type, n) => ({
          operand: element(n + 1, offsetAt(position, broadcastStrides(type.shape, indexShape))),
          extent: at(shape, at(axis, n)),
          coordinate: at(place, at(axis, n)),
        })),
      };
    },
  };
}

function requireElement(output: TensorType, index: number): void {
  if (!Number.isSafeInteger(index) || index < 0 || index >= sizeOf(output.shape)) {
    throw new MusterError('FIELD_INVALID', `element: ${index} is no element of ${output.dtype}[${output.shape.join(',')}]`, {
      field: 'element',
    });
  }
}

/**
 * The accumulation that makes element `index` of `operation`'s output from inputs of `types`; null if its primitive does not accumulate.
 * Throws FIELD_INVALID for an index outside the output. The operation must be one of a checked program.
 */
export function accumulationOf(operation: Operation, types: readonly TensorType[], index: number): Accumulation | null {
  const output = at(operation.outputs, 0);
  requireElement(output, index);
  const input = (n: number): TensorType => at(types, n);
  switch (operation.primitive) {
    case 'dot':
      return dotAccumulation(input(0), input(1), output, index);
    case 'conv':
      return convAccumulation(input(0), input(1), operation.params, output, index);
    case 'reduce':
      return reduceAccumulation(input(0), operation.params, output, index);
    case 'pool_transpose':
      return poolTransposeAccumulation(input(0), operation.params, output, index);
    case 'scatter':
      return scatterAccumulation(input(0), types.slice(1), operation.params, output, index);
    default:
      return null;
  }
}

function read(operand: Operand, inputs: readonly Tensor[], accumulators: ArrayLike<number>): number {
  switch (operand.kind) {
    case 'element':
      return at(at(inputs, operand.input).data, operand.element);
    case 'accumulator':
      return at(accumulators, operand.index);
    case 'zero':
      return 0;
    default:
      throw unreachable(operand);
  }
}

/** acc_k of one step, from the inputs and the accumulators before it. This is what a contract computes. */
export function applyStep(dtype: DType, step: AccumulationStep, inputs: readonly Tensor[], accumulators: ArrayLike<number>): number {
  const left = at(accumulators, step.left);
  const hit = step.conditions.every(
    ({ operand, extent, coordinate }) => clampIndex(read(operand, inputs, accumulators), extent) === coordinate,
  );
  if (!hit) return left;
  const right = read(step.right, inputs, accumulators);
  const term = step.factor === null ? right : arithmetic[dtype].mul(right, read(step.factor, inputs, accumulators));
  return step.combine === 'set' ? term : arithmetic[dtype][step.combine](left, term);
}

/** acc_0 … acc_steps. */
export function accumulators(accumulation: Accumulation, inputs: readonly Tensor[]): TensorData {
  const { dtype, start, steps } = accumulation;
  const values = zeros({ dtype, shape: [steps + 1] });
  values[0] = start;
  for (let k = 1; k <= steps; k++) values[k] = applyStep(dtype, accumulation.step(k), inputs, values);
  return values;
}

/** Source of element `place` of a strided view: `base + Σ coordinate · stride`. */
function viewed(shape: readonly number[], index: number, strides: readonly number[], base = 0): Operand[] {
  return [element(0, base + offsetAt(coordinatesAt(shape, index), strides))];
}

function gatherOperands(operation: Extract<Operation, { primitive: 'gather' }>, inputs: readonly Tensor[], index: number): Operand[] {
  const { axis, outDim } = operation.params;
  const [x, ...indices] = inputs as readonly [Tensor, ...Tensor[]];
  const place = coordinatesAt(at(operation.outputs, 0).shape, index);
  const indexShape = broadcastShapes(...indices.map(({ shape }) => shape));
  const position = place.slice(outDim, outDim + indexShape.length);
  const free = place.toSpliced(outDim, indexShape.length);
  const named = indices.map((tensor, n) => element(n + 1, offsetAt(position, broadcastStrides(tensor.shape, indexShape))));
  const source = x.shape.map((extent, a) => {
    const n = axis.indexOf(a);
    return n === -1 ? (free.shift() as number) : clampIndex(read(at(named, n), inputs, []), extent);
  });
  return [...named, source.includes(-1) ? { kind: 'zero' } : element(0, offsetAt(source, stridesOf(x.shape)))];
}

/** The element of a concatenated or padded tensor, which may be a zero. */
function concatenated(x: readonly TensorType[], axis: number, output: TensorType, index: number): Operand[] {
  const place = coordinatesAt(output.shape, index);
  for (const [input, { shape }] of x.entries()) {
    const extent = at(shape, axis);
    if (at(place, axis) < extent) return [element(input, offsetAt(place, stridesOf(shape)))];
    place[axis] = at(place, axis) - extent;
  }
  throw new MusterError('INTERNAL', 'a concatenation shorter than its parts');
}

function padded(x: TensorType, { width }: ParamsOf<'pad'>, output: TensorType, index: number): Operand[] {
  const place = coordinatesAt(output.shape, index).map((coordinate, a) => coordinate - at(at(width, a), 0));
  const inside = place.every((coordinate, a) => coordinate >= 0 && coordinate < at(x.shape, a));
  return [inside ? element(0, offsetAt(place, stridesOf(x.shape))) : { kind: 'zero' }];
}

/**
 * The elements that element `index` of output `output` is computed from, for a primitive that does not accumulate (else null): one of each
 * input for element-wise primitives, the source for movement, the indices and then the source for `gather`, both key halves for
 * `random_bits`, the whole row for `sort` and `argsort`. Throws FIELD_INVALID for an index outside the output.
 */
export function elementOperands(operation: Operation, inputs: readonly Tensor[], output: number, index: number): Operand[] | null {
  const type = at(operation.outputs, output);
  requireElement(type, index);
  const [x] = inputs;
  if (x === undefined || accumulates.has(operation.primitive)) return null;
  const own = stridesOf(x.shape);
  const { shape } = type;
  switch (operation.primitive) {
    case 'transpose':
      return viewed(
        shape,
        index,
        operation.params.perm.map((axis) => at(own, axis)),
      );
    case 'broadcast': {
      const { axis } = operation.params;
      const kept = coordinatesAt(shape, index).filter((_, a) => !axis.includes(a));
      return [
        element(
          0,
          offsetAt(
            kept,
            own.map((stride, a) => (at(x.shape, a) === 1 ? 0 : stride)),
          ),
        ),
      ];
    }
    case 'reshape':
      return [element(0, index)];
    case 'flip': {
      const { axis } = operation.params;
      const base = axis.reduce((sum, a) => sum + (at(x.shape, a) - 1) * at(own, a), 0);
      return viewed(
        shape,
        index,
        own.map((stride, a) => (axis.includes(a) ? -stride : stride)),
        base,
      );
    }
    case 'shrink':
      return viewed(
        shape,
        index,
        own,
        offsetAt(
          operation.params.slice.map(([from]) => from),
          own,
        ),
      );
    case 'split': {
      const { axis, sizes } = operation.params;
      const start = sizes.slice(0, output).reduce((sum, size) => sum + size, 0);
      return viewed(shape, index, own, start * at(own, axis));
    }
    case 'pool':
      return viewed(shape, index, poolStrides(x.shape, operation.params.window, operation.params.strides));
    case 'pad':
      return padded(x, operation.params, type, index);
    case 'concatenate':
      return concatenated(inputs, operation.params.axis, type, index);
    case 'gather':
      return gatherOperands(operation, inputs, index);
    case 'random_bits': {
      const key = Math.floor(index / sizeOf(shape.slice(x.shape.length)));
      return [element(0, key), element(1, key)];
    }
    case 'sort':
    case 'argsort': {
      const length = at(shape, shape.length - 1);
      const row = Math.floor(index / length) * length;
      return Array.from({ length }, (_, i) => element(0, row + i));
    }
    default:
      return inputs.map((input, n) => element(n, offsetAt(coordinatesAt(shape, index), broadcastStrides(input.shape, shape))));
  }
}
