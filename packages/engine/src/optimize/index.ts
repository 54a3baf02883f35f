/**
 * Passes between a program and an executor: same outputs bit for bit, less work or less memory. The program itself stays what is hashed, agreed
 * and disputed; only the executor sees the result.
 */
import { checkProgram } from '../check.ts';
import type { Program } from '../program.ts';
import { foldConstants } from './fold.ts';
import { rematerialise } from './rematerialise.ts';
import { reorder } from './reorder.ts';
import { chain, type Rewritten } from './rewrite.ts';

export interface OptimizeOptions {
  /** Memory that a run may take by the planner's estimate; null: as much as it likes, and nothing is computed twice. */
  readonly memoryLimitBytes: number | null;
  /** Number of outputs that become the next run's first inputs; their memory is held all the time. Default 0. */
  readonly state?: number;
}

/**
 * `program` with constants folded, operations in an order that frees memory early and, where it would not fit, values computed again instead of kept. `origin` names for every operation of the
 * result the operation of `program` that it computes (several may share one). The result faults if and only if `program` does, and the
 * operation that `origin` names then faults in `program` too; the first one in program order is found by running `program` itself.
 * Throws PROGRAM_INVALID.
 */
export function optimizeProgram(program: Program, { memoryLimitBytes, state = 0 }: OptimizeOptions): Rewritten {
  checkProgram(program);
  const folded = foldConstants(program);
  const ordered = chain(folded, reorder(folded.program));
  return memoryLimitBytes === null ? ordered : chain(ordered, rematerialise(ordered.program, memoryLimitBytes, state));
}

export { foldConstants } from './fold.ts';
export { plannedMemory, type PlannedMemory } from './planned.ts';
export { rematerialise } from './rematerialise.ts';
export { reorder } from './reorder.ts';
export { resizeProgram, type Sized, type Sizes } from './resize.ts';
export { callSamples, type CallSample } from './samples.ts';
export { type MachineSpeed, predictSeconds, productExtents } from './timing.ts';
export type { Rewritten } from './rewrite.ts';
export { bytesOf, type Call, type CallKind, modeOf, type Schedule, scheduleProgram } from './schedule.ts';
