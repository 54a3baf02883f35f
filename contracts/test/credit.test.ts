/** Crediting paid work to its nodes, apart from paying it; and that a round pays by the terms it was assigned with. */
import type { SlotId } from '@muster/ports';
import { plainPolicy } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accuracyBonus, slotReward } from '../../packages/round/src/reward.ts';
import { deployed } from './lone.ts';
import { ether, JobDriver, minStakeWei, refusal, rootOf, startTestChain, type TestChain } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const right = rootOf('right');
const wrong = rootOf('wrong');
let jobs = 0;
const newJob = (budgetWei = 6_000n, rounds = 2): Promise<JobDriver> =>
  JobDriver.submit(chain, { rounds, tasks: 1, redundancy: 3, budgetWei }, `credit ${jobs++}`);

async function revealed(driver: JobDriver, round = 0, roots = [right, right, wrong]): Promise<void> {
  await driver.open(round);
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [slot, root] of roots.entries()) await driver[phase](round, 0, slot, root);
  }
}

const place = (driver: JobDriver, slot: number): SlotId => ({ job: driver.job, round: 0, task: 0, slot });
/** By somebody who has nothing to do with the job. */
const credit = async (...places: SlotId[]) => (await chain.actor(11)).send({ call: 'creditNodes', places });
const acceptedOf = async (driver: JobDriver, slot: number) => (await chain.reader.reputation(driver.seat(0, slot).node)).accepted;
const freeOf = (driver: JobDriver, slot: number) => deployed(chain, 'nodeCertRegistry').read('freeStake', [driver.seat(0, slot).node]);

test('anybody has paid slots credited, once each: the node’s reputation rises and its stake is free again', async () => {
  const driver = await newJob();
  await revealed(driver);
  expect(await freeOf(driver, 0)).toBe(minStakeWei - 1_000n);
  expect(await refusal(credit(place(driver, 0)))).toEqual({ error: 'NotRewarded', task: 0, slot: 0 });
  await driver.finalize(0, [[0, right]]);
  // Payment alone changes neither.
  expect([await acceptedOf(driver, 0), await freeOf(driver, 0)]).toEqual([0, minStakeWei - 1_000n]);

  const { events } = await credit(place(driver, 0));
  expect(events).toMatchObject([{ event: 'NodeCredited', ...place(driver, 0), node: driver.seat(0, 0).node }]);
  expect([await acceptedOf(driver, 0), await freeOf(driver, 0)]).toEqual([1, minStakeWei]);
  // What is counted already is passed over, twice in a call as well; what is new beside it is counted.
  const more = await credit(place(driver, 0), place(driver, 1), place(driver, 1));
  expect(more.events).toMatchObject([{ event: 'NodeCredited', ...place(driver, 1) }]);
  expect([await acceptedOf(driver, 0), await acceptedOf(driver, 1)]).toEqual([1, 1]);
  expect((await credit(place(driver, 0), place(driver, 1))).events).toEqual([]);
  expect((await credit()).events).toEqual([]);
  // One place that was not paid refuses the call as a whole.
  expect(await refusal(credit(place(driver, 0), place(driver, 2)))).toEqual({ error: 'NotRewarded', task: 0, slot: 2 });
  expect(await refusal(credit({ ...place(driver, 0), round: 7 }))).toEqual({ error: 'NotRewarded', task: 0, slot: 0 });
});

test('a result that was convicted after it was paid is credited no more, and stays convicted where it was', async () => {
  const driver = await newJob();
  await revealed(driver, 0, [wrong, wrong, right]);
  await driver.finalize(0, [[0, wrong]]);
  await credit(place(driver, 0));
  for (const slot of [0, 1]) await driver.convict(0, 0, slot, right, driver.coordinator, 'gradientMismatch');
  for (const slot of [0, 1]) expect(await refusal(credit(place(driver, slot)))).toEqual({ error: 'NotRewarded', task: 0, slot });
  const slotOf = (slot: number) => deployed(chain, 'proofOfCompute').read('slotOf', [driver.job, 0n, 0, slot]);
  expect(await slotOf(0)).toMatchObject({ status: 6, credited: true, rewardWei: 1_000n, resultRoot: wrong });
  expect(await slotOf(1)).toMatchObject({ status: 6, credited: false, rewardWei: 1_000n, resultRoot: wrong });
  expect([await acceptedOf(driver, 0), await acceptedOf(driver, 1)]).toEqual([1, 0]);
});

test('work of an ended job that was settled is credited too, and work credited long after frees nothing of newer work', async () => {
  const driver = await newJob((ether * 6n) / 10n, 1);
  await revealed(driver);
  await driver.owner.send({ call: 'cancelJob', job: driver.job });
  const { operator, node } = driver.seat(0, 0);
  await operator.send({ call: 'settleTask', job: driver.job, round: 0, task: 0, resultRoot: right });
  // Two windows on, the exposure of the old work has rolled off by itself, and the same node has new work.
  await chain.elapse(3 * 24 * 3600);
  const next = await newJob((ether * 6n) / 10n, 1);
  await next.open(0);
  await next.coordinator.send({ call: 'reassign', job: next.job, round: 0, task: 0, slot: 0, node });
  const seats = [driver.seat(0, 0), next.seat(0, 1), next.seat(0, 2)];
  for (const [slot, seat] of seats.entries()) await next.commit(0, 0, slot, right, seat);
  await next.reveal(0, 0, 0, right, seats[0]);
  const free = await freeOf(driver, 0);
  expect(free).toBe(minStakeWei - (ether * 2n) / 10n);
  await credit(place(driver, 0));
  expect([await acceptedOf(driver, 0), await freeOf(driver, 0)]).toEqual([1, free]);
});

test('a round pays by the budget it was assigned with; a sponsor’s money counts from the next one on', async () => {
  const pool = await chain.actor(0);
  await pool.send({ call: 'depositEmission', amountWei: ether });
  await chain.mine(20);
  const driver = await newJob();
  const paidIn = async (round: number): Promise<bigint[]> => {
    const { events } = await driver.finalize(round, [[0, right]]);
    return events.flatMap((event) => (event.event === 'RewardCredited' ? [event.amountWei] : []));
  };
  await revealed(driver, 0);
  await pool.send({ call: 'sponsorJob', job: driver.job, amountWei: 6_000n });
  expect(await paidIn(0)).toEqual([1_000n, 1_000n]);
  await revealed(driver, 1);
  expect(await paidIn(1)).toEqual([2_000n, 2_000n]);
  expect(await chain.reader.job(driver.job)).toMatchObject({ budgetWei: 12_000n, paidWei: 6_000n });
});

test('a job that is sponsored and cancelled in the middle of a round pays its open round as it was assigned, and returns the rest', async () => {
  const pool = await chain.actor(0);
  await pool.send({ call: 'depositEmission', amountWei: ether });
  await chain.mine(20);
  const driver = await newJob();
  await revealed(driver);
  await pool.send({ call: 'sponsorJob', job: driver.job, amountWei: 6_000n });
  await driver.owner.send({ call: 'cancelJob', job: driver.job });
  // A round of two, of twice the money.
  expect(await chain.reader.job(driver.job)).toMatchObject({ budgetWei: 12_000n, reserveWei: 6_000n });
  const { operator } = driver.seat(0, 0);
  const { events } = await operator.send({ call: 'settleTask', job: driver.job, round: 0, task: 0, resultRoot: right });
  expect(events.flatMap((event) => (event.event === 'RewardCredited' ? [event.amountWei] : []))).toEqual([1_000n, 1_000n]);
  await chain.elapse(plainPolicy(1).roundTimeout + 1);
  await operator.send({ call: 'releaseReserve', job: driver.job });
  expect(await chain.reader.job(driver.job)).toMatchObject({ paidWei: 2_000n, reserveWei: 0n });
});

test.each([
  ['small batches', 'perBatch', 60, 64, 0],
  ['batches beyond what counts', 'perBatch', 6_000, 4096, 0],
  ['less of a gain than its target without a bonus', 'perAccuracyGain', 0, 0, 99],
  ['a gain with the part of the bonus that it has earned', 'perAccuracyGain', 0, 0, 150],
] as const)('a round pays %s as the terms say that it was assigned with', async (name, model, gpuSecondsPerTask, batchSize, accuracy) => {
  const gain = { bonusBasisPoints: 9_000, targetGainBasisPoints: 100 };
  const reward = { ...plainPolicy(1).reward, model, gpuSecondsPerTask, batchSize, scoreTotal: 2, ...gain };
  const terms = { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 10_000n, policy: { reward } };
  const driver = await JobDriver.submit(chain, terms, name);
  await revealed(driver, 0, [right]);
  const { events } = await driver.finalize(0, [[0, right, '0x', 1]], accuracy);
  const rewards = events.flatMap((event) => (event.event === 'RewardCredited' ? [event.amountWei] : []));
  const base = slotReward({ ...terms, reward }, 1);
  expect(rewards).toEqual([base + accuracyBonus({ ...terms, reward }, base, 1, accuracy, 0)]);
  expect(base).toBeGreaterThan(0n);
});

test('a slot is open while a commitment would be taken: assigned or given to another node, in a round that is not over', async () => {
  const driver = await newJob();
  const slotOpen = (slot: number) => deployed(chain, 'proofOfCompute').read('slotOpen', [driver.job, 0n, 0, slot]);
  await driver.open(0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 0, slot: 1, node: driver.seat(0, 2).node });
  await driver.commit(0, 0, 2, right);
  expect(await Promise.all([0, 1, 2, 3].map(slotOpen))).toEqual([true, true, false, false]);
  await driver.finalize(0, []);
  expect(await Promise.all([0, 1, 2, 3].map(slotOpen))).toEqual([false, false, false, false]);
});

test('a job that ended or was paused takes no round as final, whatever was accepted', async () => {
  const paused = await newJob();
  await revealed(paused);
  await paused.owner.send({ call: 'pauseJob', job: paused.job });
  expect(await refusal(paused.finalize(0, [[0, right]]))).toEqual({ error: 'JobNotRunning', job: paused.job });
  const ended = await newJob();
  await revealed(ended);
  await ended.owner.send({ call: 'cancelJob', job: ended.job });
  expect(await refusal(ended.finalize(0, []))).toEqual({ error: 'JobNotRunning', job: ended.job });
  expect(await refusal(ended.finalize(0, [[0, right]]))).toEqual({ error: 'JobEnded', job: ended.job });
});
