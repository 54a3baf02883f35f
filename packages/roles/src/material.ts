/**
 * Everything needed to compute a job's tasks, loaded once from the store and checked: model, programs, data, shards.
 *
 * Trainer, validator, coordinator and auditor all compute through this; none of it depends on who they are.
 */
import { BatchReader, BatchSampler, type DatasetManifest, decodeManifest, RandomStream, splitRecords } from '@muster/data';
import {
  checkCost,
  type CostLimits,
  decodeProgram,
  defaultCostLimits,
  type Executor,
  type LoopingProgram,
  type NamedTensor,
  prepareLoop,
  type PreparedProgram,
  type Program,
  sameShape,
  type Tensor,
} from '@muster/engine';
import {
  checkModelPrograms,
  decodeModel,
  initialKeys,
  type ModelObject,
  outputTypes,
  type ProgramRole,
  programRoles,
} from '@muster/models';
import {
  type Assignment,
  type CidText,
  decodeLinked,
  type Evaluation,
  hexToBytes,
  type JobId,
  type JobSpec,
  MusterError,
  objectKinds,
} from '@muster/protocol';
import {
  type AggregatePrograms,
  digestIntervalFor,
  evaluateModel,
  executeTask,
  type ComputedTask,
  loadTensors,
  type ReadBlock,
  withNames,
} from '@muster/round';
import { type JobRecord, objectCid } from './history.ts';
import { checkRequested } from './requested-spec.ts';

/** What a task starts from, besides job, round and task. */
export interface TaskStart {
  readonly base: readonly Tensor[];
  /** Carried optimizer state; null starts from zeros. */
  readonly slotState: readonly Tensor[] | null;
}

export interface JobMaterial {
  readonly spec: JobSpec;
  readonly model: ModelObject;
  /** Records of each task's shard. */
  readonly shardSizes: readonly number[];
  readonly aggregation: AggregatePrograms;
  /** Initial parameters, from the seed tree. */
  initialParameters(): NamedTensor[];
  parameters(cid: CidText): Promise<NamedTensor[]>;
  update(cid: CidText): Promise<NamedTensor[]>;
  slotState(cid: CidText): Promise<NamedTensor[]>;
  /** What `task` of `assignment` starts from, read from the store. */
  startOf(assignment: Assignment, task: number): Promise<TaskStart>;
  /** Executes a task; yields after every step. */
  execute(round: number, task: number, start: TaskStart): Generator<number, ComputedTask, undefined>;
  evaluate(parameters: readonly Tensor[]): Generator<number, Evaluation, undefined>;
}

/**
 * Loads the material of `spec`. No program is planned before each was found to cost no more than `limits`. Throws OBJECT_MISSING,
 * PROGRAM_INVALID beyond the limits, JOB_INVALID where model and data do not fit, and decoding errors.
 */
export async function loadMaterial(
  spec: JobSpec,
  read: ReadBlock,
  executor: Executor,
  limits: CostLimits = defaultCostLimits,
): Promise<JobMaterial> {
  const model = decodeModel(await read(spec.model));
  const manifest = decodeManifest(await read(spec.dataset));
  const programs = {} as Record<ProgramRole, Program>;
  for (const role of programRoles) programs[role] = decodeProgram(await read(model.programs[role]));
  const { generate } = model.programs;
  const generating = generate === null ? null : decodeProgram(await read(generate));
  checkModelPrograms(model, programs, generating);
  for (const role of programRoles) checkCost(programs[role], limits, stateOf(role, model));
  if (generating !== null) checkCost(generating, limits);
  checkVocabulary(spec, model, manifest, programs.apply);
  const frozen = model.frozenValues === null ? [] : await loadTensors(read, model.frozenValues, model.frozen);
  const prepare = (role: ProgramRole): PreparedProgram => executor.prepare(programs[role]);
  const init = prepare('init');
  const evaluate = prepare('evaluate');
  const update = prepare('update');
  const train = await BatchReader.open(manifest, 'train', read, { verify: false });
  const held = manifest.splits.some(({ name }) => name === 'test')
    ? await BatchReader.open(manifest, 'test', read, { verify: false })
    : null;
  // A loop holds one task's state; tasks that run side by side each take their own.
  const idleLoops: LoopingProgram[] = [];
  const takeLoop = (): LoopingProgram =>
    idleLoops.pop() ?? prepareLoop(executor, programs.trainStep, model.parameters.length + model.slots.length, frozen.length);
  const seed = hexToBytes(spec.seed);
  if (train.records >= 2 ** 24) {
    throw new MusterError('JOB_INVALID', `${train.records} training records: float32 counts weights exactly up to 2^24`, {
      dataset: spec.dataset,
    });
  }
  if (spec.rounds * spec.localSteps > 2 ** 31) {
    throw new MusterError('JOB_INVALID', `${spec.rounds} rounds of ${spec.localSteps} steps: steps are numbered up to 2^31`, {
      field: 'localSteps',
    });
  }
  const shards = splitRecords(spec.split, train.classes(), train.records, spec.tasks, seed);
  const batchSize = model.batch.x.shape[0] ?? 0;
  checkFit(model, train, spec);

  const slotStateOf = (cid: CidText): Promise<NamedTensor[]> => loadTensors(read, cid, model.slots);
  return {
    spec,
    model,
    shardSizes: shards.map((shard) => shard.length),
    aggregation: { fold: prepareLoop(executor, programs.fold, model.parameters.length), finish: prepare('finish') },
    initialParameters: () => withNames(model.parameters, init.run([initialKeys(seed, model.parameters.length)])),
    parameters: (cid) => loadTensors(read, cid, model.parameters),
    update: (cid) => loadTensors(read, cid, model.parameters),
    slotState: slotStateOf,
    async startOf(assignment, task) {
      const carried = assignment.tasks[task]?.slotState ?? null;
      return {
        base: await loadTensors(read, assignment.base, model.parameters),
        slotState: carried === null ? null : await slotStateOf(carried),
      };
    },
    *execute(round, task, { base, slotState }) {
      const shard = shards[task];
      if (shard === undefined) throw new MusterError('TASK_UNKNOWN', `no task ${task} of ${shards.length}`, { task });
      const sampler = new BatchSampler({ seed, round, task, shard, batchSize });
      const trainStep = takeLoop();
      const computed = yield* executeTask({
        parameters: model.parameters,
        slots: model.slots,
        frozen,
        trainStep,
        update,
        base,
        slotState,
        carry: spec.slotState === 'carry',
        steps: spec.localSteps,
        firstStep: round * spec.localSteps,
        digestInterval: spec.digestInterval,
        batch: (step) => {
          const { x, y } = train.read(sampler.batch(step));
          return [reshaped(x, model.batch.x.shape), reshaped(targets(y), model.batch.y.shape)];
        },
        key: (step) => stepKey(seed, round, task, step),
      });
      idleLoops.push(trainStep);
      return computed;
    },
    *evaluate(parameters) {
      if (held === null) return { records: 0, loss: 0, correct: 0 };
      const size = model.evaluationBatch;
      const batches = function* (): Generator<{ x: Tensor; y: Tensor; mask: Tensor; records: number }> {
        for (const { x, y, mask, records } of held.evaluation(size)) {
          yield {
            x: reshaped(x, [size, ...model.batch.x.shape.slice(1)]),
            y: reshaped(targets(y), [size, ...model.batch.y.shape.slice(1)]),
            mask,
            records,
          };
        }
      };
      const evaluation = yield* finiteOrNull(evaluateModel(evaluate, [...parameters, ...frozen], batches()));
      return evaluation === null || !Number.isFinite(evaluation.loss)
        ? { records: held.records, loss: largestLoss, correct: 0 }
        : evaluation;
    },
  };
}

/** Steps between two state digests that suit the model `cid` (docs/spec/08-jobs.md). Throws OBJECT_MISSING and decoding errors. */
export async function digestIntervalOf(cid: CidText, read: ReadBlock): Promise<number> {
  const { parameters, slots, programs } = decodeModel(await read(cid));
  return digestIntervalFor([...parameters, ...slots], decodeProgram(await read(programs.trainStep)));
}

/** The material of the chain's jobs, each loaded once and only if its spec says what the chain says. */
export class MaterialCache {
  readonly #read: ReadBlock;
  readonly #executor: Executor;
  readonly #limits: CostLimits;
  readonly #known = new Map<JobId, JobMaterial>();

  constructor(read: ReadBlock, executor: Executor, limits: CostLimits = defaultCostLimits) {
    this.#read = read;
    this.#executor = executor;
    this.#limits = limits;
  }

  async of(job: JobRecord): Promise<JobMaterial> {
    const id = job.submitted.job;
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const spec = decodeLinked(objectKinds.jobSpec, await this.#read(objectCid(job.specCid)));
    checkSpec(job, spec);
    await checkRequested(job, this.#read);
    const material = await loadMaterial(spec, this.#read, this.#executor, this.#limits);
    this.#known.set(id, material);
    return material;
  }
}

/** Throws JOB_INVALID unless the spec in the store says what the chain says. */
export function checkSpec(job: JobRecord, spec: JobSpec): void {
  const { rounds, tasks, redundancy } = job.submitted;
  if (spec.rounds !== rounds || spec.tasks !== tasks || spec.redundancy !== redundancy) {
    throw new MusterError('JOB_INVALID', `spec ${job.specCid} has other rounds, tasks or redundancy than the chain`, {
      job: job.submitted.job,
    });
  }
}

/** Written where the loss is beyond float32 or not a number, so that the round of a job that diverged ends like any other. */
const largestLoss = 2 ** 128 - 2 ** 104;

/** What `work` returns; null where it met a number that is not finite. */
function* finiteOrNull<T>(work: Generator<number, T, undefined>): Generator<number, T | null, undefined> {
  try {
    return yield* work;
  } catch (error) {
    if (error instanceof MusterError && error.code === 'NUMERIC_FAULT') return null;
    throw error;
  }
}

/** State tensors of the loop that a role's program is run in; 0 for the others. */
function stateOf(role: ProgramRole, { parameters, slots }: ModelObject): number {
  if (role === 'trainStep') return parameters.length + slots.length;
  return role === 'fold' ? parameters.length : 0;
}

/**
 * Throws JOB_INVALID if the texts have more tokens than the model has scores. Programs take the nearest token that they know for one
 * that they do not, so nothing else would say so. Looked at only where `apply` gives a row of scores for every target.
 */
function checkVocabulary(spec: JobSpec, model: ModelObject, { record }: DatasetManifest, apply: Program): void {
  const [output] = outputTypes(apply);
  const scores = output?.shape.at(-1);
  if (record.target.kind !== 'next-token' || output === undefined || scores === undefined) return;
  const { vocabulary } = record.target;
  const perTarget = sameShape(output.shape.slice(1, -1), model.batch.y.shape.slice(1));
  if (output.dtype === 'float32' && perTarget && vocabulary > scores) {
    throw new MusterError(
      'JOB_INVALID',
      `the model knows ${scores} tokens, the dataset has ${vocabulary}: give the model a vocabulary of ${vocabulary}`,
      {
        model: spec.model,
        dataset: spec.dataset,
      },
    );
  }
}

function checkFit(model: ModelObject, train: BatchReader, spec: JobSpec): void {
  const sample = train.read(Uint32Array.of(0));
  const fits = (name: string, wanted: { readonly dtype: string; readonly shape: readonly number[] }, found: Tensor): void => {
    const wantedSize = wanted.shape.slice(1).reduce((product, extent) => product * extent, 1);
    if (wanted.dtype !== found.dtype || wantedSize !== found.data.length) {
      throw new MusterError(
        'JOB_INVALID',
        `the model takes ${name} of ${wanted.dtype}[${wanted.shape.slice(1).join()}] per record, the dataset has ${found.dtype}[${found.shape.slice(1).join()}]`,
        { model: spec.model, dataset: spec.dataset },
      );
    }
  };
  fits('x', model.batch.x, sample.x);
  fits('y', model.batch.y, targets(sample.y));
}

function targets(y: Tensor | null): Tensor {
  if (y === null) throw new MusterError('JOB_INVALID', 'the dataset has no targets to train towards');
  return y;
}

const reshaped = (tensor: Tensor, shape: readonly number[]): Tensor => ({ ...tensor, shape });

function stepKey(seed: Uint8Array, round: number, task: number, step: number): Tensor {
  const random = new RandomStream(seed, 'step', round, task, step);
  return { dtype: 'uint32', shape: [2], data: Uint32Array.of(random.next(), random.next()) };
}
