/** Convict and finalize: which results are accepted, what they are paid, and what a round leaves on record. */
import { commitmentOf, holderOf, plainPolicy, type Root } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobDriver, minStakeWei, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const shape = { rounds: 2, tasks: 1, redundancy: 3, budgetWei: 6000n };
let jobs = 0;
const newJob = (overrides: Partial<typeof shape> = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { ...shape, ...overrides }, `finalize ${jobs++}`);
const right = rootOf('right');
const wrong = rootOf('wrong');

/** A round in which every slot of task 0 has committed and revealed the root given for it. */
async function revealed(driver: JobDriver, roots: readonly Root[], round = 0): Promise<void> {
  await driver.open(round);
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [slot, root] of roots.entries()) await driver[phase](round, 0, slot, root);
  }
}

test('a round tells its story in events, in order and whole', async () => {
  const driver = await newJob();
  const from = (await chain.reader.head()).block + 1;
  await revealed(driver, [right, right, wrong]);
  await driver.convict(0, 0, 2, right);
  await driver.finalize(0, [[0, right]]);
  const events = await chain.reader.events(from);
  expect(events.map((event) => event.event)).toEqual([
    'NodesClosed',
    'RoundAssigned',
    'Committed',
    'Committed',
    'Committed',
    'Revealed',
    'Revealed',
    'Revealed',
    'Convicted',
    'NodeSlashed',
    'SlashDivided',
    'InsuranceDeposited',
    'RewardCredited',
    'RewardCredited',
    'TaskFinalized',
    'RoundFinalized',
  ]);
  const slotId = { job: driver.job, round: 0, task: 0 };
  const cheat = driver.seat(0, 2);
  const salt = driver.saltOf(0, 0, 2);
  const commitment = commitmentOf(driver.job, 0, 0, 2, holderOf(cheat.node, cheat.operator.account), salt, wrong);
  expect(events[4]).toMatchObject({ ...slotId, slot: 2, node: cheat.node, commitment });
  expect(events[7]).toMatchObject({
    ...slotId,
    slot: 2,
    node: cheat.node,
    salt,
    resultRoot: wrong,
    resultCid: rootOf('cid'),
    proof: {
      step: 7,
      lossDigest: rootOf('loss'),
      gradientDigest: rootOf('gradient'),
      weightsDigest: rootOf('weights'),
      timestamp: 1_700_000_000_123,
      signature: `0x${'5a'.repeat(64)}`,
    },
  });
  expect(events[8]).toMatchObject({
    ...slotId,
    slot: 2,
    node: cheat.node,
    revealedRoot: wrong,
    correctRoot: right,
    verdictCid: rootOf('verdict'),
  });
  expect(events[8]).toMatchObject({ offence: 'provenCheating' });
  expect(events[9]).toMatchObject({ node: cheat.node, amountWei: minStakeWei, active: false, offence: 'provenCheating' });
  const tenth = minStakeWei / 10n;
  const challenger = driver.coordinator.account;
  const division = { challenger, challengerWei: 4n * tenth, insuranceWei: 4n * tenth, burnedWei: 2n * tenth };
  expect(events[10]).toMatchObject({ node: cheat.node, ...division });
  const { node, operator } = driver.seat(0, 0);
  expect(events[12]).toMatchObject({ ...slotId, slot: 0, node, operator: operator.account, amountWei: 1000n });
  expect(events[14]).toMatchObject({ ...slotId, resultRoot: right, paid: 2 });
  expect(events[15]).toMatchObject({ job: driver.job, round: 0, checkpointCid: rootOf('checkpoint 0'), accuracy: 0 });
  expect(await chain.reader.node(cheat.node)).toMatchObject({ active: false, stakeWei: 0n });
  expect(await chain.reader.job(driver.job)).toMatchObject({ nextRound: 1, paidWei: 2000n });
});

test('evidence convicts only what was revealed, and only if it is wrong', async () => {
  const driver = await newJob();
  const { job } = driver;
  await driver.open(0);
  for (const [slot, root] of [right, wrong, wrong].entries()) await driver.commit(0, 0, slot, root);
  expect(await refusal(driver.convict(0, 0, 1, right))).toEqual({ error: 'NotRevealed', task: 0, slot: 1 });
  for (const [slot, root] of [right, wrong, wrong].entries()) await driver.reveal(0, 0, slot, root);
  expect(await refusal(driver.convict(0, 0, 0, right))).toEqual({ error: 'ResultIsCorrect', resultRoot: right });

  const { coordinator, owner } = driver;
  const evidence = await driver.verdict(0, 0, right);
  const { node } = driver.seat(0, 1);
  const charge = { call: 'convict', job, round: 0, task: 0, slot: 1, node, verdictCid: rootOf('verdict'), evidence } as const;
  const mistaken = { ...charge, node: driver.seat(0, 0).node };
  expect(await refusal(coordinator.send(mistaken))).toEqual({ error: 'NodeNotInSlot', node: mistaken.node, task: 0, slot: 1 });
  const renamed = { ...charge, verdictCid: rootOf('other') };
  expect(await refusal(coordinator.send(renamed))).toEqual({
    error: 'VerdictCidMismatch',
    verdictCid: rootOf('other'),
    evidenceCid: rootOf('verdict'),
  });
  const forged = { ...charge, evidence: await driver.verdict(0, 0, right, owner) };
  const signers = { signer: owner.account, validator: driver.validator.account };
  expect(await refusal(coordinator.send(forged))).toEqual({ error: 'VerdictSignerWrong', ...signers });
  const elsewhere = { ...charge, evidence: await driver.verdict(1, 0, right) };
  expect(await refusal(coordinator.send(elsewhere))).toMatchObject({ error: 'VerdictSignerWrong' });
  const nothing = { ...charge, evidence: await driver.verdict(0, 0, zeroRoot) };
  expect(await refusal(coordinator.send(nothing))).toEqual({ error: 'VerdictEmpty' });
  expect(await refusal(coordinator.send({ ...charge, evidence: '0x1234' }))).toMatchObject({ error: 'Unknown' });

  // Anyone may bring it.
  const anyone = await chain.actor(10);
  expect((await anyone.send(charge)).events).toMatchObject([
    { event: 'Convicted' },
    { event: 'NodeSlashed' },
    { event: 'SlashDivided' },
    { event: 'InsuranceDeposited' },
  ]);
  expect(await refusal(anyone.send(charge))).toEqual({ error: 'AlreadyConvicted', task: 0, slot: 1 });
  const opposite = driver.convict(0, 0, 0, wrong);
  expect(await refusal(opposite)).toEqual({ error: 'VerdictConflict', earlierRoot: right, laterRoot: wrong });
});

test('only the coordinator finalizes, the next round only, with known tasks ascending', async () => {
  const driver = await newJob({ tasks: 2 });
  const { job, owner } = driver;
  expect(await refusal(driver.finalize(0, []))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await revealed(driver, [right, right, right]);
  const byOwner = owner.send({ call: 'finalize', job, round: 0, checkpointCid: zeroRoot, accuracy: 0, accepted: [] });
  expect(await refusal(byOwner)).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  expect(await refusal(driver.finalize(1, []))).toEqual({ error: 'RoundNotAssigned', job, round: 1n });
  expect(
    await refusal(
      driver.finalize(0, [
        [0, right],
        [0, right],
      ]),
    ),
  ).toEqual({ error: 'TasksNotAscending', task: 0 });
  expect(await refusal(driver.finalize(0, [[2, right]]))).toEqual({ error: 'SlotOutOfRange', task: 2, slot: 0 });
  expect(await refusal(driver.finalize(0, [[0, zeroRoot]]))).toEqual({ error: 'ResultRootMissing' });
  expect(await refusal(driver.finalize(0, [], 10_001))).toEqual({ error: 'AccuracyInvalid', accuracy: 10_001 });
  await owner.send({ call: 'pauseJob', job });
  expect(await refusal(driver.finalize(0, []))).toEqual({ error: 'JobNotRunning', job });
  await owner.send({ call: 'resumeJob', job });
  await driver.finalize(0, [[0, right]]);
  // Nothing of the round is taken any more.
  const over = { error: 'RoundIsOver', job, round: 0n };
  expect(await refusal(driver.finalize(0, [[0, right]]))).toEqual(over);
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual(over);
  expect(await refusal(driver.commit(0, 1, 0, right))).toEqual(over);
  expect(await refusal(driver.closeCommits(0, 1))).toEqual(over);
  const reassign = { call: 'reassign', job, round: 0, task: 1, slot: 0, node: driver.seat(0, 0).node } as const;
  expect(await refusal(driver.coordinator.send(reassign))).toEqual({ error: 'RoundOutOfOrder', job, round: 0n, nextRound: 1n });
});

test('a root is accepted by more than half of the slots, not by half of them', async () => {
  const even = await newJob({ redundancy: 2 });
  await revealed(even, [right, wrong]);
  expect(await refusal(even.finalize(0, [[0, right]]))).toEqual({
    error: 'NoMajority',
    task: 0,
    resultRoot: right,
    count: 1,
    redundancy: 2,
  });
  const odd = await newJob();
  await revealed(odd, [right, right, wrong]);
  expect(await refusal(odd.finalize(0, [[0, wrong]]))).toMatchObject({ error: 'NoMajority', count: 1 });
  await odd.finalize(0, [[0, right]]);
});

test('a verdict beats the majority, pays the minority, and nothing else can be accepted after it', async () => {
  const driver = await newJob();
  await revealed(driver, [right, wrong, wrong]);
  await driver.convict(0, 0, 1, right);
  expect(await refusal(driver.finalize(0, [[0, wrong]]))).toEqual({ error: 'VerdictForOtherRoot', resultRoot: wrong, verdictRoot: right });
  const { events } = await driver.finalize(0, [[0, right]]);
  const { node } = driver.seat(0, 0);
  expect(events).toMatchObject([
    { event: 'RewardCredited', slot: 0, node },
    { event: 'TaskFinalized', paid: 1 },
    { event: 'RoundFinalized' },
  ]);
});

test('without a majority, evidence in the finalization names the root, even one that nobody revealed', async () => {
  const driver = await newJob({ redundancy: 2 });
  await revealed(driver, [right, wrong]);
  const other = await driver.verdict(0, 0, wrong);
  expect(await refusal(driver.finalize(0, [[0, right, other]]))).toEqual({
    error: 'VerdictForOtherRoot',
    resultRoot: right,
    verdictRoot: wrong,
  });
  await chain.reverting(async () => {
    const third = rootOf('third');
    const { events } = await driver.finalize(0, [[0, third, await driver.verdict(0, 0, third)]]);
    expect(events).toMatchObject([{ event: 'TaskFinalized', resultRoot: third, paid: 0 }, { event: 'RoundFinalized' }]);
  });
  const { events } = await driver.finalize(0, [[0, right, await driver.verdict(0, 0, right)]]);
  expect(events[1]).toMatchObject({ event: 'TaskFinalized', paid: 1 });
  // The verdict stands, so the other side can be convicted afterwards.
  await driver.convict(0, 0, 1, right);
});

test('scores divide a round and never exceed its total', async () => {
  const policy = { reward: { ...plainPolicy(2).reward, scoreTotal: 10 } };
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 2, redundancy: 1, budgetWei: 1000n, policy }, 'scores');
  await driver.open(0);
  for (const phase of ['commit', 'reveal'] as const) for (const task of [0, 1]) await driver[phase](0, task, 0, right);
  const scored = (first: number, second: number) =>
    driver.finalize(0, [
      [0, right, '0x', first],
      [1, right, '0x', second],
    ]);
  expect(await refusal(scored(11, 0))).toEqual({ error: 'ScoreInvalid', task: 0, score: 11n, left: 10n });
  expect(await refusal(scored(7, 4))).toEqual({ error: 'ScoreInvalid', task: 1, score: 4n, left: 3n });
  const { events } = await scored(7, 3);
  expect(events.flatMap((event) => (event.event === 'RewardCredited' ? [event.amountWei] : []))).toEqual([700n, 300n]);
});

test('a round that gains enough accuracy pays the bonus on top, once for the same gain', async () => {
  const reward = { ...plainPolicy(1).reward, model: 'perAccuracyGain', bonusBasisPoints: 5_000, targetGainBasisPoints: 100 } as const;
  const terms = { rounds: 2, tasks: 1, redundancy: 1, budgetWei: 4000n, policy: { reward } };
  const driver = await JobDriver.submit(chain, terms, 'accuracy');
  const paid: bigint[] = [];
  for (const round of [0, 1]) {
    await revealed(driver, [right], round);
    const { events } = await driver.finalize(round, [[0, right]], 6_000);
    for (const event of events) if (event.event === 'RewardCredited') paid.push(event.amountWei);
  }
  expect(paid).toEqual([2000n, 1000n]);
});

test('a node in two slots of a task is paid once, and counts once for the majority', async () => {
  const driver = await newJob();
  const [twice, once] = [driver.seat(0, 0), driver.seat(0, 2)];
  await driver.open(0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 0, slot: 1, node: twice.node });
  const seats = [twice, twice, once];
  await chain.reverting(async () => {
    for (const phase of ['commit', 'reveal'] as const) {
      for (const [slot, seat] of seats.entries()) await driver[phase](0, 0, slot, slot === 2 ? wrong : right, seat);
    }
    expect(await refusal(driver.finalize(0, [[0, right]]))).toMatchObject({ error: 'NoMajority', count: 1, redundancy: 3 });
  });
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [slot, seat] of seats.entries()) await driver[phase](0, 0, slot, right, seat);
  }
  const { events } = await driver.finalize(0, [[0, right]]);
  expect(events).toMatchObject([
    { event: 'RewardCredited', slot: 0, node: twice.node },
    { event: 'RewardCredited', slot: 2, node: once.node },
    { event: 'TaskFinalized', paid: 2 },
    { event: 'RoundFinalized' },
  ]);
});
