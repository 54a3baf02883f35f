/**
 * Stage 8, reward: what accepted work earns. Twin of `Rewards.sol`: integers, multiplied before they are divided, once, rounded down;
 * what rounding leaves goes back to the organizer at the end.
 */
import { type JobPolicy, requestedScorePerTask, type RewardTerms } from '@muster/protocol';

const ALL_BASIS_POINTS = 10_000n;
/** 0.001 of the coin for a GPU-second. */
const WEI_PER_GPU_SECOND = 10n ** 15n;
/** Doubling the batch beyond this many records earns 5 % more, five times at most. */
const PLAIN_BATCH = 32;
const BONUS_PER_DOUBLING = 500n;
const MOST_DOUBLINGS = 5;

/** What of a job decides what an even share of its budget is. */
export interface JobShape {
  readonly budgetWei: bigint;
  readonly rounds: number;
  readonly tasks: number;
  readonly redundancy: number;
}

/** What of a job decides what its slots earn. */
export interface PaidJob extends JobShape {
  readonly reward: RewardTerms;
}

const slotsOf = ({ rounds, tasks, redundancy }: JobShape): bigint => BigInt(rounds) * BigInt(tasks) * BigInt(redundancy);

/** An even share of the budget for one execution: what settling an ended job pays. */
export const evenShare = (job: JobShape): bigint => job.budgetWei / slotsOf(job);

/** What one execution puts at stake: an even share of the budget, rounded up. */
export const exposureOf = (job: JobShape): bigint => (job.budgetWei + slotsOf(job) - 1n) / slotsOf(job);

/** The most that one round can pay, rounded up. */
export const roundBudget = (job: JobShape): bigint => (job.budgetWei + BigInt(job.rounds) - 1n) / BigInt(job.rounds);

/** Basis points by which compute time is multiplied: 10 000 up to 32 records, 500 more for every doubling, 12 500 at most. */
export function batchMultiplier(batchSize: number): bigint {
  let doublings = 0;
  while (doublings < MOST_DOUBLINGS && batchSize >= PLAIN_BATCH * 2 ** (doublings + 1)) doublings++;
  return ALL_BASIS_POINTS + BigInt(doublings) * BONUS_PER_DOUBLING;
}

/** Wei for one execution of a task with contribution `score`, without the accuracy bonus (R38). */
export function slotReward(job: PaidJob, score: number): bigint {
  const { model, scoreTotal, gpuSecondsPerTask, batchSize, bonusBasisPoints } = job.reward;
  if (model === 'perBatch') {
    const earned =
      (BigInt(gpuSecondsPerTask) * WEI_PER_GPU_SECOND * batchMultiplier(batchSize)) / (ALL_BASIS_POINTS * BigInt(job.redundancy));
    const most = evenShare(job);
    return earned < most ? earned : most;
  }
  const share = job.budgetWei * BigInt(score);
  const parts = BigInt(job.rounds) * BigInt(scoreTotal) * BigInt(job.redundancy);
  if (model !== 'perAccuracyGain') return share / parts;
  return (share * (ALL_BASIS_POINTS - BigInt(bonusBasisPoints))) / (parts * ALL_BASIS_POINTS);
}

/**
 * Wei on top of an execution's `base` in a round that ended at `accuracy`, after rounds of which the best had `bestAccuracy`; both in basis
 * points.
 */
export function accuracyBonus(job: PaidJob, base: bigint, score: number, accuracy: number, bestAccuracy: number): bigint {
  const { model, scoreTotal, bonusBasisPoints, targetGainBasisPoints } = job.reward;
  const gain = accuracy - bestAccuracy;
  if (model !== 'perAccuracyGain' || gain <= 0 || gain < targetGainBasisPoints) return 0n;
  const most =
    (job.budgetWei * BigInt(bonusBasisPoints) * BigInt(score)) /
    (ALL_BASIS_POINTS * BigInt(job.rounds) * BigInt(scoreTotal) * BigInt(job.redundancy));
  const bonus = (base * BigInt(gain)) / BigInt(targetGainBasisPoints);
  return bonus < most ? bonus : most;
}

/**
 * What a task counts in its round: an equal part where the policy's total is the number of tasks, or as many basis points, as a requested
 * job's is; else its steps where steps are paid, and its records where not.
 */
export function contributionScore({ reward }: JobPolicy, tasks: number, records: number): number {
  if (reward.scoreTotal === requestedScorePerTask * tasks) return requestedScorePerTask;
  if (reward.model === 'perGradientUpdate') return reward.stepsPerTask;
  return reward.scoreTotal === tasks ? 1 : records;
}

/** Accuracy in basis points, rounded down; 0 where nothing was evaluated. */
export const accuracyBasisPoints = ({ records, correct }: { readonly records: number; readonly correct: number }): number =>
  records === 0 ? 0 : Math.floor((correct * 10_000) / records);
