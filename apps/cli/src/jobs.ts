/**
 * Job files: what an organizer writes, and the job spec that follows from it.
 *
 * A job file may leave out what has a default; the spec that is hashed leaves out nothing.
 */
import { access, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { importDataset, type ImportOptions } from '@muster/adapters';
import { drawDigits, packDataset } from '@muster/data';
import {
  buildModel,
  buildModelFromDefinition,
  type BuiltModel,
  decodeModelSpec,
  decodeTrainingSpec,
  type ModelDefinition,
} from '@muster/models';
import type { BlobStore, ChainWriter } from '@muster/ports';
import {
  type CidText,
  type Codec,
  decodeLinked,
  digestOf,
  encodeLinked,
  type JobId,
  type JobPolicy,
  type JobSpec,
  keccakOfWords,
  MusterError,
  objectKinds,
  parseCid,
  plainPolicy,
} from '@muster/protocol';
import { digestIntervalOf, loadMaterial, reader, seedOf } from '@muster/roles';
import { referenceExecutor } from '@muster/engine';
import type { Output } from './output.ts';

export type PutBlock = (bytes: Uint8Array, codec: Codec) => Promise<CidText>;

export { seedOf };

const defaults = {
  rounds: 10,
  tasks: 8,
  redundancy: 3,
  localSteps: 32,
  split: { kind: 'equal' },
  slotState: 'reset',
  quorumPercent: 80,
  commitTimeoutMs: 60_000,
  revealTimeoutMs: 30_000,
  verdictTimeoutMs: 120_000,
  roundTimeoutMs: 600_000,
} as const;

/** Nodes per task where a job file does not say. */
export const defaultRedundancy = defaults.redundancy;

/** Fields of a spec that a job file may give; the rest follows from them. */
export type JobSettings = Partial<Omit<JobSpec, 'version' | 'model' | 'dataset' | 'seed'>> & {
  readonly name: string;
  readonly model: CidText;
  readonly dataset: CidText;
  readonly seed: string | number;
};

/**
 * The whole spec. State is digested after a task's last step alone unless `digestInterval` says otherwise. Throws JOB_INVALID naming
 * the field.
 */
export function jobSpecOf(settings: JobSettings): JobSpec {
  const redundancy = settings.redundancy ?? defaults.redundancy;
  const localSteps = settings.localSteps ?? defaults.localSteps;
  const value = {
    version: 1,
    ...defaults,
    minimumNodes: redundancy,
    ...settings,
    // Anything but a number is refused below, under its own name; beyond the task's end an interval says nothing.
    digestInterval: settings.digestInterval === undefined ? localSteps : settings.digestInterval,
    seed: /^0x[0-9a-f]{64}$/.test(String(settings.seed)) ? settings.seed : seedOf(settings.seed),
  };
  // JSON can say 1e999; the encoding cannot.
  for (const [field, given] of [...Object.entries(value), ...Object.entries(Object(value.split) as object)] as [string, unknown][]) {
    if (typeof given === 'number' && !Number.isFinite(given)) throw new MusterError('JOB_INVALID', `${field} must be finite`, { field });
  }
  try {
    // Links are checked as links by the schema: it reads what will be stored.
    const { bytes } = encodeLinked(value);
    return decodeLinked(objectKinds.jobSpec, bytes);
  } catch (cause) {
    if (cause instanceof MusterError && cause.code === 'FIELD_INVALID')
      throw new MusterError('JOB_INVALID', cause.message, cause.details, { cause });
    throw cause;
  }
}

/** The whole spec, digested as often as suits the model, which is in `blobs`, where `settings` do not say. Throws JOB_INVALID, OBJECT_MISSING. */
export async function jobSpecFor(settings: JobSettings, blobs: BlobStore): Promise<JobSpec> {
  const spec = jobSpecOf(settings);
  if (settings.digestInterval !== undefined) return spec;
  return { ...spec, digestInterval: Math.min(spec.localSteps, await digestIntervalOf(spec.model, reader(blobs))) };
}

/** Whether a path is a module that defines a model, and not a description of one. */
export const isModule = (path: string): boolean => /\.(?:[cm]?js|ts|mts)$/.test(path);

/** Builds the model that `source` names: a family's settings, a JSON file of them, or a jax-js module. */
export async function buildFrom(source: unknown, baseFolder: string): Promise<BuiltModel> {
  if (typeof source !== 'string') return await buildModel(decodeModelSpec(source));
  const path = resolve(baseFolder, source);
  if (!isModule(path)) return await buildModel(decodeModelSpec(await readJson(path, 'MODEL_INVALID')));
  await requireFile(path, 'MODEL_INVALID');
  const loaded = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  const { definition, training } = loaded;
  if (definition === null || typeof definition !== 'object' || training === undefined) {
    throw new MusterError(
      'MODEL_INVALID',
      `${path} must export \`definition\` (a ModelDefinition) and \`training\` ({batchSize, evaluationBatch, optimizer})`,
      { file: path },
    );
  }
  const plain = { frozen: [], frozenValues: null, generation: null };
  return await buildModelFromDefinition({ ...plain, ...(definition as ModelDefinition) }, decodeTrainingSpec(training));
}

async function requireFile(path: string, code: 'MODEL_INVALID' | 'JOB_INVALID'): Promise<void> {
  try {
    await access(path);
  } catch (cause) {
    throw new MusterError(code, `cannot read ${path}`, { file: path }, { cause });
  }
}

/** The JSON in a file. Throws `code` naming the file and, where Node says it, the place. */
export async function readJson(path: string, code: 'MODEL_INVALID' | 'JOB_INVALID'): Promise<unknown> {
  await requireFile(path, code);
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new MusterError(code, `${path} is not JSON: ${cause instanceof Error ? cause.message : ''}`, { file: path }, { cause });
  }
}

export async function storeModel(model: BuiltModel, put: PutBlock): Promise<CidText> {
  for (const { bytes } of model.objects) await put(bytes, 'dag-cbor');
  return model.cid;
}

/** Imports the data at `path` with a progress bar, or draws digits where `path` is null. */
export async function storeDataset(
  path: string | null,
  options: ImportOptions,
  seed: number,
  put: PutBlock,
  output: Output,
): Promise<{ readonly cid: CidText; readonly records: number; readonly bytes: number; readonly drawn: boolean }> {
  if (path === null) {
    const packed = packDataset(drawDigits({ seed, train: 8500, test: 1500 }));
    for (const { bytes, codec } of packed.blocks) await put(bytes, codec);
    const records = packed.manifest.splits.reduce((sum, split) => sum + split.records, 0);
    return { cid: packed.cid, records, bytes: packed.bytes, drawn: true };
  }
  let bar = output.progress('reading', 1);
  let stage = 'read';
  try {
    const imported = await importDataset(path, options, put, (progress) => {
      if (progress.stage !== stage) {
        bar.stop();
        bar = output.progress('storing', progress.total);
        stage = progress.stage;
      }
      bar.update(progress.done);
    });
    return { cid: imported.cid, records: imported.records, bytes: imported.bytes, drawn: false };
  } finally {
    bar.stop();
  }
}

/** A content id as it stands, or null if `text` is something else (a path). */
export function asCid(text: string): CidText | null {
  try {
    return parseCid(text.replace(/^artha:\/\//, ''));
  } catch {
    return null;
  }
}

export interface SubmitOptions {
  readonly spec: JobSpec;
  readonly blobs: BlobStore;
  /** The organizer's account. */
  readonly chain: ChainWriter;
  readonly coordinator: ChainWriter['account'];
  readonly validator: ChainWriter['account'];
  readonly budgetWei: bigint;
  /** How the job is run and paid, given what it trains with. Default: every task counts the same. */
  readonly policy?: (material: { readonly batchSize: number; readonly records: number }) => JobPolicy;
}

/** Checks that model and data fit, stores the spec, registers the model and submits the job with its escrow. */
export async function submitJob(options: SubmitOptions): Promise<JobId> {
  const { spec, blobs, chain, coordinator, validator, budgetWei } = options;
  const { model, shardSizes } = await loadMaterial(spec, reader(blobs), referenceExecutor);
  const records = shardSizes.reduce((sum, size) => sum + size, 0);
  const policy = options.policy?.({ batchSize: model.batch.x.shape[0] ?? 1, records }) ?? plainPolicy(spec.tasks);
  const stored = encodeLinked(spec);
  await blobs.put(stored.bytes, 'dag-cbor');
  const specCid = digestOf(stored.cid);
  // One model per job: its lineage is the job's checkpoints.
  const { block } = await chain.head();
  const modelId = keccakOfWords([specCid, chain.account, block]);
  await chain.send({ call: 'registerModel', modelId, modelCid: digestOf(spec.model), datasetCid: digestOf(spec.dataset) });
  const { rounds, tasks, redundancy } = spec;
  const shape = { specCid, modelId, rounds, tasks, redundancy, coordinator, validator, budgetWei };
  const receipt = await chain.send({ call: 'submitJob', ...shape, policy });
  const submitted = receipt.events.find((event) => event.event === 'JobSubmitted');
  if (submitted === undefined) throw new MusterError('INTERNAL', 'the chain took the job without saying its id');
  return submitted.job;
}
