/**
 * The job spec that follows from a TRAIN_REQUEST (docs/spec/26-train-request.md): one function for the coordinator that writes it down and
 * for everybody who checks it.
 *
 * Not the policy: the contract makes that from the same request.
 */
import { decodeProgram, type Program, sameType } from '@muster/engine';
import { decodeModel, type ModelObject, type OptimizerSpec, slotTypes } from '@muster/models';
import {
  bytesToHex,
  decodeHyperParameters,
  decodeLinked,
  digestOf,
  encodeCanonical,
  encodeLinked,
  type ErrorDetails,
  type HyperParameters,
  type JobId,
  type JobSpec,
  MusterError,
  objectKinds,
  type Root,
  sha256,
  type TrainingRequest,
} from '@muster/protocol';
import { digestIntervalFor, type ReadBlock } from '@muster/round';
import { type JobRecord, objectCid } from './history.ts';

/** 32-byte job seed from a number or text, so that the same word gives the same job everywhere. */
export function seedOf(seed: string | number | bigint): Root {
  return bytesToHex(sha256(encodeCanonical(['muster/job-seed/1', String(seed)]))) as Root;
}

/** Learning rates in a request are counted in these. */
const RATES_PER_ONE = 1e9;
const longestTimeoutMs = 86_400_000;
const longestRoundMs = 7 * longestTimeoutMs;

/** The time that each stage of a round has, from the time in which the job must make progress: half of it for the round. */
function timeouts(roundTimeoutSeconds: number): Pick<JobSpec, `${'commit' | 'reveal' | 'verdict' | 'round'}TimeoutMs`> {
  const part = (divisor: number, most: number): number => Math.min(most, Math.floor((1000 * roundTimeoutSeconds) / divisor));
  return {
    commitTimeoutMs: part(20, longestTimeoutMs),
    revealTimeoutMs: part(40, longestTimeoutMs),
    verdictTimeoutMs: part(10, longestTimeoutMs),
    roundTimeoutMs: part(2, longestRoundMs),
  };
}

/** What was asked for in a TRAIN_REQUEST, and the base model as the registry has it: null where it was not registered before. */
export interface RequestedTraining {
  readonly asked: TrainingRequest & { readonly job: JobId };
  readonly modelCid: Root | null;
}

/**
 * The spec that a request leads to: the same for everybody. Throws JOB_INVALID naming what cannot be carried out, OBJECT_MISSING
 * where the store lacks the base model, and decoding errors.
 */
export async function requestedSpec({ asked: request, modelCid: registered }: RequestedTraining, read: ReadBlock): Promise<JobSpec> {
  const { job, baseModel, dataset, totalRounds, minParticipants, hyperParameters } = request;
  if (registered === null) throw refused('baseModel', `model ${baseModel} was not registered before the request`, { baseModel });
  const asked = decodeHyperParameters(hyperParameters);
  const modelCid = objectCid(registered);
  const model = decodeModel(await read(modelCid));
  const trainStep = decodeProgram(await read(model.programs.trainStep));
  checkTraining(asked, model, trainStep);
  const { tasks, redundancy, localSteps, roundTimeout, seed } = asked;
  const value = {
    version: 1,
    name: `request ${job}`,
    model: modelCid,
    dataset: objectCid(dataset),
    seed: seedOf(seed),
    rounds: totalRounds,
    tasks,
    redundancy,
    localSteps,
    digestInterval: Math.min(localSteps, digestIntervalFor([...model.parameters, ...model.slots], trainStep)),
    split: { kind: 'equal' },
    slotState: 'reset',
    minimumNodes: Math.max(minParticipants, redundancy),
    quorumPercent: 80,
    ...timeouts(roundTimeout),
  };
  try {
    // Bounds are the schema's, which reads what will be stored.
    return decodeLinked(objectKinds.jobSpec, encodeLinked(value).bytes);
  } catch (cause) {
    if (cause instanceof MusterError && cause.code === 'FIELD_INVALID')
      throw new MusterError('JOB_INVALID', cause.message, cause.details, { cause });
    throw cause;
  }
}

/**
 * Throws JOB_INVALID where the job was requested and its specification is not the one that follows from the request; decoding errors as
 * `requestedSpec`.
 */
export async function checkRequested(job: JobRecord, read: ReadBlock): Promise<void> {
  if (job.request === null) return;
  const expected = digestOf(encodeLinked(await requestedSpec(job.request, read)).cid);
  if (expected === job.specCid) return;
  throw new MusterError('JOB_INVALID', `the request leads to spec ${expected}, the coordinator named ${job.specCid}`, {
    job: job.submitted.job,
    expected,
    actual: job.specCid,
  });
}

/**
 * Throws JOB_INVALID unless the programs of the base model train as the request says, as far as they show it: the batch, the optimizer's
 * state, and the learning rate among the constants. Momentum and nesterov keep the same state, as do adam and adamw: nothing tells those
 * apart, and what else the programs do is the model's affair.
 */
function checkTraining(asked: HyperParameters, model: ModelObject, trainStep: Program): void {
  const batchSize = model.batch.x.shape[0];
  if (asked.batchSize !== batchSize)
    throw refused('batchSize', `batches of ${asked.batchSize}: the base model is trained in batches of ${batchSize}`);
  const learningRate = asked.learningRate / RATES_PER_ONE;
  const slots = slotTypes(optimizerOf(asked.optimizer, learningRate), model.parameters);
  const same = slots.length === model.slots.length;
  if (
    !same ||
    !slots.every((slot, index) => {
      const own = model.slots[index];
      return own?.name === slot.name && sameType(own, slot);
    })
  )
    throw refused('optimizer', `${asked.optimizer}: the base model keeps another state than that optimizer has`);
  const rate = Math.fround(learningRate);
  const found = trainStep.constants.some(({ dtype, shape, data }) => {
    return dtype === 'float32' && shape.length === 0 && Math.abs(data[0] ?? 0) === rate;
  });
  if (!found) throw refused('learningRate', `a learning rate of ${learningRate}: the base model's training step does not have it`);
}

/** Its kind decides the state that it keeps; the other numbers do not. */
function optimizerOf(kind: HyperParameters['optimizer'], learningRate: number): OptimizerSpec {
  switch (kind) {
    case 'sgd':
      return { kind, learningRate };
    case 'momentum':
    case 'nesterov':
      return { kind, learningRate, momentum: 0.9 };
    case 'adam':
    case 'adamw':
      return { kind, learningRate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    default:
      return kind satisfies never;
  }
}

const refused = (field: string, problem: string, details: ErrorDetails = {}): MusterError =>
  new MusterError('JOB_INVALID', `${field}: ${problem}`, { field, ...details });
