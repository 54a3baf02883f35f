/**
 * Shape inference: the output types of each primitive, and every rule its inputs and params must keep.
 *
 * Pure arithmetic on types in time linear in their ranks; no tensor is allocated. Whether a program as a whole is well formed
 * is `check.ts`. The tables of this file are the ones of `docs/spec/02-programs.md`.
 */
import { MusterError } from '@muster/protocol';
import type { DType, ParamsOf, PrimitiveName, TensorType } from './program.ts';

/** Largest rank of a tensor. */
export const maxRank = 10;
/** Largest number of elements of a tensor. */
export const maxElements = 2 ** 31;
/** Largest number of inputs or outputs of one operation. */
export const maxArity = 4096;
/** Largest absolute value of a padding amount, and largest stride and dilation of `conv` and `pool`. */
const maxSpatial = 65_536;

type Rule<P extends PrimitiveName> = (inputs: readonly TensorType[], params: ParamsOf<P>) => TensorType[];
type Shape = readonly number[];

function fail(field: string, message: string): never {
  throw new MusterError('PROGRAM_INVALID', `${field}: ${message}`, { field });
}

/** Element count of `shape`. Throws PROGRAM_INVALID for a rank, extent or count outside the limits. */
export function elementCount(shape: Shape, field = 'shape'): number {
  if (shape.length > maxRank) fail(field, `rank ${shape.length}, at most ${maxRank}`);
  let count = 1;
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0 || extent > maxElements)
      fail(field, `extent ${extent} is not an integer from 0 to ${maxElements}`);
    count *= extent === 0 ? 1 : extent;
    if (count > maxElements) fail(field, `more than ${maxElements} elements`);
  }
  return shape.includes(0) ? 0 : count;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape);
}

/** `float32[2,3]` and the like, for messages. */
export function describeType(type: TensorType): string {
  return `${type.dtype}[${type.shape.join(',')}]`;
}

/** NumPy broadcast of `shapes`. Throws PROGRAM_INVALID when they do not fit. */
export function broadcastShapes(...shapes: readonly Shape[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    let extent = 1;
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1;
      if (own === 1 || own === extent) continue;
      if (extent !== 1) fail('inputs', `shapes ${shapes.map((s) => `[${s.join(',')}]`).join(' and ')} do not broadcast`);
      extent = own;
    }
    return extent;
  });
}

function one(inputs: readonly TensorType[], dtypes: readonly DType[]): TensorType {
  const [x] = inputs;
  if (x === undefined || inputs.length !== 1) fail('inputs', `expected 1 input, got ${inputs.length}`);
  expectDtype(x, dtypes);
  return x;
}

function expectDtype(x: TensorType, dtypes: readonly DType[]): void {
  if (!dtypes.includes(x.dtype)) fail('inputs', `${x.dtype} is not one of ${dtypes.join(', ')}`);
}

function two(inputs: readonly TensorType[], dtypes: readonly DType[]): readonly [TensorType, TensorType] {
  const [x, y] = inputs;
  if (x === undefined || y === undefined || inputs.length !== 2) fail('inputs', `expected 2 inputs, got ${inputs.length}`);
  expectDtype(x, dtypes);
  if (x.dtype !== y.dtype) fail('inputs', `dtypes ${x.dtype} and ${y.dtype} differ`);
  return [x, y];
}

function integerFrom(value: unknown, minimum: number, maximum: number, field: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
    fail(field, `${String(value)} is not an integer from ${minimum} to ${maximum}`);
  }
  return value;
}

function eachInteger(values: Shape, length: number, minimum: number, maximum: number, field: string): void {
  if (values.length !== length) fail(field, `expected ${length} numbers, got ${values.length}`);
  for (const value of values) integerFrom(value, minimum, maximum, field);
}

/** Strictly ascending axes of a tensor of `rank`. */
function ascendingAxes(axis: Shape, rank: number, field = 'params.axis'): void {
  let previous = -1;
  for (const a of axis) {
    integerFrom(a, 0, rank - 1, field);
    if (a <= previous) fail(field, 'axes must ascend strictly');
    previous = a;
  }
}

function distinctAxes(axis: Shape, rank: number, field: string): void {
  for (const a of axis) integerFrom(a, 0, rank - 1, field);
  if (new Set(axis).size !== axis.length) fail(field, 'axes must be distinct');
}

const all: readonly DType[] = ['float32', 'int32', 'uint32', 'bool'];
const numeric: readonly DType[] = ['float32', 'int32', 'uint32'];
const integers: readonly DType[] = ['int32', 'uint32'];
const float: readonly DType[] = ['float32'];

function binary(dtypes: readonly DType[]): (inputs: readonly TensorType[]) => TensorType[] {
  return (inputs) => {
    const [x, y] = two(inputs, dtypes);
    return [{ dtype: x.dtype, shape: broadcastShapes(x.shape, y.shape) }];
  };
}

function unary(dtypes: readonly DType[]): (inputs: readonly TensorType[]) => TensorType[] {
  return (inputs) => [one(inputs, dtypes)];
}

/** Output extent of a window sliding over `size`. */
function windows(size: number, window: number, stride: number, field: string): number {
  if (window > size) fail(field, `window of ${window} over an extent of ${size}`);
  return Math.ceil((size - window + 1) / stride);
}

function poolShape(inShape: Shape, window: Shape, strides: Shape): number[] {
  if (window.length > inShape.length) fail('params.window', 'more axes than the input');
  eachInteger(window, window.length, 1, maxSpatial, 'params.window');
  eachInteger(strides, window.length, 1, maxSpatial, 'params.strides');
  const lead = inShape.length - window.length;
  return [
    ...inShape.slice(0, lead),
    ...window.map((k, i) => windows(inShape[lead + i] ?? 0, k, strides[i] ?? 1, 'params.window')),
    ...window,
  ];
}

/** Shape of `gather` from `operand`, which is also the shape of the updates of `scatter` into it. */
function gatherShape(operand: Shape, indices: readonly TensorType[], axis: Shape, outDim: number): number[] {
  if (indices.length === 0) fail('inputs', 'at least one index is needed');
  for (const index of indices) expectDtype(index, integers);
  if (axis.length !== indices.length) fail('params.axis', `${axis.length} axes for ${indices.length} indices`);
  distinctAxes(axis, operand.length, 'params.axis');
  integerFrom(outDim, 0, operand.length - axis.length, 'params.outDim');
  const result = operand.filter((_, a) => !axis.includes(a));
  result.splice(outDim, 0, ...broadcastShapes(...indices.map((index) => index.shape)));
  return result;
}

const convRule: Rule<'conv'> = (inputs, params) => {
  const [x, w] = two(inputs, float);
  const v = integerFrom(params.vmapDims, 0, maxRank, 'params.vmapDims');
  const n = x.shape.length - 2 - v;
  if (x.shape.length !== w.shape.length || n < 0)
    fail('inputs', `${describeType(x)} and ${describeType(w)} are not a convolution with ${v} batch axes`);
  if (x.shape[v + 1] !== w.shape[v + 1]) fail('inputs', `input channels ${x.shape[v + 1]} and ${w.shape[v + 1]} differ`);
  eachInteger(params.strides, n, 1, maxSpatial, 'params.strides');
  eachInteger(params.lhsDilation, n, 1, maxSpatial, 'params.lhsDilation');
  eachInteger(params.rhsDilation, n, 1, maxSpatial, 'params.rhsDilation');
  if (params.padding.length !== n) fail('params.padding', `expected ${n} pairs`);
  const spatial = params.padding.map((pair, i) => {
    eachInteger(pair, 2, -maxSpatial, maxSpatial, 'params.padding');
    const [low, high] = pair;
    const size = x.shape[v + 2 + i] ?? 0;
    const kernel = integerFrom(w.shape[v + 2 + i], 1, maxElements, 'inputs');
    if (low < -size || high < -size || low + high < -size) fail('params.padding', `[${low},${high}] crops more than the extent ${size}`);
    const padded = Math.max((size - 1) * (params.lhsDilation[i] ?? 1) + 1, 0) + low + high;
    return windows(padded, (kernel - 1) * (params.rhsDilation[i] ?? 1) + 1, params.strides[i] ?? 1, 'params.padding');
  });
  return [
    {
      dtype: 'float32',
      shape: [...broadcastShapes(x.shape.slice(0, v), w.shape.slice(0, v)), x.shape[v] ?? 0, w.shape[v] ?? 0, ...spatial],
    },
  ];
};

const rules: { readonly [P in PrimitiveName]: Rule<P> } = {
  add: binary(all),
  mul: binary(all),
  idiv: binary(numeric),
  mod: binary(numeric),
  min: binary(all),
  max: binary(all),
  bit_combine: (inputs, { op }) => {
    if (!['and', 'or', 'xor'].includes(op)) fail('params.op', `unknown: ${op}`);
    return binary(['int32', 'uint32', 'bool'])(inputs);
  },
  bit_shift: (inputs, { op }) => {
    if (!['shl', 'shr'].includes(op)) fail('params.op', `unknown: ${op}`);
    return binary(integers)(inputs);
  },
  neg: unary(numeric),
  reciprocal: unary(float),
  floor: unary(float),
  ceil: unary(float),
  cast: (inputs, { dtype }) => {
    if (!all.includes(dtype)) fail('params.dtype', `unknown: ${dtype}`);
    return [{ dtype, shape: one(inputs, all).shape }];
  },
  bitcast: (inputs, { dtype }) => {
    if (!numeric.includes(dtype)) fail('params.dtype', `not a 32-bit type: ${dtype}`);
    return [{ dtype, shape: one(inputs, numeric).shape }];
  },
  sin: unary(float),
  cos: unary(float),
  exp: unary(float),
  log: unary(float),
  erf: unary(float),
  sqrt: unary(float),
  reduce: (inputs, { op, axis }) => {
    const x = one(inputs, all);
    if (!['add', 'mul', 'min', 'max'].includes(op)) fail('params.op', `unknown: ${op}`);
    ascendingAxes(axis, x.shape.length);
    if ((op === 'min' || op === 'max') && axis.some((a) => x.shape[a] === 0)) fail('inputs', `${op} of no elements`);
    return [{ dtype: x.dtype, shape: x.shape.filter((_, a) => !axis.includes(a)) }];
  },
  dot: (inputs) => {
    const [x, y] = two(inputs, numeric);
    if (x.shape.length === 0 || y.shape.length === 0 || x.shape.at(-1) !== y.shape.at(-1)) {
      fail('inputs', `${describeType(x)} and ${describeType(y)} have no common last axis`);
    }
    return [{ dtype: x.dtype, shape: broadcastShapes(x.shape.slice(0, -1), y.shape.slice(0, -1)) }];
  },
  conv: convRule,
  pool: (inputs, { window, strides }) => {
    const x = one(inputs, all);
    return [{ dtype: x.dtype, shape: poolShape(x.shape, window, strides) }];
  },
  pool_transpose: (inputs, { inShape, window, strides }) => {
    const x = one(inputs, numeric);
    elementCount(inShape, 'params.inShape');
    if (!sameShape(x.shape, poolShape(inShape, window, strides)))
      fail('inputs', `${describeType(x)} is not what pool makes of params.inShape`);
    return [{ dtype: x.dtype, shape: [...inShape] }];
  },
  compare: (inputs, { op }) => {
    if (!['less', 'equal', 'not_equal', 'less_equal'].includes(op)) fail('params.op', `unknown: ${op}`);
    const [x, y] = two(inputs, all);
    return [{ dtype: 'bool', shape: broadcastShapes(x.shape, y.shape) }];
  },
  where: (inputs) => {
    const [condition, ...branches] = inputs;
    if (condition === undefined) fail('inputs', 'expected 3 inputs, got 0');
    expectDtype(condition, ['bool']);
    const [x, y] = two(branches, all);
    return [{ dtype: x.dtype, shape: broadcastShapes(condition.shape, x.shape, y.shape) }];
  },
  concatenate: (inputs, { axis }) => {
    const [first] = inputs;
    if (first === undefined) fail('inputs', 'expected at least 1 input');
    integerFrom(axis, 0, first.shape.length - 1, 'params.axis');
    let total = 0;
    for (const x of inputs) {
      const fits =
        x.dtype === first.dtype && x.shape.length === first.shape.length && x.shape.every((e, a) => a === axis || e === first.shape[a]);
      if (!fits) fail('inputs', `${describeType(x)} does not continue ${describeType(first)} along axis ${axis}`);
      total += x.shape[axis] ?? 0;
    }
    return [{ dtype: first.dtype, shape: first.shape.with(axis, total) }];
  },
  split: (inputs, { axis, sizes }) => {
    const x = one(inputs, all);
    integerFrom(axis, 0, x.shape.length - 1, 'params.axis');
    if (sizes.length === 0 || sizes.length > maxArity) fail('params.sizes', `expected 1 to ${maxArity} sizes`);
    let total = 0;
    for (const size of sizes) total += integerFrom(size, 0, maxElements, 'params.sizes');
    if (total !== x.shape[axis]) fail('params.sizes', `sum ${total} is not the extent ${x.shape[axis]}`);
    return sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(axis, size) }));
  },
  random_bits: (inputs, { shape, mode }) => {
    const [k0, k1] = two(inputs, ['uint32']);
    if (mode !== 'xor' && mode !== 0 && mode !== 1) fail('params.mode', 'unknown');
    elementCount(shape, 'params.shape');
    if (!sameShape(k0.shape, k1.shape) || !sameShape(k0.shape, shape.slice(0, k0.shape.length)))
      fail('params.shape', 'does not begin with the shape of the keys');
    return [{ dtype: 'uint32', shape: [...shape] }];
  },
  gather: ([x, ...indices], { axis, outDim }) => {
    if (x === undefined) fail('inputs', 'expected an operand');
    return [{ dtype: x.dtype, shape: gatherShape(x.shape, indices, axis, outDim) }];
  },
  scatter: ([updates, ...indices], { axis, outDim, shape, mode }) => {
    if (updates === undefined) fail('inputs', 'expected updates');
    if (mode !== 'add' && mode !== 'set') fail('params.mode', 'unknown');
    elementCount(shape, 'params.shape');
    if (!sameShape(updates.shape, gatherShape(shape, indices, axis, outDim)))
      fail('inputs', `${describeType(updates)} is not what gather takes from params.shape`);
    return [{ dtype: updates.dtype, shape: [...shape] }];
  },
  transpose: (inputs, { perm }) => {
    const x = one(inputs, all);
    if (perm.length !== x.shape.length) fail('params.perm', `expected ${x.shape.length} axes`);
    distinctAxes(perm, x.shape.length, 'params.perm');
    return [{ dtype: x.dtype, shape: perm.map((a) => x.shape[a] ?? 0) }];
  },
  broadcast: (inputs, { shape, axis }) => {
    const x = one(inputs, all);
    elementCount(shape, 'params.shape');
    ascendingAxes(axis, shape.length);
    const kept = shape.filter((_, a) => !axis.includes(a));
    if (kept.length !== x.shape.length || !kept.every((extent, a) => x.shape[a] === extent || x.shape[a] === 1)) {
      fail('params.shape', `[${shape.join(',')}] with new axes ${axis.join(',')} is no broadcast of ${describeType(x)}`);
    }
    return [{ dtype: x.dtype, shape: [...shape] }];
  },
  reshape: (inputs, { shape }) => {
    const x = one(inputs, all);
    if (elementCount(shape, 'params.shape') !== elementCount(x.shape))
      fail('params.shape', `[${shape.join(',')}] has not the size of ${describeType(x)}`);
    return [{ dtype: x.dtype, shape: [...shape] }];
  },
  flip: (inputs, { axis }) => {
    const x = one(inputs, all);
    ascendingAxes(axis, x.shape.length);
    return [x];
  },
  shrink: (inputs, { slice }) => {
    const x = one(inputs, all);
    if (slice.length !== x.shape.length) fail('params.slice', `expected ${x.shape.length} pairs`);
    const shape = slice.map((pair, a) => {
      eachInteger(pair, 2, 0, x.shape[a] ?? 0, 'params.slice');
      return pair[1] - pair[0];
    });
    if (shape.some((extent) => extent < 0)) fail('params.slice', 'a start is after its end');
    return [{ dtype: x.dtype, shape }];
  },
  pad: (inputs, { width }) => {
    const x = one(inputs, all);
    if (width.length !== x.shape.length) fail('params.width', `expected ${x.shape.length} pairs`);
    const shape = width.map((pair, a) => {
      eachInteger(pair, 2, 0, maxElements, 'params.width');
      return (x.shape[a] ?? 0) + pair[0] + pair[1];
    });
    return [{ dtype: x.dtype, shape }];
  },
  sort: (inputs) => {
    const x = one(inputs, numeric);
    if (x.shape.length === 0) fail('inputs', 'a scalar has no axis to sort');
    return [x];
  },
  argsort: (inputs) => {
    const x = one(inputs, numeric);
    if (x.shape.length === 0) fail('inputs', 'a scalar has no axis to sort');
    return [x, { dtype: 'int32', shape: x.shape }];
  },
};

/**
 * Types of the results of one operation, in output order. Throws PROGRAM_INVALID with `field` (`inputs` or `params.…`)
 * when the inputs or params break the primitive's rules or a result passes the size limits.
 */
export function inferOutputs<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, inputs: readonly TensorType[]): TensorType[] {
  if (inputs.length > maxArity) fail('inputs', `${inputs.length} inputs, at most ${maxArity}`);
  const rule: Rule<P> = rules[primitive];
  const outputs = rule(inputs, params);
  for (const output of outputs) elementCount(output.shape, 'outputs');
  return outputs;
}
