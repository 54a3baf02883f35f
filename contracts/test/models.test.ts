import type { ChainWriter } from '@muster/ports';
import type { Address, JobId, Root } from '@muster/protocol';
import { plainPolicy } from '@muster/protocol';
import * as fc from 'fast-check';
import { getContractAddress } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountOf, compiled, deploy, type Handle, relayedBy } from './handles.ts';
import { ether, JobDriver, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

let chain: TestChain;
let driver: JobDriver;
beforeAll(async () => {
  compiled('ModelRegistry');
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
    const { events } = await thief.send({ call: 'submitJob', modelId: model, ...terms, policy: plainPolicy(1) });
    const [event] = events;
    if (event?.event !== 'JobSubmitted') throw new Error('no JobSubmitted');
    return event.job;
  };
  const naming = await submit(modelId);
  expect(await refusal(addCheckpoint(thief, 0, rootOf('poison'), naming))).toEqual({ error: 'NotModelOwner', modelId, caller: account });
  const other = await submit(rootOf('another model'));
  expect(await refusal(addCheckpoint(thief, 0, rootOf('poison'), other))).toEqual({ error: 'JobNotForModel', modelId, job: other });
});

// What the chain port does not speak to: lineage, licences, transfer, and who is credited.

const owner = 1;
const coordinator = 2;
const stranger = 5;
const noCid = zeroRoot;

interface Registry {
  readonly models: Handle;
  readonly reputation: Handle;
  readonly forwarder: Handle;
}

/** A model registry of its own over the chain's jobs, with the reputation it writes to. */
async function newRegistry(): Promise<Registry> {
  const forwarder = await deploy(chain, 0, 'MusterForwarder', []);
  const from = accountOf(chain, 0);
  const nonce = BigInt((await chain.request('eth_getTransactionCount', [from, 'latest'])) as string);
  // The reputation comes first and must know who will write.
  const writer = getContractAddress({ from, nonce: nonce + 1n });
  const reputation = await deploy(chain, 0, 'ReputationRegistry', [[writer], from]);
  const models = await deploy(chain, 0, 'ModelRegistry', [forwarder.address, chain.info.contracts.jobManager, reputation.address]);
  return { models, reputation, forwarder };
}

const registered = (models: Handle, label: string, by = owner) =>
  models.call(by, 'registerModel', [rootOf(label), rootOf('program'), rootOf('dataset')]);
const derive = (label: string, parent: string) => [rootOf(label), rootOf('program'), rootOf('dataset'), rootOf(parent)] as const;

test('a derived model names a registered parent, and its lineage is walked back to the first', async () => {
  const { models } = await newRegistry();
  expect(await models.refused(owner, 'registerDerivedModel', derive('child', 'first'))).toEqual(['ModelUnknown', rootOf('first')]);
  await registered(models, 'first');
  const { events } = await models.call(stranger, 'registerDerivedModel', derive('child', 'first'));
  expect(events).toMatchObject([
    { event: 'ModelRegistered', modelId: rootOf('child'), owner: accountOf(chain, stranger) },
    { event: 'ModelDerived', modelId: rootOf('child'), parentModel: rootOf('first') },
  ]);
  expect(await models.refused(owner, 'registerDerivedModel', derive('child', 'first'))).toEqual([
    'ModelAlreadyRegistered',
    rootOf('child'),
  ]);
  await models.call(owner, 'registerDerivedModel', derive('grandchild', 'child'));
  expect(await models.read('lineageOf', [rootOf('grandchild')])).toEqual([rootOf('child'), rootOf('first')]);
  expect(await models.read('lineageOf', [rootOf('first')])).toEqual([]);
  await expect(models.read('lineageOf', [rootOf('nobody’s')])).rejects.toThrow(/ModelUnknown/);
  await expect(models.read('jobsOf', [rootOf('nobody’s')])).rejects.toThrow(/ModelUnknown/);
});

test('a lineage has at most 64 ancestors', async () => {
  const { models } = await newRegistry();
  await registered(models, 'generation 0');
  for (let generation = 1; generation <= 64; generation++) {
    await models.call(owner, 'registerDerivedModel', derive(`generation ${generation}`, `generation ${generation - 1}`));
  }
  expect(await models.refused(owner, 'registerDerivedModel', derive('too deep', 'generation 64'))).toEqual([
    'LineageTooDeep',
    rootOf('generation 64'),
    64n,
  ]);
  const lineage = (await models.read('lineageOf', [rootOf('generation 64')])) as Root[];
  expect(lineage).toEqual(Array.from({ length: 64 }, (_, index) => rootOf(`generation ${63 - index}`)));
});

test('a licence is an SPDX expression or the content id of a text, set by the owner', async () => {
  const { models } = await newRegistry();
  const modelId = rootOf('licensed');
  expect(await models.refused(owner, 'setLicence', [modelId, 'MIT', noCid])).toEqual(['ModelUnknown', modelId]);
  await registered(models, 'licensed');
  expect(await models.refused(stranger, 'setLicence', [modelId, 'MIT', noCid])).toEqual([
    'NotModelOwner',
    modelId,
    accountOf(chain, stranger),
  ]);
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 70 }), fc.constantFrom(noCid, rootOf('text')), async (licence, licenceCid) => {
      const length = BigInt(new TextEncoder().encode(licence).length);
      if (length > 64n || (length === 0n) === (licenceCid === noCid)) {
        expect(await models.refused(owner, 'setLicence', [modelId, licence, licenceCid])).toEqual([
          'LicenceInvalid',
          modelId,
          length,
          licenceCid,
        ]);
        return;
      }
      const { events } = await models.call(owner, 'setLicence', [modelId, licence, licenceCid]);
      expect(events).toEqual([{ event: 'LicenceSet', modelId, licence, licenceCid }]);
      expect(await models.read('model', [modelId])).toMatchObject({ licence, licenceCid });
    }),
    {
      numRuns: 40,
      examples: [
        ['Apache-2.0', noCid],
        ['a'.repeat(64), noCid],
        ['a'.repeat(65), noCid],
        ['', noCid],
        ['', rootOf('text')],
        ['MIT', rootOf('text')],
      ],
    },
  );
});

test('a transferred model obeys its new owner, and the coordinator of the old owner’s job loses its right', async () => {
  const { models } = await newRegistry();
  const { modelId, job } = driver;
  await models.call(owner, 'registerModel', [modelId, rootOf('program'), rootOf('dataset')]);
  const refused = await models.refused(stranger, 'transferModel', [modelId, accountOf(chain, stranger)]);
  expect(refused).toEqual(['NotModelOwner', modelId, accountOf(chain, stranger)]);
  expect(await models.refused(owner, 'transferModel', [modelId, `0x${'00'.repeat(20)}`])).toEqual(['NewOwnerMissing', modelId]);
  await models.call(coordinator, 'addCheckpoint', [modelId, job, 0n, rootOf('checkpoint 0')]);
  const [from, to] = [accountOf(chain, owner), accountOf(chain, stranger)];
  expect((await models.call(owner, 'transferModel', [modelId, to])).events).toEqual([{ event: 'ModelTransferred', modelId, from, to }]);
  for (const actor of [owner, coordinator]) {
    const refusal = ['NotModelOwner', modelId, accountOf(chain, actor)];
    expect(await models.refused(actor, 'addCheckpoint', [modelId, job, 1n, rootOf('checkpoint 1')])).toEqual(refusal);
    expect(await models.refused(actor, 'publishModel', [modelId, rootOf('checkpoint 0')])).toEqual(refusal);
  }
  await models.call(stranger, 'publishModel', [modelId, rootOf('checkpoint 0')]);
  expect(await models.read('model', [modelId])).toMatchObject({ owner: to, publishedCid: rootOf('checkpoint 0') });
});

test('every global model of a finalized round is on record with the job that made it', async () => {
  const { models } = await newRegistry();
  const { modelId, job } = driver;
  await models.call(owner, 'registerModel', [modelId, rootOf('program'), rootOf('dataset')]);
  expect(await models.read('globalModelOf', [job, 0n])).toBe(noCid);
  expect(await models.refused(owner, 'addCheckpoint', [modelId, job, 0n, noCid])).toEqual(['CheckpointCidMissing', modelId]);
  for (const round of [1n, 0n]) {
    await models.call(coordinator, 'addCheckpoint', [modelId, job, round, rootOf(`global ${round}`)]);
    expect(await models.read('globalModelOf', [job, round])).toBe(rootOf(`global ${round}`));
    expect(await models.refused(owner, 'addCheckpoint', [modelId, job, round, rootOf('other')])).toEqual([
      'CheckpointAlreadyAdded',
      modelId,
      job,
      round,
    ]);
  }
  expect(await models.read('jobsOf', [modelId])).toEqual([job]);
  expect(await models.read('model', [modelId])).toMatchObject({
    checkpoints: [
      { jobId: job, round: 1n },
      { jobId: job, round: 0n },
    ],
  });
});

test('a credit for lineage is the owner’s, for a published checkpoint, once per node, and its price is burnt', async () => {
  const { models, reputation, forwarder } = await newRegistry();
  const { modelId, job } = driver;
  const node = rootOf('contributor');
  const checkpointCid = rootOf('credited');
  const price = (await models.read('lineagePriceWei')) as bigint;
  const burn = '0x000000000000000000000000000000000000dead' as Address;
  expect(price).toBe(ether / 100n);
  expect(await models.refused(owner, 'creditLineage', [modelId, node], price)).toEqual(['ModelUnknown', modelId]);
  await models.call(owner, 'registerModel', [modelId, rootOf('program'), rootOf('dataset')]);
  await models.call(owner, 'addCheckpoint', [modelId, job, 0n, checkpointCid]);
  expect(await models.refused(owner, 'creditLineage', [modelId, node], price)).toEqual(['ModelNotPublished', modelId]);
  await models.call(owner, 'publishModel', [modelId, checkpointCid]);
  for (const actor of [coordinator, stranger]) {
    expect(await models.refused(actor, 'creditLineage', [modelId, node], price)).toEqual([
      'NotModelOwner',
      modelId,
      accountOf(chain, actor),
    ]);
  }
  for (const sent of [0n, price - 1n, price + 1n]) {
    expect(await models.refused(owner, 'creditLineage', [modelId, node], sent)).toEqual(['LineagePriceWrong', sent, price]);
  }
  const before = await chain.reader.balance(burn);
  expect((await models.call(owner, 'creditLineage', [modelId, node], price)).events).toEqual([
    { event: 'LineageCredited', modelId, node, checkpointCid },
  ]);
  expect(await models.refused(owner, 'creditLineage', [modelId, node], price)).toEqual([
    'LineageAlreadyCredited',
    modelId,
    node,
    checkpointCid,
  ]);
  await relayedBy(chain, forwarder, 7, owner, models, 'creditLineage', [modelId, rootOf('another')], price);
  expect((await chain.reader.balance(burn)) - before).toBe(2n * price);
  expect(await chain.reader.balance(models.address)).toBe(0n);
  expect(await reputation.read('metricsOf', [node])).toMatchObject({ lineage: 100, uptime: 0 });

  // The next published checkpoint is a new contribution.
  await models.call(owner, 'addCheckpoint', [modelId, job, 1n, rootOf('next')]);
  await models.call(owner, 'publishModel', [modelId, rootOf('next')]);
  await chain.reverting(async () => {
    // A contract at the burn address that takes nothing.
    await chain.request('hardhat_setCode', [burn, '0x5f5ffd']);
    expect(await models.refused(owner, 'creditLineage', [modelId, node], price)).toEqual(['BurnFailed', price]);
  });
  await models.call(owner, 'creditLineage', [modelId, node], price);
  expect(await reputation.read('metricsOf', [node])).toMatchObject({ lineage: 200 });
});

test('what a relayer submits belongs to the account that signed', async () => {
  const { models, forwarder } = await newRegistry();
  const modelId = rootOf('relayed');
  await relayedBy(chain, forwarder, 7, 6, models, 'registerModel', [modelId, rootOf('program'), noCid]);
  expect(await models.read('model', [modelId])).toMatchObject({ owner: accountOf(chain, 6) });
  await expect(relayedBy(chain, forwarder, 6, 7, models, 'setLicence', [modelId, 'MIT', noCid])).rejects.toThrow();
});
