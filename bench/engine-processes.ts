/**
 * Suites `engine-memory` and `engine-threads`: the GPT step in processes of its own. Memory is a process's largest resident set, whole, with
 * Node or Python in it. Two threads are held against two processes of one thread each that run at the same time, because two cores
 * share caches and memory whatever the program does.
 */
import { join } from 'node:path';
import { alternate, type Candidate } from './lib/alternate.ts';
import { executorNames, ourExecutor } from './lib/executors.ts';
import { missingRow, plainRow, type Row, round, roundedSpeedup } from './lib/measure.ts';
import { startOurs, writeStepCase } from './lib/our-process.ts';
import { startPython } from './lib/python.ts';
import { gpt } from './lib/specs.ts';
import { stepCase, writeStepFile } from './lib/step-case.ts';
import { inTemporaryFolder } from './lib/tensor-file.ts';

const memorySteps = 10;
const title = 'gpt 4 × 128, context 64, batch 12';

/** Peak memory of PyTorch's process after some steps, in MB, or why it is not known. */
async function torchMemory(file: string): Promise<number | string> {
  const python = await startPython(1);
  if (typeof python === 'string') return python;
  const candidate = await python.candidate('pytorch', { what: 'step', spec: gpt, file });
  await candidate.block(0, memorySteps);
  const { peakBytes } = await python.ask({ do: 'memory' });
  await python.close();
  return round(Number(peakBytes) / 1e6);
}

/** Peak memory of whole processes after ten steps. */
export async function* memorySuite(): AsyncGenerator<Row> {
  const step = await stepCase('gpt', gpt);
  yield* await inTemporaryFolder(async (folder) => {
    writeStepCase(step, folder);
    writeStepFile(step, join(folder, 'step'));
    const torch = await torchMemory(join(folder, 'step'));
    const rows: Row[] = [];
    for (const name of executorNames) {
      const bench = `peak memory of a process that trains ${title}, ${name}`;
      const found = await ourExecutor(name);
      if (typeof found === 'string') {
        rows.push(missingRow(bench, found));
        continue;
      }
      const ours = await startOurs(folder, step.state.length, name, 1);
      await ours.candidate(name).block(0, memorySteps);
      const peak = Number((await ours.child.ask({ do: 'memory' }))['peakBytes']) / 1e6;
      await ours.child.close();
      const ratio = typeof torch === 'number' ? { ratio: round(torch / peak), target: 1 } : {};
      rows.push({ ...plainRow(bench, 'MB', peak, { pytorch: torch }), ...ratio });
    }
    return rows;
  });
}

/** Two candidates that run their blocks at the same time; a block is the time that a run of either takes, per run of both together. */
function together(name: string, [first, second]: readonly [Candidate, Candidate]): Candidate {
  return {
    name,
    async block(milliseconds, least) {
      const both = await Promise.all([first.block(milliseconds, least), second.block(milliseconds, least)]);
      const rate = both.reduce((sum, times) => sum + times.length / times.reduce((total, time) => total + time, 0), 0);
      return [1 / rate];
    },
    release: async () => void (await Promise.all([first.release?.(), second.release?.()])),
  };
}

/** PyTorch's step on two threads, if it is here. */
async function torchOnTwo(file: string): Promise<{ readonly candidates: readonly Candidate[]; close(): Promise<void> }> {
  const python = await startPython(2);
  if (typeof python === 'string') return { candidates: [], close: () => Promise.resolve() };
  const candidate = await python.candidate('pytorch, two threads', { what: 'step', spec: gpt, file });
  return { candidates: [candidate], close: () => python.close() };
}

/** Steps per second of two threads against those of two processes with one thread each, and against one thread alone. */
export async function* threadsSuite(): AsyncGenerator<Row> {
  const step = await stepCase('gpt', gpt);
  yield* await inTemporaryFolder(async (folder) => {
    writeStepCase(step, folder);
    writeStepFile(step, join(folder, 'step'));
    const rows: Row[] = [];
    for (const name of executorNames) {
      const bench = `two threads, ${title}, ${name}`;
      const found = await ourExecutor(name, 2);
      if (typeof found === 'string') {
        rows.push(missingRow(bench, found));
        continue;
      }
      const start = async (threads: number): Promise<Candidate> =>
        (await startOurs(folder, step.state.length, name, threads)).candidate(`${threads} threads`);
      const pair = together('two processes of one thread', [await start(1), await start(1)]);
      const torch = await torchOnTwo(join(folder, 'step'));
      const candidates = [await start(2), pair, { ...(await start(1)), name: 'one thread' }, ...torch.candidates];
      const [two, both, one, ...others] = await alternate(candidates, { turns: 15, blockMs: 300, least: 2 });
      await torch.close();
      if (two === undefined || both === undefined || one === undefined) throw new Error('a candidate was not measured');
      rows.push({
        bench,
        unit: 'steps/s',
        ours: round(1000 / two.milliseconds),
        peers: Object.fromEntries([both, one, ...others].map((other) => [other.name, round(1000 / other.milliseconds)])),
        ratio: roundedSpeedup(two, both).median,
        ratios: Object.fromEntries([both, one, ...others].map((other) => [other.name, roundedSpeedup(two, other)])),
        target: 0.9,
      });
    }
    return rows;
  });
}
