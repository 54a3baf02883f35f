/**
 * What somebody who sees a transaction before it is mined can do with it: nothing. Commitments and reveals are copied by other accounts,
 * for other slots and through other nodes; accounts call back in while they are paid.
 */
import { type Address, commitmentOf, holderOf, type NodeId, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { encodeFunctionData } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aiJobManagerAbi, nodeCertRegistryAbi, proofOfComputeAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { deploy, type Handle } from './handles.ts';
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

const shape = { rounds: 1, tasks: 1, redundancy: 3, budgetWei: 3000n };
const right = rootOf('right');
const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
const proof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;
let jobs = 0;
const newJob = (): Promise<JobDriver> => JobDriver.submit(chain, shape, `front ${jobs++}`);

/** The commitment that `seat` would make for its slot. */
const commitmentBy = (driver: JobDriver, slot: number, seat: Seat): Root =>
  commitmentOf(driver.job, 0, 0, slot, holderOf(seat.node, seat.operator.account), driver.saltOf(0, 0, slot), right);

const commit = (driver: JobDriver, slot: number, by: Seat, commitment: Root, membership: Root[]) =>
  by.operator.send({ call: 'commit', job: driver.job, round: 0, task: 0, slot, node: by.node, commitment, proof: membership });

const reveal = (driver: JobDriver, slot: number, by: Seat, salt: Root) => {
  const opening = { node: by.node, salt, resultRoot: right, resultCid: zeroRoot, proof };
  return by.operator.send({ call: 'reveal', job: driver.job, round: 0, task: 0, slot, ...opening });
};

test('a copied commit transaction is refused, whoever sends it, and blocks nothing', async () => {
  const driver = await newJob();
  await driver.open(0);
  const victim = driver.seat(0, 0);
  const commitment = commitmentBy(driver, 0, victim);
  const membership = driver.proof(0, 0, 0);
  const refused = { error: 'NodeNotInSlot', node: victim.node, task: 0, slot: 0 };
  for (const index of [0, 1, 2, 3, 10, 11]) {
    const thief = { node: victim.node, operator: await chain.actor(index) };
    expect(await refusal(commit(driver, 0, thief, commitment, membership))).toEqual(refused);
  }
  // Nor as the copycat's own node, in the victim's slot.
  const own = driver.seat(0, 1);
  expect(await refusal(commit(driver, 0, own, commitment, driver.proof(0, 0, 1)))).toEqual({ ...refused, node: own.node });
  await commit(driver, 0, victim, commitment, membership);
});

test('nobody commits for another’s slot: not with any node, account, proof or slot', async () => {
  const driver = await newJob();
  await driver.open(0);
  const strangers = [await chain.actor(10), await chain.actor(11)];
  for (const [index, operator] of strangers.entries()) await register(operator, nodeOf(`stranger ${index}`));
  const nodes = [0, 1, 2].map((slot) => driver.seat(0, slot).node).concat([nodeOf('stranger 0'), nodeOf('stranger 1')]);
  const operators = [0, 1, 2].map((slot) => driver.seat(0, slot).operator).concat(strangers);
  const pick = fc.nat(4);
  await fc.assert(
    fc.asyncProperty(pick, pick, fc.nat(2), fc.nat(2), fc.boolean(), async (nodeIndex, operatorIndex, slot, proven, empty) => {
      fc.pre(nodeIndex !== operatorIndex || nodeIndex !== slot);
      const by = { node: nodes[nodeIndex] as NodeId, operator: operators[operatorIndex] as Seat['operator'] };
      const membership = empty ? [] : driver.proof(0, 0, proven);
      const refused = { error: 'NodeNotInSlot', node: by.node, task: 0, slot };
      expect(await refusal(commit(driver, slot, by, right, membership))).toEqual(refused);
    }),
    { numRuns: 60 },
  );
});

test('a copied commitment, in the copycat’s own slot, opens for nobody and costs the victim nothing', async () => {
  const driver = await newJob();
  await driver.open(0);
  const [victim, copycat, third] = [driver.seat(0, 0), driver.seat(0, 1), driver.seat(0, 2)];
  // The copycat is even first, and hopes to open the victim's result as its own.
  const commitment = commitmentBy(driver, 0, victim);
  await commit(driver, 1, copycat, commitment, driver.proof(0, 0, 1));
  await commit(driver, 0, victim, commitment, driver.proof(0, 0, 0));
  await driver.commit(0, 0, 2, right);
  await reveal(driver, 0, victim, driver.saltOf(0, 0, 0));
  const mismatch = { error: 'CommitmentMismatch', job: driver.job, round: 0n, task: 0, slot: 1 };
  expect(await refusal(reveal(driver, 1, copycat, driver.saltOf(0, 0, 0)))).toEqual(mismatch);
  // Nor under the victim's name.
  expect(await refusal(reveal(driver, 1, { ...victim, operator: copycat.operator }, driver.saltOf(0, 0, 0)))).toEqual(mismatch);
  await reveal(driver, 2, third, driver.saltOf(0, 0, 2));
  const { events } = await driver.finalize(0, [[0, right]]);
  expect(events.flatMap((event) => (event.event === 'RewardCredited' ? [event.slot] : []))).toEqual([0, 2]);
});

test('a copied reveal transaction is refused, whoever sends it, and the victim’s own goes through', async () => {
  const driver = await newJob();
  await driver.open(0);
  for (const slot of [0, 1, 2]) await driver.commit(0, 0, slot, right);
  const victim = driver.seat(0, 0);
  const salt = driver.saltOf(0, 0, 0);
  for (const index of [0, 1, 2, 3, 9, 10, 11]) {
    const thief = { node: victim.node, operator: await chain.actor(index) };
    expect(await refusal(reveal(driver, 0, thief, salt))).toMatchObject({ error: 'CommitmentMismatch' });
  }
  expect(await refusal(reveal(driver, 0, driver.seat(0, 1), salt))).toMatchObject({ error: 'CommitmentMismatch' });
  expect((await reveal(driver, 0, victim, salt)).events).toMatchObject([{ event: 'Revealed', slot: 0, node: victim.node }]);
});

test('no result shows before every slot of its task has committed', async () => {
  const driver = await newJob();
  await driver.open(0);
  for (const slot of [0, 1]) {
    await driver.commit(0, 0, slot, right);
    for (const early of [0, slot]) expect(await refusal(driver.reveal(0, 0, early, right))).toEqual({ error: 'CommitsStillOpen', task: 0 });
  }
  await driver.commit(0, 0, 2, right);
  await driver.reveal(0, 0, 0, right);
});

test('evidence brought by a copycat convicts as well, and pays whoever is first', async () => {
  const driver = await newJob();
  const wrong = rootOf('wrong');
  await driver.open(0);
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [slot, root] of [right, right, wrong].entries()) await driver[phase](0, 0, slot, root);
  }
  const evidence = await driver.verdict(0, 0, right);
  const { node } = driver.seat(0, 2);
  const charge = { call: 'convict', job: driver.job, round: 0, task: 0, slot: 2, node, verdictCid: rootOf('verdict'), evidence } as const;
  const copycat = await chain.actor(11);
  const credit = await chain.reader.credit(copycat.account);
  await copycat.send(charge);
  expect((await chain.reader.credit(copycat.account)) - credit).toBe((minStakeWei * 4n) / 10n);
  expect(await refusal(driver.coordinator.send(charge))).toMatchObject({ error: 'AlreadyConvicted' });
});

/** Calls of one's own contract as `actor`: registering a node, working for it, being paid. */
interface Operator {
  readonly handle: Handle;
  act(to: Address, data: `0x${string}`, valueWei?: bigint): Promise<unknown>;
}

async function contractOperator(): Promise<Operator> {
  const handle = await deploy(chain, 9, 'CallingBack', []);
  return { handle, act: (to, data, valueWei = 0n) => handle.call(9, 'act', [to, data], valueWei) };
}

test('an operator that calls back in while it is paid finds every door shut', async () => {
  const { jobManager, nodeCertRegistry, proofOfCompute } = chain.info.contracts;
  const driver = await newJob();
  const operator = await contractOperator();
  const { handle } = operator;
  const act: Operator['act'] = (to, data, valueWei) => operator.act(to, data, valueWei);
  const node = nodeOf('calling back');
  const registration = [node, 0, 'eu', zeroRoot, zeroRoot] as const;
  await act(
    nodeCertRegistry,
    encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: 'registerNode', args: registration }),
    minStakeWei,
  );
  await driver.open(0);
  const place = { job: driver.job, round: 0, task: 0, slot: 0 };
  await driver.coordinator.send({ call: 'reassign', ...place, node });
  const salt = driver.saltOf(0, 0, 0);
  const commitment = commitmentOf(driver.job, 0, 0, 0, holderOf(node, handle.address), salt, right);
  const compute = { abi: proofOfComputeAbi } as const;
  await act(proofOfCompute, encodeFunctionData({ ...compute, functionName: 'commit', args: [driver.job, 0n, 0, 0, node, commitment, []] }));
  for (const slot of [1, 2]) await driver.commit(0, 0, slot, right);
  const statement = { jobId: driver.job, nodePubkey: node, ...proof, step: 1n, timestamp: 1n };
  const opening = encodeFunctionData({
    ...compute,
    functionName: 'reveal',
    args: [driver.job, 0n, 0, 0, node, salt, right, zeroRoot, statement],
  });
  await act(proofOfCompute, opening);
  for (const slot of [1, 2]) await driver.reveal(0, 0, slot, right);
  await driver.finalize(0, [[0, right]]);
  // Settling calls no account: money comes only by `withdraw`, and from there each of these is tried again.
  expect(await handle.read('entered')).toBe(0n);
  const withdraw = encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'withdraw' });
  const settle = encodeFunctionData({ ...compute, functionName: 'settleTask', args: [driver.job, 0n, 0, right] });
  await handle.call(9, 'tryAgain', [
    [jobManager, proofOfCompute, proofOfCompute],
    [withdraw, opening, settle],
  ]);
  const before = await chain.reader.balance(jobManager);
  await act(jobManager, withdraw);
  expect(before - (await chain.reader.balance(jobManager))).toBe(1000n);
  expect(await handle.read('entered')).toBe(1n);
  expect(await handle.read('succeeded')).toBe(0n);
});
