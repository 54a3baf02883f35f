/** Putting a program together again after a pass: operations keep referring to values by id, and the ids become numbers at the end. */
import type { Operation, Program, Tensor } from '../program.ts';

/** An operation of the new program. Values of the old program keep their numbers as ids; new ones take ids from `IdSource`. */
export interface Draft {
  readonly operation: Operation;
  readonly outputs: readonly number[];
  /** Index of the old operation that this one computes. */
  readonly origin: number;
}

/** A program and, for each of its operations, the operation of the original that it computes. */
export interface Rewritten {
  readonly program: Program;
  readonly origin: readonly number[];
}

/** Drafts of the operations of `program` as they are. */
export function draftsOf(program: Program): Draft[] {
  let next = program.inputs.length + program.constants.length;
  return program.operations.map((operation, origin) => ({ operation, origin, outputs: operation.outputs.map(() => next++) }));
}

/** Number of values of `program`: the first id that is free. */
export function valueCount(program: Program): number {
  return program.operations.reduce((sum, { outputs }) => sum + outputs.length, program.inputs.length + program.constants.length);
}

/**
 * The program of `drafts` with the inputs of `program`, its outputs `outputs` (ids) and those of `constants` (by id) that are used. Constants of
 * `program` must be among `constants`.
 */
export function assemble(
  program: Program,
  constants: ReadonlyMap<number, Tensor>,
  drafts: readonly Draft[],
  outputs: readonly number[],
): Rewritten {
  const used = new Set(outputs);
  for (const { operation } of drafts) for (const input of operation.inputs) used.add(input);
  const number = new Map<number, number>();
  program.inputs.forEach((_, index) => number.set(index, index));
  const kept: Tensor[] = [];
  for (const [id, tensor] of constants) {
    if (!used.has(id)) continue;
    number.set(id, number.size);
    kept.push(tensor);
  }
  for (const draft of drafts) for (const id of draft.outputs) number.set(id, number.size);
  const renumbered = (id: number): number => number.get(id) as number;
  return {
    program: {
      ...program,
      constants: kept,
      operations: drafts.map(({ operation }) => ({ ...operation, inputs: operation.inputs.map(renumbered) })),
      outputs: program.outputs.map(({ name }, index) => ({ name, value: renumbered(outputs[index] as number) })),
    },
    origin: drafts.map(({ origin }) => origin),
  };
}

/** Constants of `program` by value number. */
export function constantsOf(program: Program): Map<number, Tensor> {
  return new Map(program.constants.map((tensor, index) => [program.inputs.length + index, tensor]));
}

/** The maps of two passes after one another. */
export function chain(first: Rewritten, second: Rewritten): Rewritten {
  return { program: second.program, origin: second.origin.map((index) => first.origin[index] as number) };
}
