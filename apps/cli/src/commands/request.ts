/**
 * `muster job request <file>`: TRAIN_REQUEST (docs/spec/26-train-request.md). Registers the model where it is not yet, asks for a training with
 * a budget, and says which job came of it. The network's coordinator writes down the specification.
 */
import { dirname, resolve } from 'node:path';
import { installFastSha256, predictRequestedJob } from '@muster/adapters';
import { referenceExecutor } from '@muster/engine';
import { decodeModel, decodeModelSpec, type OptimizerSpec } from '@muster/models';
import type { BlobStore, ChainWriter } from '@muster/ports';
import {
  type CidText,
  digestOf,
  encodeHyperParameters,
  encodeLinked,
  type HyperParameters,
  keccakOfWords,
  MusterError,
  type Root,
  type TrainingRequest,
} from '@muster/protocol';
import { ChainHistory, loadMaterial, objectCid, reader, requestedSpec } from '@muster/roles';
import { chainUrl } from '../home.ts';
import { asCid, buildFrom, isModule, type PutBlock, readJson, storeDataset, storeModel } from '../jobs.ts';
import { decodePolicyFile } from '../policy.ts';
import { connectOrganizer, type Context } from './context.ts';
import { weiOf } from './jobs.ts';

const fields = [
  'model',
  'baseModel',
  'dataset',
  'rounds',
  'minParticipants',
  'budgetEther',
  'tasks',
  'redundancy',
  'localSteps',
  'batchSize',
  'learningRate',
  'optimizer',
  'strategy',
  'seed',
  'policy',
];

/** A request file, read but for the model and its training. */
export interface RequestFile {
  /** A content id, a path or a description; null where `baseModel` names one that is registered. */
  readonly model: unknown;
  readonly baseModel: Root | null;
  readonly dataset: string;
  readonly totalRounds: number;
  readonly minParticipants: number;
  readonly budgetWei: bigint;
  /** Without what the model's description says where the file does not. */
  readonly training: { readonly batchSize: unknown; readonly learningRate: unknown; readonly optimizer: unknown };
  readonly rest: Omit<HyperParameters, 'batchSize' | 'learningRate' | 'optimizer'>;
}

/** Reads a request file. Throws JOB_INVALID naming the field. */
export function decodeRequestFile(value: unknown, file: string): RequestFile {
  const wrong = (field: string, expected: string): MusterError =>
    new MusterError('JOB_INVALID', `${file}: field "${field}" must be ${expected}`, { file, field });
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong('(file)', 'a JSON object');
  const given = value as Readonly<Record<string, unknown>>;
  for (const field of Object.keys(given)) if (!fields.includes(field)) throw wrong(field, `left out: known here are ${fields.join(', ')}`);
  const { model, baseModel, dataset, budgetEther = 1, seed = 1, strategy = 'fedavg' } = given;
  if ((model === undefined) === (baseModel === undefined)) throw wrong('model', 'there, or "baseModel" instead of it');
  if (model !== undefined && typeof model !== 'string' && (model === null || typeof model !== 'object'))
    throw wrong('model', 'a content id, a path or a model description');
  if (baseModel !== undefined && (typeof baseModel !== 'string' || !/^0x[0-9a-f]{64}$/.test(baseModel)))
    throw wrong('baseModel', 'the id of a registered model, 0x and 64 hex digits');
  if (typeof dataset !== 'string') throw wrong('dataset', 'a content id or a path');
  if ((typeof budgetEther !== 'string' && typeof budgetEther !== 'number') || !/^\d+(\.\d{1,18})?$/.test(String(budgetEther)))
    throw wrong('budgetEther', 'an amount of ether with at most 18 decimals');
  if ((typeof seed !== 'string' && !Number.isSafeInteger(seed)) || !/^\d{1,20}$/.test(String(seed)) || BigInt(String(seed)) >> 64n !== 0n)
    throw wrong('seed', 'a whole number below 2^64, as text where it is above 2^53');
  if (strategy !== 'fedavg') throw wrong('strategy', 'fedavg');
  const whole = (field: string, otherwise: number): number => {
    const found = given[field] ?? otherwise;
    if (typeof found !== 'number' || !Number.isInteger(found) || found < 1) throw wrong(field, 'a whole number from 1');
    return found;
  };
  const redundancy = whole('redundancy', 3);
  const { minParticipants: none, ...policy } = decodePolicyFile(withTimeout(given['policy']), file);
  if (none !== 0) throw wrong('policy.minParticipants', 'left out: "minParticipants" stands beside the policy');
  if (policy.reward.weigh !== 'equal') throw wrong('policy.reward.weigh', 'equal: the tasks of a requested job count the same');
  return {
    model: model ?? null,
    baseModel: (baseModel ?? null) as Root | null,
    dataset,
    totalRounds: whole('rounds', 10),
    minParticipants: whole('minParticipants', redundancy),
    budgetWei: weiOf(budgetEther),
    training: { batchSize: given['batchSize'], learningRate: given['learningRate'], optimizer: given['optimizer'] },
    rest: {
      version: 1,
      tasks: whole('tasks', 8),
      redundancy,
      localSteps: whole('localSteps', 32),
      strategy,
      jobKind: policy.kind,
      settlement: policy.settlement,
      rewardModel: policy.reward.model,
      gpuSecondsPerTask: policy.reward.gpuSecondsPerTask,
      bonusBasisPoints: policy.reward.bonusBasisPoints,
      targetGainBasisPoints: policy.reward.targetGainBasisPoints,
      roundTimeout: policy.roundTimeout,
      seed: BigInt(String(seed)),
    },
  };
}

/** Rounds of a requested job have half of the round timeout: twenty minutes give those of a job file. */
const withTimeout = (policy: unknown): unknown =>
  policy === undefined || (typeof policy === 'object' && policy !== null && !Array.isArray(policy))
    ? { roundTimeout: 1200, ...policy }
    : policy;

export async function jobRequest(context: Context, file: string): Promise<void> {
  const { paths, output } = context;
  installFastSha256();
  const path = resolve(file);
  const asked = decodeRequestFile(await readJson(path, 'JOB_INVALID'), path);
  const { network, client, chain } = await connectOrganizer(paths);
  const put: PutBlock = (bytes, codec) => client.blobs.put(bytes, codec);
  const folder = dirname(path);
  const history = new ChainHistory(chain);
  await history.sync();
  const base = await baseModelOf(asked, folder, history, client.blobs, put);
  const dataset = asCid(asked.dataset) ?? (await storeDataset(resolve(folder, asked.dataset), {}, 1, put, output)).cid;
  const hyperParameters = encodeHyperParameters({ ...asked.rest, ...trainingOf(asked, base, path) });
  const { totalRounds, minParticipants, budgetWei } = asked;
  const planned = plannedModel(base, history, chain, (await chain.head()).block);
  const request: TrainingRequest = { baseModel: planned.id, dataset: digestOf(dataset), totalRounds, minParticipants, hyperParameters };
  const info = { chainId: network.chainId, contracts: network.contracts };
  const predicted = await predictRequestedJob({ rpcUrl: chainUrl(network) }, info, chain.account, request);
  // What the coordinator would refuse is not paid for.
  const read = reader(client.blobs);
  const spec = await requestedSpec({ asked: { ...request, job: predicted }, modelCid: digestOf(base.cid) }, read);
  await loadMaterial(spec, read, referenceExecutor);
  if (!planned.registered)
    await chain.send({ call: 'registerModel', modelId: planned.id, modelCid: digestOf(base.cid), datasetCid: digestOf(dataset) });
  const { events } = await chain.send({ call: 'requestTraining', ...request, budgetWei });
  const job = events.find((event) => event.event === 'TrainingRequested')?.job;
  if (job === undefined) throw new MusterError('INTERNAL', 'the chain took the request without saying the id of its job');
  const said = {
    job,
    predicted,
    baseModel: planned.id,
    model: base.cid,
    dataset,
    spec: job === predicted ? encodeLinked(spec).cid : null,
    rounds: totalRounds,
    budgetWei,
  };
  const surprise = job === predicted ? ', as predicted' : ` (predicted ${predicted}: the account opened another job in between)`;
  output.event(
    'job.requested',
    said,
    `job ${job}${surprise}\n  model   ${base.cid}\n  base    ${planned.id}\n  dataset ${dataset}\n  look at it with \`muster job show\``,
  );
}

interface BaseModel {
  readonly cid: CidText;
  /** Its id, where the file says that it is registered. */
  readonly id: Root | null;
  readonly batchSize: number | null;
  /** Null where only its programs are known. */
  readonly optimizer: OptimizerSpec | null;
}

async function baseModelOf(
  { model, baseModel }: RequestFile,
  folder: string,
  history: ChainHistory,
  blobs: BlobStore,
  put: PutBlock,
): Promise<BaseModel> {
  if (baseModel !== null) {
    const registered = history.models.get(baseModel);
    if (registered === undefined)
      throw new MusterError('JOB_INVALID', `no model is registered as ${baseModel}`, { field: 'baseModel', baseModel });
    return await storedModel(objectCid(registered.modelCid), baseModel, blobs);
  }
  const cid = typeof model === 'string' ? asCid(model) : null;
  if (cid !== null) return await storedModel(cid, null, blobs);
  const built = await buildFrom(model, folder);
  let described: unknown = model;
  if (typeof model === 'string') described = isModule(model) ? null : await readJson(resolve(folder, model), 'MODEL_INVALID');
  const optimizer = described === null ? null : decodeModelSpec(described).optimizer;
  return { cid: await storeModel(built, put), id: null, batchSize: built.model.batch.x.shape[0] ?? null, optimizer };
}

async function storedModel(cid: CidText, id: Root | null, blobs: BlobStore): Promise<BaseModel> {
  const { batch } = decodeModel(await reader(blobs)(cid));
  return { cid, id, batchSize: batch.x.shape[0] ?? null, optimizer: null };
}

/** Batch, rate and optimizer: what the file says, else what the model's description says. */
function trainingOf(
  { training }: RequestFile,
  base: BaseModel,
  file: string,
): Pick<HyperParameters, 'batchSize' | 'learningRate' | 'optimizer'> {
  const wrong = (field: string, expected: string): MusterError =>
    new MusterError('JOB_INVALID', `${file}: field "${field}" must be ${expected}`, { file, field });
  const { batchSize = base.batchSize, learningRate = base.optimizer?.learningRate, optimizer = base.optimizer?.kind } = training;
  if (typeof batchSize !== 'number' || !Number.isInteger(batchSize) || batchSize < 1) throw wrong('batchSize', 'a whole number from 1');
  if (typeof learningRate !== 'number') throw wrong('learningRate', 'the rate that the model is trained with: its programs do not name it');
  const billionths = Math.round(learningRate * 1e9);
  if (billionths < 1 || billionths > 10_000_000_000 || billionths / 1e9 !== learningRate)
    throw wrong('learningRate', 'a number from 0.000000001 to 10 with at most 9 decimals');
  if (optimizer !== 'sgd' && optimizer !== 'momentum' && optimizer !== 'nesterov' && optimizer !== 'adam' && optimizer !== 'adamw')
    throw wrong('optimizer', 'sgd, momentum, nesterov, adam or adamw');
  return { batchSize, learningRate: billionths, optimizer };
}

/** Under which id the model is registered, or will be: the same for the same model and account, unless somebody took that for another. */
function plannedModel(
  base: BaseModel,
  history: ChainHistory,
  chain: ChainWriter,
  block: number,
): { readonly id: Root; readonly registered: boolean } {
  if (base.id !== null) return { id: base.id, registered: true };
  const modelCid = digestOf(base.cid);
  const id = keccakOfWords([modelCid, chain.account]);
  const known = history.models.get(id);
  if (known === undefined) return { id, registered: false };
  if (known.modelCid === modelCid) return { id, registered: true };
  return { id: keccakOfWords([modelCid, chain.account, block]), registered: false };
}
