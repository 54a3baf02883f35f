/**
 * One behaviour for every executor of this machine: the conformance vectors, random programs and training steps of every model
 * family, bit for bit, on every instruction set and any number of threads.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkFunctionVector,
  checkVector,
  type Executor,
  hasSharedMemory,
  prepareLoop,
  randomProgram,
  readFunctionVectors,
  readVectors,
  type Tensor,
  wasmExecutor,
} from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import { createNativeExecutor, createWasmThreadsExecutor, executorReports, nativeKernels, openExecutor } from '../src/index.ts';

const folder = join(import.meta.dirname, '../../../vectors/engine');
const readJson = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));

const native = nativeKernels();
const sets = native.available ? native.instructionSets : [];
const executors: readonly Executor[] = [
  ...sets.map((instructionSet) => createNativeExecutor({ instructionSet, threads: 1 })),
  ...sets.map((instructionSet, index) => createNativeExecutor({ instructionSet, threads: 2 + index })),
  createWasmThreadsExecutor(2),
];

/** What running a program gives: its outputs, or the code and details of its error. */
function outcomeOf(executor: Executor, { program, inputs }: ReturnType<typeof randomProgram>): unknown {
  const prepared = executor.prepare(program);
  try {
    return prepared.run(inputs);
  } catch (error) {
    if (!(error instanceof MusterError)) throw error;
    return { code: error.code, details: error.details };
  } finally {
    prepared.dispose();
  }
}

describe.each(executors.map((executor) => [executor.name, executor] as const))('%s', (_, executor) => {
  it('holds every conformance vector', () => {
    for (const name of readdirSync(folder).filter((file) => file !== 'functions.json')) {
      for (const vector of readVectors(readJson(name))) {
        expect(checkVector(executor, vector), vector.name).toEqual({ ok: true, reason: null });
      }
    }
    for (const vector of readFunctionVectors(readJson('functions.json'))) {
      expect(checkFunctionVector(executor, vector), vector.name).toEqual({ ok: true, reason: null });
    }
  });

  it('gives the bits or the fault of WebAssembly for random programs', () => {
    for (let seed = 0; seed < 300; seed++) {
      const one = randomProgram(seed);
      expect(outcomeOf(executor, one), `seed ${seed}`).toEqual(outcomeOf(wasmExecutor, one));
    }
  });
});

it('a machine says which executors it has, and why not the others', () => {
  const reports = executorReports();
  expect(reports.at(-1)).toMatchObject({ name: 'wasm', available: true });
  for (const { available, reason, threads } of reports) {
    expect(reason).not.toBe('');
    expect(threads > 0).toBe(available);
  }
  expect(reports.some(({ name, available }) => name.startsWith('native') && available)).toBe(native.available);
});

it('an unknown executor is refused by name', async () => {
  await expect(openExecutor({ name: 'quantum', threads: 1 })).rejects.toThrow(/quantum/);
  await expect(openExecutor({ name: 'native-vax', threads: 1 })).rejects.toMatchObject({ code: 'EXECUTOR_UNAVAILABLE' });
  expect((await openExecutor({ name: 'auto', threads: 1 })).name).toMatch(native.available ? /^native-/ : /^wasm$/);
});
