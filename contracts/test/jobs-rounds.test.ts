/** AIJobManager's side of a round: node set, beacon, assignment, other nodes for slots, and what only its settlement contract may do. */
import type { Root } from '@muster/protocol';
import { plainPolicy } from '@muster/protocol';
import { createPublicClient, encodeAbiParameters, keccak256, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { aiJobManagerAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { accountOf, type Handle } from './handles.ts';
import { JobDriver, nodeOf, refusal, register, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { deployed, doors, loneManager, nextTime, timeOf } from './lone.ts';

let chain: TestChain;
let manager: Handle;
let lone: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  manager = deployed(chain, 'jobManager');
  lone = await loneManager(chain);
});
afterAll(() => chain.close());

let jobs = 0;
const newJob = (overrides: object = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 1000n, ...overrides }, `rounds ${jobs++}`);

const batchedTerms = (coordinator: string) => ({
  specCid: rootOf('spec'),
  modelId: zeroRoot,
  rounds: 2n,
  tasks: 1,
  redundancy: 1,
  coordinator,
  validator: coordinator,
  kind: 0,
  settlement: 1,
  minParticipants: 0,
  roundTimeout: 600n,
  reward: { ...plainPolicy(1).reward, model: 0 },
});

/** A job of the manager whose doors are actors, settled in batches; owned and coordinated by actor 1. */
async function batchedJob(budgetWei: bigint): Promise<Root> {
  const owner = accountOf(chain, 1);
  const job = (await lone.read('nextJobId', [owner, rootOf('spec')])) as Root;
  await lone.call(1, 'submitJob', [batchedTerms(owner)], budgetWei);
  return job;
}

test('a paused job takes no step of the coordinator', async () => {
  const driver = await newJob();
  const { job } = driver;
  await driver.open(0);
  await driver.owner.send({ call: 'pauseJob', job });
  const stopped = { error: 'JobNotRunning', job };
  expect(await refusal(driver.closeNodes(0))).toEqual(stopped);
  expect(await refusal(driver.assign(0))).toEqual(stopped);
  expect(await refusal(driver.coordinator.send({ call: 'reassign', job, round: 0, task: 0, slot: 0, node: nodeOf('x') }))).toEqual(stopped);
  expect(await refusal(driver.coordinator.send({ call: 'specifyJob', job, specCid: rootOf('s') }))).toEqual(stopped);
  expect(await refusal(driver.finalize(0, []))).toEqual(stopped);
  expect(await refusal(driver.coordinator.send({ call: 'completeJob', job }))).toEqual(stopped);
});

test('rounds come strictly in order and are assigned once, by the coordinator', async () => {
  const driver = await newJob({ rounds: 2 });
  const { job, owner } = driver;
  expect(await refusal(driver.closeNodes(1))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
  expect(await refusal(driver.assign(0))).toEqual({ error: 'NodesNotClosed', job, round: 0n });
  const nodes = { call: 'closeNodes', job, round: 0, nodeSetRoot: zeroRoot } as const;
  const tooFew = { error: 'NodesTooFew', job, round: 0n, nodeCount: 0, minParticipants: 0 };
  expect(await refusal(driver.coordinator.send({ ...nodes, nodeCount: 0 }))).toEqual(tooFew);
  expect(await refusal(owner.send({ ...nodes, nodeCount: 1 }))).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  await driver.open(0);
  expect(await refusal(driver.assign(0))).toEqual({ error: 'RoundAlreadyAssigned', job, round: 0n });
  expect(await refusal(driver.closeNodes(0))).toEqual({ error: 'RoundAlreadyAssigned', job, round: 0n });
  const round = await manager.read('round', [job, 0n]);
  expect(round).toMatchObject({ assigned: true, nodeCount: 3, beacon: await chain.reader.beacon(job, 0) });
});

test('a round needs as many nodes as the job asked for', async () => {
  const driver = await newJob({ policy: { minParticipants: 4 } });
  const { job } = driver;
  expect(await refusal(driver.closeNodes(0))).toEqual({ error: 'NodesTooFew', job, round: 0n, nodeCount: 3, minParticipants: 4 });
  await driver.coordinator.send({ call: 'closeNodes', job, round: 0, nodeSetRoot: zeroRoot, nodeCount: 4 });
});

test('commits close within half of the time that a round has', async () => {
  const driver = await newJob({ policy: { roundTimeout: 601 } });
  await driver.closeNodes(0);
  await chain.mine();
  const now = (await timeOf(chain)) + 10;
  await nextTime(chain, now);
  const tooFar = { error: 'DeadlineTooFar', commitDeadline: BigInt(now) + 301n, latest: BigInt(now) + 300n };
  expect(await refusal(driver.assign(0, now + 301))).toEqual(tooFar);
  await nextTime(chain, now);
  await driver.assign(0, now + 300);
});

test('the beacon is the hash of the block that closed the nodes, from the next block on, for 256 blocks', async () => {
  const driver = await newJob();
  const { job } = driver;
  expect(await chain.reader.beacon(job, 0)).toBeNull();
  const { block } = await driver.closeNodes(0);
  expect(await chain.reader.beacon(job, 0)).toBeNull();
  await chain.mine();
  const { hash } = (await chain.request('eth_getBlockByNumber', [toHex(block), false])) as { hash: `0x${string}` };
  const words = [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint256' }] as const;
  const expected = keccak256(encodeAbiParameters(words, [hash, job, 0n]));
  expect(await chain.reader.beacon(job, 0)).toBe(expected);
  await chain.mine(254);
  await chain.reverting(async () => {
    const { events } = await driver.assign(0);
    expect(events).toMatchObject([{ event: 'RoundAssigned', job, round: 0, beacon: expected }]);
    await chain.mine(300);
    expect(await chain.reader.beacon(job, 0)).toBe(expected);
  });
  await chain.mine(2);
  expect(await chain.reader.beacon(job, 0)).toBeNull();
  expect(await refusal(driver.assign(0))).toMatchObject({ error: 'BeaconExpired', closedBlock: BigInt(block) });
  await driver.open(0);
  expect(await chain.reader.beacon(job, 0)).not.toBe(expected);
});

test('the contract refuses the beacon within the block that closes the nodes', async () => {
  const driver = await newJob();
  const { block } = await driver.closeNodes(0);
  const contract = { address: chain.info.contracts.jobManager, abi: aiJobManagerAbi } as const;
  const client = createPublicClient({ transport: chain.transport });
  const read = ask('beacon', () => client.readContract({ ...contract, functionName: 'beacon', args: [driver.job, 0n] }));
  expect(await refusal(read)).toEqual({ error: 'BeaconNotReady', job: driver.job, round: 0n, closedBlock: BigInt(block) });
});

test('a slot is reassigned to an active node until it has committed', async () => {
  const driver = await newJob({ tasks: 1, redundancy: 2 });
  const { job, coordinator, owner } = driver;
  const node = nodeOf(`late ${job}`);
  const slotId = { job, round: 0, task: 0 };
  const reassign = (slot: number, round = 0, task = 0) => coordinator.send({ call: 'reassign', ...slotId, round, task, slot, node });
  expect(await refusal(reassign(0))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await driver.open(0);
  expect(await refusal(reassign(0, 1))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
  expect(await refusal(reassign(0))).toEqual({ error: 'NodeNotActive', node });
  const operator = await chain.actor(10);
  await register(operator, node);
  expect(await refusal(reassign(0, 0, 1))).toEqual({ error: 'SlotOutOfRange', task: 1, slot: 0 });
  expect(await refusal(reassign(2))).toEqual({ error: 'SlotOutOfRange', task: 0, slot: 2 });
  const byOwner = owner.send({ call: 'reassign', ...slotId, slot: 0, node });
  expect(await refusal(byOwner)).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  expect((await reassign(0)).events).toMatchObject([{ event: 'SlotReassigned', ...slotId, slot: 0, node }]);
  const ousted = driver.seat(0, 0).node;
  expect(await refusal(driver.commit(0, 0, 0, rootOf('r')))).toEqual({ error: 'NodeNotInSlot', node: ousted, task: 0, slot: 0 });
  await driver.commit(0, 0, 0, rootOf('r'), { node, operator });
  expect(await refusal(reassign(0))).toEqual({ error: 'SlotTaken', task: 0, slot: 0 });
  await operator.send({ call: 'startUnbonding', node });
  expect(await refusal(reassign(1))).toEqual({ error: 'NodeNotActive', node });
});

test('slots of a job settled in batches stay with their nodes', async () => {
  const job = await batchedJob(10n);
  await lone.call(1, 'closeNodes', [job, 0n, zeroRoot, 1]);
  await chain.mine();
  await lone.call(1, 'assign', [job, 0n, zeroRoot, zeroRoot, 0n]);
  expect(await lone.refused(1, 'reassign', [job, 0n, 0, 0, nodeOf('x')])).toEqual(['SlotsCannotBeReassigned', job]);
});

test('nobody but the job’s own settlement contract pays or moves a job on', async () => {
  const { job } = await newJob();
  const account = accountOf(chain, 6);
  const batched = await batchedJob(10n);
  for (const [contract, id, actor] of [
    [manager, job, 6],
    [lone, batched, doors.settlement],
    [lone, batched, 1],
  ] as const) {
    for (const [name, args] of [
      ['payReward', [id, account, 1n]],
      ['payRewards', [id, [account], 1n]],
      ['payReserved', [id, [account], 1n]],
      ['advanceRound', [id, 1]],
    ] as const) {
      expect(await contract.refused(actor, name, args)).toEqual(['NotProofOfCompute', accountOf(chain, actor)]);
    }
  }
  const unknown = rootOf('no job');
  expect(await lone.refused(doors.batched, 'advanceRound', [unknown, 1])).toEqual(['JobUnknown', unknown]);
});

test('a job pays its budget and no more, also to many at once', async () => {
  const job = await batchedJob(10n);
  const [one, two] = [accountOf(chain, 3), accountOf(chain, 4)];
  await lone.call(doors.batched, 'payReward', [job, one, 3n]);
  await lone.call(doors.batched, 'payRewards', [job, [one, two, one], 2n]);
  expect([await lone.read('credits', [one]), await lone.read('credits', [two])]).toEqual([7n, 2n]);
  expect(await lone.refused(doors.batched, 'payReward', [job, one, 2n])).toEqual(['BudgetExceeded', job, 1n, 2n]);
  expect(await lone.refused(doors.batched, 'payRewards', [job, [one, two], 1n])).toEqual(['BudgetExceeded', job, 1n, 2n]);
  const huge = 2n ** 128n - 1n;
  expect(await lone.refused(doors.batched, 'payRewards', [job, [one, two], huge])).toEqual(['BudgetExceeded', job, 1n, 2n * huge]);
  await lone.call(doors.batched, 'payRewards', [job, [], 7n]);
  expect(await lone.refused(doors.batched, 'payReserved', [job, [one], 1n])).toEqual(['SettlementOver', job]);
  await lone.call(doors.batched, 'payReward', [job, one, 1n]);
  expect(await lone.read('job', [job])).toMatchObject({ budget: 10n, paid: 10n });
});

test('sponsors bring a budget to 128 bits and no further', async () => {
  const job = await batchedJob(10n);
  await chain.reverting(async () => {
    await chain.request('hardhat_setBalance', [accountOf(chain, doors.emissionPool), toHex(2n ** 130n)]);
    const room = 2n ** 128n - 1n - 10n;
    const refused = await lone.refused(doors.emissionPool, 'sponsorJob', [job], room + 1n);
    expect(refused).toEqual(['BudgetTooLarge', 2n ** 128n]);
    await lone.call(doors.emissionPool, 'sponsorJob', [job], room);
    expect(await lone.read('job', [job])).toMatchObject({ budget: 2n ** 128n - 1n, sponsored: room });
    const { events } = await lone.call(1, 'cancelJob', [job]);
    expect(events).toEqual([{ event: 'JobCancelled', job, refundWei: 2n ** 128n - 1n, reserveWei: 0n }]);
    expect(await lone.read('credits', [accountOf(chain, doors.emissionPool)])).toBe(room);
  });
});

test('an ended job pays its reserve and no more, within its time', async () => {
  const job = await batchedJob(11n);
  const one = accountOf(chain, 3);
  await lone.call(1, 'closeNodes', [job, 0n, zeroRoot, 1]);
  await chain.mine();
  await lone.call(1, 'assign', [job, 0n, zeroRoot, zeroRoot, 0n]);
  await lone.call(1, 'cancelJob', [job]);
  const endedAt = await timeOf(chain);
  expect(await lone.read('job', [job])).toMatchObject({ reserve: 6n });
  expect(await lone.refused(doors.batched, 'payReserved', [job, [one, one], 4n])).toEqual(['BudgetExceeded', job, 6n, 8n]);
  await nextTime(chain, endedAt + 600);
  await lone.call(doors.batched, 'payReserved', [job, [one, one], 2n]);
  expect(await lone.read('job', [job])).toMatchObject({ reserve: 2n, paid: 4n });
  expect(await lone.refused(doors.batched, 'payReward', [job, one, 1n])).toEqual(['JobEnded', job]);
  await nextTime(chain, endedAt + 601);
  expect(await lone.refused(doors.batched, 'payReserved', [job, [one], 1n])).toEqual(['SettlementOver', job]);
});

test('what is kept for an open round is no more than what is left', async () => {
  const job = await batchedJob(11n);
  await lone.call(1, 'closeNodes', [job, 0n, zeroRoot, 1]);
  await chain.mine();
  await lone.call(1, 'assign', [job, 0n, zeroRoot, zeroRoot, 0n]);
  await lone.call(doors.batched, 'payReward', [job, accountOf(chain, 3), 8n]);
  const { events } = await lone.call(1, 'cancelJob', [job]);
  expect(events).toEqual([{ event: 'JobCancelled', job, refundWei: 0n, reserveWei: 3n }]);
});

test('the best accuracy so far is kept', async () => {
  const job = await batchedJob(10n);
  const best = async (): Promise<number> => ((await lone.read('job', [job])) as { bestAccuracy: number }).bestAccuracy;
  await lone.call(doors.batched, 'advanceRound', [job, 700]);
  expect(await best()).toBe(700);
  await lone.call(doors.batched, 'advanceRound', [job, 300]);
  expect(await best()).toBe(700);
});

test('a budget smaller than the slots pays nothing and comes back whole', async () => {
  const driver = await newJob({ redundancy: 3, budgetWei: 2n });
  await driver.honestRound(0, () => rootOf('r'));
  const { events } = await driver.coordinator.send({ call: 'completeJob', job: driver.job });
  expect(events).toMatchObject([{ event: 'JobCompleted', refundWei: 2n }]);
});
