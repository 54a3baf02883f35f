/** Whole jobs that settle in batches, over the real contracts: the same models as in direct settlement, whoever lies, vanishes or withholds. */
import type { JobSpec } from '@muster/protocol';
import { evenShare } from '@muster/round';
import { describe, expect, test } from 'vitest';
import { batchMoney, type JobRecord, type RoundRecord } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { inWorld, type Shown, type World } from './support/world.ts';

/** Nodes have an eighth of this to act for themselves: 15 s. */
const batched = { settlement: 'batched', roundTimeout: 120 } as const;

interface Ended {
  readonly record: JobRecord;
  readonly shown: Shown;
}

const roundsOf = ({ rounds }: JobRecord): RoundRecord[] => [...rounds.values()];

/** Runs a batched job to its end, until everybody has claimed, and checks what must hold for every such job. */
async function runBatched(world: World, changes: Partial<JobSpec> = {}): Promise<Ended> {
  const order = await tinyOrder(changes);
  const job = await world.submit(order, 10n ** 15n, batched);
  await world.finish(job);
  for (let turns = 0; turns < 4; turns++) await world.turn();
  const record = await world.record(job);
  const shown = await world.shown(job);
  expect(shown.checkpoints).toHaveLength(order.spec.rounds);
  const { budgetWei, rounds, tasks } = record.submitted;
  const slotWei = evenShare(record.submitted);
  let earned = 0n;
  for (const { batch } of roundsOf(record)) {
    const money = batchMoney(batch);
    expect(money.earnedWei).toBe(slotWei * BigInt(batch.finalized?.paid ?? 0));
    earned += money.earnedWei;
  }
  expect(earned + (record.ended?.refundWei ?? 0n)).toBe(budgetWei);
  expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: rounds * tasks, aggregations: rounds });
  return { record, shown };
}

/** The model of the direct job with the same order. */
async function directModel(): Promise<string | null> {
  return inWorld({ trainers: 5 }, async (world) => {
    const job = await world.submit(await tinyOrder());
    await world.finish(job);
    return (await world.shown(job)).model;
  });
}

describe('a batched job of three rounds', () => {
  test('ends with the model of the direct one, and every node claims what it earned', async () => {
    const model = await directModel();
    await inWorld({ trainers: 5 }, async (world) => {
      const { record, shown } = await runBatched(world);
      expect(shown.model).toBe(model);
      for (const { batch, tasks } of roundsOf(record)) {
        expect(tasks.size).toBe(0);
        expect(batch.committed?.commitments).toBe(9);
        expect(batch.finalized?.paid).toBe(9);
        expect(batch.forcedCommits.size + batch.forcedReveals.size).toBe(0);
        expect(batchMoney(batch).unclaimedWei).toBe(0n);
      }
      expect(await world.reader.credit(world.info.contracts.batchedProofOfCompute)).toBe(0n);
    });
  });
});
