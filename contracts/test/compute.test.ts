import { commitmentOf, type JobId, type NodeId, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { createPublicClient, encodeAbiParameters, keccak256, parseAbiParameters } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { proofOfComputeAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { JobDriver, minStakeWei, nodeOf, refusal, register, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const shape = { rounds: 2, tasks: 1, redundancy: 3, budgetWei: 6000n };
let jobs = 0;
const newJob = (overrides: Partial<typeof shape> = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { ...shape, ...overrides }, `compute ${jobs++}`);
const right = rootOf('right');
const wrong = rootOf('wrong');
const place = { task: 0, slot: 0 };
const read = () => ({ address: chain.info.contracts.proofOfCompute, abi: proofOfComputeAbi });

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
    'CommitsClosed',
    'Revealed',
    'Revealed',
    'Revealed',
    'Convicted',
    'NodeSlashed',
    'RewardCredited',
    'RewardCredited',
    'TaskFinalized',
    'RoundFinalized',
  ]);
  const slotId = { job: driver.job, round: 0, task: 0 };
  const cheat = driver.seat(0, 2);
  const salt = driver.saltOf(0, 0, 2);
  const commitment = commitmentOf(driver.job, 0, 0, 2, cheat.node, salt, wrong);
  expect(events[4]).toMatchObject({ ...slotId, slot: 2, node: cheat.node, commitment });
  expect(events[5]).toMatchObject({ ...slotId, commits: 3 });
  expect(events[8]).toMatchObject({
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
  expect(events[9]).toMatchObject({
    ...slotId,
    slot: 2,
    node: cheat.node,
    revealedRoot: wrong,
    correctRoot: right,
    verdictCid: rootOf('verdict'),
  });
  const provenCheating = `0x${Buffer.from('proven cheating').toString('hex').padEnd(64, '0')}`;
  expect(events[10]).toMatchObject({ node: cheat.node, amountWei: minStakeWei, deactivated: true, reason: provenCheating });
  const { node, operator } = driver.seat(0, 0);
  expect(events[11]).toMatchObject({ ...slotId, slot: 0, node, operator: operator.account, amountWei: 1000n });
  expect(events[13]).toMatchObject({ ...slotId, resultRoot: right, paid: 2 });
  expect(events[14]).toMatchObject({ job: driver.job, round: 0, checkpointCid: rootOf('checkpoint 0') });
  expect(await chain.reader.node(cheat.node)).toMatchObject({ active: false, stakeWei: 0n });
  expect(await chain.reader.job(driver.job)).toMatchObject({ nextRound: 1, paidWei: 2000n });
});

test('a commitment needs its round, slot, operator, an active node and a place in the assignment', async () => {
  const driver = await newJob();
  const { job } = driver;
  const seat = driver.seat(0, 0);
  const unknown = {
    call: 'commit',
    job: rootOf('none') as string as JobId,
    round: 0,
    ...place,
    node: seat.node,
    commitment: right,
    proof: [],
  } as const;
  expect(await refusal(seat.operator.send(unknown))).toMatchObject({ error: 'JobUnknown' });
  expect(await refusal(driver.commit(0, 0, 0, right))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await driver.open(0);
  expect(await refusal(driver.commit(1, 0, 0, right))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
  expect(await refusal(driver.commit(0, 0, 3, right, seat))).toEqual({ error: 'SlotOutOfRange', task: 0, slot: 3 });
  expect(await refusal(driver.commit(0, 1, 0, right, seat))).toEqual({ error: 'SlotOutOfRange', task: 1, slot: 0 });
  const empty = { ...unknown, job, commitment: zeroRoot };
  expect(await refusal(seat.operator.send(empty))).toEqual({ error: 'CommitmentMissing', ...place });
  const thief = await chain.actor(10);
  const stolen = driver.commit(0, 0, 0, right, { node: seat.node, operator: thief });
  expect(await refusal(stolen)).toEqual({ error: 'NotOperator', node: seat.node, caller: thief.account });
  const outsider = nodeOf(`outsider ${job}`);
  await register(thief, outsider);
  const outside = driver.commit(0, 0, 0, right, { node: outsider, operator: thief });
  expect(await refusal(outside)).toEqual({ error: 'NodeNotInSlot', node: outsider, ...place });
  const elsewhere = driver.commit(0, 0, 0, right, driver.seat(0, 1));
  expect(await refusal(elsewhere)).toEqual({ error: 'NodeNotInSlot', node: driver.seat(0, 1).node, ...place });
  await driver.commit(0, 0, 0, right);
  expect(await refusal(driver.commit(0, 0, 0, wrong))).toEqual({ error: 'AlreadyCommitted', ...place });
});

test('a node that lost its stake commits and reveals no more', async () => {
  const driver = await newJob({ tasks: 2, redundancy: 1, budgetWei: 4000n });
  await revealed(driver, [wrong]);
  const cheat = driver.seat(0, 0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 1, slot: 0, node: cheat.node });
  await driver.commit(0, 1, 0, right, cheat);
  await driver.convict(0, 0, 0, right);
  expect(await refusal(driver.reveal(0, 1, 0, right, cheat))).toEqual({ error: 'NodeNotActive', node: cheat.node });
  await driver.finalize(0, []);
  await driver.open(1);
  expect(await refusal(driver.commit(1, 0, 0, right))).toEqual({ error: 'NodeNotActive', node: cheat.node });
});

test('commits close by themselves when the last slot commits, or after the deadline by the coordinator', async () => {
  const driver = await newJob();
  const { job, owner } = driver;
  expect(await refusal(driver.closeCommits(0, 0))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  const deadline = (await chain.reader.head()).time + 1000;
  await driver.open(0, deadline);
  await driver.commit(0, 0, 0, right);
  expect(await refusal(driver.closeCommits(0, 0))).toMatchObject({ error: 'DeadlineNotReached', commitDeadline: BigInt(deadline) });
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'CommitsStillOpen', task: 0 });
  await chain.elapse(1000);
  const byOwner = owner.send({ call: 'closeCommits', job, round: 0, task: 0 });
  expect(await refusal(byOwner)).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  expect(await refusal(driver.closeCommits(0, 1))).toEqual({ error: 'SlotOutOfRange', task: 1, slot: 0 });
  expect((await driver.closeCommits(0, 0)).events).toMatchObject([{ event: 'CommitsClosed', job, round: 0, task: 0, commits: 1 }]);
  expect(await refusal(driver.closeCommits(0, 0))).toEqual({ error: 'CommitsAreClosed', task: 0 });
  expect(await refusal(driver.commit(0, 0, 1, right))).toEqual({ error: 'CommitsAreClosed', task: 0 });
  const late = { call: 'reassign', job, round: 0, task: 0, slot: 1, node: driver.seat(0, 2).node } as const;
  expect(await refusal(driver.coordinator.send(late))).toEqual({ error: 'SlotTaken', task: 0, slot: 1 });
  await driver.reveal(0, 0, 0, right);
});

test('a reveal opens exactly what was committed, once, with a proof bound to job and node', async () => {
  const driver = await newJob();
  const { job } = driver;
  await driver.open(0);
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'NotCommitted', ...place });
  for (const slot of [0, 1, 2]) await driver.commit(0, 0, slot, slot === 2 ? zeroRoot : right);
  expect(await refusal(driver.reveal(0, 0, 0, wrong))).toMatchObject({ error: 'CommitmentMismatch' });
  expect(await refusal(driver.reveal(0, 0, 2, zeroRoot))).toEqual({ error: 'ResultRootMissing' });
  const { node, operator } = driver.seat(0, 0);
  const salt = driver.saltOf(0, 0, 0);
  const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
  const proof = { step: 1, timestamp: 1, signature: '0x1234', ...digests } as const;
  const short = { call: 'reveal', job, round: 0, ...place, node, salt, resultRoot: right, resultCid: zeroRoot, proof } as const;
  expect(await refusal(operator.send(short))).toEqual({ error: 'SignatureLengthInvalid', length: 2n });
  await driver.reveal(0, 0, 0, right);
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'AlreadyRevealed', ...place });

  const seat = driver.seat(0, 1);
  const foreign = { jobId: job, nodePubkey: node, step: 1n, timestamp: 1n, signature: `0x${'00'.repeat(64)}` as const, ...digests };
  const args = [job, 0n, 0, 1, seat.node, driver.saltOf(0, 0, 1), right, zeroRoot, foreign] as const;
  const client = createPublicClient({ transport: chain.transport });
  const call = ask('reveal', () => client.simulateContract({ ...read(), functionName: 'reveal', args, account: seat.operator.account }));
  expect(await refusal(call)).toEqual({ error: 'ProofNotBound', jobId: job, nodePubkey: node });
});

test('a copied commitment opens for nobody but the node it was made for', async () => {
  const driver = await newJob();
  await driver.open(0);
  const { job } = driver;
  const [victim, copycat] = [driver.seat(0, 0), driver.seat(0, 1)];
  const { events } = await driver.commit(0, 0, 0, right);
  const [committed] = events;
  if (committed?.event !== 'Committed') throw new Error('no Committed');
  // The copycat holds slot 1, commits the victim's digest there, and waits for the victim to reveal.
  const outsider = nodeOf(`third ${job}`);
  await register(copycat.operator, outsider);
  for (const slot of [1, 2]) {
    const node = slot === 1 ? copycat.node : outsider;
    await driver.coordinator.send({ call: 'reassign', job, round: 0, task: 0, slot, node });
    await copycat.operator.send({ call: 'commit', job, round: 0, task: 0, slot, node, commitment: committed.commitment, proof: [] });
  }
  await driver.reveal(0, 0, 0, right);
  const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
  const proof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;
  for (const [slot, node] of [copycat.node, outsider].entries()) {
    const salt = driver.saltOf(0, 0, 0);
    const reveal = {
      call: 'reveal',
      job,
      round: 0,
      task: 0,
      slot: slot + 1,
      node,
      salt,
      resultRoot: right,
      resultCid: zeroRoot,
      proof,
    } as const;
    expect(await refusal(copycat.operator.send(reveal))).toMatchObject({ error: 'CommitmentMismatch' });
    // Nor as the node it was made for, which the copycat does not operate.
    const asVictim = { ...reveal, node: victim.node };
    const expected = { error: 'NotOperator', node: victim.node, caller: copycat.operator.account };
    if (copycat.operator.account !== victim.operator.account) expect(await refusal(copycat.operator.send(asVictim))).toEqual(expected);
  }
});

test('a commitment opens for no other place, salt, node or root', async () => {
  const driver = await newJob({ redundancy: 1 });
  await driver.open(0);
  const { job } = driver;
  const { node, operator } = driver.seat(0, 0);
  const salt = driver.saltOf(0, 0, 0);
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `0x${Buffer.from(bytes).toString('hex')}` as Root);
  const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
  const proof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('job', 'round', 'task', 'slot', 'node', 'salt', 'root'),
      bytes32,
      fc.nat(1000),
      async (part, other, number) => {
        const commitment = commitmentOf(
          part === 'job' ? (other as string as JobId) : job,
          part === 'round' ? number + 1 : 0,
          part === 'task' ? number + 1 : 0,
          part === 'slot' ? number + 1 : 0,
          part === 'node' ? (other as string as NodeId) : node,
          part === 'salt' ? other : salt,
          part === 'root' ? other : right,
        );
        await chain.reverting(async () => {
          await operator.send({ call: 'commit', job, round: 0, ...place, node, commitment, proof: [] });
          const reveal = { call: 'reveal', job, round: 0, ...place, node, salt, resultRoot: right, resultCid: zeroRoot, proof } as const;
          expect(await refusal(operator.send(reveal))).toMatchObject({ error: 'CommitmentMismatch', expected: commitment });
        });
      },
    ),
    { numRuns: 30 },
  );
});

test('work in a paused job may still be committed and revealed, and its cheats convicted', async () => {
  const driver = await newJob({ redundancy: 1 });
  await driver.open(0);
  await driver.owner.send({ call: 'pauseJob', job: driver.job });
  await driver.commit(0, 0, 0, wrong);
  await driver.reveal(0, 0, 0, wrong);
  await driver.convict(0, 0, 0, right);
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
  expect((await anyone.send(charge)).events).toMatchObject([{ event: 'Convicted' }, { event: 'NodeSlashed' }]);
  expect(await refusal(anyone.send(charge))).toEqual({ error: 'AlreadyConvicted', task: 0, slot: 1 });
  const opposite = driver.convict(0, 0, 0, wrong);
  expect(await refusal(opposite)).toEqual({ error: 'VerdictConflict', earlierRoot: right, laterRoot: wrong });
});

test('a slot is convicted also after it was paid', async () => {
  const driver = await newJob({ redundancy: 1 });
  await revealed(driver, [wrong]);
  await driver.finalize(0, [[0, wrong]]);
  await driver.convict(0, 0, 0, right);
  expect(await chain.reader.node(driver.seat(0, 0).node)).toMatchObject({ active: false, stakeWei: 0n });
});

test('only the coordinator finalizes, the next round only, with known tasks ascending', async () => {
  const driver = await newJob({ tasks: 2 });
  const { job, owner } = driver;
  expect(await refusal(driver.finalize(0, []))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await revealed(driver, [right, right, right]);
  const byOwner = owner.send({ call: 'finalize', job, round: 0, checkpointCid: zeroRoot, accepted: [] });
  expect(await refusal(byOwner)).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  expect(await refusal(driver.finalize(1, []))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
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
  await driver.finalize(0, [[0, right]]);
  expect(await refusal(driver.finalize(0, [[0, right]]))).toEqual({ error: 'RoundOutOfOrder', job, round: 0n, nextRound: 1n });
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'RoundOutOfOrder', job, round: 0n, nextRound: 1n });
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

test('a paid slot has a receipt, an unpaid one has none', async () => {
  const driver = await newJob();
  await revealed(driver, [right, right, wrong]);
  await driver.finalize(0, [[0, right]]);
  const client = createPublicClient({ transport: chain.transport });
  const receipt = (slot: number) =>
    ask('receipt', () => client.readContract({ ...read(), functionName: 'receiptOf', args: [driver.job, 0n, 0, slot] }));
  const { node, operator } = driver.seat(0, 1);
  const digests = { lossDigest: rootOf('loss'), gradientDigest: rootOf('gradient'), weightsDigest: rootOf('weights') };
  const proof = {
    jobId: driver.job,
    step: 7n,
    ...digests,
    timestamp: 1_700_000_000_123n,
    nodePubkey: node,
    signature: `0x${'5a'.repeat(64)}`,
  } as const;
  const fields = 'bytes32 jobId, uint256 step, bytes32 lossDigest, bytes32 gradientDigest, bytes32 weightsDigest, uint64 timestamp';
  const encoded = encodeAbiParameters(parseAbiParameters(`(${fields}, bytes32 nodePubkey, bytes signature) proof`), [proof]);
  const proofHash = keccak256(encoded);
  const found = await receipt(1);
  expect(found).toMatchObject({ jobId: driver.job, round: 0n, task: 0, slot: 1, node, resultRoot: right, proofHash, reward: 1000n });
  expect(found.operator.toLowerCase()).toBe(operator.account);
  expect(await refusal(receipt(2))).toEqual({ error: 'NotRewarded', task: 0, slot: 2 });
});

test('a slot can be read at every stage, with its times', async () => {
  const driver = await newJob();
  const client = createPublicClient({ transport: chain.transport });
  const slot = (index: number) => client.readContract({ ...read(), functionName: 'slotOf', args: [driver.job, 0n, 0, index] });
  const task = () => client.readContract({ ...read(), functionName: 'taskOf', args: [driver.job, 0n, 0] });
  const [empty, committed, wasRevealed, rewarded, convicted] = [0, 1, 2, 3, 4];
  await driver.open(0);
  expect(await slot(0)).toMatchObject({ status: empty, node: zeroRoot, committedAt: 0n });
  for (const index of [0, 1, 2]) await driver.commit(0, 0, index, index === 2 ? wrong : right);
  expect(await slot(0)).toMatchObject({ status: committed, node: driver.seat(0, 0).node, resultRoot: zeroRoot, revealedAt: 0n });
  expect(await task()).toEqual([3, true, zeroRoot]);
  for (const index of [0, 1, 2]) await driver.reveal(0, 0, index, index === 2 ? wrong : right);
  expect(await slot(2)).toMatchObject({ status: wasRevealed, resultRoot: wrong, rewardedAt: 0n });
  await driver.convict(0, 0, 2, right);
  await driver.finalize(0, [[0, right]]);
  expect(await task()).toEqual([3, true, right]);
  const paid = await slot(0);
  expect(paid).toMatchObject({ status: rewarded, resultRoot: right });
  expect(paid.committedAt < paid.revealedAt && paid.revealedAt < paid.rewardedAt).toBe(true);
  expect(await slot(2)).toMatchObject({ status: convicted, rewardedAt: 0n });
});
