/** Jobs that are paused, stopped, or cannot be computed. */
import { memoryBlobStore } from '@muster/ports';
import { type CidText, decodeLinked, type JobId, objectKinds, type Root } from '@muster/protocol';
import { encodeTensors } from '@muster/round';
import { expect, test } from 'vitest';
import { averageOf } from '../src/coordinator-duties.ts';
import { loadMaterial, objectCid, reader } from '../src/index.ts';
import { Life } from './support/life.ts';
import { divergingOrder, storeOrder, tinyOrder } from './support/order.ts';
import { handTime } from './support/time.ts';
import { inWorld, sharedExecutor, type World } from './support/world.ts';

const commits = async (world: World, job: JobId): Promise<number> =>
  [...(await world.record(job)).rounds.values()]
    .flatMap((round) => [...round.tasks.values()])
    .flatMap((task) => [...task.slots.values()])
    .filter(({ committed }) => committed !== null).length;

test('a job whose numbers overflow in training ends with agreed faults: everybody is paid, nobody slashed, the model stays as it was', async () => {
  await inWorld({ trainers: 4 }, async (world) => {
    const order = await divergingOrder(1e5, { rounds: 2, tasks: 2 });
    const job = await world.submit(order);
    const record = await world.finish(job);
    const initial = encodeTensors((await loadMaterial(order.spec, reader(world.blobs), await sharedExecutor())).initialParameters());
    const { checkpoints } = await world.shown(job);
    expect(checkpoints.map(({ model }) => model)).toEqual([initial.cid, initial.cid]);
    for (const { finalized } of record.rounds.values()) {
      const checkpoint = decodeLinked(
        objectKinds.checkpoint,
        (await world.blobs.get(objectCid(finalized?.checkpointCid as Root))) as Uint8Array,
      );
      expect(checkpoint.tasks.map(({ outcome }) => outcome.kind)).toEqual(['fault', 'fault']);
    }
    expect(await commits(world, job)).toBe(12);
    expect(record.ended?.refundWei).toBe(record.submitted.budgetWei % 12n);
    expect((await world.history()).slashed.size).toBe(0);
    expect(await world.audit(job)).toMatchObject({ ok: true });
  });
});

test('a job whose loss overflows only on the held-out records ends like any other, with the largest loss there is', async () => {
  await inWorld({ trainers: 3 }, async (world) => {
    const job = await world.submit(await divergingOrder(300, { rounds: 1, tasks: 1 }));
    await world.finish(job);
    expect((await world.shown(job)).checkpoints).toMatchObject([{ loss: 2 ** 128 - 2 ** 104, accuracy: 0 }]);
    expect(await world.audit(job)).toMatchObject({ ok: true });
  });
});

test('updates whose average is beyond float32 leave the model as it was', async () => {
  const blobs = memoryBlobStore();
  const order = await divergingOrder(1);
  await storeOrder(order, blobs);
  const material = await loadMaterial(order.spec, reader(blobs), await sharedExecutor());
  const initial = material.initialParameters();
  const huge = initial.map((tensor) => ({ ...tensor, data: new Float32Array(tensor.data.length).fill(3e38) }));
  const stored = [encodeTensors(initial), encodeTensors(huge)];
  for (const { blocks } of stored) for (const { bytes, codec } of blocks) await blobs.put(bytes, codec);
  const [base, update] = stored.map(({ cid }) => cid) as [CidText, CidText];
  const outcome = { kind: 'update', update, slotState: null } as const;
  const accepted = [
    { weight: 40, outcome },
    { weight: 40, outcome },
  ];
  const averaged = await averageOf(material, base, accepted, handTime().scheduler(new Life()));
  expect(averaged.cid).toBe(base);
});

test('a paused job does no more work however long it takes, and goes on to the same model when it is resumed', async () => {
  const models = await Promise.all(
    [false, true].map((pausing) =>
      inWorld({ trainers: 4 }, async (world) => {
        const job = await world.submit(await tinyOrder({ rounds: 2, tasks: 2 }));
        if (pausing) {
          await world.until(() => world.reported('task.committed').length > 0);
          await world.organizer.send({ call: 'pauseJob', job });
          for (let turns = 0; turns < 5; turns++) await world.turn();
          const before = await commits(world, job);
          const { block } = await world.reader.head();
          // Longer than every timeout of the job.
          for (let turns = 0; turns < 50; turns++) {
            world.time.advance(3000);
            await world.turn();
          }
          expect(await commits(world, job)).toBe(before);
          expect((await world.reader.head()).block).toBe(block);
          expect((await world.shown(job)).state).toBe('paused');
          await world.organizer.send({ call: 'resumeJob', job });
        }
        await world.finish(job);
        expect(await world.audit(job)).toMatchObject({ ok: true });
        expect((await world.history()).slashed.size).toBe(0);
        return (await world.shown(job)).model;
      }),
    ),
  );
  expect(models[0]).toBe(models[1]);
});

test('a stopped job ends at once: what was not earned goes back to the organizer, the rest can be audited', async () => {
  await inWorld({ trainers: 4 }, async (world) => {
    const job = await world.submit(await tinyOrder({ rounds: 3, tasks: 2 }));
    await world.until(() => world.reported('task.committed').some(({ fields }) => fields['round'] === 1));
    await world.organizer.send({ call: 'cancelJob', job });
    await world.turn();
    const before = await commits(world, job);
    for (let turns = 0; turns < 20; turns++) await world.turn();
    expect(await commits(world, job)).toBe(before);
    expect((await world.shown(job)).state).toBe('stopped');
    const record = await world.record(job);
    const paid = [...(record.rounds.get(0)?.tasks.values() ?? [])]
      .flatMap((task) => [...task.slots.values()])
      .reduce((sum, { rewarded }) => sum + (rewarded?.amountWei ?? 0n), 0n);
    expect(paid).toBeGreaterThan(0n);
    expect(world.reported('task.settled')).not.toEqual([]);
    // The open round's part stays until those who worked in it had time to be paid.
    const { budgetWei } = record.submitted;
    const reserveWei = (budgetWei + 2n) / 3n;
    expect(record.ended).toMatchObject({ refundWei: budgetWei - paid - reserveWei, reserveWei });
    expect(await world.reader.credit(world.organizer.account)).toBe(record.ended?.refundWei);
    expect(await world.audit(job)).toMatchObject({ ok: true, aggregations: 1 });
    expect(world.reported('trainer.trouble')).toEqual([]);
  });
});

test('a job that cannot be prepared is refused with its reason and disturbs no other', async () => {
  await inWorld({ trainers: 3 }, async (world) => {
    const good = await tinyOrder({ rounds: 1, tasks: 1 });
    const broken = await tinyOrder({ rounds: 1, tasks: 1, dataset: good.model.cid });
    const unhappy = await world.submit(broken);
    const job = await world.submit(good);
    await world.finish(job);
    expect((await world.reader.job(unhappy))?.status).toBe('running');
    const troubles = world.reports.filter(({ fields }) => fields['job'] === unhappy && typeof fields['reason'] === 'string');
    expect(troubles.length).toBeGreaterThan(0);
    await world.organizer.send({ call: 'cancelJob', job: unhappy });
    await world.turn();
    expect((await world.reader.job(unhappy))?.status).toBe('cancelled');
  });
});
