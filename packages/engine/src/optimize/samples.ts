/**
 * The kernel calls of a program as small programs of their own, equal ones together: timing each of them once predicts the time of the whole.
 *
 * A sample takes what its call reads through the same views, and leaves one element of what the call writes, so that almost nothing is copied in
 * or out.
 */
import { valueTypes } from '../check.ts';
import { flopsOf } from '../cost.ts';
import type { NamedType, Operation, Program, Tensor, TensorType } from '../program.ts';
import { sizeOf } from '../reference/layout.ts';
import { type Call, modeOf, type Schedule } from './schedule.ts';

export interface CallSample {
  readonly kind: Call['kind'];
  /** How often the program makes this call. */
  readonly count: number;
  readonly flops: number;
  readonly bytes: number;
  /** The call alone. */
  readonly program: Program;
}

interface Context {
  readonly program: Program;
  readonly types: readonly TensorType[];
  readonly maker: Int32Array;
  readonly first: readonly number[];
  readonly schedule: Schedule;
}

/** One element of each output of `program`, so that reading it out costs nothing. */
function tipped(operations: Operation[], values: number, stored: readonly (readonly [number, TensorType])[]): Program['outputs'] {
  let next = values;
  return stored.map(([value, { dtype, shape }], index) => {
    const tip = shape.map(() => 1);
    operations.push({ primitive: 'shrink', inputs: [value], params: { slice: shape.map(() => [0, 1]) }, outputs: [{ dtype, shape: tip }] });
    return { name: `r${index}`, value: next++ };
  });
}

function sampleOf({ program, types, maker, first, schedule }: Context, call: Call): Program {
  const inside = new Set(call.operations);
  const inputs: NamedType[] = [];
  const constants: Tensor[] = [];
  const views: number[] = [];
  const outside = new Map<number, TensorType | Tensor>();
  const given = program.inputs.length + program.constants.length;
  const visit = (value: number): void => {
    const index = maker[value] as number;
    if (inside.has(index) || outside.has(value) || views.includes(index)) return;
    const operation = index < 0 ? undefined : (program.operations[index] as Operation);
    const source = operation?.inputs[0];
    if (operation !== undefined && source !== undefined && modeOf(operation, (types[source] as TensorType).dtype) === 'view') {
      visit(source);
      views.push(index);
      return;
    }
    const constant = value >= program.inputs.length && value < given ? program.constants[value - program.inputs.length] : undefined;
    outside.set(value, constant ?? (types[value] as TensorType));
  };
  const own = call.operations.toSorted((a, b) => a - b);
  for (const index of own) for (const input of (program.operations[index] as Operation).inputs) visit(input);
  const number = new Map<number, number>();
  for (const [value, tensor] of outside) {
    if ('data' in tensor) continue;
    number.set(value, number.size);
    inputs.push({ name: `x${inputs.length}`, dtype: tensor.dtype, shape: tensor.shape });
  }
  for (const [value, tensor] of outside) {
    if (!('data' in tensor)) continue;
    number.set(value, number.size);
    constants.push(tensor);
  }
  const stored: [number, TensorType][] = [];
  const operations = [...views, ...own].map((index): Operation => {
    const operation = program.operations[index] as Operation;
    const taken = operation.inputs.map((input) => number.get(input) as number);
    operation.outputs.forEach((type, n) => {
      const value = (first[index] as number) + n;
      number.set(value, number.size);
      const isStored = inside.has(index) && (schedule.storageOf[value] as number) >= 0;
      if (isStored && sizeOf(type.shape) > 0) stored.push([number.get(value) as number, type]);
    });
    return { ...operation, inputs: taken };
  });
  const outputs = tipped(operations, number.size, stored);
  return { version: 1, name: 'sample', inputs, constants, operations, outputs };
}

/** Calls are equal if the programs of their samples are, but for the data of constants. */
function signature({ inputs, constants, operations, outputs }: Program): string {
  return JSON.stringify([inputs, constants.map(({ dtype, shape }) => [dtype, shape]), operations, outputs]);
}

/** Samples of all calls of `program` by `schedule`, the ones with the most arithmetic and bytes first. */
export function callSamples(program: Program, schedule: Schedule): CallSample[] {
  const types = valueTypes(program);
  const maker = new Int32Array(types.length).fill(-1);
  const first: number[] = [];
  let next = program.inputs.length + program.constants.length;
  program.operations.forEach(({ outputs }, index) => {
    first.push(next);
    for (const _ of outputs) maker[next++] = index;
  });
  const context: Context = { program, types, maker, first, schedule };
  const found = new Map<string, { sample: CallSample; count: number }>();
  for (const call of schedule.calls) {
    if (call.operations.length === 0) continue;
    const sample = sampleOf(context, call);
    const key = signature(sample);
    const known = found.get(key);
    if (known !== undefined) {
      known.count++;
      continue;
    }
    const flops = call.operations.reduce((sum, index) => sum + flopsOf(program.operations[index] as Operation, types), 0);
    const bytes = call.readBytes + call.writeBytes;
    found.set(key, { count: 1, sample: { kind: call.kind, count: 1, flops, bytes, program: sample } });
  }
  const weight = ({ count, flops, bytes }: CallSample): number => count * (flops + bytes);
  return [...found.values()].map(({ sample, count }) => ({ ...sample, count })).toSorted((a, b) => weight(b) - weight(a));
}
