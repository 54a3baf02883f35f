/** Commit and reveal: who may when, and with which stake. What follows is in finalize.test.ts and settle.test.ts. */
import { type Address, assignmentLeaf, commitmentOf, holderOf, type JobId, type NodeId, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { createPublicClient } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { aiJobManagerAbi, proofOfComputeAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import {
  assignmentTree,
  ether,
  execute,
  JobDriver,
  minStakeWei,
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

const shape = { rounds: 2, tasks: 1, redundancy: 3, budgetWei: 6000n };
let jobs = 0;
const newJob = (overrides: Partial<typeof shape> = {}): Promise<JobDriver> =>
  JobDriver.submit(chain, { ...shape, ...overrides }, `compute ${jobs++}`);
const right = rootOf('right');
const wrong = rootOf('wrong');
const place = { task: 0, slot: 0 };
const read = () => ({ address: chain.info.contracts.proofOfCompute, abi: proofOfComputeAbi });
const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
const bareProof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;

/** A round in which every slot of task 0 has committed and revealed the root given for it. */
async function revealed(driver: JobDriver, roots: readonly Root[], round = 0): Promise<void> {
  await driver.open(round);
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [slot, root] of roots.entries()) await driver[phase](round, 0, slot, root);
  }
}

/** A round whose one slot the assignment gives to `node` under `account`, whoever operates it. */
async function openFor(driver: JobDriver, round: number, node: NodeId, account: Address): Promise<void> {
  await driver.closeNodes(round);
  await chain.mine();
  const { root } = assignmentTree([assignmentLeaf(driver.job, round, 0, 0, holderOf(node, account))]);
  const assignment = { assignmentRoot: root, assignmentCid: zeroRoot, commitDeadline: 0 };
  await driver.coordinator.send({ call: 'assign', job: driver.job, round, ...assignment });
}

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
  const proof = { ...bareProof, signature: '0x1234' } as const;
  const short = { call: 'reveal', job, round: 0, ...place, node, salt, resultRoot: right, resultCid: zeroRoot, proof } as const;
  expect(await refusal(operator.send(short))).toEqual({ error: 'SignatureLengthInvalid', length: 2n });
  expect(await refusal(driver.reveal(1, 0, 0, right))).toEqual({ error: 'RoundNotAssigned', job, round: 1n });
  expect(await refusal(driver.reveal(0, 0, 3, right, driver.seat(0, 0)))).toEqual({ error: 'NotCommitted', task: 0, slot: 3 });
  await driver.reveal(0, 0, 0, right);
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'AlreadyRevealed', ...place });

  const seat = driver.seat(0, 1);
  const foreign = { jobId: job, nodePubkey: node, step: 1n, timestamp: 1n, signature: `0x${'00'.repeat(64)}` as const, ...digests };
  const args = [job, 0n, 0, 1, seat.node, driver.saltOf(0, 0, 1), right, zeroRoot, foreign] as const;
  const client = createPublicClient({ transport: chain.transport });
  const call = ask('reveal', () => client.simulateContract({ ...read(), functionName: 'reveal', args, account: seat.operator.account }));
  expect(await refusal(call)).toEqual({ error: 'ProofNotBound', jobId: job, nodePubkey: node });
  const otherJob = rootOf('other job');
  const moved = [...args.slice(0, 8), { ...foreign, jobId: otherJob, nodePubkey: seat.node }] as unknown as typeof args;
  const again = ask('reveal', () =>
    client.simulateContract({ ...read(), functionName: 'reveal', args: moved, account: seat.operator.account }),
  );
  expect(await refusal(again)).toEqual({ error: 'ProofNotBound', jobId: otherJob, nodePubkey: seat.node });
});

test('a commitment opens for no other place, salt, node, account or root', async () => {
  const driver = await newJob({ redundancy: 1 });
  await driver.open(0);
  const { job } = driver;
  const seat = driver.seat(0, 0);
  const { node, operator } = seat;
  const salt = driver.saltOf(0, 0, 0);
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((value) => `0x${Buffer.from(value).toString('hex')}` as Root);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('job', 'round', 'task', 'slot', 'node', 'account', 'salt', 'root'),
      bytes32,
      fc.nat(1000),
      async (part, other, number) => {
        const account = part === 'account' ? (`0x${other.slice(26)}` as Address) : operator.account;
        const commitment = commitmentOf(
          part === 'job' ? (other as string as JobId) : job,
          part === 'round' ? number + 1 : 0,
          part === 'task' ? number + 1 : 0,
          part === 'slot' ? number + 1 : 0,
          holderOf(part === 'node' ? (other as string as NodeId) : node, account),
          part === 'salt' ? other : salt,
          part === 'root' ? other : right,
        );
        await chain.reverting(async () => {
          await operator.send({ call: 'commit', job, round: 0, ...place, node, commitment, proof: [] });
          const opening = { node, salt, resultRoot: right, resultCid: zeroRoot, proof: bareProof };
          const reveal = { call: 'reveal', job, round: 0, ...place, ...opening } as const;
          expect(await refusal(operator.send(reveal))).toEqual({ error: 'CommitmentMismatch', job, round: 0n, ...place });
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

test('the doors of the job manager are closed to everybody else', async () => {
  const driver = await newJob();
  const to = chain.info.contracts.proofOfCompute;
  const caller = (await chain.actor(0)).account;
  const job = await createPublicClient({ transport: chain.transport }).readContract({
    address: chain.info.contracts.jobManager,
    abi: aiJobManagerAbi,
    functionName: 'job',
    args: [driver.job],
  });
  const openRound = { to, abi: proofOfComputeAbi, functionName: 'openRound', args: [driver.job, 0n, right, 0n, job] } as const;
  expect(await refusal(execute(chain, 0, openRound))).toMatchObject({ error: 'NotJobManager' });
  const reassign = { to, abi: proofOfComputeAbi, functionName: 'reassignSlot', args: [driver.job, 0n, 0, 0, caller] } as const;
  expect(await refusal(execute(chain, 0, reassign))).toMatchObject({ error: 'NotJobManager' });
});

test('a commitment needs its round, slot, operator and a place in the assignment', async () => {
  const driver = await newJob();
  const { job } = driver;
  const seat = driver.seat(0, 0);
  const none = rootOf('none') as string as JobId;
  const bare = { call: 'commit', job, round: 0, ...place, node: seat.node, commitment: right, proof: [] } as const;
  expect(await refusal(seat.operator.send({ ...bare, job: none }))).toEqual({ error: 'RoundNotAssigned', job: none, round: 0n });
  expect(await refusal(driver.commit(0, 0, 0, right))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  await driver.open(0);
  expect(await refusal(driver.commit(1, 0, 0, right))).toEqual({ error: 'RoundNotAssigned', job, round: 1n });
  expect(await refusal(driver.commit(0, 0, 3, right, seat))).toEqual({ error: 'SlotOutOfRange', task: 0, slot: 3 });
  expect(await refusal(driver.commit(0, 1, 0, right, seat))).toEqual({ error: 'SlotOutOfRange', task: 1, slot: 0 });
  const empty = { ...bare, commitment: zeroRoot };
  expect(await refusal(seat.operator.send(empty))).toEqual({ error: 'CommitmentMissing', ...place });
  const outside = { error: 'NodeNotInSlot', node: seat.node, ...place };
  expect(await refusal(seat.operator.send(bare))).toEqual(outside);
  const thief = await chain.actor(10);
  expect(await refusal(driver.commit(0, 0, 0, right, { node: seat.node, operator: thief }))).toEqual(outside);
  const neighbour = driver.seat(0, 1);
  expect(await refusal(driver.commit(0, 0, 0, right, neighbour))).toEqual({ ...outside, node: neighbour.node });
  await driver.commit(0, 0, 0, right);
  expect(await refusal(driver.commit(0, 0, 0, wrong))).toEqual({ error: 'AlreadyCommitted', ...place });
  await driver.commit(0, 0, 1, right);
  await driver.commit(0, 0, 2, right);
  await driver.reveal(0, 0, 0, right);
  expect(await refusal(driver.commit(0, 0, 0, wrong))).toEqual({ error: 'AlreadyCommitted', ...place });
});

test('commits close by themselves when the last slot commits, or after the deadline by anyone', async () => {
  const driver = await newJob();
  const { job, owner } = driver;
  expect(await refusal(driver.closeCommits(0, 0))).toEqual({ error: 'RoundNotAssigned', job, round: 0n });
  const deadline = (await chain.reader.head()).time + 1000;
  await driver.open(0, deadline);
  await driver.commit(0, 0, 0, right);
  const substitute = { node: nodeOf(`substitute ${job}`), operator: driver.seat(0, 1).operator };
  await register(substitute.operator, substitute.node);
  await driver.coordinator.send({ call: 'reassign', job, round: 0, task: 0, slot: 1, node: substitute.node });
  expect(await refusal(driver.closeCommits(0, 0))).toMatchObject({ error: 'DeadlineNotReached', commitDeadline: BigInt(deadline) });
  expect(await refusal(driver.reveal(0, 0, 0, right))).toEqual({ error: 'CommitsStillOpen', task: 0 });
  await chain.elapse(1000);
  expect(await refusal(driver.closeCommits(0, 1))).toEqual({ error: 'SlotOutOfRange', task: 1, slot: 0 });
  const { events } = await owner.send({ call: 'closeCommits', job, round: 0, task: 0 });
  expect(events).toMatchObject([{ event: 'CommitsClosed', job, round: 0, task: 0, commits: 1 }]);
  expect(await refusal(driver.closeCommits(0, 0))).toEqual({ error: 'CommitsAreClosed', task: 0 });
  for (const seat of [substitute, driver.seat(0, 1)]) {
    expect(await refusal(driver.commit(0, 0, 1, right, seat))).toEqual({ error: 'CommitsAreClosed', task: 0 });
  }
  for (const slot of [0, 1, 2]) {
    const late = { call: 'reassign', job, round: 0, task: 0, slot, node: driver.seat(0, 2).node } as const;
    expect(await refusal(driver.coordinator.send(late))).toEqual({ error: 'SlotTaken', task: 0, slot });
  }
  await driver.reveal(0, 0, 0, right);
});

test('commits that are all there are closed already', async () => {
  const driver = await newJob({ redundancy: 1 });
  await driver.open(0);
  await driver.commit(0, 0, 0, right);
  expect(await refusal(driver.closeCommits(0, 0))).toEqual({ error: 'CommitsAreClosed', task: 0 });
});

test('a slot that was given to another node is that node’s, under its operator, and can be given on', async () => {
  const driver = await newJob();
  const { job, coordinator } = driver;
  await driver.open(0);
  const operator = await chain.actor(10);
  const [first, second] = [0, 1].map((index) => ({ node: nodeOf(`heir ${index} ${job}`), operator }));
  if (first === undefined || second === undefined) throw new Error('two heirs');
  for (const { node } of [first, second]) await register(operator, node);
  for (const { node } of [first, second]) await coordinator.send({ call: 'reassign', job, round: 0, ...place, node });
  for (const seat of [driver.seat(0, 0), first, { ...second, operator: driver.seat(0, 0).operator }]) {
    expect(await refusal(driver.commit(0, 0, 0, right, seat))).toEqual({ error: 'NodeNotInSlot', node: seat.node, ...place });
  }
  await driver.commit(0, 0, 0, right, second);
  for (const [task, slot] of [
    [1, 0],
    [0, 3],
  ] as const) {
    const outside = coordinator.send({ call: 'reassign', job, round: 0, task, slot, node: first.node });
    expect(await refusal(outside)).toEqual({ error: 'SlotOutOfRange', task, slot });
  }
  for (const slot of [1, 2]) await driver.commit(0, 0, slot, right);
  await driver.reveal(0, 0, 0, right, second);
});

test('who reveals must operate a registered node whose stake is there', async () => {
  const driver = await newJob({ redundancy: 1 });
  const { job } = driver;
  const operator = await chain.actor(10);
  const reveals = (node: NodeId, before?: () => Promise<unknown>) =>
    chain.reverting(async () => {
      await openFor(driver, 0, node, operator.account);
      await before?.();
      const salt = driver.saltOf(0, 0, 0);
      const commitment = commitmentOf(job, 0, 0, 0, holderOf(node, operator.account), salt, right);
      await operator.send({ call: 'commit', job, round: 0, ...place, node, commitment, proof: [] });
      return refusal(driver.reveal(0, 0, 0, right, { node, operator }));
    });
  const unknown = nodeOf(`unknown ${job}`);
  expect(await reveals(unknown)).toEqual({ error: 'NodeNotRegistered', node: unknown });
  const foreign = driver.seat(0, 0).node;
  expect(await reveals(foreign)).toEqual({ error: 'NotOperator', node: foreign, caller: operator.account });
  const gone = nodeOf(`gone ${job}`);
  const leave = async (): Promise<void> => {
    await register(operator, gone);
    await operator.send({ call: 'startUnbonding', node: gone });
    await chain.elapse(3 * 24 * 3600);
    await operator.send({ call: 'withdrawStake', node: gone });
  };
  expect(await reveals(gone, leave)).toEqual({ error: 'NodeHasLeft', node: gone });
});

test('a node that lost its stake reveals no more', async () => {
  const driver = await newJob({ tasks: 2, redundancy: 1, budgetWei: 4000n });
  await revealed(driver, [wrong]);
  const cheat = driver.seat(0, 0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 1, slot: 0, node: cheat.node });
  await driver.commit(0, 1, 0, right, cheat);
  await driver.convict(0, 0, 0, right);
  expect(await refusal(driver.reveal(0, 1, 0, right, cheat))).toEqual({ error: 'NodeDeactivated', node: cheat.node });
});

test('a node reveals no more than its stake answers for, until it was paid and credited', async () => {
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 2, redundancy: 1, budgetWei: (2n * ether * 6n) / 10n }, 'exposed');
  const seat = driver.seat(0, 0);
  await driver.open(0);
  await driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 1, slot: 0, node: seat.node });
  await driver.commit(0, 0, 0, right);
  await driver.commit(0, 1, 0, right, seat);
  await driver.reveal(0, 0, 0, right);
  const exposureWei = (ether * 12n) / 10n;
  const tooHigh = { error: 'ExposureTooHigh', node: seat.node, exposureWei, stakeWei: minStakeWei };
  expect(await refusal(driver.reveal(0, 1, 0, right, seat))).toEqual(tooHigh);
  await driver.finalize(0, [[0, right]]);
  const next = await newJob({ redundancy: 1, rounds: 1, tasks: 1, budgetWei: (ether * 6n) / 10n });
  await next.open(0);
  await next.coordinator.send({ call: 'reassign', job: next.job, round: 0, ...place, node: seat.node });
  await next.commit(0, 0, 0, right, seat);
  // Payment alone frees nothing; whoever needs the room has the paid work credited.
  expect(await refusal(next.reveal(0, 0, 0, right, seat))).toEqual(tooHigh);
  await seat.operator.send({ call: 'creditNodes', places: [{ job: driver.job, round: 0, task: 0, slot: 0 }] });
  await next.reveal(0, 0, 0, right, seat);
});

test('no stake answers for a share of the budget beyond 104 bits', async () => {
  const owner = (await chain.actor(1)).account;
  await chain.request('hardhat_setBalance', [owner, `0x${(2n ** 120n).toString(16)}`]);
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 2n ** 105n }, 'huge');
  await driver.open(0);
  await driver.commit(0, 0, 0, right);
  const exposureWei = 2n ** 104n - 1n;
  expect(await refusal(driver.reveal(0, 0, 0, right))).toMatchObject({ error: 'ExposureTooHigh', exposureWei, stakeWei: minStakeWei });
});
