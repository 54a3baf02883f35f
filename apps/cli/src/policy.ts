/**
 * The `policy` of a job file: how the job is run and paid (docs/spec/08-jobs.md). Every field has a default; a wrong one is named.
 */
import {
  type JobKind,
  jobKinds,
  type JobPolicy,
  type JobSpec,
  MusterError,
  plainPolicy,
  rewardModels,
  type RewardTerms,
  type Settlement,
  settlements,
} from '@muster/protocol';

/** What a job file says, checked one field at a time. What depends on the job's shape is checked by `policyOf`. */
export interface PolicyFile {
  readonly kind: JobKind;
  readonly settlement: Settlement;
  readonly minParticipants: number;
  /** Seconds. */
  readonly roundTimeout: number;
  readonly reward: {
    readonly model: RewardTerms['model'];
    /** What a task counts: the same as every other, or its records. */
    readonly weigh: 'equal' | 'records';
    readonly gpuSecondsPerTask: number;
    readonly bonusBasisPoints: number;
    readonly targetGainBasisPoints: number;
  };
}

const uint32 = 0xffff_ffff;
const fields = ['kind', 'settlement', 'minParticipants', 'roundTimeout', 'reward'];
/** Fields of `reward` by its model. */
const rewardFields: Readonly<Record<RewardTerms['model'], readonly string[]>> = {
  perRound: ['model', 'weigh'],
  perBatch: ['model', 'gpuSecondsPerTask'],
  perGradientUpdate: ['model'],
  perAccuracyGain: ['model', 'weigh', 'bonusBasisPoints', 'targetGainBasisPoints'],
};

/** Reads the `policy` of the job file `file`; undefined has all defaults. Throws JOB_INVALID naming the field. */
export function decodePolicyFile(value: unknown, file: string): PolicyFile {
  const wrong = (field: string, expected: string): MusterError =>
    new MusterError('JOB_INVALID', `${file}: field "policy.${field}" must be ${expected}`, { file, field: `policy.${field}` });
  const object = (found: unknown, field: string, known: readonly string[]): Readonly<Record<string, unknown>> => {
    if (found === undefined) return {};
    if (found === null || typeof found !== 'object' || Array.isArray(found)) throw wrong(field, 'an object');
    for (const name of Object.keys(found)) {
      if (!known.includes(name)) throw wrong(field === '' ? name : `${field}.${name}`, `left out: known here are ${known.join(', ')}`);
    }
    return found as Readonly<Record<string, unknown>>;
  };
  const choice = <const T extends string>(found: unknown, field: string, among: readonly T[], otherwise: T): T => {
    if (found === undefined) return otherwise;
    const chosen = among.find((name) => name === found);
    if (chosen === undefined) throw wrong(field, `one of ${among.join(', ')}`);
    return chosen;
  };
  const whole = (found: unknown, field: string, least: number, most: number, otherwise: number | null): number => {
    if (found === undefined && otherwise !== null) return otherwise;
    if (typeof found !== 'number' || !Number.isInteger(found) || found < least || found > most)
      throw wrong(field, `a whole number from ${least} to ${most}`);
    return found;
  };
  const policy = object(value, '', fields);
  const reward = object(policy['reward'], 'reward', [...new Set(Object.values(rewardFields).flat())]);
  const model = choice(reward['model'], 'reward.model', rewardModels, 'perRound');
  object(reward, 'reward', rewardFields[model]);
  const accuracy = model === 'perAccuracyGain';
  return {
    kind: choice(policy['kind'], 'kind', jobKinds, 'federated'),
    settlement: choice(policy['settlement'], 'settlement', settlements, 'direct'),
    minParticipants: whole(policy['minParticipants'], 'minParticipants', 0, 65_536, 0),
    roundTimeout: whole(policy['roundTimeout'], 'roundTimeout', 60, 31_536_000, plainPolicy(1).roundTimeout),
    reward: {
      model,
      weigh: choice(reward['weigh'], 'reward.weigh', ['equal', 'records'], 'equal'),
      gpuSecondsPerTask: model === 'perBatch' ? whole(reward['gpuSecondsPerTask'], 'reward.gpuSecondsPerTask', 1, uint32, null) : 0,
      bonusBasisPoints: accuracy ? whole(reward['bonusBasisPoints'], 'reward.bonusBasisPoints', 0, 10_000, null) : 0,
      targetGainBasisPoints: accuracy ? whole(reward['targetGainBasisPoints'], 'reward.targetGainBasisPoints', 1, 10_000, null) : 0,
    },
  };
}

/** The policy of a job of `spec`. `batchSize` is its model's, `records` those that it trains on. Throws JOB_INVALID where they do not fit. */
export function policyOf(
  { kind, settlement, minParticipants, roundTimeout, reward }: PolicyFile,
  spec: JobSpec,
  { batchSize, records }: { readonly batchSize: number; readonly records: number },
): JobPolicy {
  const { tasks, localSteps, minimumNodes, roundTimeoutMs } = spec;
  if (kind === 'singleNode' && tasks !== 1) throw unfit('kind', `a job of a single node has one task, not ${tasks}`);
  if (kind === 'dataParallel' && tasks === 1) throw unfit('kind', 'data parallelism needs more than one task');
  if (minParticipants > minimumNodes)
    throw unfit('minParticipants', `${minParticipants} nodes are asked for, the job's rounds begin with ${minimumNodes} (minimumNodes)`);
  if (roundTimeout * 1000 < roundTimeoutMs)
    throw unfit('roundTimeout', `a round may take ${roundTimeoutMs} ms (roundTimeoutMs), the job counts as failed after ${roundTimeout} s`);
  const byModel: Readonly<Record<RewardTerms['model'], Partial<RewardTerms>>> = {
    perRound: {},
    perBatch: { gpuSecondsPerTask: reward.gpuSecondsPerTask, batchSize },
    // At most 4096 · 10⁶, which fits 32 bits.
    perGradientUpdate: { stepsPerTask: localSteps, scoreTotal: tasks * localSteps },
    perAccuracyGain: { bonusBasisPoints: reward.bonusBasisPoints, targetGainBasisPoints: reward.targetGainBasisPoints },
  };
  const weighed = reward.weigh === 'records' ? { scoreTotal: records } : {};
  const terms = { ...plainPolicy(tasks).reward, model: reward.model, ...weighed, ...byModel[reward.model] };
  return { kind, settlement, minParticipants, roundTimeout, reward: terms };
}

const unfit = (field: string, problem: string): MusterError => new MusterError('JOB_INVALID', `policy.${field}: ${problem}`, { field });

/** A policy's reward in words. */
export function describeReward({
  model,
  gpuSecondsPerTask,
  batchSize,
  stepsPerTask,
  bonusBasisPoints,
  targetGainBasisPoints,
}: RewardTerms): string {
  switch (model) {
    case 'perRound':
      return 'per round';
    case 'perBatch':
      return `per batch: ${gpuSecondsPerTask} GPU-seconds a task, batches of ${batchSize}`;
    case 'perGradientUpdate':
      return `per gradient update: ${stepsPerTask} steps a task`;
    case 'perAccuracyGain':
      return `per round, and ${bonusBasisPoints / 100} % of the budget for gains of ${targetGainBasisPoints / 100} % accuracy and more`;
    default:
      return model satisfies never;
  }
}
