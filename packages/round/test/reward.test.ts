import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plainPolicy, type RewardTerms } from '@muster/protocol';
import {
  accuracyBasisPoints,
  accuracyBonus,
  batchMultiplier,
  contributionScore,
  evenShare,
  exposureOf,
  type PaidJob,
  roundBudget,
  slotReward,
} from '../src/reward.ts';

const terms = (change: Partial<RewardTerms> = {}): RewardTerms => ({ ...plainPolicy(4).reward, ...change });
const job = (change: Partial<PaidJob> = {}): PaidJob => ({
  budgetWei: 1_200_000n,
  rounds: 10,
  tasks: 4,
  redundancy: 3,
  reward: terms(),
  ...change,
});

const policyOf = (change: Partial<RewardTerms>) => ({ ...plainPolicy(4), reward: terms(change) });

/** A job and, for each of its rounds, how the coordinator scores the tasks, how accurate the model got and what a sponsor gave. */
interface History {
  readonly job: PaidJob;
  readonly rounds: readonly { readonly scores: readonly number[]; readonly accuracy: number; readonly sponsoredWei: bigint }[];
}

const history: fc.Arbitrary<History> = fc
  .record({
    budgetWei: fc.oneof(fc.bigInt(0n, 2n ** 128n - 1n), fc.bigInt(0n, 10n ** 20n), fc.bigInt(0n, 500n)),
    rounds: fc.integer({ min: 1, max: 6 }),
    tasks: fc.integer({ min: 1, max: 6 }),
    redundancy: fc.integer({ min: 1, max: 5 }),
    reward: fc.record({
      model: fc.constantFrom('perRound', 'perBatch', 'perGradientUpdate', 'perAccuracyGain'),
      scoreTotal: fc.oneof(fc.integer({ min: 1, max: 2 ** 32 - 1 }), fc.integer({ min: 1, max: 12 })),
      gpuSecondsPerTask: fc.nat(2 ** 32 - 1),
      batchSize: fc.nat(5_000),
      stepsPerTask: fc.nat(100),
      bonusBasisPoints: fc.nat(10_000),
      targetGainBasisPoints: fc.integer({ min: 1, max: 500 }),
    }),
  })
  .chain((shape) =>
    fc.record({
      job: fc.constant(shape),
      rounds: fc.array(
        fc.record({
          scores: fc.array(fc.oneof(fc.nat(2 ** 32 - 1), fc.nat(12)), { minLength: shape.tasks, maxLength: shape.tasks }),
          accuracy: fc.nat(10_000),
          sponsoredWei: fc.oneof(fc.constant(0n), fc.bigInt(0n, 10n ** 20n)),
        }),
        { minLength: shape.rounds, maxLength: shape.rounds },
      ),
    }),
  );

/** Scores as `finalize` lets them pass: together at most the total. */
function bounded(scores: readonly number[], scoreTotal: number): number[] {
  let left = scoreTotal;
  return scores.map((score) => {
    const taken = score % (left + 1);
    left -= taken;
    return taken;
  });
}

describe('the rewards of a job', () => {
  it('never exceed the budget of their round, nor together that of the job, for any scores, sponsors and accuracies', () => {
    fc.assert(
      fc.property(history, ({ job: first, rounds }) => {
        let { budgetWei } = first;
        let paidWei = 0n;
        let best = 0;
        for (const { scores, accuracy, sponsoredWei } of rounds) {
          budgetWei += sponsoredWei;
          const now: PaidJob = { ...first, budgetWei };
          let roundWei = 0n;
          for (const score of bounded(scores, first.reward.scoreTotal)) {
            const base = slotReward(now, score);
            const bonus = accuracyBonus(now, base, score, accuracy, best);
            roundWei += (base + bonus) * BigInt(first.redundancy);
          }
          expect(roundWei).toBeLessThanOrEqual(roundBudget(now));
          paidWei += roundWei;
          expect(paidWei).toBeLessThanOrEqual(budgetWei);
          best = Math.max(best, accuracy);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('for one execution are an even share where every task counts the same, and exposed to the next wei', () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 128n - 1n),
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 64 }),
        (budgetWei, rounds, tasks, redundancy) => {
          const plain = job({ budgetWei, rounds, tasks, redundancy, reward: plainPolicy(tasks).reward });
          expect(slotReward(plain, 1)).toBe(evenShare(plain));
          expect(exposureOf(plain) - evenShare(plain)).toBeLessThanOrEqual(1n);
          expect(exposureOf(plain)).toBeGreaterThanOrEqual(evenShare(plain));
          expect(roundBudget(plain) * BigInt(rounds)).toBeGreaterThanOrEqual(budgetWei);
        },
      ),
    );
  });
});

describe('a reward', () => {
  it('per round is the task’s part of all scores', () => {
    const weighted = job({ reward: terms({ scoreTotal: 100 }) });
    expect([0, 1, 25, 100].map((score) => slotReward(weighted, score))).toEqual([0n, 400n, 10_000n, 40_000n]);
    expect(accuracyBonus(weighted, 400n, 1, 10_000, 0)).toBe(0n);
  });

  it('per batch is a thousandth of the coin for a second, more for large batches, and never more than an even share', () => {
    const rich = job({ budgetWei: 10n ** 24n, reward: terms({ model: 'perBatch', gpuSecondsPerTask: 30, batchSize: 128 }) });
    expect(slotReward(rich, 0)).toBe((30n * 10n ** 15n * 11_000n) / 30_000n);
    expect(slotReward({ ...rich, budgetWei: 1_200n }, 0)).toBe(10n);
    expect([0, 32, 64, 1024, 2 ** 31].map(batchMultiplier)).toEqual([10_000n, 10_000n, 10_500n, 12_500n, 12_500n]);
  });

  it('per gradient update is the part of all steps', () => {
    const steps = job({ reward: terms({ model: 'perGradientUpdate', scoreTotal: 400, stepsPerTask: 100 }) });
    expect(slotReward(steps, 100)).toBe(10_000n);
    expect(slotReward(steps, 50)).toBe(5_000n);
  });

  it('per accuracy gain keeps a part of the budget for rounds that gain enough', () => {
    const gain = job({ reward: terms({ model: 'perAccuracyGain', bonusBasisPoints: 2_000, targetGainBasisPoints: 100 }) });
    const base = slotReward(gain, 1);
    expect(base).toBe(8_000n);
    // The bonus starts at the target, grows with the gain and ends at the slot's part of what was kept.
    expect(accuracyBonus(gain, base, 1, 5_099, 5_000)).toBe(0n);
    expect(accuracyBonus(gain, base, 1, 5_100, 5_000)).toBe(2_000n);
    expect(accuracyBonus(gain, base, 1, 4_000, 5_000)).toBe(0n);
    expect(accuracyBonus(gain, 10n, 1, 5_250, 5_000)).toBe(25n);
  });
});

describe('a contribution', () => {
  it('is the steps where steps are paid, one where all tasks count the same, and the records where not', () => {
    expect(contributionScore(policyOf({ model: 'perGradientUpdate', scoreTotal: 400, stepsPerTask: 100 }), 4, 9)).toBe(100);
    expect(contributionScore(policyOf({}), 4, 9)).toBe(1);
    expect(contributionScore(policyOf({ scoreTotal: 50 }), 4, 9)).toBe(9);
  });

  it('to accuracy is counted in basis points, rounded down', () => {
    expect(accuracyBasisPoints({ records: 0, correct: 0 })).toBe(0);
    expect(accuracyBasisPoints({ records: 3, correct: 2 })).toBe(6_666);
    expect(accuracyBasisPoints({ records: 7, correct: 7 })).toBe(10_000);
  });
});
