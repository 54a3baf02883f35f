/**
 * The weights that a command names: of a job, a checkpoint, a tensor set, or a model as it starts. Read from a home's store and, where a job
 * must be looked up, from its chain; no other process is needed.
 */
import { openFolderStore } from '@muster/adapters';
import { decodeProgram, type NamedTensor, type Program, type Tensor, wasmExecutor } from '@muster/engine';
import { type BuiltModel, decodeModel, initialKeys, type ModelObject } from '@muster/models';
import {
  type Checkpoint,
  type CidText,
  decodeCanonical,
  decodeLinked,
  hexToBytes,
  type JobId,
  type JobSpec,
  MusterError,
  objectKinds,
  parseJobId,
} from '@muster/protocol';
import { ChainHistory, objectCid, reader } from '@muster/roles';
import { loadTensors, type ReadBlock, withNames } from '@muster/round';
import { openChain } from './commands/audit.ts';
import type { Context } from './commands/context.ts';
import { asCid, buildFrom, seedOf } from './jobs.ts';

export interface Weights {
  readonly model: ModelObject;
  readonly modelCid: CidText;
  /** Values of the model's parameters, in order. */
  readonly parameters: readonly NamedTensor[];
  /** Values of its frozen tensors, in order. */
  readonly frozen: readonly NamedTensor[];
  /** Where the values came from, for people and for a file's metadata. */
  readonly source: string;
  /** The job that trained them, where it is known. */
  readonly spec: JobSpec | null;
  /** The program with a role, or null for a model that does not generate. */
  program(role: 'apply' | 'generate'): Promise<Program | null>;
  readonly read: ReadBlock;
}

export interface WeightsFlags {
  /** Model of a tensor set, or of a checkpoint whose job is not on this chain. */
  readonly model?: string;
  /** Seed of a model's initial parameters. */
  readonly seed?: string;
}

/** Values, and the job they are of. */
interface Found {
  readonly modelCid: CidText;
  readonly parameters: CidText | null;
  readonly spec: JobSpec | null;
  readonly source: string;
}

/** The weights that `what` names: a job id, or the content id of a checkpoint, a tensor set or a model. Throws USAGE, JOB_UNKNOWN, OBJECT_MISSING and decoding errors. */
export async function loadWeights(context: Context, what: string, flags: WeightsFlags): Promise<Weights> {
  const read = reader(await openFolderStore(context.paths.store));
  const found = await find(context, read, what, flags);
  const model = decodeModel(await read(found.modelCid));
  const frozen = model.frozenValues === null ? [] : await loadTensors(read, model.frozenValues, model.frozen);
  const parameters =
    found.parameters === null ? await initial(read, model, flags.seed ?? '1') : await loadTensors(read, found.parameters, model.parameters);
  return {
    ...found,
    model,
    parameters,
    frozen,
    read,
    async program(role) {
      const cid = model.programs[role];
      return cid === null ? null : decodeProgram(await read(cid));
    },
  };
}

async function find(context: Context, read: ReadBlock, what: string, flags: WeightsFlags): Promise<Found> {
  if (/^0x[0-9a-f]{64}$/i.test(what)) return await ofJob(context, read, parseJobId(what.toLowerCase()));
  const cid = asCid(what);
  if (cid === null) throw usage(`"${what}" is neither a job nor a content id`, 'what');
  const given = flags.model === undefined ? null : asCid(flags.model);
  if (flags.model !== undefined && given === null) throw usage('--model must be a content id', '--model');
  const value = decodeCanonical(await read(cid));
  const has = (field: string): boolean => value !== null && typeof value === 'object' && field in value;
  if (has('programs')) return { modelCid: cid, parameters: null, spec: null, source: `model ${cid}, seed ${flags.seed ?? '1'}` };
  if (has('tensors')) {
    if (given === null) throw usage(`${cid} is a tensor set: --model says of which model`, '--model');
    return { modelCid: given, parameters: cid, spec: null, source: `tensors ${cid}` };
  }
  if (!has('evaluation')) throw usage(`${cid} is neither a model, a checkpoint nor a tensor set`, 'what');
  const checkpoint = decodeLinked(objectKinds.checkpoint, await read(cid));
  if (given !== null) return { modelCid: given, parameters: checkpoint.parameters, spec: null, source: `checkpoint ${cid}` };
  const { spec } = await jobOnChain(context, read, checkpoint.job);
  return ofCheckpoint(cid, checkpoint, spec);
}

const usage = (message: string, option: string): MusterError => new MusterError('USAGE', message, { option });

function ofCheckpoint(cid: CidText, checkpoint: Checkpoint, spec: JobSpec): Found {
  return { modelCid: spec.model, parameters: checkpoint.parameters, spec, source: `checkpoint ${cid}` };
}

/** The newest checkpoint of a job. */
async function ofJob(context: Context, read: ReadBlock, job: JobId): Promise<Found> {
  const { spec, newest } = await jobOnChain(context, read, job);
  if (newest === null) throw new MusterError('STATE_CONFLICT', `job ${job} has finished no round yet`, { job });
  return ofCheckpoint(newest, decodeLinked(objectKinds.checkpoint, await read(newest)), spec);
}

async function jobOnChain(
  { paths, output }: Context,
  read: ReadBlock,
  job: JobId,
): Promise<{ readonly spec: JobSpec; readonly newest: CidText | null }> {
  const opened = await openChain(paths, output);
  try {
    const history = new ChainHistory(opened.chain);
    await history.sync();
    const record = history.jobs.get(job);
    if (record === undefined) throw new MusterError('JOB_UNKNOWN', `the chain of ${paths.root} has no job ${job}`, { job });
    const rounds = [...record.rounds].toSorted(([a], [b]) => b - a);
    const newest = rounds.find(([, round]) => round.checkpoint !== null)?.[1].checkpoint ?? null;
    return {
      spec: decodeLinked(objectKinds.jobSpec, await read(objectCid(record.specCid))),
      newest: newest === null ? null : objectCid(newest.checkpointCid),
    };
  } finally {
    await opened.close();
  }
}

/** What `model` starts from in a job of this seed. */
async function initial(read: ReadBlock, model: ModelObject, seed: string): Promise<NamedTensor[]> {
  const prepared = wasmExecutor.prepare(decodeProgram(await read(model.programs.init)));
  const keys: Tensor = initialKeys(hexToBytes(seedOf(seed)), model.parameters.length);
  const values = prepared.run([keys]);
  prepared.dispose();
  return withNames(model.parameters, values);
}

/** A model by content id, from the store, or built from the file that describes it and not stored yet. */
export async function modelNamed(
  read: ReadBlock,
  text: string,
): Promise<{ readonly model: ModelObject; readonly cid: CidText; readonly built: BuiltModel | null }> {
  const cid = asCid(text);
  if (cid !== null) return { model: decodeModel(await read(cid)), cid, built: null };
  const built = await buildFrom(text, process.cwd());
  return { model: built.model, cid: built.cid, built };
}
