/**
 * The cost of a program at sizes at which it cannot be traced, from the same program at small sizes.
 *
 * Tracing the same function at two values of one size (batch, context, vocabulary) shows how every extent follows it: not at all, in proportion,
 * with its square, or in steps. The program returned has the extents of the target sizes. It is for the planner alone: constants keep
 * their small data and parameters that no cost depends on keep their small values, so it must not be executed.
 */
import { MusterError } from '@muster/protocol';
import type { Operation, Program, TensorType } from '../program.ts';

export type Sizes = Readonly<Record<string, number>>;

/** A program traced at some sizes. */
export interface Sized {
  readonly program: Program;
  readonly sizes: Sizes;
}

function typesOf(program: Program): TensorType[] {
  return [...program.inputs, ...program.constants, ...program.operations.flatMap(({ outputs }) => outputs)];
}

/** How `extent` becomes another when `from` becomes `to`, if it became `seen` when `from` became `tried`. */
function scaled(extent: number, seen: number, from: number, tried: number, to: number): number {
  if (seen === extent) return extent;
  if (seen * from === extent * tried) return (extent / from) * to;
  if (seen * from * from === extent * tried * tried) return (extent / (from * from)) * to * to;
  return extent + ((seen - extent) / (tried - from)) * (to - from);
}

/**
 * `base` at the sizes `target`. For every size in which they differ, one of `variants` must differ from `base` in this size alone. Throws
 * PROGRAM_INVALID if the programs have not the same operations.
 */
export function resizeProgram(base: Sized, variants: readonly Sized[], target: Sizes): Program {
  const changes = Object.entries(target).flatMap(([name, to]) => {
    const from = base.sizes[name];
    if (from === undefined || from === to) return [];
    const variant = variants.find(({ sizes }) => sizes[name] !== from);
    if (variant === undefined) throw new MusterError('PROGRAM_INVALID', `nothing shows how the program follows ${name}`, { field: name });
    const same =
      variant.program.operations.length === base.program.operations.length &&
      variant.program.operations.every(({ primitive }, index) => primitive === base.program.operations[index]?.primitive);
    if (!same) throw new MusterError('PROGRAM_INVALID', `another ${name} gives another program`, { field: name });
    return [{ from, to, tried: variant.sizes[name] as number, types: typesOf(variant.program) }];
  });
  let next = 0;
  const resized = <T extends TensorType>(type: T): T => {
    const value = next++;
    const shape = type.shape.map((extent, axis) =>
      changes.reduce((now, { from, to, tried, types }) => {
        const seen = types[value]?.shape[axis] ?? extent;
        return Math.round((now * scaled(extent, seen, from, tried, to)) / Math.max(extent, 1));
      }, extent),
    );
    return { ...type, shape };
  };
  const { program } = base;
  return {
    ...program,
    inputs: program.inputs.map(resized),
    constants: program.constants.map(resized),
    operations: program.operations.map((operation): Operation => {
      const outputs = operation.outputs.map(resized);
      const shape = outputs[0]?.shape ?? [];
      if (operation.primitive === 'reshape') return { ...operation, params: { shape }, outputs };
      if (operation.primitive === 'broadcast') return { ...operation, params: { ...operation.params, shape }, outputs };
      return { ...operation, outputs };
    }),
  };
}
