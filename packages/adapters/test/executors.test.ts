/**
 * One behaviour for every executor of this machine: the conformance vectors, random programs and training steps of every model
 * family, bit for bit, on every instruction set and any number of threads.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkFunctionVector,
  checkVector,
  createExecutor,
  type Executor,
  hasSharedMemory,
  type KernelMemory,
  type LoopingProgram,
  prepareLoop,
  type Program,
  ProgramBuilder,
  randomProgram,
  readFunctionVectors,
  readVectors,
  referenceExecutor,
  type Tensor,
  tensorRoot,
  type Value,
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
  ...sets.map((instructionSet, index) => createNativeExecutor({ instructionSet, threads: 2 + (index % 2), leastBytes: 0 })),
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
    for (let seed = 0; seed < 150; seed++) {
      const one = randomProgram(seed);
      expect(outcomeOf(executor, one), `seed ${seed}`).toEqual(outcomeOf(wasmExecutor, one));
    }
  });
});

/** Sums of products, an element-wise chain and reductions, in a loop: (w, x) → (w', total). */
function loopProgram(): Program {
  const builder = new ProgramBuilder('loop');
  const w = builder.input({ name: 'w', dtype: 'float32', shape: [96, 96] });
  const x = builder.input({ name: 'x', dtype: 'float32', shape: [200, 96] });
  const rows = builder.apply('reshape', { shape: [200, 1, 96] }, x);
  const columns = builder.apply('reshape', { shape: [1, 96, 96] }, w);
  const product = builder.apply('dot', {}, rows, columns);
  const bounded = builder.apply(
    'mul',
    {},
    builder.apply('exp', {}, builder.apply('neg', {}, builder.apply('mul', {}, product, product))),
    product,
  );
  const sums = builder.apply('reduce', { op: 'add', axis: [0] }, bounded);
  const scaled = builder.apply('mul', {}, sums, builder.scalar('float32', 1 / 256));
  const next = builder.apply('add', {}, builder.apply('mul', {}, w, builder.scalar('float32', 0.9375)), scaled);
  return builder.finish([
    { name: 'w', value: next },
    { name: 'total', value: builder.apply('reduce', { op: 'add', axis: [0] }, sums) },
  ]);
}

const noise = (shape: readonly number[], seed: number): Tensor => {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.fround(state / 2 ** 31 - 1);
  };
  return { dtype: 'float32', shape, data: Float32Array.from({ length: shape.reduce((size, extent) => size * extent, 1) }, next) };
};

it('a result is not written over what a later operation of its group has yet to read', () => {
  const builder = new ProgramBuilder('late');
  const input = (name: string): Value => builder.input({ name, dtype: 'float32', shape: [64] });
  const [x, b, c] = [input('x'), input('b'), input('c')];
  const sorted = builder.apply('sort', {}, x);
  // Only the sum uses the product: they may become one operation, which then reads `sorted` after the exponential is written.
  const product = builder.apply('mul', {}, sorted, b);
  const power = builder.apply('exp', {}, c);
  const sum = builder.apply('add', {}, product, power);
  const both = builder.apply('concatenate', { axis: 0 }, power, sum);
  const program = builder.finish([{ name: 'sorted', value: builder.apply('sort', {}, both) }]);
  const inputs = [1, 2, 3].map((seed) => noise([64], seed));
  const expected = referenceExecutor.prepare(program).run(inputs);
  for (const executor of [wasmExecutor, ...executors]) expect(executor.prepare(program).run(inputs), executor.name).toEqual(expected);
});

it('threads that come late to a WebAssembly program change no bit, nor does their end', async () => {
  expect(hasSharedMemory()).toBe(true);
  const { backend } = createWasmThreadsExecutor(3, 0);
  const memories: KernelMemory[] = [];
  const watched = createExecutor({
    ...backend,
    allocate(bytes) {
      const memory = backend.allocate(bytes);
      memories.push(memory);
      return memory;
    },
  });
  const program = loopProgram();
  const [threaded, plain] = [watched, wasmExecutor].map((executor) => prepareLoop(executor, program, 1)) as [
    LoopingProgram,
    LoopingProgram,
  ];
  const start = [noise([96, 96], 1)];
  for (const loop of [threaded, plain]) loop.setState(start);
  let together = 0;
  for (let step = 0; together < 20; step++) {
    const x = [noise([200, 96], step + 2)];
    if (memories[0]?.threads() === 3) together++;
    else await new Promise((resolve) => setImmediate(resolve));
    expect(threaded.step(x), `step ${step}`).toEqual(plain.step(x));
  }
  expect(threaded.readState()).toEqual(plain.readState());
  expect(threaded.stateRoots()).toEqual(plain.readState().map(tensorRoot));
  threaded.dispose();
});

it('a machine says which executors it has, and why not the others', () => {
  const reports = executorReports();
  expect(reports.find(({ name }) => name === 'wasm')).toMatchObject({ available: true, lanes: 4 });
  for (const { available, reason, threads, executor } of reports) {
    expect(reason === null).toBe(available);
    expect(threads > 0).toBe(available);
    expect(executor !== null).toBe(available);
  }
  expect(reports.some(({ name, available }) => name.startsWith('native') && available)).toBe(native.available);
});

it('an unknown executor is refused by name', async () => {
  await expect(openExecutor({ name: 'quantum', threads: 1 })).rejects.toThrow(/quantum/);
  await expect(openExecutor({ name: 'native-vax', threads: 1 })).rejects.toMatchObject({ code: 'EXECUTOR_UNAVAILABLE' });
  expect((await openExecutor({ name: 'auto', threads: 1 })).name).toMatch(native.available ? /^native-/ : /^wasm$/);
});
