/** What becomes of an open round when its job ends early, of results convicted after they were paid, and of what is on record. */
import type { Root } from '@muster/protocol';
import { createPublicClient } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { proofOfComputeAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import {
  JobDriver,
  minStakeWei,
  nodeOf,
  refusal,
  register,
  rootOf,
  type Seat,
  startTestChain,
  type TestChain,
  zeroRoot,
} from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const TIMEOUT = 1_000;
const policy = { roundTimeout: TIMEOUT };
const shape = { rounds: 2, tasks: 1, redundancy: 3, budgetWei: 6001n, policy };
/** An even share of the budget, and the same rounded up, which is what a slot puts at stake. */
const SHARE = 1000n;
const EXPOSURE = 1001n;
/** What is kept of the budget for the open round. */
const RESERVE = 3001n;
const place = { task: 0, slot: 0 };
const right = rootOf('right');
const wrong = rootOf('wrong');
let jobs = 0;
const newJob = (overrides: Partial<typeof shape> = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { ...shape, ...overrides }, `settle ${jobs++}`);

async function commitAll(driver: JobDriver, roots: readonly Root[], round = 0): Promise<void> {
  await driver.open(round);
  for (const [slot, root] of roots.entries()) await driver.commit(round, 0, slot, root);
}

async function revealAll(driver: JobDriver, roots: readonly Root[], round = 0): Promise<void> {
  for (const [slot, root] of roots.entries()) await driver.reveal(round, 0, slot, root);
}

const settle = (driver: JobDriver, resultRoot: Root, task = 0, round = 0) =>
  driver.seat(0, 0).operator.send({ call: 'settleTask', job: driver.job, round, task, resultRoot });

/** Reported by actor 10, who has nothing to do with the job. */
async function report(driver: JobDriver, slot: number, seat: Seat = driver.seat(0, slot), round = 0) {
  const proof = driver.proof(round, 0, slot);
  return (await chain.actor(10)).send({ call: 'reportUnrevealed', job: driver.job, round, task: 0, slot, node: seat.node, proof });
}

const cancel = (driver: JobDriver) => driver.owner.send({ call: 'cancelJob', job: driver.job });

async function fail(driver: JobDriver): Promise<void> {
  await chain.elapse(TIMEOUT + 1);
  await (await chain.actor(10)).send({ call: 'failJob', job: driver.job });
}

for (const [how, end] of [
  ['cancelled', cancel],
  ['failed', fail],
] as const) {
  test(`finished work of the open round of a ${how} job is still revealed and paid, out of what was kept`, async () => {
    const driver = await newJob();
    await commitAll(driver, [right, right, wrong]);
    const open = { error: 'JobStillOpen', job: driver.job };
    expect(await refusal(settle(driver, right))).toEqual(open);
    await end(driver);
    expect(await chain.reader.job(driver.job)).toMatchObject({ status: how, reserveWei: RESERVE, paidWei: 0n });
    await revealAll(driver, [right, right, wrong]);
    expect(await refusal(settle(driver, zeroRoot))).toEqual({ error: 'ResultRootMissing' });
    expect(await refusal(settle(driver, wrong))).toMatchObject({ error: 'NoMajority', count: 1 });
    expect(await refusal(settle(driver, right, 1))).toMatchObject({ error: 'NoMajority', task: 1, count: 0 });
    expect(await refusal(settle(driver, right, 0, 1))).toEqual({ error: 'RoundNotAssigned', job: driver.job, round: 1n });
    const { events } = await settle(driver, right);
    expect(events).toMatchObject([
      { event: 'RewardCredited', slot: 0, amountWei: SHARE },
      { event: 'RewardCredited', slot: 1, amountWei: SHARE },
      { event: 'TaskFinalized', paid: 2 },
    ]);
    expect(await chain.reader.job(driver.job)).toMatchObject({ reserveWei: RESERVE - 2n * SHARE, paidWei: 2n * SHARE });
    // Once: whoever was paid still counts, but there is nobody left to pay.
    expect((await settle(driver, right)).events).toMatchObject([{ event: 'TaskFinalized', paid: 0 }]);
    expect(await chain.reader.job(driver.job)).toMatchObject({ reserveWei: RESERVE - 2n * SHARE, paidWei: 2n * SHARE });
    // The rest waits until nobody can be paid from it any more.
    const release = { call: 'releaseReserve', job: driver.job } as const;
    expect(await refusal(driver.owner.send(release))).toMatchObject({ error: 'StillInTime' });
    await chain.elapse(TIMEOUT + 1);
    const credit = await chain.reader.credit(driver.owner.account);
    await driver.coordinator.send(release);
    expect((await chain.reader.credit(driver.owner.account)) - credit).toBe(RESERVE - 2n * SHARE);
    expect(await refusal(driver.owner.send(release))).toEqual({ error: 'NothingReserved', job: driver.job });
  });

  test(`who reveals after the others of a ${how} job were paid is paid as well, and nobody twice`, async () => {
    const driver = await newJob();
    await commitAll(driver, [right, right, right]);
    await end(driver);
    for (const slot of [0, 2]) await driver.reveal(0, 0, slot, right);
    expect((await settle(driver, right)).events.at(-1)).toMatchObject({ event: 'TaskFinalized', paid: 2 });
    await driver.reveal(0, 0, 1, right);
    expect((await settle(driver, right)).events).toMatchObject([
      { event: 'RewardCredited', slot: 1, node: driver.seat(0, 1).node, amountWei: SHARE },
      { event: 'TaskFinalized', paid: 1 },
    ]);
    expect(await chain.reader.job(driver.job)).toMatchObject({ reserveWei: RESERVE - 3n * SHARE, paidWei: 3n * SHARE });
  });

  test(`after its window a ${how} job pays nobody, and who committed and kept silent is reported`, async () => {
    const driver = await newJob();
    await commitAll(driver, [right, right, wrong]);
    expect(await refusal(report(driver, 2))).toEqual({ error: 'JobStillOpen', job: driver.job });
    await end(driver);
    expect(await refusal(report(driver, 2))).toEqual({ error: 'JobStillOpen', job: driver.job });
    await driver.reveal(0, 0, 0, right);
    await driver.reveal(0, 0, 1, right);
    await chain.elapse(TIMEOUT + 1);
    expect(await refusal(settle(driver, right))).toEqual({ error: 'SettlementOver', job: driver.job });
    const { node } = driver.seat(0, 2);
    const before = (await chain.reader.reputation(node)).missed;
    const slashedWei = how === 'failed' ? EXPOSURE : 0n;
    const { events } = await report(driver, 2);
    expect(events.find(({ event }) => event === 'UnrevealedReported')).toMatchObject({ slot: 2, node, slashedWei });
    expect((await chain.reader.reputation(node)).missed).toBe(before + 1);
    const challenger = events.find(({ event }) => event === 'SlashDivided');
    if (how === 'failed') expect(challenger).toMatchObject({ challenger: (await chain.actor(10)).account, challengerWei: 400n });
    expect(await chain.reader.node(node)).toMatchObject({ stakeWei: minStakeWei - slashedWei });
    // Once, and nobody who did reveal.
    for (const slot of [0, 2]) expect(await refusal(report(driver, slot))).toEqual({ error: 'NotCommitted', task: 0, slot });
  });
}

test('who kept silent in a round that is over loses reputation and no stake, whether or not its job fails later', async () => {
  const driver = await newJob();
  await commitAll(driver, [right, right, right]);
  await driver.reveal(0, 0, 0, right);
  expect(await refusal(report(driver, 1))).toEqual({ error: 'JobStillOpen', job: driver.job });
  await driver.finalize(0, []);
  expect(await refusal(report(driver, 0))).toEqual({ error: 'NotCommitted', ...place });
  // A wrong name for the slot, and a right one without its proof.
  const neighbour = { error: 'NodeNotInSlot', node: driver.seat(0, 2).node, task: 0, slot: 1 };
  expect(await refusal(report(driver, 1, driver.seat(0, 2)))).toEqual(neighbour);
  const bare = { call: 'reportUnrevealed', job: driver.job, round: 0, task: 0, slot: 1, node: driver.seat(0, 1).node, proof: [] } as const;
  expect(await refusal(driver.owner.send(bare))).toMatchObject({ error: 'NodeNotInSlot' });
  expect((await report(driver, 1)).events).toMatchObject([{ event: 'UnrevealedReported', slashedWei: 0n }]);
  await fail(driver);
  await chain.elapse(TIMEOUT + 1);
  expect((await report(driver, 2)).events).toMatchObject([{ event: 'UnrevealedReported', slashedWei: 0n }]);
  expect(await refusal(settle(driver, right))).toEqual({ error: 'RoundIsOver', job: driver.job, round: 0n });
  const unknown = { ...bare, job: rootOf('none') as string as typeof driver.job };
  expect(await refusal(driver.owner.send(unknown))).toMatchObject({ error: 'JobUnknown' });
});

test('silence in a failed job costs no more than the stake that is there, and leaves the node suspended', async () => {
  const driver = await newJob({ redundancy: 1, budgetWei: 6n * minStakeWei });
  await commitAll(driver, [right]);
  await fail(driver);
  await chain.elapse(TIMEOUT + 1);
  const { events } = await report(driver, 0);
  expect(events.find(({ event }) => event === 'UnrevealedReported')).toMatchObject({ slashedWei: minStakeWei });
  expect(await chain.reader.node(driver.seat(0, 0).node)).toMatchObject({ status: 'suspended', stakeWei: 0n });
});

test('a slot that was given to another node is reported of that node', async () => {
  const driver = await newJob();
  const heir = { node: nodeOf('silent heir'), operator: await chain.actor(9) };
  await register(heir.operator, heir.node);
  await driver.open(0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, ...place, node: heir.node });
  await driver.commit(0, 0, 0, right, heir);
  await driver.finalize(0, []);
  const former = driver.seat(0, 0);
  expect(await refusal(report(driver, 0))).toEqual({ error: 'NodeNotInSlot', node: former.node, ...place });
  expect((await report(driver, 0, heir)).events).toMatchObject([{ event: 'UnrevealedReported', node: heir.node }]);
  expect(await refusal(report(driver, 1))).toEqual({ error: 'NotCommitted', task: 0, slot: 1 });
});

test('a verdict decides in an ended job too: convicted slots count for nobody, and a root that nobody revealed pays nobody', async () => {
  const driver = await newJob();
  await commitAll(driver, [right, wrong, wrong]);
  await revealAll(driver, [right, wrong, wrong]);
  await cancel(driver);
  await chain.reverting(async () => {
    await driver.convict(0, 0, 0, rootOf('third'));
    expect(await refusal(settle(driver, wrong))).toMatchObject({ error: 'VerdictForOtherRoot', verdictRoot: rootOf('third') });
    expect((await settle(driver, rootOf('third'))).events).toMatchObject([{ event: 'TaskFinalized', paid: 0 }]);
  });
  await driver.convict(0, 0, 1, right);
  expect((await settle(driver, right)).events).toMatchObject([
    { event: 'RewardCredited', slot: 0 },
    { event: 'TaskFinalized', paid: 1 },
  ]);
  // The other liar is still to be had, but no longer in two ways.
  await driver.convict(0, 0, 2, right);
  expect(await refusal(driver.convict(0, 0, 0, wrong))).toMatchObject({ error: 'VerdictConflict' });
});

test('a node in two slots is paid once, also where its first slot is revealed after the second was paid', async () => {
  const driver = await newJob();
  const { job, coordinator } = driver;
  const [twice, once] = [driver.seat(0, 1), driver.seat(0, 2)];
  await driver.open(0);
  await coordinator.send({ call: 'reassign', job, round: 0, ...place, node: twice.node });
  for (const [slot, seat] of [twice, twice, once].entries()) await driver.commit(0, 0, slot, right, seat);
  await cancel(driver);
  for (const [slot, seat] of [
    [1, twice],
    [2, once],
  ] as const) {
    await driver.reveal(0, 0, slot, right, seat);
  }
  expect((await settle(driver, right)).events.at(-1)).toMatchObject({ event: 'TaskFinalized', paid: 2 });
  await driver.reveal(0, 0, 0, right, twice);
  expect((await settle(driver, right)).events).toMatchObject([{ event: 'TaskFinalized', paid: 0 }]);
  expect(await chain.reader.job(job)).toMatchObject({ paidWei: 2n * SHARE });
});

test('a job that ends between rounds keeps nothing back', async () => {
  const driver = await newJob();
  await driver.honestRound(0, () => right);
  await cancel(driver);
  expect(await chain.reader.job(driver.job)).toMatchObject({ reserveWei: 0n, paidWei: 3n * SHARE });
  expect(await refusal(settle(driver, right))).toEqual({ error: 'RoundIsOver', job: driver.job, round: 0n });
});

test('a result convicted after it was paid costs its node the stake and gives the job’s owner a cover, once', async () => {
  const driver = await newJob({ redundancy: 1, budgetWei: 2000n });
  await commitAll(driver, [wrong]);
  await revealAll(driver, [wrong]);
  await driver.finalize(0, [[0, wrong]]);
  const owed = await chain.reader.insured(driver.owner.account);
  const { events } = await driver.convict(0, 0, 0, right);
  expect(events.map(({ event }) => event)).toContain('CoverGranted');
  expect((await chain.reader.insured(driver.owner.account)) - owed).toBe(SHARE);
  expect(await refusal(driver.convict(0, 0, 0, right))).toEqual({ error: 'AlreadyConvicted', ...place });
  expect(await chain.reader.node(driver.seat(0, 0).node)).toMatchObject({ status: 'deactivated', stakeWei: 0n });
  const balance = await chain.reader.balance(driver.owner.account);
  await driver.owner.send({ call: 'claimInsurance' });
  expect((await chain.reader.balance(driver.owner.account)) - balance).toBe(owed + SHARE);
});

test('the cover is never more than the conviction brought: nothing for a node whose stake is gone, a part for a mild offence', async () => {
  const mild = await newJob({ redundancy: 1, budgetWei: minStakeWei });
  await commitAll(mild, [wrong]);
  await revealAll(mild, [wrong]);
  await mild.finalize(0, [[0, wrong]]);
  const owed = await chain.reader.insured(mild.owner.account);
  await mild.convict(0, 0, 0, right, mild.coordinator, 'gradientMismatch');
  // A tenth of the stake, 4 parts in 10 of it; the reward was half the stake.
  expect((await chain.reader.insured(mild.owner.account)) - owed).toBe((minStakeWei * 4n) / 100n);

  const left = await newJob({ redundancy: 1, budgetWei: 2000n });
  await commitAll(left, [wrong]);
  await revealAll(left, [wrong]);
  await left.finalize(0, [[0, wrong]]);
  const { node, operator } = left.seat(0, 0);
  await operator.send({ call: 'startUnbonding', node });
  await chain.elapse(3 * 24 * 3600);
  await operator.send({ call: 'withdrawStake', node });
  const before = await chain.reader.insured(left.owner.account);
  const { events } = await left.convict(0, 0, 0, right);
  expect(events).toMatchObject([{ event: 'Convicted', node }]);
  expect(await chain.reader.insured(left.owner.account)).toBe(before);
});

test('the third dishonest result takes everything, whatever the offence', async () => {
  const driver = await JobDriver.submit(chain, { ...shape, rounds: 3, redundancy: 1 }, 'third time');
  const { node } = driver.seat(0, 0);
  for (const round of [0, 1, 2]) {
    await commitAll(driver, [wrong], round);
    await revealAll(driver, [wrong], round);
    await driver.finalize(round, []);
  }
  const stakes: bigint[] = [];
  for (const [round, offence] of (['gradientMismatch', 'fakeGradients', 'invalidProof'] as const).entries()) {
    await driver.convict(round, 0, 0, right, driver.coordinator, offence);
    stakes.push((await chain.reader.node(node))?.stakeWei ?? -1n);
  }
  expect(stakes).toEqual([(minStakeWei * 9n) / 10n, (minStakeWei * 45n) / 100n, 0n]);
  expect(await chain.reader.node(node)).toMatchObject({ status: 'deactivated', offences: 3 });
});

test('a validator that brings its own verdict has no share in what it takes', async () => {
  const driver = await newJob({ redundancy: 1, budgetWei: 2000n });
  await commitAll(driver, [wrong]);
  await revealAll(driver, [wrong]);
  const credit = await chain.reader.credit(driver.validator.account);
  const { events } = await driver.convict(0, 0, 0, right, driver.validator);
  const division = events.find(({ event }) => event === 'SlashDivided');
  expect(division).toMatchObject({ challenger: null, challengerWei: 0n, insuranceWei: (minStakeWei * 8n) / 10n });
  expect(await chain.reader.credit(driver.validator.account)).toBe(credit);
});

test('a paid slot has a receipt, an unpaid one has none, and both can be read at every stage', async () => {
  const driver = await newJob();
  const client = createPublicClient({ transport: chain.transport });
  const read = { address: chain.info.contracts.proofOfCompute, abi: proofOfComputeAbi };
  const slotOf = (slot: number) => client.readContract({ ...read, functionName: 'slotOf', args: [driver.job, 0n, 0, slot] });
  const slotOpen = (task: number, slot: number) =>
    client.readContract({ ...read, functionName: 'slotOpen', args: [driver.job, 0n, task, slot] });
  const verdictOf = () => client.readContract({ ...read, functionName: 'verdictOf', args: [driver.job, 0n, 0] });
  const receipt = (slot: number) =>
    ask('receipt', () => client.readContract({ ...read, functionName: 'receiptOf', args: [driver.job, 0n, 0, slot] }));
  const [empty, committed, revealed, rewarded, convicted] = [0, 3, 4, 5, 6];
  expect(await slotOpen(0, 0)).toBe(false);
  await driver.open(0);
  expect(await slotOf(0)).toMatchObject({ status: empty, node: zeroRoot });
  expect(await Promise.all([slotOpen(0, 0), slotOpen(0, 3), slotOpen(1, 0)])).toEqual([true, false, false]);
  for (const [slot, root] of [right, right, wrong].entries()) await driver.commit(0, 0, slot, root);
  // Who committed is not read from the slot before it reveals.
  expect(await slotOf(0)).toMatchObject({ status: committed, node: zeroRoot, resultRoot: zeroRoot, revealedAt: 0n });
  expect(await slotOpen(0, 0)).toBe(false);
  await revealAll(driver, [right, right, wrong]);
  expect(await slotOf(2)).toMatchObject({ status: revealed, node: driver.seat(0, 2).node, resultRoot: wrong, rewardedAt: 0n });
  expect(await refusal(receipt(1))).toEqual({ error: 'NotRewarded', task: 0, slot: 1 });
  expect(await verdictOf()).toBe(zeroRoot);
  await driver.convict(0, 0, 2, right);
  expect(await verdictOf()).toBe(right);
  await driver.finalize(0, [[0, right]]);
  const paid = await slotOf(1);
  expect(paid).toMatchObject({ status: rewarded, rewardWei: SHARE, resultRoot: right });
  expect(paid.revealedAt).toBeGreaterThan(0n);
  expect(paid.rewardedAt).toBeGreaterThan(paid.revealedAt);
  expect(await slotOf(2)).toMatchObject({ status: convicted, rewardWei: 0n, rewardedAt: 0n });
  const { node, operator } = driver.seat(0, 1);
  const found = await receipt(1);
  expect(found).toMatchObject({ jobId: driver.job, round: 0n, task: 0, slot: 1, node, resultRoot: right, reward: SHARE });
  expect(found.operator.toLowerCase()).toBe(operator.account);
  expect(found.rewardedAt).toBe(paid.rewardedAt);
  expect(await refusal(receipt(2))).toEqual({ error: 'NotRewarded', task: 0, slot: 2 });
});
