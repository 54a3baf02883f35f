/**
 * How often a job digests its state if its organizer does not say: as often as costs little.
 *
 * A state digest costs a pass of SHA-256 over parameters and optimizer state and buys a shorter replay in a dispute, which starts at
 * the last state both sides agree on. So the interval follows from what hashing and a step cost; the digest after a task's last
 * step is part of its result and always made.
 */
import { estimateProgram, type NamedType, type Program } from '@muster/engine';
import { maxSteps } from '@muster/protocol';

/**
 * What executors reach: 0.66 GB/s beside 50 GFLOP/s in WebAssembly, 1.2 beside 100 with AVX2, 3.3 beside 200 with AVX-512. The pair
 * here is a little worse for hashing than any of them, so that the share holds on all.
 */
const hashedBytesPerSecond = 1e9;
const flopsPerSecond = 90e9;
const largestShare = 0.02;

/**
 * Steps between two state digests so that hashing `stateBytes` takes at most 2 % of the training time, at 1 GB/s hashed and
 * 90 GFLOP/s trained: ⌈4500 · stateBytes / flopsPerStep⌉, from 1 to 1 000 000.
 */
export function defaultDigestInterval(stateBytes: number, flopsPerStep: number): number {
  const steps = Math.ceil(stateBytes / hashedBytesPerSecond / (largestShare * (flopsPerStep / flopsPerSecond)));
  return Number.isFinite(steps) ? Math.min(maxSteps, Math.max(1, steps)) : maxSteps;
}

/** The default interval of a model: `state` are its parameters and slots, `trainStep` its program. Throws PROGRAM_INVALID. */
export function digestIntervalFor(state: readonly NamedType[], trainStep: Program): number {
  const bytes = state.reduce((sum, { shape }) => sum + 4 * shape.reduce((product, extent) => product * extent, 1), 0);
  return defaultDigestInterval(bytes, estimateProgram(trainStep, state.length).flops);
}
