/**
 * Whole jobs that settle in batches, over the real contracts: the same models as in direct settlement, whoever lies, vanishes or withholds.
 */
import { decodeLinked, digestOf, encodeLinked, type JobSpec, plainPolicy, type Root } from '@muster/protocol';
import { accuracyBasisPoints, batchReward, commitmentList, evenShare, penaltyOf } from '@muster/round';
import { describe, expect, test } from 'vitest';
import { booksOf } from '../../../apps/cli/src/money.ts';
import { commitmentListKind } from '../src/batches.ts';
import { batchMoney, type JobRecord, objectCid, readCheckpoint, reader, type RoundRecord } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { batchedPolicy, type CoordinatorPorts, inWorld, type Participant, type Shown, stakeWei, type World } from './support/world.ts';

interface Ended {
  readonly record: JobRecord;
  readonly shown: Shown;
}

const roundsOf = ({ rounds }: JobRecord): RoundRecord[] => [...rounds.values()];
const paidIn = ({ batch }: RoundRecord): number => batch.finalized?.paid ?? 0;

/** Runs a batched job to its end, until everybody has claimed, and checks what must hold for every such job. */
async function runBatched(world: World, changes: Partial<JobSpec>, roundTimeout: number = batchedPolicy.roundTimeout): Promise<Ended> {
  const order = await tinyOrder(changes);
  const job = await world.submit(order, 10n ** 15n, { ...batchedPolicy, roundTimeout });
  await world.finish(job);
  for (let turns = 0; turns < 4; turns++) await world.turn();
  const record = await world.record(job);
  const shown = await world.shown(job);
  expect(shown.checkpoints).toHaveLength(order.spec.rounds);
  const { budgetWei, rounds, tasks } = record.submitted;
  const slotWei = evenShare(record.submitted);
  let earned = 0n;
  let unclaimed = 0n;
  for (const round of roundsOf(record)) {
    const money = batchMoney(round.batch);
    expect(money.earnedWei).toBe(slotWei * BigInt(paidIn(round)));
    earned += money.earnedWei;
    unclaimed += money.unclaimedWei;
  }
  expect(earned + (record.ended?.refundWei ?? 0n)).toBe(budgetWei);
  expect(await world.reader.credit(world.info.contracts.batchedProofOfCompute)).toBe(unclaimed);
  expect(await booksOf(world.reader, await world.history())).toMatchObject({ addsUp: true });
  expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: rounds * tasks, aggregations: rounds });
  return { record, shown };
}

const small = { rounds: 2, tasks: 2 } as const;
let direct: Promise<string | null> | null = null;
/** The model of the small job where it settles directly. */
const directModel = (): Promise<string | null> =>
  (direct ??= inWorld({ trainers: 4 }, async (world) => {
    const job = await world.submit(await tinyOrder(small));
    await world.finish(job);
    return (await world.shown(job)).model;
  }));

/** Lets messages of one kind from `node` arrive as nothing that can be read, whatever it sends. */
function garbleMessages(world: World, { key }: Participant, garbled: string): void {
  const seal = world.seal.bind(world);
  world.seal = (sealing, kind, body) => (sealing.node === key.node && kind === garbled ? new Uint8Array(8) : seal(sealing, kind, body));
}

describe('a batched job', () => {
  test('ends with the model of the direct one, and every node claims what it earned', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      for (const { batch, tasks } of roundsOf(record)) {
        expect(tasks.size).toBe(0);
        expect(batch.committed?.commitments).toBe(6);
        expect(batch.finalized?.paid).toBe(6);
        expect(batch.proofs?.count).toBe(6);
        expect(batch.forcedCommits.size + batch.forcedReveals.size).toBe(0);
        expect(batchMoney(batch).unclaimedWei).toBe(0n);
      }
    });
  });

  test('convicts a liar once its round is settled, and the liar works no more', async () => {
    await inWorld({ trainers: 5, liars: [4] }, async (world) => {
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      const liar = world.trainers[4] as Participant;
      expect(shown.slashed).toEqual([liar.key.node]);
      expect(liar.ended).toBe('NODE_INACTIVE');
      const convicted = roundsOf(record).flatMap(({ batch }, round) =>
        [...batch.convictions.values()].map(({ node }) => ({ node, round })),
      );
      expect(convicted.length).toBeGreaterThan(0);
      expect(new Set(convicted.map(({ round }) => round)).size).toBe(1);
      const { slashed } = await world.history();
      let leftWei = stakeWei;
      for (const [index, { amountWei, offence }] of (slashed.get(liar.key.node) ?? []).entries()) {
        expect(offence).toBe('fakeGradients');
        expect(amountWei).toBe(penaltyOf(offence, leftWei, index + 1, 0n).amountWei);
        leftWei -= amountWei;
      }
      const claims = roundsOf(record).flatMap(({ batch }) => [...batch.claims.values()]);
      expect(claims.filter(({ node }) => node === liar.key.node)).toEqual([]);
      expect(claims).toHaveLength(roundsOf(record).reduce((sum, round) => sum + paidIn(round), 0));
    });
  });

  test('goes on without a trainer that vanishes before it commits: nobody takes its place, and its part goes back', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const victim = world.trainers[0] as Participant;
      world.onReport = ({ event, fields }) => {
        if (event === 'round.assigned' && fields['round'] === 1) victim.vanish();
      };
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      expect(shown.replaced).toEqual([]);
      expect(shown.slashed).toEqual([]);
      expect(roundsOf(record).map(paidIn)[1]).toBeLessThan(6);
    });
  });

  test('waits for a trainer that committed and vanished as long as it could open on chain, then goes on', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const victim = world.trainers[0] as Participant;
      world.onReport = ({ event, fields }) => {
        if (event === 'batch.listed' && fields['round'] === 1) victim.vanish();
      };
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      const { batch } = roundsOf(record)[1] as RoundRecord;
      expect(batch.committed?.commitments).toBe(6);
      expect(batch.finalized?.paid).toBeLessThan(6);
      expect((batch.finalized?.time ?? 0) - (batch.committed?.closesAt ?? 0)).toBeGreaterThanOrEqual(batchedPolicy.roundTimeout / 8);
    });
  });
});

test('a batched job that is stopped in the middle of a round pays what was settled, keeps a reserve and can be audited', async () => {
  await inWorld({ trainers: 3 }, async (world) => {
    const job = await world.submit(await tinyOrder(small), 10n ** 15n, batchedPolicy);
    await world.until(() => world.reported('batch.listed').some(({ fields }) => fields['round'] === 1));
    await world.organizer.send({ call: 'cancelJob', job });
    for (let turns = 0; turns < 6; turns++) await world.turn();
    const record = await world.record(job);
    expect(record.status).toBe('cancelled');
    expect((await world.reader.job(job))?.reserveWei).toBeGreaterThan(0n);
    const [first, second] = roundsOf(record);
    expect(first?.batch.claims.size).toBe(6);
    expect(second?.batch.finalized).toBeNull();
    expect(await booksOf(world.reader, await world.history())).toMatchObject({ addsUp: true });
    expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: 2 });
  });
});

test('a batched job that pays for accuracy pays what the model gained, and the audit agrees to the wei', async () => {
  await inWorld({ trainers: 3 }, async (world) => {
    const terms = { ...plainPolicy(2).reward, model: 'perAccuracyGain', bonusBasisPoints: 3000, targetGainBasisPoints: 3000 } as const;
    const job = await world.submit(await tinyOrder(small), 10n ** 15n, { ...batchedPolicy, reward: terms });
    const record = await world.finish(job);
    const paidJob = { ...record.submitted, reward: terms };
    let best = 0;
    for (const { batch, finalized } of record.rounds.values()) {
      const { evaluation } = await readCheckpoint(reader(world.blobs), objectCid(finalized?.checkpointCid as Root));
      const accuracy = accuracyBasisPoints(evaluation);
      const slotWei = batchReward(paidJob, accuracy, best);
      best = Math.max(best, accuracy);
      expect(batch.finalized?.amountWei).toBe(6n * slotWei);
    }
    const [first, second] = roundsOf(record).map(({ batch }) => batch.finalized?.amountWei ?? 0n);
    expect(first).toBeGreaterThan(second ?? 0n);
    expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null });
  });
});

describe('a trainer of a batched job', () => {
  test('claims eight rounds as soon as they have gathered, and the rest when the job has ended', async () => {
    await inWorld({ trainers: 3 }, async (world) => {
      const { record } = await runBatched(world, { rounds: 9, tasks: 1, localSteps: 1, digestInterval: 1, commitTimeoutMs: 8000 }, 60);
      const [eighth, ninth] = roundsOf(record).slice(7);
      for (const { batch } of roundsOf(record)) expect(batch.claims.size).toBe(3);
      const endedAt = record.ended?.block ?? 0;
      expect(Math.max(...[...(eighth?.batch.claims.values() ?? [])].map(({ block }) => block))).toBeLessThan(endedAt);
      expect(Math.min(...[...(ninth?.batch.claims.values() ?? [])].map(({ block }) => block))).toBeGreaterThan(endedAt);
    });
  });

  test('commits on chain when the coordinator does not take its commitments, and is paid like everybody', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const victim = world.trainers[0] as Participant;
      garbleMessages(world, victim, 'commitment');
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      const forced = roundsOf(record).flatMap(({ batch }) => [...batch.forcedCommits.values()]);
      expect(forced.length).toBeGreaterThan(0);
      expect(forced.every(({ node }) => node === victim.key.node)).toBe(true);
      expect(roundsOf(record).map(paidIn)).toEqual([6, 6]);
    });
  });

  test('commits on chain when the coordinator took its commitment and left it out of the list', async () => {
    const left = new Set<Root>();
    await inWorld({ trainers: 4, coordinatorPorts: (ports) => leavingOutTheFirst(ports, left) }, async (world) => {
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      for (const { batch } of roundsOf(record)) {
        expect(batch.committed?.commitments).toBe(5);
        expect([...batch.forcedCommits.values()].map(({ slotIndex, commitment }) => [slotIndex, left.has(commitment)])).toEqual([
          [0, true],
        ]);
      }
      expect(roundsOf(record).map(paidIn)).toEqual([6, 6]);
    });
  });

  test('opens on chain when the coordinator does not take its openings, and is paid like everybody', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const victim = world.trainers[0] as Participant;
      garbleMessages(world, victim, 'opening');
      const { record, shown } = await runBatched(world, small);
      expect(shown.model).toBe(await directModel());
      const forced = roundsOf(record).flatMap(({ batch }) => [...batch.forcedReveals.values()]);
      expect(forced.length).toBeGreaterThan(0);
      expect(forced.every(({ node }) => node === victim.key.node)).toBe(true);
      expect(roundsOf(record).map(paidIn)).toEqual([6, 6]);
    });
  });
});

/** A coordinator whose lists have nothing in the first place; `left` gets the commitments it left out. */
function leavingOutTheFirst({ chain, blobs, log }: CoordinatorPorts, left: Set<Root>): CoordinatorPorts {
  const send: typeof chain.send = async (call) => {
    if (call.call !== 'commitBatch') return chain.send(call);
    const bytes = (await blobs.get(objectCid(call.contentCid))) as Uint8Array;
    const { commitments } = decodeLinked(commitmentListKind, bytes);
    if (commitments[0]) left.add(commitments[0].commitment);
    const shorter = commitments.with(0, null);
    const stored = encodeLinked({ version: 1, job: call.job, round: call.round, commitments: shorter });
    await blobs.put(stored.bytes, 'dag-cbor');
    const { hash, count } = commitmentList(shorter.map((entry) => entry?.commitment ?? null));
    return chain.send({ ...call, commitmentsHash: hash, commitments: count, contentCid: digestOf(stored.cid) });
  };
  const bent = new Proxy(chain, {
    get(target, name) {
      if (name === 'send') return send;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (...given: unknown[]): unknown => Reflect.apply(value, target, given) as unknown : value;
    },
  });
  return { chain: bent, blobs, log };
}
