import * as fc from 'fast-check';
import {
  type Address,
  assignmentLeaf,
  commitmentOf,
  encodeHyperParameters,
  holderOf,
  type HyperParameters,
  type JobId,
} from '@muster/protocol';
import { type Abi, createPublicClient, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainRequestAbi, trainRequestBytecode } from '../../packages/adapters/src/evm/generated/index.ts';
import { compile, type CompiledContract } from '../build.ts';
import { assignmentTree, create, ether, execute, nodeOf, register, rootOf, startTestChain, type TestChain } from './harness.ts';
import { revertOf } from './revert.ts';

const zero = `0x${'00'.repeat(20)}`;

let chain: TestChain;
let crowd: CompiledContract;
let rejecting: CompiledContract;
let desk: { readonly abi: Abi; readonly address: Address };
let door: Address;
const account = (index: number) => privateKeyToAccount(chain.keyOf(index));
const client = () => createPublicClient({ transport: chain.transport, cacheTime: 0 });
const nowOnChain = async (): Promise<bigint> => (await client().getBlock()).timestamp;

beforeAll(async () => {
  chain = await startTestChain();
  const helpers = compile('test/helpers');
  crowd = compile('src').get('CrowdTraining') as CompiledContract;
  rejecting = helpers.get('Rejecting') as CompiledContract;
  const { abi, bytecode } = helpers.get('RequestDesk') as CompiledContract;
  desk = { abi, address: await create(chain, 0, { abi, bytecode }, []) };
  const people = [zero, account(2).address, account(3).address];
  door = await create(chain, 0, { abi: trainRequestAbi, bytecode: trainRequestBytecode }, [desk.address, zero, ...people]);
});
afterAll(() => chain.close());

const plain: HyperParameters = {
  version: 1,
  tasks: 2,
  redundancy: 1,
  localSteps: 1,
  batchSize: 1,
  learningRate: 1,
  optimizer: 'sgd',
  strategy: 'fedavg',
  jobKind: 'federated',
  settlement: 'direct',
  rewardModel: 'perRound',
  gpuSecondsPerTask: 0,
  bonusBasisPoints: 0,
  targetGainBasisPoints: 0,
  roundTimeout: 3600,
  seed: 0n,
};
const single: HyperParameters = { ...plain, tasks: 1, jobKind: 'singleNode' };
const training = {
  baseModel: rootOf('base model'),
  dataset: rootOf('dataset'),
  totalRounds: 2,
  minParticipants: 1,
  hyperParameters: encodeHyperParameters(plain),
} as const;
const trainProof = {
  step: 1,
  lossDigest: rootOf('loss'),
  gradientDigest: rootOf('gradient'),
  weightsDigest: rootOf('weights'),
  timestamp: 1_700_000_000_123,
  signature: `0x${'5a'.repeat(64)}`,
} as const;

/** A crowd organized by actor 4: funding for 1 000 s, training for 1 000 s more. */
class Crowd {
  readonly address: Address;

  private constructor(address: Address) {
    this.address = address;
  }

  static async open(goalWei: bigint, at = door, what: object = training): Promise<Crowd> {
    const now = await nowOnChain();
    return new Crowd(await create(chain, 4, crowd, [at, goalWei, now + 1000n, now + 2000n, what]));
  }

  call(index: number, functionName: string, args: readonly unknown[] = [], valueWei = 0n): Promise<void> {
    return execute(chain, index, { to: this.address, abi: crowd.abi, functionName, args }, valueWei);
  }

  /** The error that `call` would be refused with. */
  refused(index: number, functionName: string, args: readonly unknown[] = [], value = 0n) {
    const request = { address: this.address, abi: crowd.abi, functionName, args, value };
    return revertOf(client().simulateContract({ account: account(index), ...request }));
  }

  read(functionName: string, args: readonly unknown[] = []): Promise<unknown> {
    return client().readContract({ address: this.address, abi: crowd.abi, functionName, args });
  }

  balance(): Promise<bigint> {
    return client().getBalance({ address: this.address });
  }
}

const complete = (job: unknown, spentWei: bigint): Promise<void> =>
  execute(chain, 0, { to: desk.address, abi: desk.abi, functionName: 'complete', args: [job as Hex, spentWei] });

test('what a training that many paid for does not use comes back to each in proportion, to the wei', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ by: fc.integer({ min: 4, max: 9 }), amountWei: fc.bigInt({ min: 1n, max: ether }) }), {
        minLength: 1,
        maxLength: 6,
      }),
      fc.integer({ min: 0, max: 1000 }),
      fc.boolean(),
      async (payments, perMille, twice) => {
        const crowdfund = await Crowd.open(1n);
        for (const { by, amountWei } of payments) await crowdfund.call(by, 'contribute', [], amountWei);
        const raisedWei = payments.reduce((sum, { amountWei }) => sum + amountWei, 0n);
        await crowdfund.call(9, 'start');
        const job = await crowdfund.read('jobId');
        const refundWei = raisedWei - (raisedWei * BigInt(perMille)) / 1000n;
        await complete(job, raisedWei - refundWei);
        if (refundWei === 0n) return;
        await crowdfund.call(8, 'collect');
        expect(await crowdfund.balance()).toBe(refundWei);
        let before = 0n;
        for (const [number, { by, amountWei }] of payments.entries()) {
          const part = (refundWei * (before + amountWei)) / raisedWei - (refundWei * before) / raisedWei;
          before += amountWei;
          const had = await client().getBalance({ address: account(by).address });
          if (part === 0n) continue;
          // Somebody else sends the claim, so that the balance changes by the refund alone.
          await crowdfund.call(3, 'claim', [BigInt(number)]);
          expect((await client().getBalance({ address: account(by).address })) - had).toBe(part);
          if (twice)
            expect(await crowdfund.refused(3, 'claim', [BigInt(number)])).toEqual({ error: 'NothingToClaim', args: [BigInt(number)] });
        }
        expect(await crowdfund.balance()).toBe(0n);
      },
    ),
    { numRuns: 12 },
  );
});

test('a training starts at the goal and not before, once, and takes no money afterwards', async () => {
  const crowdfund = await Crowd.open(10n);
  expect(await crowdfund.refused(5, 'contribute')).toEqual({ error: 'NothingContributed', args: [] });
  await crowdfund.call(5, 'contribute', [], 9n);
  expect(await crowdfund.refused(5, 'start')).toEqual({ error: 'GoalNotReached', args: [9n, 10n] });
  await crowdfund.call(6, 'contribute', [], 1n);
  expect(await crowdfund.read('contributionCount')).toBe(2n);
  await crowdfund.call(7, 'start');
  const asked = (await client().readContract({ ...desk, functionName: 'asked', args: [await crowdfund.read('jobId')] })) as {
    readonly owner: string;
    readonly budgetWei: bigint;
  };
  expect(asked).toMatchObject({ budgetWei: 10n });
  expect(asked.owner.toLowerCase()).toBe(crowdfund.address);
  expect(await crowdfund.refused(7, 'start')).toEqual({ error: 'WrongStage', args: [1] });
  expect(await crowdfund.refused(5, 'contribute', [], 1n)).toEqual({ error: 'WrongStage', args: [1] });
});

test('funding that is cancelled gives everybody all back; the organizer may at once, everybody when its time is over', async () => {
  const crowdfund = await Crowd.open(10n);
  await crowdfund.call(5, 'contribute', [], 4n);
  await crowdfund.call(6, 'contribute', [], 3n);
  expect(await crowdfund.refused(5, 'cancel')).toEqual({ error: 'NotYours', args: [account(5).address] });
  expect(await crowdfund.refused(5, 'claim', [0n])).toEqual({ error: 'NothingToClaim', args: [0n] });
  await chain.reverting(async () => {
    await crowdfund.call(4, 'cancel');
    for (const number of [1n, 0n]) await crowdfund.call(8, 'claim', [number]);
    expect(await crowdfund.balance()).toBe(0n);
    expect(await crowdfund.refused(4, 'cancel')).toEqual({ error: 'WrongStage', args: [2] });
    expect(await crowdfund.refused(4, 'start')).toEqual({ error: 'WrongStage', args: [2] });
  });
  await chain.reverting(async () => {
    await chain.elapse(1001);
    expect(await crowdfund.refused(5, 'contribute', [], 1n)).toMatchObject({ error: 'FundingEnded' });
    await crowdfund.call(9, 'cancel');
    await crowdfund.call(8, 'claim', [0n]);
    expect(await crowdfund.balance()).toBe(3n);
  });
});

test('a training that was started is cancelled by its organizer, or by anybody when its time is over, and its budget shared out', async () => {
  const crowdfund = await Crowd.open(10n);
  await crowdfund.call(5, 'contribute', [], 7n);
  await crowdfund.call(6, 'contribute', [], 5n);
  await crowdfund.call(6, 'start');
  expect(await crowdfund.refused(6, 'cancel')).toMatchObject({ error: 'NotYours' });
  for (const [by, seconds] of [
    [4, 0],
    [9, 2001],
  ] as const) {
    await chain.reverting(async () => {
      if (seconds > 0) await chain.elapse(seconds);
      await crowdfund.call(by, 'cancel');
      await crowdfund.call(9, 'collect');
      for (const number of [0n, 1n]) await crowdfund.call(9, 'claim', [number]);
      expect(await crowdfund.read('refundWei')).toBe(12n);
      expect(await crowdfund.balance()).toBe(0n);
    });
  }
});

test('money comes from contributors and the job manager only, and who cannot be paid keeps the claim', async () => {
  const crowdfund = await Crowd.open(10n);
  await crowdfund.call(5, 'contribute', [], 7n);
  await expect(client().call({ account: account(5), to: crowdfund.address, value: 1n })).rejects.toThrow();
  const asContributor = await create(chain, 0, rejecting, []);
  await chain.request('hardhat_impersonateAccount', [asContributor]);
  await chain.request('hardhat_setBalance', [asContributor, '0xde0b6b3a7640000']);
  const data = '0xd7bb99ba'; // contribute()
  await chain.request('eth_sendTransaction', [{ from: asContributor, to: crowdfund.address, data, value: '0x2' }]);
  await crowdfund.call(4, 'cancel');
  expect(await crowdfund.refused(9, 'claim', [1n])).toMatchObject({ error: 'PaymentFailed', args: [expect.anything(), 2n] });
  await crowdfund.call(9, 'claim', [0n]);
  expect(await crowdfund.balance()).toBe(2n);
});

test('with the real contracts: a crowd pays, one of two rounds is trained and paid, and the rest comes back to the wei', async () => {
  const { trainRequest, jobManager } = chain.info.contracts;
  const [coordinator, validator, trainer] = [await chain.actor(2), await chain.actor(3), await chain.actor(5)];
  await execute(chain, 0, {
    to: trainRequest,
    abi: trainRequestAbi,
    functionName: 'setOperator',
    args: [coordinator.account, validator.account],
  });
  const node = nodeOf('crowd');
  await register(trainer, node);
  const crowdfund = await Crowd.open(ether, trainRequest, { ...training, hyperParameters: encodeHyperParameters(single) });
  const payments = [ether / 3n, ether, 7n, ether / 7n];
  for (const [index, amountWei] of payments.entries()) await crowdfund.call(6 + index, 'contribute', [], amountWei);
  const raisedWei = payments.reduce((sum, amountWei) => sum + amountWei, 0n);
  await crowdfund.call(6, 'start');
  const job = (await crowdfund.read('jobId')) as JobId;
  expect(await chain.reader.job(job)).toMatchObject({ owner: crowdfund.address, budgetWei: raisedWei, status: 'running' });

  await coordinator.send({ call: 'specifyJob', job, specCid: rootOf('specification') });
  const [round, task, slot] = [0, 0, 0];
  const leaf = assignmentLeaf(job, round, task, slot, holderOf(node, trainer.account));
  const tree = assignmentTree([leaf]);
  const [resultRoot, salt] = [rootOf('result'), rootOf('salt')];
  const commitment = commitmentOf(job, round, task, slot, holderOf(node, trainer.account), salt, resultRoot);
  const place = { job, round, task, slot, node };
  await coordinator.send({ call: 'closeNodes', job, round, nodeSetRoot: rootOf('nodes'), nodeCount: 1 });
  await chain.mine();
  await coordinator.send({ call: 'assign', job, round, assignmentRoot: tree.root, assignmentCid: rootOf('assignment'), commitDeadline: 0 });
  await trainer.send({ call: 'commit', ...place, commitment, proof: tree.proof(0) });
  await trainer.send({ call: 'reveal', ...place, salt, resultRoot, resultCid: rootOf('cid'), proof: trainProof });
  const accepted = [{ task, score: 10_000, resultRoot, evidence: '0x' }] as const;
  await coordinator.send({ call: 'finalize', job, round, checkpointCid: rootOf('checkpoint'), accuracy: 0, accepted });
  expect(await chain.reader.credit(trainer.account)).toBe(raisedWei / 2n);

  await crowdfund.call(4, 'cancel');
  expect(await chain.reader.credit(crowdfund.address)).toBe(raisedWei - raisedWei / 2n);
  await crowdfund.call(9, 'collect');
  let paidBack = 0n;
  for (const [index, amountWei] of payments.entries()) {
    const had = await client().getBalance({ address: account(6 + index).address });
    await crowdfund.call(3, 'claim', [BigInt(index)]);
    const part = (await client().getBalance({ address: account(6 + index).address })) - had;
    // Half of what was paid in, up to the rounding at both ends of its piece of the line.
    expect(part - amountWei / 2n).toBeGreaterThanOrEqual(-1n);
    expect(part - amountWei / 2n).toBeLessThanOrEqual(1n);
    paidBack += part;
  }
  expect(paidBack).toBe(raisedWei - raisedWei / 2n);
  expect(await crowdfund.balance()).toBe(0n);
  expect(await client().getBalance({ address: jobManager })).toBe(raisedWei / 2n);
});
