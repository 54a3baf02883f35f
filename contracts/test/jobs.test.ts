import { ask } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { aiJobManagerAbi, aiJobManagerBytecode } from '../../packages/adapters/src/evm/generated/index.ts';
import type { ChainWriter } from '@muster/ports';
import { keccakOfWords, type Address, type JobId } from '@muster/protocol';
import { createPublicClient, encodeAbiParameters, keccak256, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  create,
  ether,
  execute,
  JobDriver,
  nodeOf,
  refusal,
  register,
  rootOf,
  startTestChain,
  type TestChain,
  zeroRoot,
} from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const shape = { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 1000n };
let jobs = 0;
const newJob = (overrides: Partial<typeof shape> = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { ...shape, ...overrides }, `jobs ${jobs++}`);
const unknownJob = rootOf('no such job') as string as JobId;

async function submit(owner: ChainWriter, overrides: Partial<typeof shape & { coordinator: Address }> = {}) {
  const { account } = owner;
  return owner.send({
    call: 'submitJob',
    specCid: rootOf('spec'),
    modelId: rootOf('model'),
    coordinator: account,
    validator: account,
    ...shape,
    ...overrides,
  });
}

test('a job id follows from chain, contract, owner, count and specification', async () => {
  const owner = await chain.actor(9);
  for (const count of [0, 1]) {
    const { events } = await submit(owner);
    const { chainId, contracts } = chain.info;
    const job = keccakOfWords([chainId, contracts.jobManager, owner.account, count, rootOf('spec')]);
    expect(events).toMatchObject([{ event: 'JobSubmitted', job, owner: owner.account, specCid: rootOf('spec'), ...shape }]);
    expect(await chain.reader.job(job as string as JobId)).toEqual({
      job,
      owner: owner.account,
      coordinator: owner.account,
      validator: owner.account,
      specCid: rootOf('spec'),
      modelId: rootOf('model'),
      status: 'running',
      budgetWei: 1000n,
      paidWei: 0n,
      nextRound: 0,
    });
  }
});

test('an unknown job is null', async () => {
  expect(await chain.reader.job(unknownJob)).toBeNull();
});

test('a job without rounds, tasks or redundancy, with too much redundancy or without a coordinator is refused', async () => {
  const owner = await chain.actor(9);
  for (const wrong of [{ rounds: 0 }, { tasks: 0 }, { redundancy: 0 }, { redundancy: 65 }]) {
    expect(await refusal(submit(owner, wrong))).toMatchObject({ error: 'JobShapeInvalid' });
  }
  const nobody = `0x${'00'.repeat(20)}` as Address;
  expect(await refusal(submit(owner, { coordinator: nobody }))).toEqual({ error: 'CoordinatorMissing' });
});

test('a budget of more than 128 bits is refused', async () => {
  const owner = await chain.actor(9);
  await chain.reverting(async () => {
    await chain.request('hardhat_setBalance', [owner.account, toHex(2n ** 130n)]);
    expect(await refusal(submit(owner, { budgetWei: 2n ** 128n }))).toEqual({ error: 'BudgetTooLarge', budgetWei: 2n ** 128n });
  });
});

test('owner and coordinator pause and resume; strangers do not', async () => {
  const { job, owner, coordinator, validator } = await newJob();
  for (const person of [owner, coordinator]) {
    expect(await refusal(person.send({ call: 'resumeJob', job }))).toEqual({ error: 'JobNotPaused', job });
    expect((await person.send({ call: 'pauseJob', job })).events).toMatchObject([{ event: 'JobPaused', job }]);
    expect(await refusal(person.send({ call: 'pauseJob', job }))).toEqual({ error: 'JobNotRunning', job });
    expect((await person.send({ call: 'resumeJob', job })).events).toMatchObject([{ event: 'JobResumed', job }]);
  }
  expect(await refusal(validator.send({ call: 'pauseJob', job }))).toEqual({ error: 'NotCoordinator', job, caller: validator.account });
  expect(await refusal(owner.send({ call: 'pauseJob', job: unknownJob }))).toEqual({ error: 'JobUnknown', job: unknownJob });
});

test('a paused job takes no step of the coordinator', async () => {
  const driver = await newJob();
  const { job } = driver;
  await driver.open(0);
  await driver.owner.send({ call: 'pauseJob', job });
  const stopped = { error: 'JobNotRunning', job };
  expect(await refusal(driver.closeNodes(0))).toEqual(stopped);
  expect(await refusal(driver.assign(0))).toEqual(stopped);
  expect(await refusal(driver.coordinator.send({ call: 'reassign', job, round: 0, task: 0, slot: 0, node: nodeOf('x') }))).toEqual(stopped);
  expect(await refusal(driver.closeCommits(0, 0))).toEqual(stopped);
  expect(await refusal(driver.finalize(0, []))).toEqual(stopped);
  expect(await refusal(driver.coordinator.send({ call: 'completeJob', job }))).toEqual(stopped);
});

test('only the owner cancels, once, and gets back what was not paid', async () => {
  const driver = await newJob({ rounds: 3 });
  const { job, owner, coordinator } = driver;
  await driver.honestRound(0, () => rootOf('r'));
  expect(await refusal(coordinator.send({ call: 'cancelJob', job }))).toEqual({ error: 'NotOwner', job, caller: coordinator.account });
  // What the owner is owed already must not get lost.
  await execute(
    chain,
    9,
    { to: chain.info.contracts.jobManager, abi: aiJobManagerAbi, functionName: 'creditTo', args: [owner.account] },
    5n,
  );
  const before = await chain.reader.credit(owner.account);
  expect(before).toBeGreaterThanOrEqual(5n);
  await owner.send({ call: 'pauseJob', job });
  expect((await owner.send({ call: 'cancelJob', job })).events).toMatchObject([{ event: 'JobCancelled', job, refundWei: 667n }]);
  expect(await chain.reader.credit(owner.account)).toBe(before + 667n);
  expect(await refusal(owner.send({ call: 'cancelJob', job }))).toEqual({ error: 'JobEnded', job });
  expect(await refusal(driver.commit(1, 0, 0, rootOf('r')))).toEqual({ error: 'JobEnded', job });
});

test('a job is completed by its coordinator after its last round only', async () => {
  const driver = await newJob();
  const { job, owner, coordinator } = driver;
  const complete = (by: ChainWriter) => by.send({ call: 'completeJob', job });
  expect(await refusal(complete(coordinator))).toEqual({ error: 'RoundsRemaining', job, nextRound: 0n, rounds: 1n });
  await driver.honestRound(0, () => rootOf('r'));
  expect(await refusal(complete(owner))).toEqual({ error: 'NotCoordinator', job, caller: owner.account });
  expect(await refusal(driver.closeNodes(1))).toEqual({ error: 'AllRoundsFinalized', job });
  await complete(coordinator);
  expect(await chain.reader.job(job)).toMatchObject({ status: 'completed' });
});

test('rounds come strictly in order and are assigned once', async () => {
  const driver = await newJob({ rounds: 2 });
  const { job } = driver;
  expect(await refusal(driver.closeNodes(1))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
  expect(await refusal(driver.assign(0))).toEqual({ error: 'NodesNotClosed', job, round: 0n });
  const empty = driver.coordinator.send({ call: 'closeNodes', job, round: 0, nodeSetRoot: zeroRoot, nodeCount: 0 });
  expect(await refusal(empty)).toEqual({ error: 'NodeSetEmpty', job, round: 0n });
  await driver.open(0);
  expect(await refusal(driver.assign(0))).toEqual({ error: 'RoundAlreadyAssigned', job, round: 0n });
  expect(await refusal(driver.closeNodes(0))).toEqual({ error: 'RoundAlreadyAssigned', job, round: 0n });
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
  const { job, coordinator } = driver;
  const node = nodeOf(`late ${job}`);
  const slotId = { job, round: 0, task: 0 };
  const reassign = (slot: number, round = 0, task = 0) => coordinator.send({ call: 'reassign', ...slotId, round, task, slot, node });
  expect(await refusal(reassign(0))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await driver.open(0);
  expect(await refusal(reassign(0, 1))).toEqual({ error: 'RoundOutOfOrder', job, round: 1n, nextRound: 0n });
  expect(await refusal(reassign(0))).toEqual({ error: 'NodeNotActive', node });
  const operator = await chain.actor(10);
  await register(operator, node);
  expect(await refusal(reassign(0, 0, 1))).toEqual({ error: 'SlotTaken', task: 1, slot: 0 });
  expect(await refusal(reassign(2))).toEqual({ error: 'SlotTaken', task: 0, slot: 2 });
  expect((await reassign(0)).events).toMatchObject([{ event: 'SlotReassigned', ...slotId, slot: 0, node }]);
  const ousted = driver.seat(0, 0).node;
  expect(await refusal(driver.commit(0, 0, 0, rootOf('r')))).toEqual({ error: 'NodeNotInSlot', node: ousted, task: 0, slot: 0 });
  await driver.commit(0, 0, 0, rootOf('r'), { node, operator });
  expect(await refusal(reassign(0))).toEqual({ error: 'SlotTaken', task: 0, slot: 0 });
  // The same node may not sit in the task twice.
  await reassign(1);
  expect(await refusal(driver.commit(0, 0, 1, rootOf('r'), { node, operator }))).toEqual({
    error: 'NodeAlreadyInTask',
    node,
    task: 0,
    slot: 0,
  });
});

test('nobody but ProofOfCompute pays or moves a job on, and never beyond its budget', async () => {
  const { account } = await chain.actor(6);
  const { job } = await newJob();
  const manager = { to: chain.info.contracts.jobManager, abi: aiJobManagerAbi } as const;
  expect(await refusal(execute(chain, 6, { ...manager, functionName: 'payReward', args: [job, account, 1n] }))).toEqual({
    error: 'NotProofOfCompute',
    caller: account,
  });
  expect(await refusal(execute(chain, 6, { ...manager, functionName: 'advanceRound', args: [job] }))).toEqual({
    error: 'NotProofOfCompute',
    caller: account,
  });

  // A manager whose ProofOfCompute is actor 6, to try what the real one never asks for.
  const to = await create(chain, 0, { abi: aiJobManagerAbi, bytecode: aiJobManagerBytecode }, [
    chain.info.contracts.nodeCertRegistry,
    account,
  ]);
  const terms = { specCid: zeroRoot, modelId: zeroRoot, rounds: 1n, tasks: 1, redundancy: 1, coordinator: account, validator: account };
  await execute(chain, 6, { to, abi: aiJobManagerAbi, functionName: 'submitJob', args: [terms] }, 10n);
  const own = keccakOfWords([chain.info.chainId, to, account, 0, zeroRoot]);
  const pay = (amount: bigint) => execute(chain, 6, { to, abi: aiJobManagerAbi, functionName: 'payReward', args: [own, account, amount] });
  await pay(7n);
  expect(await refusal(pay(4n))).toEqual({ error: 'BudgetExceeded', job: own, remainingWei: 3n, amountWei: 4n });
});

test('a budget smaller than the slots pays nothing and comes back whole', async () => {
  const driver = await newJob({ redundancy: 3, budgetWei: 2n });
  await driver.honestRound(0, () => rootOf('r'));
  const { events } = await driver.coordinator.send({ call: 'completeJob', job: driver.job });
  expect(events).toMatchObject([{ event: 'JobCompleted', refundWei: 2n }]);
});

test('sums beyond what an account has are refused before anything is sent', async () => {
  expect(await refusal(submit(await chain.actor(9), { budgetWei: 20_000n * ether }))).toMatchObject({ error: 'InsufficientFunds' });
});
