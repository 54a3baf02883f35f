/**
 * Any values of a program through any executor: parts of the program, cut by operations, run as programs of their own.
 *
 * Values between the parts are ordinary tensors. Because every executor gives the same bits, so does every way of cutting.
 */
import { MusterError } from '@muster/protocol';
import { valueTypes } from '../check.ts';
import type { Executor, Operation, Program, Tensor, TensorType } from '../program.ts';

/** Number of the first output of each operation, and after the last one the number of all values. */
export function operationStarts(program: Program): number[] {
  const starts = [program.inputs.length + program.constants.length];
  for (const { outputs } of program.operations) starts.push((starts.at(-1) as number) + outputs.length);
  return starts;
}

/** Some operations of a program, ascending, with the values that they must leave behind. */
export interface Part {
  readonly operations: readonly number[];
  readonly wanted: readonly number[];
}

/** The program of `part` and, for each of its inputs, the value of `program` that it takes. */
function partProgram(program: Program, types: readonly TensorType[], starts: readonly number[], part: Part): readonly [Program, number[]] {
  const made = new Set<number>();
  const operations = part.operations.map((index) => {
    const operation = program.operations[index] as Operation;
    operation.outputs.forEach((_, n) => made.add((starts[index] as number) + n));
    return operation;
  });
  const constantsEnd = program.inputs.length + program.constants.length;
  const taken = new Set<number>();
  const constants = new Set<number>();
  const take = (value: number): void => {
    if (made.has(value)) return;
    (value >= program.inputs.length && value < constantsEnd ? constants : taken).add(value);
  };
  for (const operation of operations) operation.inputs.forEach(take);
  part.wanted.forEach(take);
  const number = new Map<number, number>();
  for (const value of [...taken, ...constants]) number.set(value, number.size);
  for (const index of part.operations) {
    (program.operations[index] as Operation).outputs.forEach((_, n) => number.set((starts[index] as number) + n, number.size));
  }
  const renumbered = (value: number): number => number.get(value) as number;
  return [
    {
      version: 1,
      name: program.name,
      inputs: [...taken].map((value) => {
        const { dtype, shape } = types[value] as TensorType;
        return { name: `v${value}`, dtype, shape };
      }),
      constants: [...constants].map((value) => program.constants[value - program.inputs.length] as Tensor),
      operations: operations.map((operation) => ({ ...operation, inputs: operation.inputs.map(renumbered) })),
      outputs: part.wanted.map((value) => ({ name: `v${value}`, value: renumbered(value) })),
    },
    [...taken],
  ];
}

/**
 * The values `part.wanted` of `program`; `valueOf` gives those it takes from outside. Throws NUMERIC_FAULT naming the operation of
 * `program`.
 */
export function runPart(
  program: Program,
  types: readonly TensorType[],
  starts: readonly number[],
  part: Part,
  valueOf: (value: number) => Tensor,
  executor: Executor,
): Tensor[] {
  const [sub, taken] = partProgram(program, types, starts, part);
  const prepared = executor.prepare(sub);
  try {
    return prepared.run(taken.map(valueOf));
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'NUMERIC_FAULT') throw error;
    const { operation, primitive } = error.details;
    const index = typeof operation === 'number' ? part.operations[operation] : undefined;
    if (index === undefined || primitive === undefined) throw error;
    throw new MusterError('NUMERIC_FAULT', `operation ${index} (${String(primitive)}) gave a NaN`, { operation: index, primitive });
  } finally {
    prepared.dispose();
  }
}

/** Operations that `values` depend on, ascending. */
function ancestorsOf(program: Program, starts: readonly number[], values: readonly number[]): number[] {
  const needed = new Set(values);
  const found: number[] = [];
  for (let index = program.operations.length - 1; index >= 0; index--) {
    const [start, end] = [starts[index] as number, starts[index + 1] as number];
    let used = false;
    for (let value = start; value < end && !used; value++) used = needed.has(value);
    if (!used) continue;
    found.push(index);
    for (const input of (program.operations[index] as Operation).inputs) needed.add(input);
  }
  return found.toReversed();
}

/** `values` of a run of `program`, which has been checked, as `inputs` have; computes what they depend on and nothing else. */
export function valuesOf(program: Program, inputs: readonly Tensor[], values: readonly number[], executor: Executor): Tensor[] {
  const starts = operationStarts(program);
  const distinct = [...new Set(values)];
  const part = { operations: ancestorsOf(program, starts, distinct), wanted: distinct };
  const results = runPart(program, valueTypes(program), starts, part, (value) => inputs[value] as Tensor, executor);
  const byValue = new Map(distinct.map((value, index) => [value, results[index] as Tensor]));
  return values.map((value) => byValue.get(value) as Tensor);
}
