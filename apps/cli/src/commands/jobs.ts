/**
 * `muster job …`: submit, list, show, pause, resume, stop. Requests and what becomes of ended jobs: `request.ts`, `endings.ts`.
 */
import { dirname, resolve } from 'node:path';
import { type CoordinatorClient, installFastSha256 } from '@muster/adapters';
import type { ChainJob } from '@muster/ports';
import { type CidText, type JobId, MusterError } from '@muster/protocol';
import { asCid, buildFrom, defaultRedundancy, jobSpecFor, readJson, storeDataset, storeModel, submitJob } from '../jobs.ts';
import { ether, percent, shortId } from '../output.ts';
import { decodePolicyFile, describeReward, type PolicyFile, policyOf } from '../policy.ts';
import { connectOrganizer, type Context } from './context.ts';

/** A job file: settings of the spec, with model and data by content id, path or description, and a budget in ether. */
interface JobFile {
  readonly name: string;
  readonly model: unknown;
  readonly dataset: string;
  readonly seed: string | number;
  readonly budgetEther: string | number;
  readonly policy: PolicyFile;
  readonly settings: Record<string, unknown>;
}

function decodeJobFile(value: unknown, path: string): JobFile {
  const wrong = (field: string, expected: string): MusterError =>
    new MusterError('JOB_INVALID', `${path}: field "${field}" must be ${expected}`, { file: path, field });
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong('(file)', 'a JSON object');
  const { name, model, dataset, seed = 1, budgetEther = 1, policy: terms, ...settings } = value as Record<string, unknown>;
  if (typeof name !== 'string' || name === '') throw wrong('name', 'text');
  if (typeof dataset !== 'string') throw wrong('dataset', 'a content id or a path');
  if (typeof model !== 'string' && (model === null || typeof model !== 'object'))
    throw wrong('model', 'a content id, a path or a model description');
  if (typeof seed !== 'string' && typeof seed !== 'number') throw wrong('seed', 'a number or text');
  if ((typeof budgetEther !== 'string' && typeof budgetEther !== 'number') || !/^\d+(\.\d{1,18})?$/.test(String(budgetEther))) {
    throw wrong('budgetEther', 'an amount of ether with at most 18 decimals');
  }
  for (const field of Object.keys(settings))
    if (!settingNames.has(field)) throw wrong(field, `one of the known fields: ${[...settingNames].join(', ')}`);
  const policy = decodePolicyFile(terms, path);
  // A round that begins has at least the nodes that the chain asks for.
  if (settings['minimumNodes'] === undefined && policy.minParticipants > 0) {
    const { redundancy } = settings;
    settings['minimumNodes'] = Math.max(policy.minParticipants, typeof redundancy === 'number' ? redundancy : defaultRedundancy);
  }
  return { name, model, dataset, seed, budgetEther, policy, settings };
}

const settingNames = new Set([
  'rounds',
  'tasks',
  'redundancy',
  'localSteps',
  'digestInterval',
  'split',
  'slotState',
  'minimumNodes',
  'quorumPercent',
  'commitTimeoutMs',
  'revealTimeoutMs',
  'verdictTimeoutMs',
  'roundTimeoutMs',
]);

export function weiOf(amountEther: string | number): bigint {
  const [whole = '0', fraction = ''] = String(amountEther).split('.');
  return BigInt(whole) * 10n ** 18n + BigInt(fraction.padEnd(18, '0'));
}

export async function jobSubmit(context: Context, file: string): Promise<void> {
  const { paths, output } = context;
  installFastSha256();
  const path = resolve(file);
  const job = decodeJobFile(await readJson(path, 'JOB_INVALID'), path);
  const { network, client, chain } = await connectOrganizer(paths);
  const put = (bytes: Uint8Array, codec: 'raw' | 'dag-cbor'): Promise<CidText> => client.blobs.put(bytes, codec);
  const folder = dirname(path);
  const modelCid = typeof job.model === 'string' ? asCid(job.model) : null;
  const model = modelCid ?? (await storeModel(await buildFrom(job.model, folder), put));
  const dataset = asCid(job.dataset) ?? (await storeDataset(resolve(folder, job.dataset), {}, 1, put, output)).cid;
  const spec = await jobSpecFor({ ...job.settings, name: job.name, seed: job.seed, model, dataset }, client.blobs);
  const id = await submitJob({
    spec,
    blobs: client.blobs,
    chain,
    coordinator: network.accounts.coordinator,
    validator: network.accounts.validator,
    budgetWei: weiOf(job.budgetEther),
    policy: (material) => policyOf(job.policy, spec, material),
  });
  output.event(
    'job.submitted',
    { job: id, state: 'running', round: 0, rounds: spec.rounds, model, dataset },
    `job ${id}\n  model   ${model}\n  dataset ${dataset}`,
  );
}

interface JobSummary {
  readonly job: JobId;
  readonly name: string;
  readonly state: string;
  readonly round: number;
  readonly rounds: number;
  readonly phase: string | null;
  readonly trainers: number;
  readonly slashed: readonly string[];
  readonly replaced: readonly string[];
  readonly model: string | null;
}

export async function jobList({ paths, output }: Context): Promise<void> {
  const { client } = await connectOrganizer(paths);
  const { jobs } = (await client.get('jobs')) as { readonly jobs: readonly JobSummary[] };
  if (jobs.length === 0) output.line('no jobs yet: submit one with `muster job submit <file>`');
  for (const job of jobs) {
    output.event('job.listed', { ...job }, `${job.job}  ${job.state.padEnd(9)}  round ${job.round}/${job.rounds}  ${job.name}`);
  }
  output.event('job.list', { count: jobs.length }, null);
}

interface JobDetail extends JobSummary {
  readonly checkpoints: readonly {
    readonly round: number;
    readonly checkpoint: string;
    readonly loss: number;
    readonly accuracy: number | null;
  }[];
}

/** What the coordinator tells about a job; null where it does not have it: a requested job without a specification, or another's. */
async function detailOf(client: CoordinatorClient, id: JobId): Promise<JobDetail | null> {
  try {
    return (await client.get(`jobs/${id}`)) as JobDetail;
  } catch (error) {
    if (error instanceof MusterError && error.code === 'JOB_UNKNOWN') return null;
    throw error;
  }
}

export async function jobShow({ paths, output }: Context, id: JobId): Promise<void> {
  const { client, chain } = await connectOrganizer(paths);
  const [job, known] = await Promise.all([detailOf(client, id), chain.job(id)]);
  if (known === null) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${id}`, { job: id });
  if (job === null) {
    const why = BigInt(known.specCid) === 0n ? 'requested, not specified by its coordinator yet' : 'not known to this coordinator';
    output.line(`job ${id}`);
    output.line(`  state    ${known.status}, ${why}`);
  } else {
    output.line(`job ${job.job}  "${job.name}"`);
    output.line(`  state    ${job.state}${job.phase === null ? '' : `, round ${job.round} of ${job.rounds}: ${job.phase}`}`);
    output.line(`  trainers ${job.trainers} present, ${job.slashed.length} slashed, ${job.replaced.length} slots replaced`);
  }
  const money = moneyOf(known);
  for (const line of moneyLines(known, money)) output.line(`  ${line}`);
  for (const { round, loss, accuracy, checkpoint } of job?.checkpoints ?? []) {
    const scores = accuracy === null ? 'no held-out records to evaluate' : `loss ${loss.toFixed(4)}  accuracy ${percent(accuracy)}`;
    output.line(`  round ${String(round).padStart(3)}  ${scores}  ${shortId(checkpoint)}`);
  }
  const model = job?.model ?? null;
  const shown = job ?? { job: id, state: known.status, round: known.nextRound };
  output.event('job.shown', { ...shown, policy: known.policy, ...money }, model === null ? null : `  model    ${model}`);
}

/** Where a job's budget is. What was refunded is the rest: the chain keeps `reserveWei` of an ended job until it is released. */
function moneyOf({ status, budgetWei, paidWei, reserveWei }: ChainJob) {
  const refundWei = status === 'running' || status === 'paused' ? 0n : budgetWei - paidWei - reserveWei;
  return { budgetWei, paidWei, reserveWei, refundWei };
}

function moneyLines({ policy }: ChainJob, { budgetWei, paidWei, reserveWei, refundWei }: ReturnType<typeof moneyOf>): string[] {
  const { reward, kind, settlement, minParticipants, roundTimeout } = policy;
  const reserve = reserveWei === 0n ? '' : `, reserved ${ether(reserveWei)}`;
  return [
    `policy   ${kind}, settled ${settlement}, at least ${minParticipants} nodes, fails after ${roundTimeout} s without progress`,
    `reward   ${describeReward(reward)}`,
    `budget   ${ether(budgetWei)} ether: paid ${ether(paidWei)}, refunded ${ether(refundWei)}${reserve}`,
  ];
}

export async function jobControl({ paths, output }: Context, id: JobId, action: 'pause' | 'resume' | 'stop'): Promise<void> {
  const { chain } = await connectOrganizer(paths);
  const known = await chain.job(id);
  if (known === null) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${id}`, { job: id });
  const call = ({ pause: 'pauseJob', resume: 'resumeJob', stop: 'cancelJob' } as const)[action];
  await chain.send({ call, job: id });
  if (action === 'stop') await chain.send({ call: 'withdraw' });
  const job = await chain.job(id);
  output.event(
    `job.${{ pause: 'paused', resume: 'resumed', stop: 'stopped' }[action]}`,
    { job: id, state: job?.status ?? null, round: job?.nextRound ?? null },
    `job ${id} is ${job?.status}`,
  );
}
