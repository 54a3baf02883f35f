/** Rows on state digests: MB/s of a Merkle tree over 1 KiB leaves against one SHA-256 over the same bytes, and their share of training. */
import { createHash } from 'node:crypto';
import { type NamedTensor, stateRoot, tensorBytes, wasmExecutor } from '../packages/engine/src/index.ts';
import { memoryBlobStore } from '../packages/ports/src/index.ts';
import { loadMaterial, reader } from '../packages/roles/src/index.ts';
import { interleave, median, plainRow, rateRow, type Row } from './lib/measure.ts';
import { digitModel, orderOf } from './lib/network.ts';

function state(...lengths: readonly number[]): NamedTensor[] {
  return lengths.map((length, index) => ({
    name: `t${index}`,
    dtype: 'float32',
    shape: [length],
    data: Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i + index))),
  }));
}

async function digestRow(name: string, tensors: readonly NamedTensor[]): Promise<Row> {
  const bytes = tensors.reduce((sum, { data }) => sum + data.byteLength, 0);
  const times = await interleave(
    [
      { name: 'ours', run: () => stateRoot(tensors) },
      {
        name: 'node:crypto SHA-256, one pass',
        run: () => {
          const hash = createHash('sha256');
          for (const tensor of tensors) hash.update(tensorBytes(tensor));
          hash.digest();
        },
      },
    ],
    bytes > 1e7 ? 5 : 50,
  );
  return rateRow(`state digest, ${name}`, 'MB/s', times, (ms) => bytes / ms / 1e3, {});
}

/** The digest's share of one task of the demonstration's mlp: digests of a task × time of one ÷ time of the task. */
async function shareRow(family: 'softmax' | 'mlp'): Promise<Row> {
  const plan = { trainers: 3, tasks: 8, redundancy: 3, rounds: 1, localSteps: 32, model: digitModel(family) };
  const store = memoryBlobStore();
  const spec = await orderOf(plan, store);
  const material = await loadMaterial(spec, reader(store), wasmExecutor);
  const base = material.initialParameters();
  const { parameters, slots } = material.model;
  const whole = state(...[...parameters, ...slots].map(({ shape }) => shape.reduce((size, extent) => size * extent, 1)));
  const tasks: number[] = [];
  const digests: number[] = [];
  for (let turn = 0; turn < 12; turn++) {
    let started = performance.now();
    for (const _ of material.execute(0, turn % plan.tasks, { base, slotState: null }));
    const task = performance.now() - started;
    started = performance.now();
    stateRoot(whole);
    if (turn < 2) continue;
    tasks.push(task);
    digests.push(performance.now() - started);
  }
  const count = Math.ceil(spec.localSteps / spec.digestInterval);
  return plainRow(
    `state digests, share of a task (${family}, ${spec.localSteps} steps, every ${spec.digestInterval})`,
    '%',
    (100 * count * median(digests)) / median(tasks),
    {},
  );
}

export async function* digestRows(): AsyncGenerator<Row> {
  yield await digestRow('mlp 784-128-10 with momentum', state(100_352, 128, 1280, 10, 100_352, 128, 1280, 10));
  yield await digestRow('10 M parameters', state(5_000_000, 5_000_000));
  yield await shareRow('softmax');
  yield await shareRow('mlp');
}
