/** Whole jobs over the real contracts: whoever takes part, lies or vanishes, the model is the same. */
import type { JobSpec } from '@muster/protocol';
import { evenShare, penaltyOf } from '@muster/round';
import { describe, expect, test } from 'vitest';
import type { JobRecord, SlotRecord } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { inWorld, type Participant, type Shown, stakeWei, type World } from './support/world.ts';

interface Ended {
  readonly world: World;
  readonly record: JobRecord;
  readonly shown: Shown;
}

const slotsOf = (record: JobRecord): SlotRecord[] =>
  [...record.rounds.values()].flatMap((round) => [...round.tasks.values()].flatMap((task) => [...task.slots.values()]));

/** Runs a job to its end and checks what must hold for every job. */
async function runJob(world: World, changes: Partial<JobSpec>, meanwhile: (world: World) => void = () => undefined): Promise<Ended> {
  const order = await tinyOrder(changes);
  const job = await world.submit(order);
  meanwhile(world);
  const record = await world.finish(job);
  const shown = await world.shown(job);
  expect(shown.state).toBe('completed');
  expect(shown.checkpoints).toHaveLength(order.spec.rounds);
  expect(record.published?.checkpointCid).toBe([...record.rounds.values()].at(-1)?.finalized?.checkpointCid);
  const { budgetWei, rounds, tasks, redundancy } = record.submitted;
  const paid = slotsOf(record).reduce((sum, { rewarded }) => sum + (rewarded?.amountWei ?? 0n), 0n);
  for (const { rewarded } of slotsOf(record))
    if (rewarded !== null) expect(rewarded.amountWei).toBe(evenShare({ budgetWei, rounds, tasks, redundancy }));
  expect(paid + (record.ended?.refundWei ?? 0n)).toBe(budgetWei);
  expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: rounds * tasks, aggregations: rounds });
  return { world, record, shown };
}

/** Lets `victim` vanish for good in round 1, after it was given work and before it committed. */
function vanishInRoundOne(world: World, victim: Participant): void {
  world.onReport = ({ event, fields }) => {
    if (event === 'round.assigned' && fields['round'] === 1) victim.vanish();
  };
}

describe('a job of three rounds', () => {
  const models = new Map<string, string | null>();

  test('with five honest trainers pays everybody alike and ends with a checkpoint for every round', async () => {
    const { record, shown } = await inWorld({ trainers: 5 }, (world) => runJob(world, {}));
    models.set('five', shown.model);
    expect(shown.model).not.toBeNull();
    expect(shown.slashed).toEqual([]);
    expect(slotsOf(record).every(({ rewarded }) => rewarded !== null)).toBe(true);
    expect(record.ended?.refundWei).toBe(record.submitted.budgetWei % 27n);
    expect(shown.checkpoints.at(-1)?.accuracy).toBeGreaterThan(0.9);
  });

  test('with eight trainers, one of them a liar, ends with the same model; the liar is slashed once and never paid', async () => {
    await inWorld({ trainers: 8, liars: [7] }, async (world) => {
      const { record, shown } = await runJob(world, {});
      models.set('eight, one lies', shown.model);
      const liar = world.trainers[7] as Participant;
      expect(shown.slashed).toEqual([liar.key.node]);
      expect(liar.ended).toBe('NODE_INACTIVE');
      const { slashed } = await world.history();
      expect([...slashed.keys()]).toEqual([liar.key.node]);
      // Every wrong result is an offence of its own, by the table; the third takes what is left.
      let leftWei = stakeWei;
      for (const [index, { amountWei, active, offence }] of (slashed.get(liar.key.node) ?? []).entries()) {
        expect({ amountWei, active }).toEqual({ amountWei: penaltyOf(offence, leftWei, index + 1, 0n).amountWei, active: false });
        leftWei -= amountWei;
      }
      expect(leftWei).toBeLessThan(stakeWei);
      const convictions = slotsOf(record).filter(({ convicted }) => convicted !== null);
      expect(convictions.length).toBeGreaterThan(0);
      expect(convictions.every(({ convicted }) => convicted?.node === liar.key.node)).toBe(true);
      expect(slotsOf(record).filter(({ rewarded }) => rewarded?.node === liar.key.node)).toEqual([]);
      expect(await world.reader.credit((await world.writer('trainer 7')).account)).toBe(0n);
      expect((await world.reader.node(liar.key.node))?.stakeWei).toBe(leftWei);
    });
  });

  test('with a trainer that vanishes ends with the same model, and another node gets its work', async () => {
    await inWorld({ trainers: 5 }, async (world) => {
      const victim = world.trainers[0] as Participant;
      const { record, shown } = await runJob(world, {}, (started) => vanishInRoundOne(started, victim));
      models.set('five, one vanishes', shown.model);
      expect(new Set(shown.replaced)).toEqual(new Set([victim.key.node]));
      expect(world.reported('node.gone').map(({ fields }) => fields['node'])).toEqual([victim.key.node]);
      const later = [...record.rounds.values()]
        .slice(1)
        .flatMap((round) => [...round.tasks.values()].flatMap((task) => [...task.slots.values()]));
      expect(later.some(({ committed }) => committed?.node === victim.key.node)).toBe(false);
      expect(shown.slashed).toEqual([]);
    });
  });

  test('with trainers that are started anew after each of their transactions ends with the same model', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      // Each process is killed right after its first transaction: what it committed or revealed, the next one must find out.
      for (const trainer of world.trainers) trainer.restart({ method: 'send', count: 1 });
      const order = await tinyOrder();
      const job = await world.submit(order);
      await world.until(async () => {
        for (const trainer of world.trainers) if (trainer.life.dead) trainer.restart({ method: 'send', count: 1 });
        return (await world.reader.job(job))?.status === 'completed';
      });
      await world.turn();
      models.set('restarting trainers', (await world.shown(job)).model);
      expect(await world.audit(job)).toMatchObject({ ok: true });
      expect(slotsOf(await world.record(job)).every(({ rewarded }) => rewarded !== null)).toBe(true);
    });
  });

  test('gave the same model each time', () => {
    expect(models.size).toBe(4);
    expect(new Set(models.values()).size).toBe(1);
  });
});

describe('a job whose slots carry their momentum over a skewed split', () => {
  const skewed: Partial<JobSpec> = { rounds: 2, slotState: 'carry', split: { kind: 'dirichlet', alpha: 0.5 } };

  test('ends with the same model with five honest trainers and with eight of whom one lies and one vanishes', async () => {
    const honest = await inWorld({ trainers: 5 }, (world) => runJob(world, skewed));
    const troubled = await inWorld({ trainers: 8, liars: [3] }, (world) =>
      runJob(world, skewed, (started) => vanishInRoundOne(started, started.trainers[0] as Participant)),
    );
    expect(troubled.shown.model).toBe(honest.shown.model);
    expect(troubled.shown.slashed).toHaveLength(1);
    const reset = await inWorld({ trainers: 5 }, (world) => runJob(world, { ...skewed, slotState: 'reset' }));
    expect(reset.shown.checkpoints[0]?.model).toBe(honest.shown.checkpoints[0]?.model);
    expect(reset.shown.model).not.toBe(honest.shown.model);
  });
});
