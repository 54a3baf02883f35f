/** Solidity against TypeScript, case by case: what work is worth, what is hashed, and what a slot's word keeps. */
import type { Address, JobId, NodeId, RewardTerms, Root } from '@muster/protocol';
import { assignmentLeaf, commitmentOf, holderOf, keccakOfWords, roundKey } from '@muster/protocol';
import * as fc from 'fast-check';
import { getAddress, type Hex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  accuracyBonus,
  batchMultiplier,
  evenShare,
  exposureOf,
  type PaidJob,
  roundBudget,
  slotReward,
} from '../../packages/round/src/reward.ts';
import { deploy, type Handle } from './handles.ts';
import { startTestChain, type TestChain, zeroRoot } from './harness.ts';

const CASES = 1_200;
const models = ['perRound', 'perBatch', 'perGradientUpdate', 'perAccuracyGain'] as const;
/** Of SlotStatus. */
const [empty, reassigned, closed, committed, revealed, rewarded, convicted, missed] = [0, 1, 2, 3, 4, 5, 6, 7];

let chain: TestChain;
let probe: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  probe = await deploy(chain, 0, 'SettlementProbe', []);
});
afterAll(() => chain.close());

const uint32 = fc.oneof(fc.nat(2 ** 32 - 1), fc.nat(100));
const positive32 = fc.oneof(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.integer({ min: 1, max: 100 }));
const uint128 = fc.oneof(fc.bigInt(0n, 2n ** 128n - 1n), fc.bigInt(0n, 10n ** 22n), fc.bigInt(0n, 1_000n));
const basisPoints = fc.nat(10_000);
const hexOf = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): Hex => `0x${Buffer.from(bytes).toString('hex')}`);
const bytes32 = hexOf(32);
const account = hexOf(20).map((hex) => hex as Address);

interface Case {
  readonly job: PaidJob;
  readonly score: number;
  readonly accuracy: number;
  readonly bestAccuracy: number;
}

/** Any job that `submitJob` takes, and any score that `finalize` takes. */
const rewardCase: fc.Arbitrary<Case> = fc
  .record({
    budgetWei: uint128,
    rounds: fc.oneof(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.integer({ min: 1, max: 50 })),
    tasks: positive32,
    redundancy: fc.integer({ min: 1, max: 64 }),
    score: uint32,
    accuracy: basisPoints,
    bestAccuracy: basisPoints,
    reward: fc.record({
      model: fc.constantFrom(...models),
      scoreTotal: positive32,
      gpuSecondsPerTask: uint32,
      batchSize: fc.oneof(
        uint32,
        fc.integer({ min: 0, max: 12 }).map((power) => 2 ** power),
        fc.nat(2_000),
      ),
      stepsPerTask: uint32,
      bonusBasisPoints: basisPoints,
      targetGainBasisPoints: fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 300 })),
    }),
  })
  .map(({ score, accuracy, bestAccuracy, ...job }) => ({ job, score: score % (job.reward.scoreTotal + 1), accuracy, bestAccuracy }));

const termsOf = (terms: RewardTerms) => ({ ...terms, model: models.indexOf(terms.model) });

test('rewards, bonuses, even shares, exposures and round budgets are the same in Solidity and TypeScript', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(rewardCase, { minLength: CASES / 6, maxLength: CASES / 6 }), async (cases) => {
      const given = cases.map(({ job, score, accuracy, bestAccuracy }) => {
        const { budgetWei, rounds, tasks, redundancy, reward } = job;
        const shape = { budget: budgetWei, rounds: BigInt(rounds), tasks, redundancy };
        return { ...shape, bestAccuracy, accuracy, score, terms: termsOf(reward) };
      });
      const results = await probe.read('rewards', [given]);
      const expected = cases.map(({ job, score, accuracy, bestAccuracy }) => {
        const base = slotReward(job, score);
        const bonus = accuracyBonus(job, base, score, accuracy, bestAccuracy);
        const kind = bonus > 0n ? 'bonus' : job.reward.model;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        const multiplier = batchMultiplier(job.reward.batchSize);
        return { base, bonus, evenShare: evenShare(job), exposure: exposureOf(job), roundBudget: roundBudget(job), multiplier };
      });
      expect(results).toEqual(expected);
    }),
    { numRuns: 6, endOnFailure: true },
  );
  for (const kind of [...models, 'bonus']) expect(seen.get(kind) ?? 0, kind).toBeGreaterThan(20);
});

test('a batch counts 5 % more for every doubling beyond 32 records, five times at most', async () => {
  const sizes = [0, 1, 32, 63, 64, 127, 128, 256, 512, 1023, 1024, 2048, 2 ** 32 - 1];
  const terms = termsOf({
    model: 'perBatch',
    scoreTotal: 1,
    gpuSecondsPerTask: 1,
    batchSize: 0,
    stepsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
  });
  const shape = { budget: 10n ** 18n, rounds: 1n, tasks: 1, redundancy: 1, bestAccuracy: 0, accuracy: 0, score: 1 };
  const results = await probe.read('rewards', [sizes.map((batchSize) => ({ ...shape, terms: { ...terms, batchSize } }))]);
  const multipliers = (results as { readonly multiplier: bigint }[]).map(({ multiplier }) => Number(multiplier));
  expect(multipliers).toEqual([10_000, 10_000, 10_000, 10_000, 10_500, 10_500, 11_000, 11_500, 12_000, 12_000, 12_500, 12_500, 12_500]);
});

test('round keys, holders, leaves and commitments are the same in Solidity and TypeScript', async () => {
  const uint64 = fc.nat(Number.MAX_SAFE_INTEGER);
  const place = { job: bytes32, round: uint64, task: uint32, slot: uint32 };
  const digestCase = fc.record({ ...place, node: bytes32, operator: account, salt: bytes32, resultRoot: bytes32 });
  await fc.assert(
    fc.asyncProperty(fc.array(digestCase, { minLength: CASES / 6, maxLength: CASES / 6 }), async (cases) => {
      const results = await probe.read('digests', [cases.map((entry) => ({ ...entry, round: BigInt(entry.round) }))]);
      const expected = cases.map(({ job, round, task, slot, node, operator, salt, resultRoot }) => {
        const holder = holderOf(node as NodeId, operator);
        return {
          roundKey: roundKey(job as JobId, round),
          holder: getAddress(holder),
          leaf: assignmentLeaf(job as JobId, round, task, slot, holder),
          commitment: commitmentOf(job as JobId, round, task, slot, holder, salt as Root, resultRoot as Root),
        };
      });
      expect(results).toEqual(expected);
    }),
    { numRuns: 6, endOnFailure: true },
  );
});

test('beacons and job ids are the hash of their words', async () => {
  await fc.assert(
    fc.asyncProperty(bytes32, bytes32, fc.nat(), account, account, fc.nat(), async (hash, job, round, manager, owner, nonce) => {
      expect(await probe.read('seeds', [hash, job, BigInt(round), manager, owner, BigInt(nonce)])).toEqual([
        keccakOfWords([hash, job, round]),
        keccakOfWords([chain.info.chainId, manager, owner, nonce, job]),
      ]);
    }),
    { numRuns: 50 },
  );
});

test('a slot keeps in its word what every stage needs, and nothing of the stage before shows through', async () => {
  const uint40 = fc.nat(2 ** 40 - 1);
  const slotCase = fc.record({
    holder: account,
    commitment: bytes32,
    revealedAt: uint40,
    rewardedAt: uint40,
    reward: fc.bigInt(0n, 2n ** 128n - 1n),
    node: bytes32.filter((node) => node !== zeroRoot),
    root: fc.nat(255),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(slotCase, { minLength: 100, maxLength: 100 }), async (cases) => {
      const results = await probe.read('slots', [cases]);
      const expected = cases.map(({ holder, commitment, revealedAt, rewardedAt, reward, node, root }) => {
        // Result roots are kept beside the slots.
        const none = { credited: false, node: zeroRoot, resultRoot: zeroRoot };
        const nothing = { status: missed, revealedAt: 0n, rewardedAt: 0n, rewardWei: 0n, ...none };
        const shown = { ...nothing, status: revealed, revealedAt: BigInt(revealedAt), node };
        const paid = { ...shown, status: rewarded, rewardedAt: BigInt(rewardedAt), rewardWei: reward };
        return {
          statuses: [empty, reassigned, closed, committed, missed, convicted],
          holder: getAddress(holder),
          committedWord: (3n << 248n) | (BigInt(commitment) >> 8n),
          revealed: shown,
          rewarded: paid,
          credited: { ...paid, credited: true },
          convicted: { ...paid, credited: true, status: convicted },
          convictedUnpaid: { ...shown, status: convicted },
          missed: nothing,
          rewardOf: reward,
          operator: getAddress(holder),
          roots: Array.from({ length: 5 }, () => root),
        };
      });
      expect(results).toEqual(expected);
    }),
    { numRuns: 10, endOnFailure: true },
  );
});
