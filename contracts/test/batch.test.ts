import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Address, bytesToHex, hexToBytes, type JobId, keccakRoot } from '@muster/protocol';
import { batchCommitment, majorityRoots, type SettledBatch } from '@muster/round';
import {
  BatchDriver,
  type BatchSeat,
  type BatchShape,
  challengeTime,
  commitTime,
  coordinator,
  firstOperator,
  owner,
  type Play,
  raiseStage,
  registerNodes,
  saltOf,
  type Stage,
  submitBatched,
} from './batch-stage.ts';
import { accountOf, deploy, relayedBy } from './handles.ts';
import { ether, nodeOf, rootOf, zeroRoot } from './harness.ts';

const right = rootOf('right');
const wrong = rootOf('wrong');
const shape: BatchShape = { rounds: 2, tasks: 2, redundancy: 3, budgetWei: 12_007n };
const honest: readonly Play[] = Array.from({ length: 6 }, () => ({ root: right, opens: true }));

let stage: Stage;
let seats: BatchSeat[];
beforeAll(async () => {
  stage = await raiseStage();
  seats = await registerNodes(stage, 20);
});
afterAll(() => stage.chain.close());

const driverOf = async (plays: readonly Play[] = honest, changes: Record<string, unknown> = {}): Promise<BatchDriver> =>
  new BatchDriver(stage, await submitBatched(stage, shape, changes), 0, shape, seats, plays);
const creditOf = (actor: number): Promise<bigint> => stage.jobs.read('credits', [accountOf(stage.chain, actor)]) as Promise<bigint>;
const heldByBatches = (): Promise<bigint> => stage.jobs.read('credits', [stage.batches.address]) as Promise<bigint>;
const stakeOf = async (seat: BatchSeat | undefined): Promise<bigint> =>
  ((await stage.registry.read('nodeCert', [seat?.node])) as { stake: bigint }).stake;
/** What a list of plays differs in from the honest one. */
const except = (changes: Readonly<Record<number, Play>>): Play[] => honest.map((play, index) => changes[index] ?? play);
const withheld: Play = { root: right, opens: false };
const absent: Play = { root: null, opens: false };

test('a round is settled in one call, and every slot claims its part once', async () => {
  const driver = await driverOf();
  const heldBefore = await heldByBatches();
  const settled = await driver.run();
  expect(settled).toMatchObject({ paid: 6, totalWei: 6n * 1_000n });
  expect(await stage.jobs.read('job', [driver.job])).toMatchObject({ nextRound: 1n, paid: 6_000n, bestAccuracy: 5_000 });
  expect((await heldByBatches()) - heldBefore).toBe(6_000n);
  expect(await stage.batches.read('batchOf', [driver.job, 0n])).toMatchObject({
    settlementRoot: settled.settlementRoot,
    commitments: 6,
    redundancy: 3,
  });
  const stranger = seats[1]?.actor ?? 0;
  expect(await stage.batches.refused(stranger, 'claim', driver.claimArgs(settled, 0))).toContain('NotOperator');
  for (const [index, { actor, node }] of seats.slice(0, 6).entries()) {
    const before = await creditOf(actor);
    const args = driver.claimArgs(settled, index);
    expect(await stage.batches.read('receiptOf', args)).toMatchObject({ amountWei: 1_000n, claimed: false, convicted: false });
    expect((await stage.batches.call(actor, 'claim', args)).events).toMatchObject([
      { event: 'BatchRewardClaimed', index, node, operator: accountOf(stage.chain, actor), amountWei: 1_000n },
    ]);
    expect(await creditOf(actor)).toBe(before + 1_000n);
    expect(await stage.batches.read('isClaimed', [driver.job, 0n, index])).toBe(true);
    expect(await stage.batches.refused(actor, 'claim', args)).toEqual(['AlreadyClaimed', index]);
    expect(await stage.batches.read('receiptOf', args)).toMatchObject({ ...driver.place(index), claimed: true, voided: false });
  }
  expect(await heldByBatches()).toBe(heldBefore);
  expect(await stage.reputation.read('countersOf', [seats[0]?.node])).toMatchObject({ accepted: 1 });
});

test('one operator claims for several nodes at once, also through a relayer', async () => {
  const own = await registerNodes(stage, 8, 'many');
  const mine = [own[0], own[7]] as [BatchSeat, BatchSeat];
  const small: BatchShape = { rounds: 1, tasks: 1, redundancy: 2, budgetWei: 20n };
  const driver = new BatchDriver(stage, await submitBatched(stage, small), 0, small, mine, honest.slice(0, 2));
  const settled = await driver.run();
  const before = await creditOf(firstOperator);
  const slots = [driver.slot(settled, 0), driver.slot(settled, 1)];
  await relayedBy(stage.chain, stage.forwarder, 9, firstOperator, stage.batches, 'claimMany', [driver.job, 0n, slots]);
  expect((await creditOf(firstOperator)) - before).toBe(20n);
});

test('what the coordinator sends must fit what was assigned, committed and opened', async () => {
  const driver = await driverOf(except({ 5: { root: wrong, opens: true }, 4: absent }));
  await driver.open();
  const finalize = (settled: SettledBatch, changes: Record<string, unknown> = {}): Promise<unknown> =>
    stage.batches.refused(coordinator, 'finalizeBatch', driver.resultArgs(settled, changes));
  const none = driver.settled([null, null]);
  expect(await finalize(none)).toEqual(['BatchNotCommitted', driver.job, 0n]);
  await driver.commitBatch();
  expect(await finalize(none)).toContain('CommitmentsOpen');
  await stage.chain.elapse(commitTime);
  const settled = driver.settled([right, null]);
  expect(await finalize(settled)).toContain('RevealsOpen');
  await stage.chain.elapse(commitTime);

  expect(await finalize(settled, { taskRoots: [right] })).toEqual(['TaskRootsLength', 1n, 2n]);
  expect(await finalize(settled, { packedSlots: settled.packedSlots.slice(0, -2) })).toEqual(['SlotListLength', 215n, 216n]);
  expect(await finalize(settled, { closedCommitments: settled.closedCommitments.slice(1) })).toEqual(['ClosedCommitmentsLength', 2n, 3n]);
  expect(await finalize(settled, { closedCommitments: [...settled.closedCommitments, zeroRoot] })).toEqual([
    'ClosedCommitmentsLength',
    4n,
    3n,
  ]);
  expect(await finalize(settled, { listedCommitments: [zeroRoot] })).toEqual(['ListedCommitmentsLength', 1n, 0n]);
  expect(await finalize(settled, { taskRoots: [zeroRoot, zeroRoot] })).toEqual(['TaskOpensNothing', 0n]);
  expect(await finalize(settled, { taskRoots: [wrong, zeroRoot] })).toContain('CommitmentsMismatch');
  expect(await finalize(driver.settled([right, right]))).toEqual(['TaskWithoutMajority', 1n, right, 1n, 3n]);
  const other = driver.slots.map((slot, index) => (index === 3 ? { ...slot, holder: seats[9]?.holder ?? slot.holder } : slot));
  expect(await finalize(driver.settled([right, null], other))).toContain('AssignmentMismatch');
  const twice = driver.slots.map((slot, index) => (index === 3 ? { ...slot, holder: seats[4]?.holder ?? slot.holder } : slot));
  expect(await finalize(driver.settled([right, null], twice))).toEqual(['HolderTwiceInTask', 1n]);
  const added = settled.closedCommitments.map((word) => (word === zeroRoot ? wrong : word));
  expect(await finalize(settled, { closedCommitments: added })).toContain('CommitmentsMismatch');

  await driver.finalize(settled);
  expect(await stage.batches.read('batchOf', [driver.job, 0n])).toMatchObject({ settlementRoot: settled.settlementRoot });
  const stake = driver.slot(settled, 4);
  expect(await stage.batches.refused(seats[4]?.actor ?? 0, 'claim', [driver.job, 0n, stake])).toEqual(['NothingEarned', 4]);
  const more = { ...driver.slot(settled, 0), amountWei: 1_001n };
  expect(await stage.batches.refused(seats[0]?.actor ?? 0, 'claim', [driver.job, 0n, more])).toEqual(['SlotNotInBatch', 0, seats[0]?.node]);
  expect(await stage.batches.refused(seats[0]?.actor ?? 0, 'claim', [driver.job, 1n, more])).toEqual(['BatchNotFinalized', driver.job, 1n]);
});

test('the number of commitments is counted', async () => {
  const driver = await driverOf(except({ 4: absent }));
  await driver.open();
  const { commitmentsHash } = driver.settled();
  await stage.batches.call(coordinator, 'commitBatch', [driver.job, 0n, commitmentsHash, 6, rootOf('list')]);
  await stage.chain.elapse(2 * commitTime);
  const refused = await stage.batches.refused(coordinator, 'finalizeBatch', driver.resultArgs(driver.settled()));
  expect(refused).toEqual(['CommitmentCountMismatch', 6n, 5n]);
});

test('only the coordinator commits and finalizes, of a job in batches, while it runs, before the deadline', async () => {
  const driver = await driverOf();
  const { job } = driver;
  const commitment = [job, 0n, right, 6, right] as const;
  expect(await stage.batches.refused(coordinator, 'commitBatch', commitment)).toEqual(['RoundNotAssigned', job, 0n]);
  await driver.open();
  const anyone = accountOf(stage.chain, owner);
  expect(await stage.batches.refused(owner, 'commitBatch', commitment)).toEqual(['NotCoordinator', job, anyone]);
  expect(await stage.batches.refused(coordinator, 'commitBatch', [job, 1n, right, 6, right])).toEqual(['RoundOutOfOrder', job, 1n, 0n]);
  expect(await stage.batches.refused(coordinator, 'commitBatch', [job, 0n, zeroRoot, 6, right])).toEqual(['BatchHashMissing']);
  await stage.jobs.call(owner, 'pauseJob', [job]);
  expect(await stage.batches.refused(coordinator, 'commitBatch', commitment)).toEqual(['JobNotRunning', job]);
  await stage.jobs.call(owner, 'resumeJob', [job]);
  await driver.commitBatch();
  await stage.chain.elapse(2 * commitTime);
  expect(await stage.batches.refused(coordinator, 'commitBatch', commitment)).toContain('CommitDeadlinePassed');
  const result = driver.resultArgs(driver.settled());
  expect(await stage.batches.refused(owner, 'finalizeBatch', result)).toEqual(['NotCoordinator', job, anyone]);
  await stage.jobs.call(owner, 'pauseJob', [job]);
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', result)).toEqual(['JobNotRunning', job]);
  await stage.jobs.call(owner, 'resumeJob', [job]);
  await driver.finalize();
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', result)).toEqual(['RoundOutOfOrder', job, 0n, 1n]);

  const direct = await submitBatched(stage, shape, { settlement: 0 });
  expect(await stage.batches.refused(coordinator, 'commitBatch', [direct, 0n, right, 6, right])).toEqual(['JobNotBatched', direct]);
});

test('a commitment that the coordinator does not list is forced in, and the round cannot be finalized without it', async () => {
  const driver = await driverOf();
  await driver.open();
  const listed = driver.slots.map(({ commitment }, index) => (index === 1 ? null : index === 3 ? wrong : commitment));
  await driver.commitBatch(listed);
  await stage.chain.elapse(commitTime - 100);
  await driver.forceCommit(3, wrong);
  await driver.forceCommit(1, null);
  expect(await stage.batches.read('forcedCommits', [driver.job, 0n])).toEqual([3, 1]);
  expect(await stage.batches.read('forcedCommitOf', [driver.job, 0n, 1])).toBe(driver.slots[1]?.commitment);
  expect(await stage.batches.refused(driver.seat(1).actor, 'commit', driver.commitArgs(1))).toEqual(['AlreadyForced', 1]);
  await stage.chain.elapse(200);
  expect(await stage.batches.refused(driver.seat(2).actor, 'commit', driver.commitArgs(2))).toContain('CommitmentsClosed');
  await stage.chain.elapse(commitTime);

  const settled = driver.settled();
  const without = driver.settled(
    [right, right],
    driver.slots.map((slot, index) => (index === 1 ? { ...slot, commitment: null, opening: null } : slot)),
  );
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', driver.resultArgs(without))).toEqual(['ForcedCommitOmitted', 1]);
  const swapped = driver.resultArgs(settled, { listedCommitments: [...settled.listedCommitments].reverse() });
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', swapped)).toContain('CommitmentsMismatch');
  await driver.finalize(settled);
  await stage.batches.call(driver.seat(1).actor, 'claim', driver.claimArgs(settled, 1));
});

test('the list may be replaced until the deadline, and each list leaves the nodes time', async () => {
  const driver = await driverOf();
  await driver.open();
  await driver.commitBatch([wrong, null, null, null, null, null]);
  await stage.chain.elapse(commitTime - 20);
  await driver.commitBatch();
  const { closesAt } = (await stage.batches.read('batchOf', [driver.job, 0n])) as { closesAt: bigint };
  expect(closesAt).toBe(BigInt(await stage.now()) + 100n);
  await stage.chain.elapse(50);
  await driver.forceCommit(2, driver.slots[2]?.commitment ?? null);
  await stage.chain.elapse(60);
  await driver.finalize();
});

test('an opening that the coordinator withholds is forced in, and the round cannot be finalized without paying it', async () => {
  const driver = await driverOf(except({ 2: withheld, 5: { root: wrong, opens: true } }));
  await driver.open();
  await driver.commitBatch();
  expect(await stage.batches.refused(driver.seat(2).actor, 'reveal', driver.revealArgs(2, right))).toContain('CommitmentsOpen');
  await stage.chain.elapse(commitTime);
  const { actor } = driver.seat(2);
  expect(await stage.batches.refused(actor, 'reveal', driver.revealArgs(2, zeroRoot))).toEqual(['ResultRootZero']);
  expect(await stage.batches.refused(actor, 'reveal', driver.revealArgs(2, right, right))).toEqual(['SaltTooLong', right]);
  await stage.batches.call(actor, 'reveal', driver.revealArgs(2, right));
  expect(await stage.batches.refused(actor, 'reveal', driver.revealArgs(2, right))).toEqual(['AlreadyForced', 2]);
  expect(await stage.batches.read('forcedRevealOf', [driver.job, 0n, 2])).toEqual({
    commitment: driver.slots[2]?.commitment,
    resultRoot: right,
  });
  // Openings of other roots, or of what was never committed to, bind nobody.
  await stage.batches.call(driver.seat(5).actor, 'reveal', driver.revealArgs(5, wrong));
  await stage.batches.call(driver.seat(0).actor, 'reveal', driver.revealArgs(0, wrong));
  expect(await stage.batches.read('forcedReveals', [driver.job, 0n])).toEqual([2, 5, 0]);
  await stage.chain.elapse(commitTime);
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', driver.resultArgs(driver.settled()))).toEqual([
    'ForcedRevealOmitted',
    2,
  ]);
  const slots = driver.slots.map((slot, index) =>
    index === 2 ? { ...slot, opening: { salt: saltOf(driver.job, 0, 2), resultRoot: right } } : slot,
  );
  const settled = driver.settled([right, right], slots);
  await driver.finalize(settled);
  expect(settled.paid).toBe(5);
});

test('only the operator of an active node forces its own slot in', async () => {
  const driver = await driverOf();
  await driver.open();
  const { job } = driver;
  const [, round, task, slot, node, commitment, proof] = driver.commitArgs(0);
  const { actor } = driver.seat(0);
  const other = driver.seat(1);
  const refused = (by: number, args: readonly unknown[]): Promise<unknown> => stage.batches.refused(by, 'commit', args);
  expect(await refused(other.actor, driver.commitArgs(0))).toEqual(['NotOperator', node, accountOf(stage.chain, other.actor)]);
  expect(await refused(other.actor, [job, round, task, slot, other.node, commitment, proof])).toEqual([
    'HolderNotInSlot',
    expect.stringMatching(new RegExp(other.holder, 'i')),
    0,
    0,
  ]);
  expect(await refused(actor, [job, round, task, slot, node, zeroRoot, proof])).toEqual(['CommitmentZero']);
  expect(await refused(actor, [job, round, 2, slot, node, commitment, proof])).toEqual(['BatchSlotOutOfRange', 2, 0]);
  expect(await refused(actor, [job, round, task, 3, node, commitment, proof])).toEqual(['BatchSlotOutOfRange', 0, 3]);
  expect(await refused(actor, [job, 1n, task, slot, node, commitment, proof])).toEqual(['RoundOutOfOrder', job, 1n, 0n]);
  await stage.chain.reverting(async () => {
    await stage.registry.call(actor, 'startUnbonding', [node]);
    expect(await refused(actor, driver.commitArgs(0))).toEqual(['NodeNotActive', node]);
  });
  await stage.jobs.call(owner, 'cancelJob', [job]);
  expect(await refused(actor, driver.commitArgs(0))).toEqual(['JobEnded', job]);
});

test('a wrong result that was not claimed yet goes back to the job owner, and its node is slashed', async () => {
  const fresh = await registerNodes(stage, 6, 'wrong');
  const plays = Array.from({ length: 6 }, (_, index) => ({ root: index < 3 ? wrong : right, opens: true }));
  const driver = new BatchDriver(stage, await submitBatched(stage, shape), 0, shape, fresh, plays);
  const settled = await driver.run();
  const challenger = 10;
  const args = await driver.convictArgs(settled, 0, right, { offence: 4 });
  const [ownerBefore, challengerBefore, stake] = [await creditOf(owner), await creditOf(challenger), await stakeOf(fresh[0])];
  expect((await stage.batches.call(challenger, 'convict', args)).events).toMatchObject([
    { event: 'VerdictSettled', task: 0, resultRoot: right },
    { event: 'BatchConvicted', index: 0, node: fresh[0]?.node, revealedRoot: wrong, correctRoot: right },
    { event: 'BatchRewardVoided', index: 0, amountWei: 1_000n },
  ]);
  expect((await creditOf(owner)) - ownerBefore).toBe(1_000n);
  expect(await stakeOf(fresh[0])).toBe(stake / 2n);
  expect((await creditOf(challenger)) - challengerBefore).toBe(((stake / 2n) * 4n) / 10n);
  expect(await stage.batches.read('isConvicted', [driver.job, 0n, 0])).toBe(true);
  expect(await stage.batches.read('isVoided', [driver.job, 0n, 0])).toBe(true);
  expect(await stage.batches.read('verdictOf', [driver.job, 0n, 0])).toBe(right);
  expect(await stage.batches.refused(challenger, 'convict', args)).toEqual(['SlotAlreadyConvicted', 0]);
  expect(await stage.batches.refused(driver.seat(0).actor, 'claim', driver.claimArgs(settled, 0))).toEqual(['RewardVoided', 0]);
  // Later verdicts on the task must say the same.
  const later = await driver.convictArgs(settled, 1, rootOf('third'));
  expect(await stage.batches.refused(challenger, 'convict', later)).toEqual(['VerdictContradicted', right, rootOf('third')]);
  expect(await stage.batches.refused(challenger, 'convict', await driver.convictArgs(settled, 3, right))).toEqual(['ResultCorrect', right]);
  const opening = await driver.convictArgs(settled, 1, right, { resultRoot: rootOf('third') });
  expect(await stage.batches.refused(challenger, 'convict', opening)).toContain('OpeningMismatch');
});

test('a wrong result that was claimed is owed to the job owner by the insurance fund', async () => {
  const fresh = await registerNodes(stage, 3, 'claimed');
  const small: BatchShape = { rounds: 1, tasks: 1, redundancy: 3, budgetWei: 9_000n };
  const plays = Array.from({ length: 3 }, () => ({ root: wrong, opens: true }));
  const driver = new BatchDriver(stage, await submitBatched(stage, small), 0, small, fresh, plays);
  const settled = await driver.run();
  await stage.batches.call(driver.seat(1).actor, 'claim', driver.claimArgs(settled, 1));
  const owed = (): Promise<bigint> => stage.insurance.read('owed', [accountOf(stage.chain, owner)]) as Promise<bigint>;
  const before = await owed();
  // Who has claimed stands by the commitment: no signature is needed any more.
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 1, right, { signature: '0x' }));
  expect((await owed()) - before).toBe(3_000n);
  expect(await stage.registry.read('nodeCert', [fresh[1]?.node])).toMatchObject({ stake: 0n });
});

test('the insurance fund owes no more than a conviction has brought to it', async () => {
  const fresh = await registerNodes(stage, 1, 'insured');
  const small: BatchShape = { rounds: 1, tasks: 1, redundancy: 1, budgetWei: (9n * ether) / 10n };
  const driver = new BatchDriver(stage, await submitBatched(stage, small), 0, small, fresh, [{ root: wrong, opens: true }]);
  const settled = await driver.run();
  await stage.batches.call(driver.seat(0).actor, 'claim', driver.claimArgs(settled, 0));
  const owed = (): Promise<bigint> => stage.insurance.read('owed', [accountOf(stage.chain, owner)]) as Promise<bigint>;
  const [before, held] = [await owed(), await stage.chain.reader.balance(stage.insurance.address)];
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 0, right, { offence: 2 }));
  const brought = (await stage.chain.reader.balance(stage.insurance.address)) - held;
  expect(brought).toBe(((ether / 10n) * 4n) / 10n);
  expect((await owed()) - before).toBe(brought);
});

test('nobody is slashed for a commitment that only the coordinator has written, but it earns nothing', async () => {
  const fresh = await registerNodes(stage, 3, 'framed');
  const small: BatchShape = { rounds: 1, tasks: 1, redundancy: 3, budgetWei: 9_000n };
  const plays = [{ root: wrong, opens: true }, { root: wrong, opens: true }, absent];
  const driver = new BatchDriver(stage, await submitBatched(stage, small), 0, small, fresh, plays);
  const settled = await driver.run();
  const otherContract = await driver.signature(0, driver.seat(0).actor, { verifyingContract: stage.verifier.address });
  const otherChain = await driver.signature(0, driver.seat(0).actor, { chainId: 1 });
  const other = await driver.signature(0, driver.seat(1).actor);
  for (const signature of [otherContract, otherChain, other, '0x'] as const) {
    await stage.chain.reverting(async () => {
      const { events } = await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 0, right, { signature }));
      expect(events.map(({ event }) => event)).toEqual(['VerdictSettled', 'BatchRewardVoided']);
      expect(await stage.registry.read('nodeCert', [fresh[0]?.node])).toMatchObject({ stake: ether });
      const again = await driver.convictArgs(settled, 0, right, { signature });
      expect(await stage.batches.refused(8, 'convict', again)).toEqual(['CommitmentNotSigned', fresh[0]?.node]);
    });
  }
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 0, right, { signature: '0x' }));
  expect(await stage.batches.refused(driver.seat(0).actor, 'claim', driver.claimArgs(settled, 0))).toEqual(['RewardVoided', 0]);
  // The signature may turn up later, and the money does not go back twice.
  const before = await creditOf(owner);
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 0, right));
  expect(await stage.registry.read('nodeCert', [fresh[0]?.node])).toMatchObject({ stake: 0n });
  expect(await creditOf(owner)).toBe(before);
  const none = await driver.convictArgs(settled, 2, right, { resultRoot: wrong });
  expect(await stage.batches.refused(8, 'convict', none)).toContain('OpeningMismatch');
});

test('an unpaid wrong result convicts who signed it or committed it on chain, and only with evidence of the validator', async () => {
  const fresh = await registerNodes(stage, 6, 'minority');
  const plays = except({ 2: { root: wrong, opens: true }, 5: { root: wrong, opens: true } });
  const driver = new BatchDriver(stage, await submitBatched(stage, shape), 0, shape, fresh, plays);
  await driver.open();
  await driver.commitBatch(driver.slots.map(({ commitment }, index) => (index === 5 ? null : commitment)));
  await driver.forceCommit(5, null);
  await stage.chain.elapse(2 * commitTime);
  const settled = driver.settled();
  await driver.finalize(settled);
  const unsigned = await driver.convictArgs(settled, 2, right, { signature: '0x' });
  expect(await stage.batches.refused(8, 'convict', unsigned)).toEqual(['CommitmentNotSigned', fresh[2]?.node]);
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 2, right));
  await stage.batches.call(8, 'convict', await driver.convictArgs(settled, 5, right, { signature: '0x' }));
  for (const index of [2, 5]) expect(await stage.registry.read('nodeCert', [fresh[index]?.node])).toMatchObject({ stake: 0n });
  const forged = await driver.evidence(0, wrong, 5, 8);
  expect(await stage.batches.refused(8, 'settleVerdict', [driver.job, 0n, 0, forged])).toContain('VerdictSignerWrong');
});

test('a verdict before the end of the round decides the task', async () => {
  const driver = await driverOf(except({ 0: { root: wrong, opens: true }, 1: { root: wrong, opens: true } }));
  await driver.open();
  await driver.commitBatch();
  await stage.chain.elapse(2 * commitTime);
  const evidence = await driver.evidence(0, right);
  expect(await stage.batches.refused(9, 'settleVerdict', [driver.job, 0n, 2, evidence])).toEqual(['BatchSlotOutOfRange', 2, 0]);
  expect(await stage.batches.refused(9, 'settleVerdict', [driver.job, 0n, 0, await driver.evidence(0, zeroRoot)])).toEqual([
    'VerdictWithoutRoot',
  ]);
  await stage.batches.call(9, 'settleVerdict', [driver.job, 0n, 0, evidence]);
  expect((await stage.batches.call(9, 'settleVerdict', [driver.job, 0n, 0, evidence])).events).toEqual([]);
  const byMajority = driver.resultArgs(driver.settled());
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', byMajority)).toEqual(['RootAgainstVerdict', 0, wrong, right]);
  await stage.chain.reverting(() => driver.finalize(driver.settled([null, right])));
  const settled = driver.settled([right, right]);
  expect(settled.paid).toBe(4);
  await driver.finalize(settled);
});

test('a round that was open when the job was cancelled is settled from what was kept for it, once', async () => {
  const driver = await driverOf(except({ 2: withheld }));
  await driver.open();
  await driver.commitBatch();
  await stage.jobs.call(owner, 'cancelJob', [driver.job]);
  expect(await stage.batches.refused(coordinator, 'commitBatch', [driver.job, 0n, right, 6, right])).toEqual(['JobNotRunning', driver.job]);
  await stage.chain.elapse(2 * commitTime);
  await stage.batches.call(driver.seat(2).actor, 'reveal', driver.revealArgs(2, right));
  const slots = driver.slots.map((slot, index) =>
    index === 2 ? { ...slot, opening: { salt: saltOf(driver.job, 0, 2), resultRoot: right } } : slot,
  );
  const settled = driver.settled([right, right], slots);
  await driver.finalize(settled);
  await stage.batches.call(driver.seat(2).actor, 'claim', driver.claimArgs(settled, 2));
  const again = driver.resultArgs(settled);
  expect(await stage.batches.refused(coordinator, 'finalizeBatch', again)).toEqual(['BatchAlreadyFinalized', driver.job, 0n]);
});

test('a claim in the challenge window holds the stake; later a node that has left can still claim', async () => {
  const fresh = await registerNodes(stage, 2, 'window');
  const small: BatchShape = { rounds: 1, tasks: 1, redundancy: 2, budgetWei: 6n * ether };
  const driver = new BatchDriver(stage, await submitBatched(stage, small), 0, small, fresh, honest.slice(0, 2));
  const settled = await driver.run();
  const [first, second] = [driver.seat(0), driver.seat(1)];
  expect(await stage.batches.refused(first.actor, 'claim', driver.claimArgs(settled, 0))).toEqual([
    'ExposureTooHigh',
    first.node,
    3n * ether,
    ether,
  ]);
  await stage.registry.call(first.actor, 'topUp', [first.node], 2n * ether);
  await stage.batches.call(first.actor, 'claim', driver.claimArgs(settled, 0));
  expect(await stage.registry.read('freeStake', [first.node])).toBe(0n);
  await stage.registry.call(second.actor, 'startUnbonding', [second.node]);
  await stage.chain.elapse(2 * challengeTime + 1);
  await stage.registry.call(second.actor, 'withdrawStake', [second.node]);
  const before = await creditOf(second.actor);
  await stage.batches.call(second.actor, 'claim', driver.claimArgs(settled, 1));
  expect((await creditOf(second.actor)) - before).toBe(3n * ether);
});

test('a bonus for accuracy is paid to every opened slot', async () => {
  const reward = {
    model: 3,
    scoreTotal: 7,
    gpuSecondsPerTask: 0,
    batchSize: 0,
    stepsPerTask: 0,
    bonusBasisPoints: 5_000,
    targetGainBasisPoints: 5_000,
  };
  const driver = await driverOf(honest, { reward });
  await driver.open();
  await driver.commitBatch();
  await stage.chain.elapse(2 * commitTime);
  const { events } = await driver.finalize();
  expect(events.find(({ event }) => event === 'BatchFinalized')).toMatchObject({ paid: 6n, amountWei: 6n * 1_000n });
});

test('contract and builder agree on random rounds, and every wei of them is claimed, returned or refunded', async () => {
  const play = fc.record({ root: fc.option(fc.constantFrom(right, right, wrong)), opens: fc.boolean() });
  const cases = fc.record({ tasks: fc.integer({ min: 1, max: 4 }), redundancy: fc.integer({ min: 1, max: 4 }) }).chain((size) =>
    fc.record({
      size: fc.constant(size),
      budgetWei: fc.bigInt({ min: 0n, max: 10n ** 9n }),
      plays: fc.array(play, { minLength: size.tasks * size.redundancy, maxLength: size.tasks * size.redundancy }),
      forced: fc.uniqueArray(fc.nat({ max: size.tasks * size.redundancy - 1 }), { maxLength: 3 }),
      withheldFromList: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(cases, ({ size, budgetWei, plays, forced, withheldFromList }) =>
      stage.chain.reverting(async () => {
        const random: BatchShape = { rounds: 1, ...size, budgetWei };
        const job = await submitBatched(stage, random);
        const driver = new BatchDriver(stage, job, 0, random, seats, plays);
        const ownForced = forced.filter((index) => plays[index]?.root !== null);
        await driver.open();
        const listed = driver.slots.map(({ commitment }, index) => (withheldFromList && ownForced.includes(index) ? null : commitment));
        await driver.commitBatch(listed);
        for (const index of ownForced) await driver.forceCommit(index, listed[index] ?? null);
        await stage.chain.elapse(2 * commitTime);
        const settled = driver.settled();
        const [ownerBefore, held] = [await creditOf(owner), await heldByBatches()];
        const { events } = await driver.finalize(settled);
        const told = events.find(({ event }) => event === 'BatchFinalized');
        expect(told).toMatchObject({ settlementRoot: settled.settlementRoot, paid: BigInt(settled.paid), amountWei: settled.totalWei });
        expect(majorityRoots(size.redundancy, driver.slots).map((root) => root ?? zeroRoot)).toEqual(settled.taskRoots);
        let claimed = 0n;
        for (const index of plays.keys()) {
          const { amountWei } = settled.slot(index);
          if (amountWei === 0n) continue;
          await stage.batches.call(driver.seat(index).actor, 'claim', driver.claimArgs(settled, index));
          claimed += amountWei;
        }
        expect(claimed).toBe(settled.totalWei);
        expect(await heldByBatches()).toBe(held);
        await stage.jobs.call(9, 'completeJob', [job]);
        expect((await creditOf(owner)) - ownerBefore + claimed).toBe(budgetWei);
      }),
    ),
    { numRuns: 25 },
  );
});

test('what the coordinator sends at random is refused, or settles what was committed', async () => {
  const driver = await driverOf(except({ 4: withheld, 5: absent }));
  await driver.open();
  await driver.commitBatch();
  await stage.chain.elapse(2 * commitTime);
  const settled = driver.settled();
  const word = fc.constantFrom(right, wrong, zeroRoot);
  const bytes = (settled.packedSlots.length - 2) / 2;
  await fc.assert(
    fc.asyncProperty(
      fc.array(word, { minLength: 2, maxLength: 2 }),
      fc.array(fc.oneof(word, fc.constantFrom(...settled.closedCommitments)), { maxLength: 4 }),
      fc.nat({ max: bytes - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (taskRoots, closedCommitments, at, flip) => {
        const place = 2 + 2 * at;
        const flipped = Number.parseInt(settled.packedSlots.slice(place, place + 2), 16) ^ flip;
        const packedSlots = `${settled.packedSlots.slice(0, place)}${flipped.toString(16).padStart(2, '0')}${settled.packedSlots.slice(place + 2)}`;
        const changed = driver.resultArgs(settled, { packedSlots, closedCommitments, taskRoots });
        expect(await stage.batches.refused(coordinator, 'finalizeBatch', changed)).toBeInstanceOf(Array);
      },
    ),
    { numRuns: 60 },
  );
});

test('the root of a whole list is the one that proofs of its leaves lead to', async () => {
  const probe = await deploy(stage.chain, 0, 'MerkleProbe', []);
  const leaf = fc.uint8Array({ minLength: 32, maxLength: 32 });
  await fc.assert(
    fc.asyncProperty(fc.array(leaf, { minLength: 1, maxLength: 70 }), async (leaves) => {
      expect(await probe.read('root', [leaves.map(bytesToHex)])).toBe(bytesToHex(keccakRoot(leaves)));
    }),
    { numRuns: 60 },
  );
  expect(await probe.read('root', [[right, right]])).toBe(bytesToHex(keccakRoot([right, right].map(hexToBytes))));
  await expect(probe.read('root', [[]])).rejects.toThrow(/LeavesMissing/);
});

test('commitments are bound to the job, the round, the slot and the holder', () => {
  const job = rootOf('job') as string as JobId;
  const holder = seats[0]?.holder ?? ('0x' as Address);
  const salt = saltOf(job, 0, 0);
  const values = [
    batchCommitment(job, 1, 0, 0, holder, salt, right),
    batchCommitment(job, 1, 1, 0, holder, salt, right),
    batchCommitment(job, 1, 0, 1, holder, salt, right),
    batchCommitment(job, 2, 0, 0, holder, salt, right),
    batchCommitment(nodeOf('job') as string as JobId, 1, 0, 0, holder, salt, right),
    batchCommitment(job, 1, 0, 0, seats[1]?.holder ?? holder, salt, right),
  ];
  expect(new Set(values).size).toBe(values.length);
});

test('what nobody claims for a year goes to the job owner, and nothing is paid twice', async () => {
  await stage.chain.reverting(async () => {
    const driver = await driverOf();
    const settled = await driver.run();
    const [first, second] = [driver.seat(0), driver.seat(1)];
    await stage.batches.call(first.actor, 'claim', driver.claimArgs(settled, 0));
    const expire = [driver.job, 0n] as const;
    expect(await stage.batches.refused(9, 'expire', expire)).toContain('ClaimsOpen');
    await stage.chain.elapse(365 * 24 * 3600);
    const before = await creditOf(owner);
    const { events } = await stage.batches.call(9, 'expire', expire);
    expect(events).toMatchObject([{ event: 'BatchExpired', owner: accountOf(stage.chain, owner), amountWei: 5_000n }]);
    expect((await creditOf(owner)) - before).toBe(5_000n);
    expect(await stage.batches.refused(9, 'expire', expire)).toEqual(['NothingUnclaimed', driver.job, 0n]);
    expect(await stage.batches.refused(second.actor, 'claim', driver.claimArgs(settled, 1))).toEqual(['ClaimsExpired', driver.job, 0n]);
    // A conviction that comes later voids the slot; the owner has its reward already.
    const charge = await driver.convictArgs(settled, 1, wrong, {});
    await stage.batches.call(8, 'convict', charge);
    expect((await creditOf(owner)) - before).toBe(5_000n);
  });
});
