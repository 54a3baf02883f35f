/**
 * What each primitive becomes in ONNX (operator set 18). A primitive, parameter or dtype without a translation is refused by name.
 *
 * ONNX has no exact arithmetic: sums are in any order, so results agree to rounding, not to the bit. Two rules of ours are written out
 * because they decide which element is taken: negative and outlying indices of `gather`, and float `idiv`.
 */
import type { Operation, PrimitiveName } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import type { OnnxGraph, OnnxValue } from './onnx-graph.ts';
import { dataTypes } from './onnx-proto.ts';

type OperationOf<P extends PrimitiveName> = Extract<Operation, { readonly primitive: P }>;
/** Names of the results of `operation`. */
type Translation<P extends PrimitiveName> = (
  graph: OnnxGraph,
  operation: OperationOf<P>,
  inputs: readonly OnnxValue[],
) => readonly string[];

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const product = (extents: readonly number[]): number => extents.reduce((total, extent) => total * extent, 1);

function refused(primitive: PrimitiveName, why: string): MusterError {
  return new MusterError('PRIMITIVE_UNKNOWN', `${primitive} has no form in ONNX here: ${why}`, { primitive });
}

/** The inputs, refused where one is uint32: ONNX Runtime has no kernel for most arithmetic on it. */
function notUnsigned(primitive: PrimitiveName, inputs: readonly OnnxValue[]): readonly OnnxValue[] {
  if (inputs.some(({ dtype }) => dtype === 'uint32')) throw refused(primitive, 'it is over uint32');
  return inputs;
}

/** An operator of the same arguments; `forBool` where bool has another, null where it has none. */
function elementwise<P extends PrimitiveName>(primitive: P, operator: string, forBool: string | null): Translation<P> {
  return (graph, _, inputs) => {
    notUnsigned(primitive, inputs);
    const chosen = inputs[0]?.dtype === 'bool' ? forBool : operator;
    if (chosen === null) throw refused(primitive, 'it is over bool');
    return [
      graph.node(
        chosen,
        inputs.map(({ name }) => name),
      ),
    ];
  };
}

const one = (inputs: readonly OnnxValue[]): OnnxValue => inputs[0] as OnnxValue;
const two = (inputs: readonly OnnxValue[]): readonly [OnnxValue, OnnxValue] => [inputs[0] as OnnxValue, inputs[1] as OnnxValue];

/** `value` with axes of extent 1 before its own, up to `rank`. */
const ranked = (graph: OnnxGraph, value: OnnxValue, rank: number): OnnxValue =>
  graph.reshape(value, [...range(rank - value.shape.length).map(() => 1), ...value.shape]);

const extent = (value: OnnxValue, axis: number): number => value.shape[axis] ?? 1;

/** `dot` as a batched matrix product: leading axes are of the batch where both sides have them, else rows or columns. */
const dot: Translation<'dot'> = (graph, operation, inputs) => {
  notUnsigned('dot', inputs);
  const rank = Math.max(...inputs.map(({ shape }) => shape.length));
  const [a, b] = two(inputs.map((input) => ranked(graph, input, rank)));
  const last = rank - 1;
  const rows = range(last).filter((axis) => extent(a, axis) !== 1 && extent(b, axis) === 1);
  const columns = range(last).filter((axis) => extent(a, axis) === 1 && extent(b, axis) !== 1);
  const batch = range(last).filter((axis) => !rows.includes(axis) && !columns.includes(axis));
  const k = extent(a, last);
  const extents = (value: OnnxValue, axes: readonly number[]): number[] => axes.map((axis) => extent(value, axis));
  const [count, m, n] = [product(extents(a, batch)), product(extents(a, rows)), product(extents(b, columns))];
  const left = graph.reshape(graph.transpose(a, [...batch, ...rows, ...columns, last]), [count, m, k]);
  const right = graph.reshape(graph.transpose(b, [...batch, ...columns, ...rows, last]), [count, n, k]);
  const name = graph.node('MatMul', [left.name, graph.transpose(right, [0, 2, 1]).name]);
  const order = [...batch, ...rows, ...columns];
  const shape = [...extents(a, batch), ...extents(a, rows), ...extents(b, columns)];
  const result = graph.reshape({ name, dtype: a.dtype, shape: [count, m, n] }, shape);
  const ordered = graph.transpose(
    result,
    range(last).map((axis) => order.indexOf(axis)),
  );
  return [graph.reshape(ordered, operation.outputs[0]?.shape ?? []).name];
};

/** `conv`; axes that both sides are mapped over become groups. */
const conv: Translation<'conv'> = (graph, { params, outputs }, inputs) => {
  const { vmapDims, strides, padding, lhsDilation, rhsDilation } = params;
  if (lhsDilation.some((factor) => factor !== 1)) throw refused('conv', 'its input is dilated');
  if (padding.some(([before, after]) => before < 0 || after < 0)) throw refused('conv', 'its padding is negative');
  if (strides.length < 1 || strides.length > 3) throw refused('conv', `it has ${strides.length} axes of space`);
  const mapped = (outputs[0]?.shape ?? []).slice(0, vmapDims);
  const groups = product(mapped);
  const [x, w] = two(inputs).map((value) => graph.expand(value, [...mapped, ...value.shape.slice(vmapDims)])) as [OnnxValue, OnnxValue];
  const [batch = 1, channels = 1, ...space] = x.shape.slice(vmapDims);
  const [filters = 1, , ...kernel] = w.shape.slice(vmapDims);
  const data = graph.transpose(graph.reshape(x, [groups, batch, channels, ...space]), [
    1,
    0,
    ...range(space.length + 1).map((axis) => axis + 2),
  ]);
  const result = graph.node(
    'Conv',
    [graph.reshape(data, [batch, groups * channels, ...space]).name, graph.reshape(w, [groups * filters, channels, ...kernel]).name],
    {
      strides,
      pads: [...padding.map(([before]) => before), ...padding.map(([, after]) => after)],
      dilations: rhsDilation,
      kernel_shape: kernel,
      group: groups,
    },
  );
  const outer = (outputs[0]?.shape ?? []).slice(vmapDims + 2);
  const apart = graph.reshape({ name: result, dtype: x.dtype, shape: [batch, groups * filters, ...outer] }, [
    batch,
    groups,
    filters,
    ...outer,
  ]);
  const ordered = graph.transpose(apart, [1, 0, ...range(outer.length + 1).map((axis) => axis + 2)]);
  return [graph.reshape(ordered, outputs[0]?.shape ?? []).name];
};

/** `pool`: along each axis the positions of every window are gathered. */
const pool: Translation<'pool'> = (graph, { params }, inputs) => {
  const { window, strides } = params;
  let value = one(inputs);
  const lead = value.shape.length - window.length;
  const counts = window.map((width, i) => Math.ceil(((value.shape[lead + i] ?? 1) - width + 1) / (strides[i] ?? 1)));
  for (let i = window.length - 1; i >= 0; i--) {
    const [width = 1, stride = 1, count = 1] = [window[i], strides[i], counts[i]];
    const positions = Int32Array.from({ length: count * width }, (_, at) => Math.floor(at / width) * stride + (at % width));
    const indices = graph.constant({ dtype: 'int32', shape: [count, width], data: positions });
    const axis = lead + i;
    const shape = [...value.shape.slice(0, axis), count, width, ...value.shape.slice(axis + 1)];
    value = { name: graph.node('Gather', [value.name, indices], { axis }), dtype: value.dtype, shape };
  }
  // [lead…, o1, w1, o2, w2, …] → [lead…, o1, o2, …, w1, w2, …]
  const places = range(window.length);
  return [graph.transpose(value, [...range(lead), ...places.map((i) => lead + 2 * i), ...places.map((i) => lead + 2 * i + 1)]).name];
};

/** The largest element of every window of `pool` over `inputs`, as one node. */
export function maximumOfWindows(graph: OnnxGraph, { params, outputs }: OperationOf<'pool'>, inputs: readonly OnnxValue[]): OnnxValue {
  const [value] = notUnsigned('pool', inputs) as readonly [OnnxValue];
  const { window, strides } = params;
  if (value.dtype !== 'float32') throw refused('pool', `a maximum of windows over ${value.dtype}`);
  const lead = value.shape.slice(0, value.shape.length - window.length);
  const shape = (outputs[0]?.shape ?? []).slice(0, value.shape.length);
  const images = graph.reshape(value, [product(lead), 1, ...value.shape.slice(lead.length)]);
  const name = graph.node('MaxPool', [images.name], { kernel_shape: window, strides });
  return graph.reshape({ name, dtype: value.dtype, shape: [product(lead), 1, ...shape.slice(lead.length)] }, shape);
}

/** `index` with negative places counted from the end once, then clamped to 0 … extent − 1. */
function bounded(graph: OnnxGraph, index: OnnxValue, extent: number): OnnxValue {
  const signed = graph.cast(index, 'int32', dataTypes.int32);
  const zero = graph.int32(0);
  const wrapped = graph.node('Add', [signed.name, graph.int32(extent)]);
  const counted = graph.node('Where', [graph.node('Less', [signed.name, zero]), wrapped, signed.name]);
  return { ...signed, name: graph.node('Clip', [counted, zero, graph.int32(extent - 1)]) };
}

const gather: Translation<'gather'> = (graph, { params, outputs }, inputs) => {
  const { axis, outDim } = params;
  const [data, ...indices] = inputs as readonly [OnnxValue, ...OnnxValue[]];
  const shape = outputs[0]?.shape ?? [];
  const kept = range(data.shape.length).filter((at) => !axis.includes(at));
  const indexed = axis.map((at) => data.shape[at] ?? 1);
  if (indexed.includes(0)) throw refused('gather', 'an indexed axis is empty');
  const indexShape = shape.slice(outDim, outDim + shape.length - kept.length);
  // One index into the indexed axes taken together, which are moved to the front.
  let flat: OnnxValue | null = null;
  indices.forEach((index, i) => {
    const own = bounded(graph, index, indexed[i] ?? 1).name;
    const name: string = flat === null ? own : graph.node('Add', [graph.node('Mul', [flat.name, graph.int32(indexed[i] ?? 1)]), own]);
    flat = { name, dtype: 'int32', shape: indexShape };
  });
  if (flat === null) return [data.name];
  const { name: place }: OnnxValue = flat;
  const front = graph.transpose(data, [...axis, ...kept]);
  const rows = graph.reshape(front, [product(indexed), ...kept.map((at) => data.shape[at] ?? 1)]);
  const taken: OnnxValue = {
    name: graph.node('Gather', [rows.name, place], { axis: 0 }),
    dtype: data.dtype,
    shape: [...indexShape, ...kept.map((at) => data.shape[at] ?? 1)],
  };
  const count = indexShape.length;
  const rest = range(kept.length).map((at) => count + at);
  return [graph.transpose(taken, [...rest.slice(0, outDim), ...range(count), ...rest.slice(outDim)]).name];
};

const reducers = { add: 'ReduceSum', mul: 'ReduceProd', min: 'ReduceMin', max: 'ReduceMax' } as const;
const reducersOfBool = { add: 'ReduceMax', mul: 'ReduceMin', min: 'ReduceMin', max: 'ReduceMax' } as const;

const reduce: Translation<'reduce'> = (graph, { params }, inputs) => {
  const [value] = notUnsigned('reduce', inputs) as readonly [OnnxValue];
  if (params.axis.length === 0) return [value.name];
  const isBool = value.dtype === 'bool';
  const operator = (isBool ? reducersOfBool : reducers)[params.op];
  const numeric = isBool ? graph.cast(value, 'int32', dataTypes.int32) : value;
  const name = graph.node(operator, [numeric.name, graph.integers(params.axis)], { keepdims: 0 });
  return [isBool ? graph.node('Cast', [name], { to: dataTypes.bool }) : name];
};

const comparisons = { less: 'Less', less_equal: 'LessOrEqual', equal: 'Equal', not_equal: 'Equal' } as const;

const compare: Translation<'compare'> = (graph, { params }, inputs) => {
  const numeric = notUnsigned('compare', inputs).map((value) =>
    value.dtype === 'bool' ? graph.cast(value, 'int32', dataTypes.int32) : value,
  );
  const name = graph.node(
    comparisons[params.op],
    numeric.map((value) => value.name),
  );
  return [params.op === 'not_equal' ? graph.node('Not', [name]) : name];
};

const where: Translation<'where'> = (graph, _, inputs) => {
  const [condition, ...values] = notUnsigned('where', inputs) as readonly [OnnxValue, OnnxValue, OnnxValue];
  const isBool = values[0]?.dtype === 'bool';
  const numeric = isBool ? values.map((value) => graph.cast(value, 'int32', dataTypes.int32)) : values;
  const name = graph.node('Where', [condition.name, ...numeric.map((value) => value.name)]);
  return [isBool ? graph.node('Cast', [name], { to: dataTypes.bool }) : name];
};

/** Float: ⌊|a / b|⌋ with the sign of a / b. Integers: as ONNX divides them, toward zero; a divisor of 0 is not defined there. */
const idiv: Translation<'idiv'> = (graph, _, inputs) => {
  const [a, b] = two(notUnsigned('idiv', inputs));
  const quotient = graph.node('Div', [a.name, b.name]);
  if (a.dtype !== 'float32') return [quotient];
  const zero = graph.constant({ dtype: 'float32', shape: [], data: Float32Array.of(0) });
  return [graph.node('Where', [graph.node('Less', [quotient, zero]), graph.node('Ceil', [quotient]), graph.node('Floor', [quotient])])];
};

const bitwise = { and: 'BitwiseAnd', or: 'BitwiseOr', xor: 'BitwiseXor' } as const;
const logical = { and: 'And', or: 'Or', xor: 'Xor' } as const;

/** Values and places along the last axis, ascending; equal values in order of place, as `argsort` has it. */
function sorted(graph: OnnxGraph, primitive: 'sort' | 'argsort', inputs: readonly OnnxValue[]): readonly [values: string, places: string] {
  const [value] = notUnsigned(primitive, inputs) as readonly [OnnxValue];
  const attributes = { axis: value.shape.length - 1, largest: 0, sorted: 1 };
  const [values, places] = graph.nodeOf('TopK', [value.name, graph.integers([value.shape.at(-1) ?? 1])], attributes, 2);
  return [values as string, graph.node('Cast', [places as string], { to: dataTypes.int32 })];
}

const int64Minimum = -(2n ** 63n);

function slice(
  graph: OnnxGraph,
  value: OnnxValue,
  parts: readonly (readonly [start: number, end: number | bigint, step: number, axis: number])[],
): string {
  if (parts.length === 0) return value.name;
  const column = (at: 0 | 1 | 2 | 3): string => graph.integers(parts.map((part) => part[at]));
  return graph.node('Slice', [value.name, column(0), column(1), column(3), column(2)]);
}

/** Every primitive that has a form in ONNX. */
const translations: { readonly [P in PrimitiveName]?: Translation<P> } = {
  add: elementwise('add', 'Add', 'Or'),
  mul: elementwise('mul', 'Mul', 'And'),
  min: elementwise('min', 'Min', 'And'),
  max: elementwise('max', 'Max', 'Or'),
  neg: elementwise('neg', 'Neg', null),
  reciprocal: elementwise('reciprocal', 'Reciprocal', null),
  floor: elementwise('floor', 'Floor', null),
  ceil: elementwise('ceil', 'Ceil', null),
  sqrt: elementwise('sqrt', 'Sqrt', null),
  exp: elementwise('exp', 'Exp', null),
  log: elementwise('log', 'Log', null),
  sin: elementwise('sin', 'Sin', null),
  cos: elementwise('cos', 'Cos', null),
  erf: elementwise('erf', 'Erf', null),
  idiv,
  mod: (graph, _, inputs) => [
    graph.node(
      'Mod',
      notUnsigned('mod', inputs).map(({ name }) => name),
      { fmod: 1 },
    ),
  ],
  bit_combine: (graph, { params }, inputs) => {
    const operator = one(inputs).dtype === 'bool' ? logical[params.op] : bitwise[params.op];
    return [
      graph.node(
        operator,
        notUnsigned('bit_combine', inputs).map(({ name }) => name),
      ),
    ];
  },
  cast: (graph, { params }, inputs) => [graph.cast(one(inputs), params.dtype, dataTypes[params.dtype]).name],
  compare,
  where,
  reduce,
  dot,
  conv,
  pool,
  gather,
  concatenate: (graph, { params }, inputs) => [
    graph.node(
      'Concat',
      inputs.map(({ name }) => name),
      { axis: params.axis },
    ),
  ],
  split: (graph, { params }, inputs) =>
    graph.nodeOf('Split', [one(inputs).name, graph.integers(params.sizes)], { axis: params.axis }, params.sizes.length),
  sort: (graph, _, inputs) => [sorted(graph, 'sort', inputs)[0]],
  argsort: (graph, _, inputs) => sorted(graph, 'argsort', inputs),
  transpose: (graph, { params }, inputs) => [graph.transpose(one(inputs), params.perm).name],
  reshape: (graph, { params }, inputs) => [graph.reshape(one(inputs), params.shape).name],
  broadcast: (graph, { params }, inputs) => {
    const own = [...one(inputs).shape];
    const placed = params.shape.map((_, axis) => (params.axis.includes(axis) ? 1 : (own.shift() ?? 1)));
    return [graph.expand(graph.reshape(one(inputs), placed), params.shape).name];
  },
  flip: (graph, { params }, inputs) => [
    slice(
      graph,
      one(inputs),
      params.axis.map((axis) => [-1, int64Minimum, -1, axis]),
    ),
  ],
  shrink: (graph, { params }, inputs) => {
    const value = one(inputs);
    const parts = params.slice.map(([start, end], axis) => [start, end, 1, axis] as const);
    return [
      slice(
        graph,
        value,
        parts.filter(([start, end, , axis]) => start !== 0 || end !== value.shape[axis]),
      ),
    ];
  },
  pad: (graph, { params }, inputs) => {
    const value = one(inputs);
    if (params.width.every(([before, after]) => before === 0 && after === 0)) return [value.name];
    const widths = [...params.width.map(([before]) => before), ...params.width.map(([, after]) => after)];
    return [graph.node('Pad', [value.name, graph.integers(widths)], { mode: 'constant' })];
  },
};

/** Adds the nodes of `operation` over `inputs`; returns its results. Throws PRIMITIVE_UNKNOWN naming a primitive that has no form in ONNX. */
export function translateOperation(graph: OnnxGraph, operation: Operation, inputs: readonly OnnxValue[]): OnnxValue[] {
  // The table pairs each name with the translation of its own operation, which an indexed access cannot carry in a type.
  const translate = translations[operation.primitive] as Translation<PrimitiveName> | undefined;
  if (translate === undefined) throw refused(operation.primitive, 'it occurs in training only');
  const names = translate(graph, operation, inputs);
  return operation.outputs.map((type, index) => ({ ...type, name: names[index] as string }));
}
