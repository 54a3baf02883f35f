/**
 * Training on every executor of this machine: fifty steps of every model family give the same loss and the same state root after every
 * step, whatever the instruction set and the number of threads. The browser's turn is in `browser.test.ts`.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { createNativeExecutor, createWasmThreadsExecutor, nativeKernels } from '@muster/adapters';
import { type Executor, referenceExecutor, wasmExecutor, withMemoryLimit } from '@muster/engine';
import { checkTraining, type TrainingCase, type TrainingReport } from './browser/checks.ts';
import { withThreadsReady } from './browser/one-memory.ts';
import { buildTrainingCases, type TrainingCases, trainingNames, trainingSteps } from './support/training-cases.ts';

/** The reference executor takes this many: it is a thousand times slower. */
const referenceSteps = 2;

const native = nativeKernels();
const sets = native.available ? native.instructionSets : [];

/** Each way to execute, as a name and what opens it. Threads run every program, however small. */
const ways: readonly (readonly [string, () => Executor])[] = sets.flatMap((instructionSet) =>
  [1, 2].map((threads): [string, () => Executor] => [
    `native-${instructionSet} with ${threads === 1 ? 'one thread' : 'two threads'}`,
    () => createNativeExecutor({ instructionSet, threads, leastBytes: 0 }),
  ]),
);

let training: TrainingCases;
/** What one thread of WebAssembly gives. */
const expected = new Map<string, TrainingReport>();

const reportOf = async (executor: Executor, name: string, steps = trainingSteps): Promise<TrainingReport> =>
  await checkTraining(executor, { ...(training.cases.get(name) as TrainingCase), steps }, training.getBlock);

const pause = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

async function expectEqual(executor: Executor): Promise<void> {
  for (const name of trainingNames) expect(await reportOf(executor, name), name).toEqual(expected.get(name));
}

beforeAll(async () => {
  training = await buildTrainingCases(wasmExecutor);
  for (const name of trainingNames) expected.set(name, await reportOf(wasmExecutor, name));
});

describe(`${trainingSteps} training steps of every family`, () => {
  it('change the state in every step', () => {
    for (const name of trainingNames) expect(new Set(expected.get(name)?.roots).size, name).toBe(trainingSteps);
  });

  it('begin as the reference executor has them', async () => {
    for (const name of trainingNames) {
      const { losses, roots } = expected.get(name) as TrainingReport;
      const first = { losses: losses.slice(0, referenceSteps), roots: roots.slice(0, referenceSteps) };
      expect(await reportOf(referenceExecutor, name, referenceSteps), name).toEqual(first);
    }
  });

  it.each(ways)('have the same bits on %s', async (_, open) => {
    await expectEqual(open());
  });

  it('have the same bits on WebAssembly with two threads', async () => {
    const { executor, end } = await withThreadsReady(createWasmThreadsExecutor(2, 0), 2, pause);
    await expectEqual(executor);
    end();
  });

  it('have the same bits when values are computed again instead of kept', async () => {
    await expectEqual(withMemoryLimit(wasmExecutor, 1 << 16));
  });
});
