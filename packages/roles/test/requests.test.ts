/** TRAIN_REQUEST over the real contracts: what was asked for becomes a job, or is refused and left to its owner. */
import {
  digestOf,
  encodeHyperParameters,
  encodeLinked,
  type HyperParameters,
  type JobId,
  keccakOfWords,
  type JobSpec,
  type Root,
} from '@muster/protocol';
import { evenShare } from '@muster/round';
import { buildModel } from '@muster/models';
import { describe, expect, test } from 'vitest';
import { type JobRecord, reader, requestedSpec, seedOf } from '../src/index.ts';
import { momentum, type Optimizer, type Order, storeOrder, tinyDataset, tinyModel, tinyOrder } from './support/order.ts';
import { inWorld, type World } from './support/world.ts';

const budgetWei = 10n ** 15n + 7n;

const parameters: HyperParameters = {
  version: 1,
  tasks: 2,
  redundancy: 3,
  localSteps: 4,
  batchSize: 8,
  learningRate: 500_000_000,
  optimizer: 'momentum',
  strategy: 'fedavg',
  jobKind: 'federated',
  settlement: 'direct',
  rewardModel: 'perRound',
  gpuSecondsPerTask: 0,
  bonusBasisPoints: 0,
  targetGainBasisPoints: 0,
  roundTimeout: 1200,
  seed: 7n,
};

interface Asked {
  readonly hyper?: Partial<HyperParameters>;
  readonly totalRounds?: number;
  readonly minParticipants?: number;
  /** Default: the tiny order's, stored. */
  readonly order?: Order;
  readonly registered?: boolean;
}

/** Registers the order's model where it is not yet, and requests a training of it as the organizer. */
async function request(
  world: World,
  { hyper = {}, totalRounds = 2, minParticipants = 4, order, registered = true }: Asked = {},
): Promise<JobId> {
  const wanted = order ?? (await tinyOrder());
  if (order === undefined) await storeOrder(wanted, world.blobs);
  const modelCid = digestOf(wanted.model.cid);
  const dataset = digestOf(wanted.dataset.cid);
  const baseModel = keccakOfWords([modelCid]);
  const known = (await world.history()).models.has(baseModel);
  if (registered && !known) await world.organizer.send({ call: 'registerModel', modelId: baseModel, modelCid, datasetCid: dataset });
  const hyperParameters = encodeHyperParameters({ ...parameters, ...hyper });
  const sent = { call: 'requestTraining', baseModel, dataset, totalRounds, minParticipants, hyperParameters, budgetWei } as const;
  const { events } = await world.organizer.send(sent);
  const asked = events.find((event) => event.event === 'TrainingRequested');
  expect(asked).toMatchObject({
    requester: world.organizer.account,
    baseModel,
    dataset,
    totalRounds,
    minParticipants,
    hyperParameters,
    budgetWei,
  });
  if (asked?.event !== 'TrainingRequested') throw new Error('no TrainingRequested event');
  return asked.job;
}

/** The spec that the request of a job leads to. */
async function specOf(world: World, { request: asked }: JobRecord): Promise<JobSpec> {
  if (asked === null) throw new Error('the job was not requested');
  return await requestedSpec(asked, reader(world.blobs));
}

const paidOf = (record: JobRecord): bigint[] =>
  [...record.rounds.values()]
    .flatMap(({ tasks }) => [...tasks.values()])
    .flatMap(({ slots }) => [...slots.values()])
    .flatMap(({ rewarded }) => (rewarded === null ? [] : [rewarded.amountWei]));

/** The reason that the coordinator reports for refusing `job`. */
async function refusalOf(world: World, job: JobId): Promise<string> {
  const found = (): unknown => world.reported('request.refused').find(({ fields }) => fields['job'] === job)?.fields['reason'];
  await world.until(() => found() !== undefined, 50);
  return String(found());
}

describe('a requested training', () => {
  test('is specified by the coordinator, trained, paid in equal parts and audited; a second one begins with the same model', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const job = await request(world);
      const record = await world.finish(job);
      const spec = await specOf(world, record);
      expect(record.specCid).toBe(digestOf(encodeLinked(spec).cid));
      const expected: Partial<JobSpec> = {
        name: `request ${job}`,
        rounds: 2,
        tasks: 2,
        redundancy: 3,
        localSteps: 4,
        seed: seedOf(7),
        minimumNodes: 4,
        commitTimeoutMs: 60_000,
        revealTimeoutMs: 30_000,
        verdictTimeoutMs: 120_000,
        roundTimeoutMs: 600_000,
      };
      expect(spec).toMatchObject(expected);
      const share = evenShare({ budgetWei, rounds: 2, tasks: 2, redundancy: 3 });
      expect(paidOf(record)).toEqual(Array.from({ length: 12 }, () => share));
      expect(record.ended?.refundWei).toBe(budgetWei - 12n * share);
      expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: 4 });

      const second = await world.finish(await request(world, { hyper: { seed: 8n, rewardModel: 'perGradientUpdate' }, totalRounds: 1 }));
      expect(paidOf(second)).toEqual(Array.from({ length: 6 }, () => evenShare({ budgetWei, rounds: 1, tasks: 2, redundancy: 3 })));
      expect(await world.audit(second.submitted.job)).toMatchObject({ ok: true, firstFault: null });
      // What the second published is not taken for the first's.
      expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null });
      expect((await world.record(job)).published?.checkpointCid).toBe((await world.record(job)).rounds.get(1)?.checkpoint?.checkpointCid);
    });
  });

  test('can be settled in batches', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const job = await request(world, { hyper: { settlement: 'batched', roundTimeout: 120 }, totalRounds: 1 });
      const record = await world.finish(job);
      expect(record.policy.settlement).toBe('batched');
      expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null, tasks: 2 });
    });
  });

  test.each([
    ['put', 1],
    ['send', 1],
  ])('goes on where a coordinator died after its %s number %i', async (method, count) => {
    await inWorld({ trainers: 4 }, async (world) => {
      await world.startCoordinator({ method, count });
      const job = await request(world, { totalRounds: 1 });
      await world.until(() => world.coordinatorLife.dead, 50);
      await world.startCoordinator();
      const record = await world.finish(job);
      expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null });
      expect(record.specCid).toBe(digestOf(encodeLinked(await specOf(world, record)).cid));
    });
  });

  test('is waited for while its data is on the way', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const order = await tinyOrder();
      for (const { bytes } of order.model.objects) await world.blobs.put(bytes, 'dag-cbor');
      const job = await request(world, { order, totalRounds: 1 });
      expect(await refusalOf(world, job)).toMatch(/^OBJECT_MISSING/);
      await storeOrder(order, world.blobs);
      await world.finish(job);
      expect(await world.audit(job)).toMatchObject({ ok: true });
    });
  });
});

describe('a request that cannot be carried out', () => {
  test('is refused by name, trains nothing and holds up nobody; its owner has the budget back', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const cases: readonly (readonly [Asked, RegExp])[] = [
        [{ registered: false }, /^JOB_INVALID: baseModel: .* not registered/],
        [{ hyper: { batchSize: 16 } }, /^JOB_INVALID: batchSize: .*batches of 8/],
        [{ hyper: { optimizer: 'adam' } }, /^JOB_INVALID: optimizer: adam/],
        [{ hyper: { learningRate: 400_000_000 } }, /^JOB_INVALID: learningRate: a learning rate of 0.4/],
        [{ hyper: { redundancy: 16 } }, /^JOB_INVALID: .*redundancy/],
        [{ hyper: { tasks: 4097 } }, /^JOB_INVALID: .*tasks/],
      ];
      for (const [asked, reason] of cases) {
        const job = await request(world, asked);
        expect(await refusalOf(world, job)).toMatch(reason);
        expect((await world.record(job)).specCid).toBe(`0x${'0'.repeat(64)}`);
        await world.organizer.send({ call: 'cancelJob', job });
        expect((await world.record(job)).ended).toMatchObject({ event: 'JobCancelled', refundWei: budgetWei, reserveWei: 0n });
      }
      expect(await world.reader.credit(world.organizer.account)).toBe(BigInt(cases.length) * budgetWei);
      const good = await request(world, { totalRounds: 1 });
      await world.finish(good);
    });
  });

  test('fails once it stood still for its round timeout, by anybody', async () => {
    await inWorld({ trainers: 4 }, async (world) => {
      const job = await request(world, { hyper: { batchSize: 9, roundTimeout: 60 } });
      const stranger = await world.writer('trainer 0');
      await expect(stranger.send({ call: 'failJob', job })).rejects.toMatchObject({ details: { error: 'StillInTime' } });
      world.time.advance(62_000);
      await stranger.send({ call: 'failJob', job });
      expect(await world.reader.credit(world.organizer.account)).toBe(budgetWei);
    });
  });
});

test('a coordinator that names another spec than the request leads to is caught by trainers and by the audit', async () => {
  let instead: Root | null = null;
  const coordinatorPorts = (ports: Parameters<NonNullable<Parameters<typeof inWorld>[0]['coordinatorPorts']>>[0]): typeof ports => ({
    ...ports,
    chain: new Proxy(ports.chain, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name === 'send')
          return (call: Parameters<typeof target.send>[0]) =>
            target.send(call.call === 'specifyJob' && instead !== null ? { ...call, specCid: instead } : call);
        return typeof value === 'function' ? (...given: unknown[]): unknown => Reflect.apply(value, target, given) as unknown : value;
      },
    }),
  });
  await inWorld({ trainers: 4, coordinatorPorts }, async (world) => {
    const { spec } = await tinyOrder({ rounds: 2, tasks: 2, redundancy: 3, localSteps: 5 });
    const stored = encodeLinked(spec);
    await world.blobs.put(stored.bytes, 'dag-cbor');
    instead = digestOf(stored.cid);
    const job = await request(world);
    const found = (): boolean =>
      world.reported('job.refused').some(({ fields }) => /the request leads to spec/.test(String(fields['reason'])));
    await world.until(found, 80);
    expect(await world.audit(job)).toMatchObject({
      ok: false,
      firstFault: { problem: expect.stringMatching(/the request leads to spec/) as string },
    });
  });
});

test('the programs of every optimizer show what a request is compared with', async () => {
  const optimizers: Optimizer[] = [
    { kind: 'sgd', learningRate: 0.25 },
    momentum,
    { kind: 'nesterov', learningRate: 0.003, momentum: 0.9 },
    { kind: 'adam', learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    { kind: 'adamw', learningRate: 0.0003, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 },
  ];
  await inWorld({ trainers: 0, validator: false }, async (world) => {
    for (const optimizer of optimizers) {
      const order: Order = { ...(await tinyOrder()), model: await tinyModel(optimizer), dataset: tinyDataset() };
      await storeOrder(order, world.blobs);
      const learningRate = Math.round(optimizer.learningRate * 1e9);
      const job = await request(world, { order, hyper: { optimizer: optimizer.kind, learningRate } });
      const spec = await specOf(world, await world.record(job));
      expect(spec.model).toBe(order.model.cid);
    }
    const warm = await buildModel({
      family: 'softmax',
      input: [8],
      classes: 3,
      batchSize: 8,
      evaluationBatch: 32,
      optimizer: { kind: 'sgd', learningRate: 0.1 },
      schedule: { kind: 'cosine', warmupSteps: 3, totalSteps: 30 },
    });
    const order: Order = { ...(await tinyOrder()), model: warm };
    await storeOrder(order, world.blobs);
    const job = await request(world, { order, hyper: { optimizer: 'sgd', learningRate: 100_000_000 } });
    expect((await specOf(world, await world.record(job))).model).toBe(warm.cid);
  });
});
