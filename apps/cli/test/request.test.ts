/** Policies of job files, request files, homes of earlier versions, and what of an ended job can be settled: without a network. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openEmbeddedChain, systemClock } from '@muster/adapters';
import { type Address, type JobPolicy, MusterError, plainPolicy, type Root } from '@muster/protocol';
import type { JobRecord, SlotRecord } from '@muster/roles';
import { contributionScore, slotReward } from '@muster/round';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { majoritiesOf } from '../src/commands/endings.ts';
import { decodeRequestFile } from '../src/commands/request.ts';
import { contractsSchema, homePaths, type Network, readNetwork } from '../src/home.ts';
import { jobSpecOf } from '../src/jobs.ts';
import { readMembership, writeMembership } from '../src/membership.ts';
import { chainFile, chainId, genesisOf, openHomesChain } from '../src/processes/chain.ts';
import { decodePolicyFile, describeReward, policyOf } from '../src/policy.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-request-'));
});
afterAll(async () => await rm(folder, { recursive: true }));

function problemOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof MusterError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error('nothing was refused');
}

const cid = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy';
const spec = (changes: object = {}) =>
  jobSpecOf({ name: 'n', model: cid as never, dataset: cid as never, seed: 1, tasks: 4, localSteps: 5, ...changes });
const material = { batchSize: 64, records: 1000 };
const policy = (file: unknown, changes: object = {}): JobPolicy => policyOf(decodePolicyFile(file, 'job.json'), spec(changes), material);

describe('a job’s policy', () => {
  test('that is left out counts every task the same, as before there were policies', () => {
    expect(policy(undefined)).toEqual(plainPolicy(4));
    expect(policy({})).toEqual(plainPolicy(4));
    expect(policy({ reward: {} })).toEqual(plainPolicy(4));
  });

  test('says what its reward model needs and no more', () => {
    expect(policy({ reward: { model: 'perBatch', gpuSecondsPerTask: 30 } }).reward).toMatchObject({ gpuSecondsPerTask: 30, batchSize: 64 });
    expect(policy({ reward: { model: 'perGradientUpdate' } }).reward).toMatchObject({ stepsPerTask: 5, scoreTotal: 20 });
    expect(policy({ reward: { model: 'perRound', weigh: 'records' } }).reward).toMatchObject({ scoreTotal: 1000 });
    const gain = { model: 'perAccuracyGain', bonusBasisPoints: 500, targetGainBasisPoints: 100 } as const;
    expect(policy({ reward: gain }).reward).toEqual({ ...plainPolicy(4).reward, ...gain });
    expect(policy({ kind: 'dataParallel', minParticipants: 3, roundTimeout: 601 })).toMatchObject({
      kind: 'dataParallel',
      settlement: 'direct',
      minParticipants: 3,
      roundTimeout: 601,
    });
  });

  test('never pays more than its budget, whatever its model and the tasks’ records', () => {
    const rewards = fc.constantFrom<object>(
      { model: 'perRound' },
      { model: 'perRound', weigh: 'records' },
      { model: 'perBatch', gpuSecondsPerTask: 7 },
      { model: 'perGradientUpdate' },
      { model: 'perAccuracyGain', bonusBasisPoints: 300, targetGainBasisPoints: 50, weigh: 'records' },
    );
    const shards = fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(
        rewards,
        shards,
        fc.bigInt({ min: 0n, max: 10n ** 24n }),
        fc.integer({ min: 1, max: 9 }),
        (reward, sizes, budgetWei, rounds) => {
          const tasks = sizes.length;
          const records = sizes.reduce((sum, size) => sum + size, 0);
          const made = policyOf(decodePolicyFile({ reward }, 'f'), spec({ tasks, rounds }), { batchSize: 16, records });
          const scores = sizes.map((size) => contributionScore(made, tasks, size));
          expect(scores.reduce((sum, score) => sum + score, 0)).toBe(made.reward.scoreTotal);
          const job = { budgetWei, rounds, tasks, redundancy: 3, reward: made.reward };
          const paid = scores.reduce((sum, score) => sum + 3n * BigInt(rounds) * slotReward(job, score), 0n);
          expect(paid <= budgetWei).toBe(true);
        },
      ),
    );
  });

  test.each([
    ['fast', 'policy.'],
    [{ colour: 'blue' }, 'policy.colour'],
    [{ kind: 'swarm' }, 'policy.kind'],
    [{ settlement: 'later' }, 'policy.settlement'],
    [{ minParticipants: 1.5 }, 'policy.minParticipants'],
    [{ roundTimeout: 59 }, 'policy.roundTimeout'],
    [{ roundTimeout: '1h' }, 'policy.roundTimeout'],
    [{ reward: 'much' }, 'policy.reward'],
    [{ reward: { model: 'perHour' } }, 'policy.reward.model'],
    [{ reward: { model: 'perBatch' } }, 'policy.reward.gpuSecondsPerTask'],
    [{ reward: { model: 'perAccuracyGain', bonusBasisPoints: 10_001, targetGainBasisPoints: 1 } }, 'policy.reward.bonusBasisPoints'],
    [{ reward: { model: 'perAccuracyGain', bonusBasisPoints: 1 } }, 'policy.reward.targetGainBasisPoints'],
    [{ reward: { model: 'perRound', gpuSecondsPerTask: 3 } }, 'policy.reward.gpuSecondsPerTask'],
    [{ reward: { weigh: 'luck' } }, 'policy.reward.weigh'],
  ])('of %j is refused, naming the field', (file, field) => {
    const problem = problemOf(() => decodePolicyFile(file, 'job.json'));
    expect(problem).toMatch(/^JOB_INVALID: job\.json/);
    expect(problem).toContain(field);
  });

  test.each([
    [{ kind: 'singleNode' }, {}, 'policy.kind'],
    [{ kind: 'dataParallel' }, { tasks: 1 }, 'policy.kind'],
    [{ minParticipants: 4 }, { minimumNodes: 3 }, 'policy.minParticipants'],
    [{ roundTimeout: 60 }, { roundTimeoutMs: 60_001 }, 'policy.roundTimeout'],
  ])('of %j does not fit a job with %j', (file, changes, named) => {
    expect(problemOf(() => policy(file, changes))).toContain(named);
  });

  test('is said in words', () => {
    for (const [reward, words] of [
      [{}, 'per round'],
      [{ model: 'perBatch', gpuSecondsPerTask: 9 }, '9 GPU-seconds a task, batches of 64'],
      [{ model: 'perGradientUpdate' }, '5 steps'],
      [{ model: 'perAccuracyGain', bonusBasisPoints: 250, targetGainBasisPoints: 100 }, '2.5 % of the budget for gains of 1 %'],
    ] as const)
      expect(describeReward(policy({ reward }).reward)).toContain(words);
  });
});

describe('a request file', () => {
  const least = { model: { family: 'softmax' }, dataset: 'data.csv' };
  const rest = {
    version: 1,
    tasks: 8,
    redundancy: 3,
    localSteps: 32,
    strategy: 'fedavg',
    jobKind: 'federated',
    settlement: 'direct',
    rewardModel: 'perRound',
    gpuSecondsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
    roundTimeout: 1200,
    seed: 1n,
  };

  test('needs a model and data; the rest has defaults', () => {
    expect(decodeRequestFile(least, 'r.json')).toMatchObject({ totalRounds: 10, minParticipants: 3, budgetWei: 10n ** 18n, rest });
    const changed = decodeRequestFile({ ...least, redundancy: 5, seed: '18446744073709551615', policy: { roundTimeout: 60 } }, 'r.json');
    expect(changed).toMatchObject({ minParticipants: 5, rest: { ...rest, redundancy: 5, seed: 2n ** 64n - 1n, roundTimeout: 60 } });
  });

  test.each([
    [{ model: undefined }, '"model"'],
    [{ baseModel: `0x${'1'.repeat(64)}` }, '"model"'],
    [{ model: undefined, baseModel: '0x12' }, '"baseModel"'],
    [{ dataset: 3 }, '"dataset"'],
    [{ rounds: 0 }, '"rounds"'],
    [{ minParticipants: 1.5 }, '"minParticipants"'],
    [{ tasks: 'many' }, '"tasks"'],
    [{ budgetEther: '1,5' }, '"budgetEther"'],
    [{ seed: 2 ** 60 }, '"seed"'],
    [{ seed: '18446744073709551616' }, '"seed"'],
    [{ strategy: 'fedprox' }, '"strategy"'],
    [{ policy: { reward: { weigh: 'records' } } }, '"policy.reward.weigh"'],
    [{ colour: 'blue' }, '"colour"'],
  ])('with %j is refused, naming the field', (changes, named) => {
    const problem = problemOf(() => decodeRequestFile({ ...least, ...changes }, 'r.json'));
    expect(problem).toMatch(/^JOB_INVALID: r\.json/);
    expect(problem).toContain(named);
  });
});

const address = (digit: string): `0x${string}` => `0x${digit.repeat(40)}`;
const names = `forwarder insuranceFund reputationRegistry nodeCertRegistry jobManager faultVerifier proofOfCompute batchedProofOfCompute
  trainProofLog modelRegistry emissionPool didRegistry dataConsent teeVerifier trainRequest`.split(/\s+/);
const contracts = Object.fromEntries(names.map((name) => [name, address('a')]));

test('a home of an earlier version is refused with what it lacks and what to do', async () => {
  const paths = homePaths(join(folder, 'old'));
  await mkdir(dirname(paths.network), { recursive: true });
  const accounts = { organizer: address('1'), coordinator: address('2'), validator: address('3') };
  const network = { version: 1, chainId: 777_001, host: '127.0.0.1', chainPort: 1, coordinatorPort: 2, contracts, accounts };
  await writeFile(paths.network, JSON.stringify(network));
  expect(await readNetwork(paths)).toEqual(network);
  const { trainRequest: _, emissionPool: __, ...fewer } = contracts;
  await writeFile(paths.network, JSON.stringify({ ...network, contracts: fewer }));
  const refused = expect(readNetwork(paths)).rejects;
  await refused.toMatchObject({ code: 'USAGE', details: { missing: 'emissionPool,trainRequest' } });
  await expect(readNetwork(paths)).rejects.toThrow(/earlier Muster.*muster up --home/);
  // Damage is something else.
  await writeFile(paths.network, JSON.stringify({ ...network, chainPort: 0 }));
  await expect(readNetwork(paths)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
});

test('a chain whose genesis is another version’s is refused with what to do', async () => {
  const paths = homePaths(join(folder, 'other genesis'));
  await mkdir(paths.chain, { recursive: true });
  const [organizer, coordinator, validator] = [address('1'), address('2'), address('3')] as Address[];
  const accounts = { organizer, coordinator, validator } as Network['accounts'];
  const { accounts: genesis } = await genesisOf(accounts);
  const path = chainFile(paths);
  // The accounts have their ether, and TRAIN_REQUEST is not there.
  const older = await openEmbeddedChain({ path, chainId, genesis: { accounts: genesis.slice(0, 3) }, clock: systemClock });
  await older.close();
  await expect(openHomesChain({ paths, accounts })).rejects.toThrow(/another version of Muster.*muster up --home/);
});

test('a node’s home remembers the network it joined', async () => {
  const home = join(folder, 'node');
  expect(await readMembership(home)).toBeNull();
  const membership = {
    version: 1,
    url: 'http://a:1',
    rpcUrl: 'http://a:2',
    relay: true,
    chainId: 5,
    contracts: contractsSchema(contracts, 'c'),
  };
  await writeMembership(home, membership);
  expect(await readMembership(home)).toEqual(membership);
  await writeFile(join(home, 'membership.json'), '{"version": 1');
  await expect(readMembership(home)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
});

const root = (digit: string): Root => `0x${digit.repeat(64)}` as Root;
const slot = (resultRoot: Root | null, end: 'open' | 'convicted' | 'paid' = 'open'): SlotRecord =>
  ({
    revealed: resultRoot === null ? null : { resultRoot },
    convicted: end === 'convicted' ? {} : null,
    rewarded: end === 'paid' ? {} : null,
  }) as unknown as SlotRecord;
const task = (slots: readonly SlotRecord[]) => ({ slots: new Map(slots.entries()), closed: true, finalized: null });

test('what can be settled are results that more than half of a task’s slots revealed, of unfinished rounds of ended jobs', () => {
  const [a, b] = [root('a'), root('b')];
  const open = new Map([
    [3, task([slot(a), slot(a), slot(b)])],
    [0, task([slot(b), slot(null), slot(b)])],
    [1, task([slot(a), slot(b), slot(null)])],
    [2, task([slot(a), slot(a, 'convicted'), slot(null)])],
    [4, task([slot(a, 'paid'), slot(a, 'paid'), slot(a, 'paid')])],
    // One revealed after the others were paid.
    [5, task([slot(a, 'paid'), slot(a, 'paid'), slot(a)])],
  ]);
  const record = (ended: object | null): JobRecord =>
    ({
      submitted: { redundancy: 3 },
      ended,
      rounds: new Map([
        [0, { finalized: {}, tasks: new Map([[0, task([slot(a), slot(a), slot(a)])]]) }],
        [1, { finalized: null, tasks: open }],
      ]),
    }) as unknown as JobRecord;
  expect(majoritiesOf(record(null))).toEqual([]);
  expect(majoritiesOf(record({}))).toEqual([
    { round: 1, task: 0, resultRoot: b },
    { round: 1, task: 3, resultRoot: a },
    { round: 1, task: 5, resultRoot: a },
  ]);
});
