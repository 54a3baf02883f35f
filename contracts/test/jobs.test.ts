import type { ChainWriter } from '@muster/ports';
import { encodeHyperParameters, keccakOfWords, plainPolicy, type Address, type JobId, type JobPolicy, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { trainRequestAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { accountOf, type Handle } from './handles.ts';
import { ether, execute, JobDriver, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { deployed, nextTime, timeOf } from './lone.ts';

let chain: TestChain;
let manager: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  manager = deployed(chain, 'jobManager');
});
afterAll(() => chain.close());

const shape = { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 1000n };
type Overrides = Partial<typeof shape & { policy: Partial<JobPolicy> }>;
let jobs = 0;
const newJob = (overrides: Overrides = {}): Promise<JobDriver> => JobDriver.submit(chain, { ...shape, ...overrides }, `jobs ${jobs++}`);
const unknownJob = rootOf('no such job') as string as JobId;
const { reward } = plainPolicy(1);

async function submit(
  owner: ChainWriter,
  { policy, ...rest }: Partial<typeof shape & { coordinator: Address; specCid: Root; policy: Partial<JobPolicy> }> = {},
) {
  const { account } = owner;
  return owner.send({
    call: 'submitJob',
    specCid: rootOf('spec'),
    modelId: rootOf('model'),
    coordinator: account,
    validator: account,
    ...shape,
    ...rest,
    policy: { ...plainPolicy(rest.tasks ?? 1), ...policy },
  });
}

test('a job id follows from chain, contract, owner, count and specification, and can be known before', async () => {
  const owner = await chain.actor(9);
  for (const count of [0, 1]) {
    const predicted = await manager.read('nextJobId', [owner.account, rootOf('spec')]);
    expect(await manager.read('jobCount', [owner.account])).toBe(BigInt(count));
    const { events } = await submit(owner);
    const { chainId, contracts } = chain.info;
    const job = keccakOfWords([chainId, contracts.jobManager, owner.account, count, rootOf('spec')]) as string as JobId;
    expect(job).toBe(predicted);
    expect(events).toMatchObject([
      { event: 'JobSubmitted', job, owner: owner.account, specCid: rootOf('spec'), ...shape },
      { event: 'JobTermsSet', job, policy: plainPolicy(1) },
    ]);
    expect(await chain.reader.job(job)).toEqual({
      job,
      owner: owner.account,
      coordinator: owner.account,
      validator: owner.account,
      specCid: rootOf('spec'),
      modelId: rootOf('model'),
      status: 'running',
      budgetWei: 1000n,
      paidWei: 0n,
      reserveWei: 0n,
      policy: plainPolicy(1),
      nextRound: 0,
    });
    expect(await manager.read('job', [job])).toMatchObject({ submittedAt: await timeOf(chain), endedAt: 0, sponsored: 0n });
  }
});

test('an unknown job is null, and nothing can be done with it', async () => {
  expect(await chain.reader.job(unknownJob)).toBeNull();
  const unknown = { error: 'JobUnknown', job: unknownJob };
  const actor = await chain.actor(9);
  for (const call of ['pauseJob', 'resumeJob', 'cancelJob', 'failJob', 'completeJob', 'releaseReserve'] as const) {
    expect(await refusal(actor.send({ call, job: unknownJob }))).toEqual(unknown);
  }
  expect(await refusal(actor.send({ call: 'specifyJob', job: unknownJob, specCid: rootOf('s') }))).toEqual(unknown);
});

test('a job without rounds, tasks or redundancy, with too much redundancy or without a coordinator is refused', async () => {
  const owner = await chain.actor(9);
  for (const wrong of [{ rounds: 0 }, { tasks: 0 }, { redundancy: 0 }, { redundancy: 65 }]) {
    const { rounds, tasks, redundancy } = { ...shape, ...wrong };
    const invalid = { error: 'JobShapeInvalid', rounds: BigInt(rounds), tasks, redundancy };
    expect(await refusal(submit(owner, { ...wrong, policy: { reward } }))).toEqual(invalid);
  }
  const nobody = `0x${'00'.repeat(20)}` as Address;
  expect(await refusal(submit(owner, { coordinator: nobody }))).toEqual({ error: 'CoordinatorMissing' });
});

test('a kind of job takes as many tasks as make sense for it', async () => {
  const owner = await chain.actor(9);
  const accepts = async (kind: JobPolicy['kind'], tasks: number): Promise<boolean> => {
    const submitting = submit(owner, { tasks, policy: { kind, minParticipants: 2 } });
    const error = await refusal(submitting).catch(() => null);
    // Whatever is refused is refused for this reason.
    if (error !== null) expect(error).toMatchObject({ error: 'KindNeedsOtherShape', tasks, minParticipants: 2 });
    return error === null;
  };
  const accepted: string[] = [];
  for (const kind of ['federated', 'dataParallel', 'singleNode'] as const) {
    for (const tasks of [1, 2]) if (await accepts(kind, tasks)) accepted.push(`${kind} ${tasks}`);
  }
  expect(accepted).toEqual(['federated 1', 'federated 2', 'dataParallel 2', 'singleNode 1']);
});

test('terms of payment and times that make no sense are refused', async () => {
  const owner = await chain.actor(9);
  for (const roundTimeout of [0, 59, 365 * 86_400 + 1]) {
    expect(await refusal(submit(owner, { policy: { roundTimeout } }))).toEqual({
      error: 'TimeoutInvalid',
      roundTimeout: BigInt(roundTimeout),
    });
  }
  for (const roundTimeout of [60, 365 * 86_400]) await submit(owner, { policy: { roundTimeout } });
  const perBatch = { ...reward, model: 'perBatch', gpuSecondsPerTask: 1, batchSize: 1 } as const;
  const perUpdate = { ...reward, model: 'perGradientUpdate', stepsPerTask: 1 } as const;
  const perGain = { ...reward, model: 'perAccuracyGain', bonusBasisPoints: 10_000, targetGainBasisPoints: 1 } as const;
  for (const good of [perBatch, perUpdate, perGain]) await submit(owner, { policy: { reward: good } });
  for (const wrong of [
    { ...reward, scoreTotal: 0 },
    { ...perBatch, scoreTotal: 0 },
    { ...perBatch, gpuSecondsPerTask: 0 },
    { ...perBatch, batchSize: 0 },
    { ...perUpdate, stepsPerTask: 0 },
    { ...perGain, bonusBasisPoints: 10_001 },
    { ...perGain, targetGainBasisPoints: 0 },
  ]) {
    expect(await refusal(submit(owner, { policy: { reward: wrong } }))).toEqual({ error: 'RewardTermsInvalid' });
  }
});

const count = fc.oneof(fc.constantFrom(0, 1, 2, 64, 65, 0xffff_ffff), fc.nat(100));
const basisPoints = fc.constantFrom(0, 1, 9_999, 10_000, 10_001, 65_535);
const anyPolicy: fc.Arbitrary<JobPolicy> = fc.record({
  kind: fc.constantFrom('federated', 'dataParallel', 'singleNode'),
  settlement: fc.constantFrom('direct', 'batched'),
  minParticipants: count,
  roundTimeout: fc.constantFrom(0, 59, 60, 61, 365 * 86_400, 365 * 86_400 + 1, 2 ** 40),
  reward: fc.record({
    model: fc.constantFrom('perRound', 'perBatch', 'perGradientUpdate', 'perAccuracyGain'),
    scoreTotal: count,
    gpuSecondsPerTask: count,
    batchSize: count,
    stepsPerTask: count,
    bonusBasisPoints: basisPoints,
    targetGainBasisPoints: basisPoints,
  }),
});

/** What terms are refused with, in the contract's order; null where they are taken. */
function wrongWith(rounds: number, tasks: number, redundancy: number, policy: JobPolicy): string | null {
  if (rounds === 0 || tasks === 0 || redundancy === 0 || redundancy > 64) return 'JobShapeInvalid';
  if ((policy.kind === 'singleNode' && tasks > 1) || (policy.kind === 'dataParallel' && tasks === 1)) return 'KindNeedsOtherShape';
  if (policy.roundTimeout < 60 || policy.roundTimeout > 365 * 86_400) return 'TimeoutInvalid';
  const terms = policy.reward;
  const unpayable = {
    perRound: false,
    perBatch: terms.gpuSecondsPerTask === 0 || terms.batchSize === 0,
    perGradientUpdate: terms.stepsPerTask === 0,
    perAccuracyGain: terms.bonusBasisPoints > 10_000 || terms.targetGainBasisPoints === 0,
  }[terms.model];
  return terms.scoreTotal === 0 || unpayable ? 'RewardTermsInvalid' : null;
}

test('whatever its terms, a job is taken as it is or refused for what is wrong with it', async () => {
  const owner = await chain.actor(9);
  const small = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(1, 2, 3) }, { weight: 1, arbitrary: count });
  await fc.assert(
    fc.asyncProperty(small, small, small, anyPolicy, async (rounds, tasks, redundancy, policy) => {
      const submitting = submit(owner, { rounds, tasks, redundancy, policy });
      const expected = wrongWith(rounds, tasks, redundancy, policy);
      if (expected !== null) expect(await refusal(submitting)).toMatchObject({ error: expected });
      else expect((await submitting).events[1]).toMatchObject({ event: 'JobTermsSet', policy });
    }),
    { numRuns: 150 },
  );
}, 60_000);

test('a budget of more than 128 bits is refused', async () => {
  const owner = await chain.actor(9);
  await chain.reverting(async () => {
    await chain.request('hardhat_setBalance', [owner.account, toHex(2n ** 130n)]);
    expect(await refusal(submit(owner, { budgetWei: 2n ** 128n }))).toEqual({ error: 'BudgetTooLarge', budgetWei: 2n ** 128n });
    await submit(owner, { budgetWei: 2n ** 128n - 1n });
  });
});

test('sums beyond what an account has are refused before anything is sent', async () => {
  expect(await refusal(submit(await chain.actor(9), { budgetWei: 20_000n * ether }))).toMatchObject({ error: 'InsufficientFunds' });
});

test('owner and coordinator pause and resume; strangers do not', async () => {
  const { job, owner, coordinator, validator } = await newJob();
  for (const person of [owner, coordinator]) {
    expect(await refusal(person.send({ call: 'resumeJob', job }))).toEqual({ error: 'JobNotPaused', job });
    expect((await person.send({ call: 'pauseJob', job })).events).toMatchObject([{ event: 'JobPaused', job }]);
    expect(await refusal(person.send({ call: 'pauseJob', job }))).toEqual({ error: 'JobNotRunning', job });
    expect((await person.send({ call: 'resumeJob', job })).events).toMatchObject([{ event: 'JobResumed', job }]);
  }
  for (const call of ['pauseJob', 'resumeJob'] as const) {
    expect(await refusal(validator.send({ call, job }))).toEqual({ error: 'NotCoordinator', job, caller: validator.account });
  }
});

test('only the owner cancels, once, and gets back what was not paid', async () => {
  const driver = await newJob({ rounds: 3 });
  const { job, owner, coordinator } = driver;
  await driver.honestRound(0, () => rootOf('r'));
  expect(await refusal(coordinator.send({ call: 'cancelJob', job }))).toEqual({ error: 'NotOwner', job, caller: coordinator.account });
  // What the owner is owed already must not get lost.
  await manager.call(9, 'creditTo', [owner.account], 5n);
  const before = await chain.reader.credit(owner.account);
  expect(before).toBeGreaterThanOrEqual(5n);
  await owner.send({ call: 'pauseJob', job });
  const { events } = await owner.send({ call: 'cancelJob', job });
  expect(events).toMatchObject([{ event: 'JobCancelled', job, refundWei: 667n, reserveWei: 0n }]);
  expect(await chain.reader.credit(owner.account)).toBe(before + 667n);
  expect(await refusal(owner.send({ call: 'cancelJob', job }))).toEqual({ error: 'JobEnded', job });
  expect(await refusal(driver.closeNodes(1))).toEqual({ error: 'JobNotRunning', job });
  expect(await refusal(owner.send({ call: 'releaseReserve', job }))).toEqual({ error: 'NothingReserved', job });
});

test('a job is completed by anybody after its last round only', async () => {
  const driver = await newJob();
  const { job, coordinator } = driver;
  const anybody = await chain.actor(11);
  expect(await refusal(anybody.send({ call: 'completeJob', job }))).toEqual({ error: 'RoundsRemaining', job, nextRound: 0n, rounds: 1n });
  await driver.honestRound(0, () => rootOf('r'));
  expect(await refusal(driver.closeNodes(1))).toEqual({ error: 'AllRoundsFinalized', job });
  await coordinator.send({ call: 'pauseJob', job });
  expect(await refusal(anybody.send({ call: 'completeJob', job }))).toEqual({ error: 'JobNotRunning', job });
  await coordinator.send({ call: 'resumeJob', job });
  await anybody.send({ call: 'completeJob', job });
  expect(await chain.reader.job(job)).toMatchObject({ status: 'completed' });
  for (const call of ['completeJob', 'pauseJob'] as const) {
    expect(await refusal(coordinator.send({ call, job }))).toEqual({ error: 'JobNotRunning', job });
  }
  expect(await refusal(driver.owner.send({ call: 'cancelJob', job }))).toEqual({ error: 'JobEnded', job });
});

test('a job without progress is failed by anybody, after its time to the second', async () => {
  const driver = await newJob({ policy: { roundTimeout: 600 } });
  const { job } = driver;
  const anybody = await chain.actor(11);
  const fail = () => anybody.send({ call: 'failJob', job });
  const progress = async (): Promise<bigint> => BigInt(await timeOf(chain));
  let since = await progress();
  // Assigning a round and resuming are progress; closing the nodes is not, or a coordinator could do it for ever.
  await chain.elapse(300);
  await driver.closeNodes(0);
  expect(await refusal(fail())).toMatchObject({ error: 'StillInTime', until: expect.any(BigInt) as bigint });
  await chain.mine();
  await driver.assign(0);
  since = await progress();
  expect(await refusal(fail())).toEqual({ error: 'StillInTime', job, until: since + 600n });
  await driver.owner.send({ call: 'pauseJob', job });
  await chain.elapse(300);
  await driver.owner.send({ call: 'resumeJob', job });
  since = await progress();
  await nextTime(chain, Number(since) + 600);
  expect(await refusal(fail())).toEqual({ error: 'StillInTime', job, until: since + 600n });
  await nextTime(chain, Number(since) + 601);
  expect((await fail()).events).toMatchObject([{ event: 'JobFailed', job, refundWei: 0n, reserveWei: 1000n }]);
  expect(await chain.reader.job(job)).toMatchObject({ status: 'failed', reserveWei: 1000n });
  expect(await refusal(fail())).toEqual({ error: 'JobEnded', job });
});

test('finished work of an ended job is settled from what was kept, in time, and the rest goes back', async () => {
  const driver = await newJob({ rounds: 2, tasks: 2, redundancy: 2, budgetWei: 8_001n, policy: { roundTimeout: 600 } });
  const { job, owner } = driver;
  const anybody = await chain.actor(11);
  await driver.open(0);
  for (const step of ['commit', 'reveal'] as const) for (const slot of [0, 1]) await driver[step](0, 0, slot, rootOf('r'));
  const settle = () => anybody.send({ call: 'settleTask', job, round: 0, task: 0, resultRoot: rootOf('r') });
  expect(await refusal(settle())).toEqual({ error: 'JobStillOpen', job });
  const refunded = await chain.reader.credit(owner.account);
  await owner.send({ call: 'cancelJob', job });
  expect((await chain.reader.credit(owner.account)) - refunded).toBe(4_000n);
  const endedAt = await timeOf(chain);
  expect(await chain.reader.job(job)).toMatchObject({ status: 'cancelled', reserveWei: 4_001n, paidWei: 0n });
  expect(await refusal(anybody.send({ call: 'releaseReserve', job }))).toEqual({
    error: 'StillInTime',
    job,
    until: BigInt(endedAt) + 600n,
  });
  await nextTime(chain, endedAt + 600);
  await settle();
  expect(await chain.reader.job(job)).toMatchObject({ reserveWei: 2_001n, paidWei: 2_000n });
  await nextTime(chain, endedAt + 601);
  const { events } = await anybody.send({ call: 'releaseReserve', job });
  expect(events).toMatchObject([{ event: 'ReserveReleased', job, refundWei: 2_001n }]);
  expect((await chain.reader.credit(owner.account)) - refunded).toBe(6_001n);
  expect(await refusal(anybody.send({ call: 'releaseReserve', job }))).toEqual({ error: 'NothingReserved', job });
});

test('after the time for it nothing is settled any more', async () => {
  const driver = await newJob({ policy: { roundTimeout: 600 } });
  await driver.open(0);
  for (const step of ['commit', 'reveal'] as const) await driver[step](0, 0, 0, rootOf('r'));
  await driver.owner.send({ call: 'cancelJob', job: driver.job });
  await chain.elapse(601);
  const settling = driver.owner.send({ call: 'settleTask', job: driver.job, round: 0, task: 0, resultRoot: rootOf('r') });
  expect(await refusal(settling)).toEqual({ error: 'SettlementOver', job: driver.job });
});

test('a sponsored job gives back to its sponsor first', async () => {
  const { emissionPool } = chain.info.contracts;
  const pool = await chain.actor(0);
  await pool.send({ call: 'depositEmission', amountWei: ether });
  await chain.mine(20);
  const driver = await newJob({ budgetWei: 100n });
  const { job, owner } = driver;
  const { events } = await pool.send({ call: 'sponsorJob', job, amountWei: 300n });
  expect(events.at(-1)).toMatchObject({ event: 'JobSponsored', job, amountWei: 300n });
  expect(await chain.reader.job(job)).toMatchObject({ budgetWei: 400n });
  const before = await chain.reader.credit(owner.account);
  await driver.open(0);
  await owner.send({ call: 'cancelJob', job });
  await chain.elapse(plainPolicy(1).roundTimeout + 1);
  await owner.send({ call: 'releaseReserve', job });
  expect([await chain.reader.credit(emissionPool), await chain.reader.credit(owner.account)]).toEqual([300n, before + 100n]);
  await owner.send({ call: 'reclaimEmission' });
  expect(await chain.reader.credit(emissionPool)).toBe(0n);

  // What was earned is the owner's money last of all.
  const paid = await newJob({ budgetWei: 100n });
  await pool.send({ call: 'sponsorJob', job: paid.job, amountWei: 50n });
  await pool.send({ call: 'sponsorJob', job: paid.job, amountWei: 250n });
  await paid.honestRound(0, () => rootOf('r'));
  await paid.coordinator.send({ call: 'completeJob', job: paid.job });
  expect(await chain.reader.job(paid.job)).toMatchObject({ paidWei: 400n });
  expect([await chain.reader.credit(emissionPool), await chain.reader.credit(owner.account)]).toEqual([0n, before + 100n]);
  expect(await refusal(pool.send({ call: 'sponsorJob', job: paid.job, amountWei: 1n }))).toEqual({ error: 'JobEnded', job: paid.job });
  const direct = manager.refused(9, 'sponsorJob', [job], 1n);
  expect(await direct).toEqual(['NotThroughItsDoor', accountOf(chain, 9)]);
});

test('a requested job waits for its coordinator to specify it, once', async () => {
  const hyperParameters = encodeHyperParameters({
    version: 1,
    tasks: 2,
    redundancy: 1,
    localSteps: 3,
    batchSize: 4,
    learningRate: 1_000_000,
    optimizer: 'sgd',
    strategy: 'fedavg',
    jobKind: 'federated',
    settlement: 'direct',
    rewardModel: 'perRound',
    gpuSecondsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
    roundTimeout: 600,
    seed: 7n,
  });
  const [requester, coordinator] = [await chain.actor(9), await chain.actor(0)];
  const request = [rootOf('base'), rootOf('data'), 3, 2, hyperParameters] as const;
  const door = deployed(chain, 'trainRequest');
  const job = (await door.read('predictJobId', [requester.account, ...request])) as JobId;
  const to = chain.info.contracts.trainRequest;
  await execute(chain, 9, { to, abi: trainRequestAbi, functionName: 'requestTraining', args: [...request] }, 600n);
  expect(await chain.reader.job(job)).toMatchObject({
    owner: requester.account,
    coordinator: coordinator.account,
    specCid: zeroRoot,
    budgetWei: 600n,
  });
  const close = (nodeCount: number) => coordinator.send({ call: 'closeNodes', job, round: 0, nodeSetRoot: rootOf('nodes'), nodeCount });
  const specify = (specCid: Root, by = coordinator) => by.send({ call: 'specifyJob', job, specCid });
  expect(await refusal(close(2))).toEqual({ error: 'SpecMissing', job });
  expect(await refusal(specify(rootOf('s'), requester))).toEqual({ error: 'NotCoordinator', job, caller: requester.account });
  expect(await refusal(specify(zeroRoot))).toEqual({ error: 'SpecMissing', job });
  expect((await specify(rootOf('s'))).events).toMatchObject([{ event: 'JobSpecified', job, specCid: rootOf('s') }]);
  expect(await refusal(specify(rootOf('other')))).toEqual({ error: 'SpecAlreadySet', job });
  expect(await refusal(close(1))).toEqual({ error: 'NodesTooFew', job, round: 0n, nodeCount: 1, minParticipants: 2 });
  await close(2);
  const terms = { specCid: zeroRoot, modelId: zeroRoot, rounds: 1n, tasks: 1, redundancy: 1, coordinator: to, validator: to };
  const rest = { kind: 0, settlement: 0, minParticipants: 0, roundTimeout: 60n, reward: { ...reward, model: 0 } };
  const direct = manager.refused(9, 'submitRequest', [requester.account, { ...terms, ...rest }, zeroRoot], 1n);
  expect(await direct).toEqual(['NotThroughItsDoor', accountOf(chain, 9)]);
});
