/** Jobs whose training is more than a rate: frozen tensors, schedules over rounds, dropout, micro-batches, clipping. */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { type NamedTensor, referenceExecutor, type Tensor } from '@muster/engine';
import { buildModel, buildModelFromDefinition, crossEntropy, dropout, type ModelDefinition, type TrainingSpec } from '@muster/models';
import { type BlobStore, memoryBlobStore } from '@muster/ports';
import type { JobSpec } from '@muster/protocol';
import { type ComputedTask, encodeTensors, loadTensors } from '@muster/round';
import { expect, test } from 'vitest';
import { type JobMaterial, loadMaterial, reader } from '../src/index.ts';
import { type Order, storeOrder, tinyOrder } from './support/order.ts';
import { inWorld, sharedExecutor } from './support/world.ts';

/** A projection that nobody trains: feature i counts towards class i mod 3, in eighths of `scale`. */
const projection = (scale: number): NamedTensor => ({
  name: 'base',
  dtype: 'float32',
  shape: [8, 3],
  data: Float32Array.from({ length: 24 }, (_, index) => (Math.floor(index / 3) % 3 === index % 3 ? scale / 8 : 0)),
});

const recipe: TrainingSpec = {
  batchSize: 8,
  evaluationBatch: 32,
  optimizer: { kind: 'adamw', learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 },
  schedule: { kind: 'cosine', warmupSteps: 4, totalSteps: 18, minimumRate: 0.005 },
  clipNorm: 1,
  accumulation: 2,
};

/** An order for a low-rank adapter over `base`, with dropout. */
async function adapterOrder(base: NamedTensor, changes: Partial<JobSpec> = {}): Promise<Order> {
  const definition: ModelDefinition = {
    name: 'adapter',
    input: { dtype: 'float32', shape: [8] },
    target: { dtype: 'int32', shape: [] },
    parameters: [
      { name: 'down', shape: [8, 2], initial: { kind: 'normal', std: 0.1 } },
      { name: 'up', shape: [2, 3], initial: 'zeros' },
    ],
    frozen: [{ name: 'base', shape: [8, 3], initial: 'zeros' }],
    frozenValues: encodeTensors([base]).cid,
    generation: null,
    loss: crossEntropy,
    apply: (given, x, context) => {
      const low = np.dot(dropout(context, 0.25, x.ref, 0), given['down'] as JaxArray);
      return np.dot(x, given['base'] as JaxArray).add(np.dot(low, given['up'] as JaxArray));
    },
  };
  const model = await buildModelFromDefinition(definition, recipe);
  const { spec, dataset } = await tinyOrder(changes);
  return { dataset, model, spec: { ...spec, model: model.cid } };
}

async function storeAll(order: Order, base: NamedTensor | null, blobs: BlobStore): Promise<void> {
  await storeOrder(order, blobs);
  if (base !== null) for (const { bytes, codec } of encodeTensors([base]).blocks) await blobs.put(bytes, codec);
}

function executed(material: JobMaterial, round: number, base: readonly Tensor[], slotState: readonly Tensor[] | null = null): ComputedTask {
  const run = material.execute(round, 0, { base, slotState });
  for (let next = run.next(); ; next = run.next()) if (next.done === true) return next.value;
}

test('a job that trains an adapter over frozen weights by a whole recipe is replayed bit for bit, and learns', async () => {
  await inWorld({ trainers: 3 }, async (world) => {
    const base = projection(1);
    const order = await adapterOrder(base, { slotState: 'carry' });
    await storeAll(order, base, world.blobs);
    const job = await world.submit(order);
    await world.finish(job);
    const { checkpoints } = await world.shown(job);
    expect(checkpoints).toHaveLength(3);
    expect(checkpoints.at(-1)?.loss).toBeLessThan(checkpoints[0]?.loss ?? 0);
    expect(await world.audit(job)).toMatchObject({ ok: true, tasks: 9 });
  });
});

test('frozen weights are read from the store, change the result, and are asked for where they are missing', async () => {
  const roots = await Promise.all(
    [projection(1), projection(2)].map(async (base) => {
      const blobs = memoryBlobStore();
      const order = await adapterOrder(base);
      await storeAll(order, base, blobs);
      const fast = await loadMaterial(order.spec, reader(blobs), await sharedExecutor());
      const slow = await loadMaterial(order.spec, reader(blobs), referenceExecutor);
      const [first, second] = [fast, slow].map((material) => executed(material, 1, material.initialParameters()));
      expect(second).toEqual(first);
      return first?.resultRoot;
    }),
  );
  expect(roots[0]).not.toBe(roots[1]);
  const blobs = memoryBlobStore();
  const order = await adapterOrder(projection(1));
  await storeAll(order, null, blobs);
  await expect(loadMaterial(order.spec, reader(blobs), await sharedExecutor())).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
});

test('a schedule goes on from round to round, and a task starts where its assignment says', async () => {
  const { spec, dataset } = await tinyOrder();
  const model = await buildModel({
    family: 'softmax',
    input: [8],
    classes: 3,
    batchSize: 8,
    evaluationBatch: 32,
    optimizer: { kind: 'momentum', learningRate: 0.5, momentum: 0.9 },
    // Six steps in a round: nothing is learned from the third step of the second round on.
    schedule: { kind: 'step', milestones: [8], factor: 0 },
  });
  const order = { dataset, model, spec: { ...spec, model: model.cid, digestInterval: 1, slotState: 'carry' as const } };
  const blobs = memoryBlobStore();
  await storeOrder(order, blobs);
  const material = await loadMaterial(order.spec, reader(blobs), await sharedExecutor());
  const parameters = encodeTensors(material.initialParameters());
  for (const { bytes, codec } of parameters.blocks) await blobs.put(bytes, codec);
  const assignment = {
    version: 1 as const,
    job: `0x${'00'.repeat(32)}` as never,
    round: 0,
    nodes: [],
    beacon: order.spec.seed,
    base: parameters.cid,
    tasks: [{ nodes: [], sampleCount: 80, slotState: null }],
  };
  const start = await material.startOf(assignment, 0);
  expect(start).toEqual({ base: material.initialParameters(), slotState: null });
  const updates = await Promise.all(
    [0, 1, 2].map(async (round) => {
      const computed = executed(material, round, start.base);
      if (computed.outcome.kind !== 'update') throw new Error('a fault');
      for (const { bytes, codec } of computed.blocks) await blobs.put(bytes, codec);
      const slotState = computed.outcome.slotState;
      const carried = await material.startOf({ ...assignment, tasks: [{ nodes: [], sampleCount: 80, slotState }] }, 0);
      expect(carried.slotState?.some(({ data }) => data.some((value) => value !== 0))).toBe(true);
      return await loadTensors(reader(blobs), computed.outcome.update, model.model.parameters);
    }),
  );
  const moved = updates.map((update) => update.some(({ data }) => data.some((value) => value !== 0)));
  expect(moved).toEqual([true, true, false]);
});

test('a job of more steps than are numbered is refused', async () => {
  const order = await tinyOrder({ rounds: 100_000, localSteps: 30_000 });
  const blobs = memoryBlobStore();
  await storeOrder(order, blobs);
  await expect(loadMaterial(order.spec, reader(blobs), await sharedExecutor())).rejects.toMatchObject({ code: 'JOB_INVALID' });
});
