/**
 * What a node's record is worth: counters, the seven metrics, the score and the weight in assignment.
 *
 * Twin of contracts/src/libraries/Reputation.sol, where the promise about splitting is argued; docs/spec/22-reputation.md. Pure: the day
 * is an argument. Not a judge: it counts what the contracts have decided.
 */

export type TaskOutcome =
  'TaskAccepted' | 'TaskRejected' | 'TaskMissed' | 'HeartbeatMissed' | 'Violation' | 'Slashed' | 'LineageContribution';

/** The outcomes in the order of the contract's enum. */
export const taskOutcomes = [
  'TaskAccepted',
  'TaskRejected',
  'TaskMissed',
  'HeartbeatMissed',
  'Violation',
  'Slashed',
  'LineageContribution',
] as const satisfies readonly TaskOutcome[];

/** What is counted of a node. Counters stop at `counterMaxima`; days are seconds since 1970 ÷ 86 400, 0 where there is none. */
export interface ReputationCounters {
  readonly accepted: number;
  readonly rejected: number;
  readonly missed: number;
  readonly heartbeatsMissed: number;
  readonly violations: number;
  readonly slashes: number;
  /** Basis points. */
  readonly bandwidth: number;
  readonly lineage: number;
  /** Day of the last accepted task. */
  readonly lastActive: number;
  /** Day of the first accepted task or of the last violation or slash, whichever is later. */
  readonly cleanSince: number;
}

/** The seven metrics, 0 to 10 000 basis points. All but `penalty` raise the score. */
export interface ReputationMetrics {
  readonly uptime: number;
  readonly penalty: number;
  readonly proofSuccess: number;
  readonly bandwidth: number;
  readonly lineage: number;
  readonly slashFree: number;
  readonly completion: number;
}

/** A node of which nothing is counted. */
export const noReputation: ReputationCounters = {
  accepted: 0,
  rejected: 0,
  missed: 0,
  heartbeatsMissed: 0,
  violations: 0,
  slashes: 0,
  bandwidth: 0,
  lineage: 0,
  lastActive: 0,
  cleanSince: 0,
};

/** The largest value of each counter in the contract's word. */
export const counterMaxima = {
  accepted: 2 ** 40 - 1,
  rejected: 2 ** 32 - 1,
  missed: 2 ** 32 - 1,
  heartbeatsMissed: 2 ** 24 - 1,
  violations: 2 ** 16 - 1,
  slashes: 2 ** 16 - 1,
  lineage: 2 ** 16 - 1,
} as const;

/** The score that nothing exceeds. */
export const maxScore = 1_000_000;
/** What a lower score counts as in a weight, so that a newcomer can be drawn. */
export const entryScore = 10_000;

const ALL = 10_000;
const SMOOTHING = 20;
const OFFENCE_TASKS = 100;
const VIOLATION = 500;
const SLASH = 1_500;
const LINEAGE = 100;
const SLASH_FREE_PER_DAY = 100;
const GRACE_DAYS = 7;
const DECAY_PER_DAY = 100;

/** The counters after `count` times `outcome` on `day`; unchanged where `count` is 0. */
export function countOutcome(counters: ReputationCounters, outcome: TaskOutcome, count: number, day: number): ReputationCounters {
  if (count === 0) return counters;
  const raised = (name: keyof typeof counterMaxima) => Math.min(counters[name] + count, counterMaxima[name]);
  switch (outcome) {
    case 'TaskAccepted': {
      const cleanSince = counters.cleanSince === 0 ? day : counters.cleanSince;
      return { ...counters, accepted: raised('accepted'), cleanSince, lastActive: day };
    }
    case 'TaskRejected':
      return { ...counters, rejected: raised('rejected') };
    case 'TaskMissed':
      return { ...counters, missed: raised('missed') };
    case 'HeartbeatMissed':
      return { ...counters, heartbeatsMissed: raised('heartbeatsMissed') };
    case 'Violation':
      return { ...counters, violations: raised('violations'), cleanSince: day };
    case 'Slashed':
      return { ...counters, slashes: raised('slashes'), cleanSince: day };
    case 'LineageContribution':
      return { ...counters, lineage: raised('lineage') };
    default:
      return outcome satisfies never;
  }
}

/** The counters with their bandwidth replaced; more than 10 000 basis points count as 10 000. */
export function withBandwidth(counters: ReputationCounters, basisPoints: number): ReputationCounters {
  return { ...counters, bandwidth: capped(basisPoints) };
}

/** The seven metrics on `day`, which is not before any day in the counters. Ratios rounded down, the penalty up. */
export function reputationMetrics(counters: ReputationCounters, day: number): ReputationMetrics {
  const { accepted, rejected, missed, heartbeatsMissed, cleanSince } = counters;
  return {
    uptime: smoothed(accepted, accepted + rejected + missed + heartbeatsMissed),
    penalty: penalty(counters),
    proofSuccess: smoothed(accepted, accepted + rejected),
    bandwidth: counters.bandwidth,
    lineage: capped(counters.lineage * LINEAGE),
    slashFree: cleanSince === 0 ? 0 : capped((day - cleanSince) * SLASH_FREE_PER_DAY),
    completion: smoothed(accepted, accepted + missed),
  };
}

/** The score on `day`, 0 to 1 000 000, decay included: one product and one floor. 0 without an accepted task. */
export function reputationScore(counters: ReputationCounters, day: number): number {
  if (counters.accepted === 0) return 0;
  const metric = reputationMetrics(counters, day);
  const sum =
    30 * metric.uptime +
    25 * metric.proofSuccess +
    15 * metric.bandwidth +
    10 * metric.lineage +
    10 * metric.slashFree +
    10 * metric.completion;
  const idle = day - counters.lastActive;
  const decay = idle <= GRACE_DAYS ? 0 : capped((idle - GRACE_DAYS) * DECAY_PER_DAY);
  // At most 10^14: exact.
  return Math.floor((sum * (ALL - metric.penalty) * (ALL - decay)) / (ALL * ALL));
}

/** What `stakeWei` weighs in assignment at a score, rounded down. */
export function assignmentWeight(stakeWei: bigint, score: number): bigint {
  return (stakeWei * BigInt(Math.max(score, entryScore))) / BigInt(maxScore);
}

function penalty({ violations, slashes, accepted }: ReputationCounters): number {
  const offences = violations * VIOLATION + slashes * SLASH;
  if (offences === 0) return 0;
  if (accepted === 0) return ALL;
  return capped(Math.ceil((offences * OFFENCE_TASKS) / accepted));
}

function smoothed(accepted: number, total: number): number {
  // 40 bits times 10 000 is more than a double holds exactly.
  return Number((BigInt(accepted) * BigInt(ALL)) / BigInt(total + SMOOTHING));
}

function capped(basisPoints: number): number {
  return Math.min(basisPoints, ALL);
}
