/** Jobs that are paused, stopped, or cannot be computed. */
import type { JobId } from '@muster/protocol';
import { encodeTensors } from '@muster/round';
import { expect, test } from 'vitest';
import { loadMaterial, reader } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { inWorld, sharedExecutor, type World } from './support/world.ts';

const commits = async (world: World, job: JobId): Promise<number> =>
  [...(await world.record(job)).rounds.values()]
    .flatMap((round) => [...round.tasks.values()])
    .flatMap((task) => [...task.slots.values()])
    .filter(({ committed }) => committed !== null).length;

test('a job whose numbers overflow ends with agreed faults: everybody is paid, nobody slashed, the model stays as it was', async () => {
  await inWorld({ trainers: 4 }, async (world) => {
    const order = await tinyOrder({ rounds: 2, tasks: 2 }, { kind: 'momentum', learningRate: 1e6, momentum: 0.999 });
    const exploding = await tinyOrder({ rounds: 2, tasks: 2, localSteps: 64 }, { kind: 'sgd', learningRate: 1e6 });
    for (const tried of [order, exploding]) {
      const job = await world.submit(tried);
      const record = await world.finish(job);
      const shown = await world.shown(job);
      expect(shown.state).toBe('completed');
      expect(record.ended?.refundWei).toBeLessThan(100n);
      expect(await world.audit(job)).toMatchObject({ ok: true });
    }
    expect((await world.history()).slashed.size).toBe(0);
  });
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
    expect(record.ended?.refundWei).toBe(record.submitted.budgetWei - paid);
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

test('initial parameters follow from the seed alone', async () => {
  await inWorld({ trainers: 0, validator: false }, async (world) => {
    const order = await tinyOrder();
    await world.submit(order);
    const [a, b] = await Promise.all(
      [order.spec, order.spec].map(async (spec) => await loadMaterial(spec, reader(world.blobs), await sharedExecutor())),
    );
    expect(encodeTensors(a?.initialParameters() ?? []).cid).toBe(encodeTensors(b?.initialParameters() ?? []).cid);
  });
});
