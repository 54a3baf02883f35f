import type { ChainWriter } from '@muster/ports';
import type { JobId, Root } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobDriver, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

let chain: TestChain;
let driver: JobDriver;
beforeAll(async () => {
  chain = await startTestChain();
  driver = await JobDriver.submit(chain, { rounds: 2, tasks: 1, redundancy: 1, budgetWei: 10n }, 'models');
});
afterAll(() => chain.close());

const registerModel = (by: ChainWriter, modelId: Root, modelCid = rootOf('program')) =>
  by.send({ call: 'registerModel', modelId, modelCid, datasetCid: rootOf('dataset') });
const addCheckpoint = (by: ChainWriter, round = 0, checkpointCid = rootOf('checkpoint'), job: JobId = driver.job) =>
  by.send({ call: 'addCheckpoint', modelId: driver.modelId, job, round, checkpointCid });
const publish = (by: ChainWriter, checkpointCid = rootOf('checkpoint'), modelId = driver.modelId) =>
  by.send({ call: 'publishModel', modelId, checkpointCid });

test('a model is registered once, with its program', async () => {
  const { owner, modelId, coordinator } = driver;
  expect(await refusal(registerModel(owner, modelId, zeroRoot))).toEqual({ error: 'ModelCidMissing', modelId });
  expect(await refusal(addCheckpoint(owner))).toEqual({ error: 'ModelUnknown', modelId });
  const { events } = await registerModel(owner, modelId);
  const announced = { modelId, owner: owner.account, modelCid: rootOf('program'), datasetCid: rootOf('dataset') };
  expect(events).toMatchObject([{ event: 'ModelRegistered', ...announced }]);
  expect(await refusal(registerModel(coordinator, modelId))).toEqual({ error: 'ModelAlreadyRegistered', modelId });
});

test('owner and coordinator add one checkpoint per finalized round and publish it', async () => {
  const { owner, coordinator, validator, modelId, job } = driver;
  expect(await refusal(addCheckpoint(coordinator))).toEqual({ error: 'RoundNotFinalized', job, round: 0n, nextRound: 0n });
  await driver.honestRound(0, () => rootOf('r'));
  const checkpointCid = rootOf('checkpoint');
  expect(await refusal(publish(owner))).toEqual({ error: 'CheckpointUnknown', modelId, checkpointCid });
  const stranger = { error: 'NotModelOwner', modelId, caller: validator.account };
  expect(await refusal(addCheckpoint(validator))).toEqual(stranger);
  expect((await addCheckpoint(coordinator)).events).toMatchObject([{ event: 'CheckpointAdded', modelId, job, round: 0, checkpointCid }]);
  expect(await refusal(addCheckpoint(owner))).toEqual({ error: 'CheckpointAlreadyAdded', modelId, job, round: 0n });
  expect(await refusal(publish(validator))).toEqual(stranger);
  await driver.honestRound(1, () => rootOf('r'));
  // A round that changed nothing has the checkpoint of the one before.
  await addCheckpoint(owner, 1);
  for (const person of [coordinator, owner]) {
    expect((await publish(person)).events).toMatchObject([{ event: 'ModelPublished', modelId, checkpointCid }]);
  }
});

test('a stranger’s job that names the model gives no right to it', async () => {
  const { modelId } = driver;
  const thief = await chain.actor(9);
  const { account } = thief;
  const terms = { specCid: rootOf('spec'), rounds: 1, tasks: 1, redundancy: 1, coordinator: account, validator: account, budgetWei: 0n };
  const submit = async (model: Root): Promise<JobId> => {
    const { events } = await thief.send({ call: 'submitJob', modelId: model, ...terms });
    const [event] = events;
    if (event?.event !== 'JobSubmitted') throw new Error('no JobSubmitted');
    return event.job;
  };
  const naming = await submit(modelId);
  expect(await refusal(addCheckpoint(thief, 0, rootOf('poison'), naming))).toEqual({ error: 'NotModelOwner', modelId, caller: account });
  const other = await submit(rootOf('another model'));
  expect(await refusal(addCheckpoint(thief, 0, rootOf('poison'), other))).toEqual({ error: 'JobNotForModel', modelId, job: other });
});
