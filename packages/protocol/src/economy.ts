/**
 * What a job pays for and a stake is taken for: the terms that contracts, state machine and roles share. No amounts are worked out here.
 */

// Each list is in the order of its enumeration in the contracts: a name's place is its code there.

/** What a stake can be taken for; `Slashing.sol` says what each one costs. */
export const offences = ['missedHeartbeats', 'failedJob', 'gradientMismatch', 'invalidProof', 'fakeGradients', 'provenCheating'] as const;
export type Offence = (typeof offences)[number];
/** Offences that a verdict on a result can name. */
export type ResultOffence = Exclude<Offence, 'missedHeartbeats' | 'failedJob'>;

export const jobKinds = ['federated', 'dataParallel', 'singleNode'] as const;
export type JobKind = (typeof jobKinds)[number];
/** Whether every node settles its own work on chain, or the coordinator all of a round at once. */
export const settlements = ['direct', 'batched'] as const;
export type Settlement = (typeof settlements)[number];
export const rewardModels = ['perRound', 'perBatch', 'perGradientUpdate', 'perAccuracyGain'] as const;

/** R38, what a job pays for. `Rewards.sol` and `packages/round/src/reward.ts` have the formulas. */
export interface RewardTerms {
  readonly model: (typeof rewardModels)[number];
  /** Contribution scores of all tasks of a round together, ≥ 1. */
  readonly scoreTotal: number;
  /** perBatch: estimated compute time of one task, GPU-seconds; else 0. */
  readonly gpuSecondsPerTask: number;
  /** perBatch: records in a batch; else 0. */
  readonly batchSize: number;
  /** perGradientUpdate: training steps of one task; else 0. */
  readonly stepsPerTask: number;
  /** perAccuracyGain: part of the budget kept for the bonus, basis points; else 0. */
  readonly bonusBasisPoints: number;
  /** perAccuracyGain: gain over the best accuracy so far that earns the bonus, basis points; else 0. */
  readonly targetGainBasisPoints: number;
}

/** How a job is run and paid, beside its shape. */
export interface JobPolicy {
  readonly kind: JobKind;
  readonly settlement: Settlement;
  /** Nodes that a round needs, ≥ 0. */
  readonly minParticipants: number;
  /** Seconds without progress after which anyone may call the job failed; 60 … 31 536 000. */
  readonly roundTimeout: number;
  readonly reward: RewardTerms;
}

/** Every task of a round counts the same; a job may stand still for a week. */
export function plainPolicy(tasks: number): JobPolicy {
  const reward: RewardTerms = {
    model: 'perRound',
    scoreTotal: tasks,
    gpuSecondsPerTask: 0,
    batchSize: 0,
    stepsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
  };
  return { kind: 'federated', settlement: 'direct', minParticipants: 0, roundTimeout: 7 * 24 * 3600, reward };
}
