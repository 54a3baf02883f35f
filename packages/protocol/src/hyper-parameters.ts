/**
 * The hyper-parameters of a TRAIN_REQUEST and their one encoding, and what the request's parts hash to (docs/spec/26-train-request.md).
 *
 * Twin of the contract library HyperParameters: 16 ABI words, so that a contract can build and check them. Not a job's whole
 * specification: that is content-addressed, written by the coordinator, and says more.
 */
import { abiEncodeWords, keccakOfWords } from './abi.ts';
import { jobKinds, type JobPolicy, rewardModels, type RewardTerms, settlements } from './economy.ts';
import { MusterError } from './errors.ts';
import { keccak256 } from './hash.ts';
import { bytesToHex, hexToBytes, type Root } from './ids.ts';
import { fieldError, type Infer, integer, literal, oneOf, type Schema, struct } from './schema.ts';

/** Each list in the order of its codes in the contract. */
export const requestOptimizers = ['sgd', 'momentum', 'nesterov', 'adam', 'adamw'] as const;
export const requestStrategies = ['fedavg'] as const;

const uint32 = 0xffff_ffff;
const maxUint64 = 2n ** 64n - 1n;

const uint64: Schema<bigint> = (value, path) => {
  if (typeof value !== 'bigint' || value < 0n || value > maxUint64) throw fieldError(path, 'a bigint below 2^64', value);
  return value;
};

const fields = struct({
  version: literal(1),
  tasks: integer(1, 400_000),
  redundancy: integer(1, 64),
  localSteps: integer(1, uint32),
  batchSize: integer(1, uint32),
  learningRate: integer(1, 10_000_000_000),
  optimizer: oneOf(...requestOptimizers),
  strategy: oneOf(...requestStrategies),
  jobKind: oneOf(...jobKinds),
  settlement: oneOf(...settlements),
  rewardModel: oneOf(...rewardModels),
  gpuSecondsPerTask: integer(0, uint32),
  bonusBasisPoints: integer(0, 10_000),
  targetGainBasisPoints: integer(0, 10_000),
  roundTimeout: integer(60, 30 * 24 * 3600),
  seed: uint64,
});
export type HyperParameters = Infer<typeof fields>;

/**
 * Reads hyper-parameters; FIELD_INVALID names the field. `learningRate` in 1e-9 (1_000_000 is 0.001), `roundTimeout` in seconds. What the
 * reward model does not ask for is 0.
 */
export const hyperParametersSchema: Schema<HyperParameters> = (value, path) => {
  const parameters = fields(value, path);
  const { rewardModel } = parameters;
  const asked = {
    gpuSecondsPerTask: rewardModel === 'perBatch' ? integer(1, uint32) : literal(0),
    bonusBasisPoints: rewardModel === 'perAccuracyGain' ? integer(0, 10_000) : literal(0),
    targetGainBasisPoints: rewardModel === 'perAccuracyGain' ? integer(1, 10_000) : literal(0),
  };
  for (const [field, schema] of Object.entries(asked)) schema(parameters[field as keyof typeof asked], `${path}.${field}`);
  return parameters;
};

/** Codes of the fields that are words of a list. */
const codes = {
  optimizer: requestOptimizers,
  strategy: requestStrategies,
  jobKind: jobKinds,
  settlement: settlements,
  rewardModel: rewardModels,
} as const;

/** Fields in the order of their words. */
const order = [
  'version',
  'tasks',
  'redundancy',
  'localSteps',
  'batchSize',
  'learningRate',
  'optimizer',
  'strategy',
  'jobKind',
  'settlement',
  'rewardModel',
  'gpuSecondsPerTask',
  'bonusBasisPoints',
  'targetGainBasisPoints',
  'roundTimeout',
  'seed',
] as const satisfies readonly (keyof HyperParameters)[];

const ENCODED_BYTES = 32 * order.length;

/** `abi.encode(TrainingParameters)`, 512 bytes. Throws FIELD_INVALID for what the contract would refuse. */
export function encodeHyperParameters(parameters: HyperParameters): `0x${string}` {
  const checked = hyperParametersSchema(parameters, 'hyperParameters');
  const words = order.map((field) => {
    const value = checked[field];
    return isCoded(field) ? (codes[field] as readonly unknown[]).indexOf(value) : (value as number | bigint);
  });
  return bytesToHex(abiEncodeWords(words));
}

/** The parameters in `encoded`. Throws FIELD_INVALID for everything that is not exactly such an encoding. */
export function decodeHyperParameters(encoded: `0x${string}`): HyperParameters {
  const limit = 2 + 2 * ENCODED_BYTES;
  if (encoded.length !== limit || !/^0x[0-9a-fA-F]*$/.test(encoded)) {
    throw new MusterError('FIELD_INVALID', `hyperParameters: expected ${ENCODED_BYTES} bytes of 0x-hex`, { field: 'hyperParameters' });
  }
  const found = order.map((field, index) => {
    const word = BigInt(`0x${encoded.slice(2 + 64 * index, 66 + 64 * index)}`);
    if (field === 'seed') return [field, word];
    // Larger than any bound stays larger than any bound.
    const value = word > BigInt(Number.MAX_SAFE_INTEGER) ? Infinity : Number(word);
    return [field, isCoded(field) ? (codes[field][value] ?? String(word)) : value];
  });
  return hyperParametersSchema(Object.fromEntries(found), 'hyperParameters');
}

function isCoded(field: string): field is keyof typeof codes {
  return field in codes;
}

/** Score of a task of average contribution in a requested job: basis points of an equal share. */
export const requestedScorePerTask = 10_000;

/** The policy that the contract gives a job requested with `parameters`. */
export function requestedPolicy(parameters: HyperParameters, minParticipants: number): JobPolicy {
  const { jobKind, settlement, roundTimeout, rewardModel, gpuSecondsPerTask, bonusBasisPoints, targetGainBasisPoints } = parameters;
  const reward: RewardTerms = {
    model: rewardModel,
    scoreTotal: requestedScorePerTask * parameters.tasks,
    gpuSecondsPerTask,
    batchSize: rewardModel === 'perBatch' ? parameters.batchSize : 0,
    stepsPerTask: rewardModel === 'perGradientUpdate' ? parameters.localSteps : 0,
    bonusBasisPoints,
    targetGainBasisPoints,
  };
  return { kind: jobKind, settlement, minParticipants, roundTimeout, reward };
}

/** The five parameters of a TRAIN_REQUEST. */
export interface TrainingRequest {
  /** Id of the model to begin with, in the model registry. */
  readonly baseModel: Root;
  /** Content id of the dataset's manifest. */
  readonly dataset: Root;
  readonly totalRounds: number;
  readonly minParticipants: number;
  /** As `encodeHyperParameters` gives them. */
  readonly hyperParameters: `0x${string}`;
}

/** What was asked for, as one word; the job's id follows from it. */
export function requestDigest(request: TrainingRequest): Root {
  const { baseModel, dataset, totalRounds, minParticipants, hyperParameters } = request;
  const parametersHash = bytesToHex(keccak256(hexToBytes(hyperParameters)));
  return keccakOfWords([baseModel, dataset, totalRounds, minParticipants, parametersHash]);
}
