/**
 * Takes out of a traced program what moves bits without need. Every rule keeps the bits of every output; what is left out is
 * materialised broadcasts (NumPy broadcasting of the consumer does the same), chains of reshapes and transposes, repeated work.
 *
 * Differentiating a matrix product gives `dot(transpose(broadcast(x)), …)`, whose broadcast would hold batch × inputs × outputs
 * elements. Afterwards every matrix product of a traced program is `dot` of `[m, 1, k]` with `[1, n, k]`.
 */
import { MusterError } from '@muster/protocol';
import { broadcastingPrimitives, type Operation, type ParamsOf, type PrimitiveName, type Program, unaryPrimitives } from './program.ts';
import { ProgramBuilder, sizeOf, type Value } from './trace-builder.ts';
import { broadcastShapes, elementCount, sameShape } from './shapes.ts';

type Node = Extract<ReturnType<ProgramBuilder['originOf']>, { kind: 'operation' }>['node'];

function nodeOf(builder: ProgramBuilder, value: Value): Node | undefined {
  const origin = builder.originOf(value);
  return origin.kind === 'operation' ? origin.node : undefined;
}

/** Params of a node known to be of `primitive`. */
function paramsOf<P extends PrimitiveName>(node: Node, primitive: P): ParamsOf<P> {
  if (node.primitive !== primitive) throw new MusterError('INTERNAL', `${node.primitive} is not ${primitive}`);
  return node.params as ParamsOf<P>;
}

function reshape(builder: ProgramBuilder, x: Value, shape: readonly number[]): Value {
  if (sameShape(x.shape, shape)) return x;
  const node = nodeOf(builder, x);
  const source = node?.primitive === 'reshape' ? (node.inputs[0] as Value) : x;
  return sameShape(source.shape, shape) ? source : builder.apply('reshape', { shape: [...shape] }, source);
}

/** True if `perm` keeps the order of all axes that are longer than 1: then a transpose is a reshape. */
function movesOnlyOnes(shape: readonly number[], perm: readonly number[]): boolean {
  const long = perm.filter((axis) => shape[axis] !== 1);
  return long.every((axis, i) => i === 0 || axis > (long[i - 1] as number));
}

const longOf = (extents: readonly number[]): number[] => extents.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));

/**
 * A reshape from `source` to `shape` may only add and drop axes of extent 1. Then a transpose by `perm` after it is a reshape
 * after the transpose of the source returned here; otherwise undefined.
 */
function permutationBehind(source: readonly number[], shape: readonly number[], perm: readonly number[]): number[] | undefined {
  const [from, to] = [longOf(source), longOf(shape)];
  if (from.length !== to.length || from.some((axis, i) => source[axis] !== shape[to[i] as number])) return undefined;
  const ones = source.flatMap((extent, axis) => (extent === 1 ? [axis] : []));
  return [...ones, ...perm.flatMap((axis) => (shape[axis] === 1 ? [] : [from[to.indexOf(axis)] as number]))];
}

function transpose(builder: ProgramBuilder, x: Value, perm: readonly number[], uses: (value: Value) => number): Value {
  const shape = perm.map((axis) => x.shape[axis] as number);
  if (movesOnlyOnes(x.shape, perm)) return reshape(builder, x, shape);
  const node = nodeOf(builder, x);
  if (node?.primitive === 'transpose') {
    const { perm: inner } = paramsOf(node, 'transpose');
    const composed = perm.map((axis) => inner[axis] as number);
    return transpose(builder, node.inputs[0] as Value, composed, uses);
  }
  if (node?.primitive === 'reshape') {
    const source = node.inputs[0] as Value;
    const inner = permutationBehind(source.shape, x.shape, perm);
    if (inner !== undefined) return reshape(builder, transpose(builder, source, inner, uses), shape);
  }
  if (node?.primitive === 'dot' && uses(x) === 1 && node.inputs.every((input) => input.shape.length === perm.length + 1)) {
    const outer = [...perm, perm.length];
    if (node.inputs.every((input) => movesOnlyOnes(input.shape, outer))) {
      const [a, b] = node.inputs.map((input) => transpose(builder, input, outer, uses)) as [Value, Value];
      return builder.apply('dot', {}, a, b);
    }
  }
  return builder.apply('transpose', { perm: [...perm] }, x);
}

/** A smaller value that broadcasts to `x`, or `x`: of the same rank, with extent 1 where `x` only repeats. */
function withoutBroadcast(builder: ProgramBuilder, x: Value, uses: (value: Value) => number): Value {
  const node = nodeOf(builder, x);
  if (node === undefined) return x;
  const source = node.inputs[0] as Value;
  if (node.primitive === 'broadcast') {
    const { shape, axis } = paramsOf(node, 'broadcast');
    const kept = [...source.shape];
    return reshape(
      builder,
      source,
      shape.map((_, a) => (axis.includes(a) ? 1 : (kept.shift() as number))),
    );
  }
  if (node.primitive === 'transpose') {
    const { perm } = paramsOf(node, 'transpose');
    const inner = withoutBroadcast(builder, source, uses);
    if (inner !== source) return transpose(builder, inner, perm, uses);
  }
  return x;
}

/** `x` without leading axes of extent 1 that a reshape put there. */
function withoutLeadingOnes(builder: ProgramBuilder, x: Value): Value {
  const node = nodeOf(builder, x);
  if (node?.primitive !== 'reshape') return x;
  const source = node.inputs[0] as Value;
  const lead = x.shape.length - source.shape.length;
  return lead > 0 && x.shape.slice(0, lead).every((extent) => extent === 1) && sameShape(x.shape.slice(lead), source.shape) ? source : x;
}

/** `inputs` with every broadcast left out that the others make up for. */
function leanOperands(
  builder: ProgramBuilder,
  inputs: readonly Value[],
  fits: (candidate: readonly Value[]) => boolean,
  uses: (value: Value) => number,
): Value[] {
  const lean = [...inputs];
  for (let i = 0; i < lean.length; i++) {
    const candidate = lean.with(i, withoutBroadcast(builder, lean[i] as Value, uses));
    if (fits(candidate)) lean[i] = candidate[i] as Value;
  }
  return lean;
}

/** An element-wise operation of one input, done before the input is broadcast; a negated literal is a literal. */
function unaryBeforeBroadcast(builder: ProgramBuilder, operation: Operation, x: Value): Value {
  const origin = builder.originOf(x);
  if (origin.kind === 'operation' && origin.node.primitive === 'broadcast') {
    const once = unaryBeforeBroadcast(builder, operation, origin.node.inputs[0] as Value);
    return builder.apply('broadcast', paramsOf(origin.node, 'broadcast'), once);
  }
  if (operation.primitive === 'neg' && origin.kind === 'constant' && x.shape.length === 0 && x.dtype === 'float32') {
    return builder.scalar('float32', -(origin.tensor.data[0] as number));
  }
  return builder.apply(operation.primitive, operation.params, x);
}

function emit(builder: ProgramBuilder, operation: Operation, inputs: readonly Value[], uses: (value: Value) => number): readonly Value[] {
  const x = inputs[0] as Value;
  const [output] = operation.outputs;
  if (operation.primitive === 'reshape') return [reshape(builder, x, operation.params.shape)];
  if (operation.primitive === 'transpose') return [transpose(builder, x, operation.params.perm, uses)];
  if (operation.primitive === 'broadcast' && sizeOf(x) === elementCount(operation.params.shape))
    return [reshape(builder, x, operation.params.shape)];
  if (unaryPrimitives.has(operation.primitive)) return [unaryBeforeBroadcast(builder, operation, x)];
  if (operation.primitive === 'cast' && x.dtype === operation.params.dtype) return [x];
  if (operation.primitive === 'dot') {
    const fits = (candidate: readonly Value[]): boolean =>
      candidate.every((value) => value.shape.at(-1) === x.shape.at(-1)) &&
      sameShape(broadcastShapes(...candidate.map((value) => value.shape.slice(0, -1))), output?.shape ?? []);
    return builder.operation('dot', {}, ...leanOperands(builder, inputs, fits, uses));
  }
  if (broadcastingPrimitives.has(operation.primitive)) {
    const fits = (candidate: readonly Value[]): boolean =>
      sameShape(broadcastShapes(...candidate.map((value) => value.shape)), output?.shape ?? []);
    const lean = leanOperands(builder, inputs, fits, uses);
    for (let i = 0; i < lean.length; i++) {
      const candidate = lean.with(i, withoutLeadingOnes(builder, lean[i] as Value));
      if (fits(candidate)) lean[i] = candidate[i] as Value;
    }
    return builder.operation(operation.primitive, operation.params, ...lean);
  }
  return builder.operation(operation.primitive, operation.params, ...inputs);
}

function countUses(program: Program): number[] {
  const uses: number[] = [];
  const count = (index: number): void => void (uses[index] = (uses[index] ?? 0) + 1);
  for (const operation of program.operations) operation.inputs.forEach(count);
  for (const output of program.outputs) count(output.value);
  return uses;
}

function pass(program: Program): Program {
  const builder = new ProgramBuilder(program.name);
  const values: Value[] = [];
  const usesByIndex = countUses(program);
  // Values of the new builder by the use count of the old value they stand for; new values count as used once.
  const usesById = new Map<number, number>();
  const uses = (value: Value): number => usesById.get(value.id) ?? 1;
  const define = (value: Value): void => {
    const own = usesByIndex[values.length] ?? 0;
    usesById.set(value.id, (usesById.get(value.id) ?? 0) + own);
    values.push(value);
  };
  for (const input of program.inputs) define(builder.input(input));
  for (const constant of program.constants) define(builder.constant(constant));
  for (const operation of program.operations) {
    const inputs = operation.inputs.map((index) => values[index] as Value);
    for (const value of emit(builder, operation, inputs, uses)) define(value);
  }
  return builder.finish(program.outputs.map(({ name, value }) => ({ name, value: values[value] as Value })));
}

/** `program` with fewer and smaller operations and bit-identical outputs. Inputs and outputs keep their names, types and order. */
export function simplifyProgram(program: Program): Program {
  let current = program;
  for (let round = 0; round < 4; round++) {
    const next = pass(current);
    if (JSON.stringify(next.operations) === JSON.stringify(current.operations)) return next;
    current = next;
  }
  return current;
}
