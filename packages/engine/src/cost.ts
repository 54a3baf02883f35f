/**
 * What a run of a program costs, from its types alone, in time linear in its operations: nothing is executed or allocated, so it is the first
 * thing to ask about a program from a stranger. `checkCost` refuses what no machine here should try.
 *
 * Counts, not seconds: seconds come from a calibration (`docs/spec/19-planner.md`).
 */
import { MusterError } from '@muster/protocol';
import { checkProgram, valueTypes } from './check.ts';
import { bytesOf, scheduleProgram } from './optimize/schedule.ts';
import type { Operation, Program, TensorType } from './program.ts';
import { sizeOf } from './reference/layout.ts';

export interface ProgramCost {
  readonly operations: number;
  /** Kernel calls after fusion. */
  readonly calls: number;
  /** Arithmetic operations on elements; a product and a sum count two. Movement counts nothing, `exp` and its like one. */
  readonly flops: number;
  /** Those of `dot` and `conv`. */
  readonly productFlops: number;
  /** Bytes that the calls read and write. */
  readonly bytesMoved: number;
  /** The largest value as a dense tensor, even if it stays a view: a dispute would write it out. */
  readonly largestTensorBytes: number;
  readonly inputBytes: number;
  readonly constantBytes: number;
  readonly outputBytes: number;
  /** The most memory held at a time: inputs, constants, outputs and intermediate results. */
  readonly peakBytes: number;
}

/** Arithmetic of one operation. */
export function flopsOf(operation: Operation, types: readonly TensorType[]): number {
  const size = sizeOf(operation.outputs[0]?.shape ?? []);
  const input = (n: number): readonly number[] => types[operation.inputs[n] ?? -1]?.shape ?? [];
  switch (operation.primitive) {
    case 'dot':
      return 2 * size * (input(0).at(-1) ?? 0);
    case 'conv':
      return 2 * size * sizeOf(input(1).slice(operation.params.vmapDims + 1));
    case 'reduce':
    case 'pool_transpose':
      return sizeOf(input(0));
    case 'scatter':
      return operation.params.mode === 'add' ? sizeOf(input(0)) : 0;
    case 'sort':
    case 'argsort':
      return size * Math.ceil(Math.log2(Math.max(input(0).at(-1) ?? 0, 2)));
    case 'random_bits':
      return 100 * size;
    case 'transpose':
    case 'broadcast':
    case 'reshape':
    case 'flip':
    case 'shrink':
    case 'pad':
    case 'concatenate':
    case 'split':
    case 'pool':
    case 'gather':
    case 'bitcast':
      return 0;
    default:
      return size;
  }
}

const total = (types: readonly TensorType[]): number => types.reduce((sum, type) => sum + bytesOf(type), 0);

/** `estimateProgram` without the check, for programs that were checked or come from `resizeProgram`. */
export function costOf(program: Program, state = 0): ProgramCost {
  const types = valueTypes(program);
  const schedule = scheduleProgram(program, state);
  let flops = 0;
  let productFlops = 0;
  for (const operation of program.operations) {
    const own = flopsOf(operation, types);
    flops += own;
    if (operation.primitive === 'dot' || operation.primitive === 'conv') productFlops += own;
  }
  return {
    operations: program.operations.length,
    calls: schedule.calls.length,
    flops,
    productFlops,
    bytesMoved: schedule.calls.reduce((sum, { readBytes, writeBytes }) => sum + readBytes + writeBytes, 0),
    largestTensorBytes: types.reduce((most, type) => Math.max(most, bytesOf(type)), 0),
    inputBytes: total(program.inputs),
    constantBytes: total(program.constants),
    outputBytes: total(program.outputs.map(({ value }) => types[value] as TensorType)),
    peakBytes: schedule.peakBytes,
  };
}

/**
 * Cost of one run of `program`. With `state` > 0, of one step of a loop whose first outputs become its first inputs. Throws PROGRAM_INVALID for a
 * malformed program.
 */
export function estimateProgram(program: Program, state = 0): ProgramCost {
  checkProgram(program);
  return costOf(program, state);
}

/** The most that a program may cost. */
export interface CostLimits {
  readonly tensorBytes: number;
  readonly peakBytes: number;
  readonly flops: number;
}

/** A tensor of 4 GiB, 128 GiB together, 10¹⁶ operations on elements: a day of the fastest machine here, and far above what a model needs for a step. */
export const defaultCostLimits: CostLimits = { tensorBytes: 2 ** 32, peakBytes: 2 ** 37, flops: 1e16 };

/** The cost of `program`, `state` as in `estimateProgram`. Throws PROGRAM_INVALID {field, value, limit} when it passes a limit. */
export function checkCost(program: Program, limits: CostLimits = defaultCostLimits, state = 0): ProgramCost {
  const cost = estimateProgram(program, state);
  const compare = (field: string, value: number, limit: number): void => {
    if (value > limit) {
      throw new MusterError('PROGRAM_INVALID', `program "${program.name}": ${field} ${value}, at most ${limit}`, { field, value, limit });
    }
  };
  compare('largestTensorBytes', cost.largestTensorBytes, limits.tensorBytes);
  compare('peakBytes', cost.peakBytes, limits.peakBytes);
  compare('flops', cost.flops, limits.flops);
  return cost;
}
