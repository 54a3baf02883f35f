/**
 * How the coordinator carries out each duty: one function per stage, over chain and store.
 */
import type { NamedTensor, Tensor } from '@muster/engine';
import type { BlobStore, ChainWriter } from '@muster/ports';
import { digestOf, encodeLinked, type JobId, MusterError, type NodeId, type CidText, type Root } from '@muster/protocol';
import {
  type AcceptedTask,
  accuracyBasisPoints,
  assignmentRoot,
  carriedStates,
  contributionScore,
  type Duty,
  drawAssignment,
  encodeTensors,
  FederatedAverage,
  nodeSetRoot,
  type OperatorOf,
  withNames,
  type Block,
} from '@muster/round';
import { readCheckpoint } from './assignments.ts';
import { commitBatch, convictInBatch, finalizeBatch } from './batch-duties.ts';
import type { JobRecord } from './history.ts';
import type { JobRunner } from './job-runner.ts';
import { drive, reader, type Report, type Scheduler } from './link.ts';
import type { JobMaterial } from './material.ts';

export interface DutyContext {
  readonly chain: ChainWriter;
  readonly blobs: BlobStore;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly material: (job: JobId) => Promise<JobMaterial>;
  /** The account that operates a node, by the chain's record. */
  readonly operatorOf: OperatorOf;
  readonly record: (job: JobId) => Promise<JobRecord>;
  /** Brings record and states up to the chain's head. */
  readonly followChain: () => Promise<void>;
}

export async function performDuty(context: DutyContext, duty: Duty, runner: JobRunner): Promise<void> {
  const { chain } = context;
  const { job } = runner.state;
  switch (duty.duty) {
    case 'prepare':
      return prepare(context, runner);
    case 'closeNodes':
      await chain.send({ call: 'closeNodes', job, round: duty.round, nodeSetRoot: nodeSetRoot(duty.nodes), nodeCount: duty.nodes.length });
      return;
    case 'drawBeacon':
      return drawBeacon(context, runner, duty.round);
    case 'assign':
      return assign(context, runner, duty);
    case 'reassign':
      await chain.send({ call: 'reassign', job, round: duty.round, task: duty.task, slot: duty.slot, node: duty.node });
      return;
    case 'closeCommits':
      await chain.send({ call: 'closeCommits', job, round: duty.round, task: duty.task });
      return;
    case 'commitBatch':
      return commitBatch(context, runner, duty.round);
    case 'judge':
      // Validators ask which tasks wait for a verdict; there is nothing to send.
      return;
    case 'convict': {
      if (runner.state.settlement === 'batched') return convictInBatch(context, runner, duty);
      const { verdictCid, evidence } = duty.verdict;
      const { round, task, slot, node } = duty;
      await chain.send({ call: 'convict', job, round, task, slot, node, verdictCid: digestOf(verdictCid), evidence });
      return;
    }
    case 'aggregate':
      return aggregate(context, runner, duty.round, duty.accepted);
    case 'finalize': {
      if (runner.state.settlement === 'batched') return finalizeBatch(context, runner, duty);
      const { policy } = await context.record(job);
      const { evaluation } = await readCheckpoint(reader(context.blobs), duty.checkpoint);
      const accepted = duty.accepted.map(({ task, weight, resultRoot, evidence }) => {
        return { task, score: contributionScore(policy, runner.state.spec.tasks, weight), resultRoot, evidence };
      });
      const accuracy = accuracyBasisPoints(evaluation);
      await chain.send({ call: 'finalize', job, round: duty.round, checkpointCid: digestOf(duty.checkpoint), accuracy, accepted });
      return;
    }
    case 'addCheckpoint': {
      const modelId = await modelIdOf(context, job);
      await chain.send({ call: 'addCheckpoint', modelId, job, round: duty.round, checkpointCid: digestOf(duty.checkpoint) });
      return;
    }
    case 'publishModel':
      await chain.send({ call: 'publishModel', modelId: await modelIdOf(context, job), checkpointCid: digestOf(duty.checkpoint) });
      return;
    case 'completeJob':
      await chain.send({ call: 'completeJob', job });
      return;
    default:
      duty satisfies never;
  }
}

async function prepare({ blobs, material }: DutyContext, runner: JobRunner): Promise<void> {
  const loaded = await material(runner.state.job);
  const initial = encodeTensors(loaded.initialParameters());
  await putAll(blobs, initial.blocks);
  await runner.apply({ type: 'prepared', parameters: initial.cid, shardSizes: loaded.shardSizes });
}

async function drawBeacon(context: DutyContext, runner: JobRunner, round: number): Promise<void> {
  await runner.apply({ type: 'beaconDrawn', round, beacon: await readBeacon(context, runner, round) });
}

/**
 * The beacon as the chain gives it now: the hash of the block that closed the node set, readable once a later block exists.
 * When that block is too old to be read, the node set is closed again, in a new block; STATE_CONFLICT says to come back.
 */
async function readBeacon({ chain }: DutyContext, runner: JobRunner, round: number): Promise<Root> {
  const { job, round: current } = runner.state;
  let beacon = await chain.beacon(job, round);
  if (beacon === null) {
    // A chain that makes blocks only for transactions needs one.
    await chain.send({ call: 'transfer', to: chain.account, amountWei: 0n });
    beacon = await chain.beacon(job, round);
  }
  if (beacon !== null) return beacon;
  const nodes = current?.nodes ?? [];
  await chain.send({ call: 'closeNodes', job, round, nodeSetRoot: nodeSetRoot(nodes), nodeCount: nodes.length });
  throw new MusterError('STATE_CONFLICT', 'the beacon block was out of reach; the node set was closed again', { job, round });
}

async function assign(
  context: DutyContext,
  runner: JobRunner,
  duty: { readonly round: number; readonly nodes: readonly NodeId[] },
): Promise<void> {
  const { chain, blobs, scheduler } = context;
  const { job, spec, base, shardSizes, slotStates } = runner.state;
  if (base === null) return;
  // Not the beacon drawn before: it may have expired meanwhile, and the chain records what is valid when the call runs.
  const beacon = await readBeacon(context, runner, duty.round);
  const assignment = drawAssignment({
    job,
    round: duty.round,
    nodes: duty.nodes,
    beacon,
    base: base.parameters,
    redundancy: spec.redundancy,
    slots: shardSizes.map((sampleCount, task) => ({ sampleCount, slotState: slotStates[task] ?? null })),
  });
  const stored = encodeLinked(assignment);
  await blobs.put(stored.bytes, 'dag-cbor');
  const { policy } = await context.record(job);
  // The chain takes no deadline beyond half of the time after which the job counts as failed.
  const latest = (await chain.head()).time + Math.floor(policy.roundTimeout / 2) - 1;
  const commitDeadline = Math.min(Math.ceil((scheduler.now() + spec.commitTimeoutMs) / 1000), latest);
  await chain.send({
    call: 'assign',
    job,
    round: duty.round,
    assignmentRoot: assignmentRoot(assignment, context.operatorOf),
    assignmentCid: digestOf(stored.cid),
    commitDeadline,
  });
}

async function aggregate(
  { blobs, scheduler, material, report }: DutyContext,
  runner: JobRunner,
  round: number,
  accepted: readonly AcceptedTask[],
): Promise<void> {
  const { job, base, slotStates } = runner.state;
  if (base === null) return;
  const loaded = await material(job);
  const started = scheduler.now();
  const parameters = await averageOf(loaded, base.parameters, accepted, scheduler);
  const evaluation = await drive(loaded.evaluate(parameters.tensors), scheduler);
  await putAll(blobs, parameters.blocks);
  const checkpoint = encodeLinked({
    version: 1,
    job,
    round,
    previous: base.checkpoint,
    parameters: parameters.cid,
    tasks: accepted.map(({ task, weight, resultRoot, outcome }) => ({ task, weight, resultRoot, outcome })),
    slotStates: carriedStates(slotStates, accepted),
    evaluation,
  });
  await blobs.put(checkpoint.bytes, 'dag-cbor');
  report('round.aggregated', {
    job,
    round,
    tasks: accepted.length,
    milliseconds: scheduler.now() - started,
    loss: evaluation.loss,
    accuracy: evaluation.records === 0 ? null : evaluation.correct / evaluation.records,
    checkpoint: checkpoint.cid,
  });
  await runner.apply({ type: 'aggregated', round, checkpoint: checkpoint.cid, parameters: parameters.cid });
}

/**
 * New parameters from `base` and the accepted updates, in ascending task order. Faults carry no weight.
 * Updates whose average is not finite leave the model as it is.
 */
export async function averageOf(
  material: JobMaterial,
  base: CidText,
  accepted: readonly Pick<AcceptedTask, 'weight' | 'outcome'>[],
  scheduler: Scheduler,
): Promise<{ readonly cid: CidText; readonly blocks: readonly Block[]; readonly tensors: readonly NamedTensor[] }> {
  const average = new FederatedAverage(material.aggregation, material.model.parameters);
  const before = await material.parameters(base);
  let after: readonly Tensor[];
  try {
    for (const { weight, outcome } of accepted) {
      if (outcome.kind === 'update') average.add(await material.update(outcome.update), weight);
      await scheduler.breathe();
    }
    after = average.finish(before);
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'NUMERIC_FAULT') throw error;
    after = before;
  }
  const tensors = withNames(material.model.parameters, after);
  return { ...encodeTensors(tensors), tensors };
}

async function putAll(blobs: BlobStore, blocks: readonly Block[]): Promise<void> {
  for (const { cid, bytes, codec } of blocks) if (!(await blobs.has(cid))) await blobs.put(bytes, codec);
}

async function modelIdOf({ chain }: DutyContext, job: JobId): Promise<Root> {
  const record = await chain.job(job);
  if (record === null) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${job}`, { job });
  return record.modelId;
}
