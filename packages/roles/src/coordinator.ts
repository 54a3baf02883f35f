/**
 * The coordinator: follows the chain, keeps one runner per job, takes signed submissions, tells what is going on.
 *
 * It is not trusted with results: every assignment, acceptance and aggregation it makes can be recomputed from chain and store.
 * It holds the jobs' clocks and chooses substitutes; docs/spec/10-rounds.md says what that lets it do.
 */
import type { CostLimits, Executor } from '@muster/engine';
import type { BlobStore, ChainEvent, ChainNode, ChainWriter, EventLog, NodeRole, VerifySignature } from '@muster/ports';
import {
  type Address,
  decodeCanonical,
  decodeLinked,
  encodeCanonical,
  type Envelope,
  type ErrorCode,
  type ErrorDetails,
  holderOf,
  type JobId,
  jobIdText,
  MusterError,
  type NodeId,
  objectKinds,
  oneOf,
  struct,
  text,
} from '@muster/protocol';
import type { JobEvent, ReadBlock } from '@muster/round';
import { BatchSubmissions } from './batch-submissions.ts';
import { opens } from './batches.ts';
import { performDuty } from './coordinator-duties.ts';
import { ChainHistory, isPublished, type JobRecord, objectCid } from './history.ts';
import { JobRunner } from './job-runner.ts';
import { reader, reasonOf, type Report, type Scheduler, type StopSignal } from './link.ts';
import { checkSpec, type JobMaterial, loadMaterial } from './material.ts';
import { isSpecified, RequestDesk } from './requests.ts';
import { type SubmissionDesk, Submissions } from './submissions.ts';
import { detailOf, newestRefusals, summaryOf, wantedVerdicts } from './views.ts';

export interface CoordinatorOptions {
  readonly chain: ChainWriter;
  readonly blobs: BlobStore;
  readonly log: EventLog;
  readonly executor: Executor;
  /** The most that a job's programs may cost here; `defaultCostLimits` unless given. */
  readonly limits?: CostLimits;
  /** Checks what nodes have signed with their keys. */
  readonly verify: VerifySignature;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly signal: StopSignal;
  /** A node that says nothing for so long counts as gone, ms. */
  readonly presenceTimeoutMs: number;
  readonly pollMs: number;
  /** Node keys that may store objects without being registered: the organizer's. */
  readonly organizers: readonly NodeId[];
  /** Wei given once to an account that joins, so that it can stake; 0 where accounts bring their own. */
  readonly grantWei: bigint;
  /** What one node may store here within an hour. */
  readonly uploadBytesPerHour: number;
}

/** Refused requests without a valid signature that are recorded within a minute. */
const unsignedRefusalsPerMinute = 100;
/** Beyond the presence timeout, how long a restarted coordinator waits for a node it knew, ms. */
const returnGraceMs = 20_000;

interface Presence {
  readonly role: NodeRole;
  lastSeenMs: number;
}

const helloBody = struct({ role: oneOf('trainer', 'validator') });
const fundBody = struct({ account: text(42, /^0x[0-9a-f]{40}$/) });

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #history: ChainHistory;
  readonly #read: ReadBlock;
  readonly #runners = new Map<JobId, JobRunner>();
  readonly #materials = new Map<JobId, Promise<JobMaterial>>();
  readonly #presence = new Map<NodeId, Presence>();
  readonly #registered = new Map<NodeId, ChainNode>();
  #following: Promise<void> | null = null;
  #nextPass: Promise<void> | null = null;
  readonly #uploads = new Map<NodeId, { readonly sinceMs: number; bytes: number }>();
  readonly #submissions: Submissions;
  readonly #batches: BatchSubmissions;
  readonly #requests: RequestDesk;
  #unsigned = { sinceMs: 0, count: 0 };
  readonly #listeners = new Set<(event: string, data: unknown) => void>();

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#history = new ChainHistory(options.chain);
    this.#read = reader(options.blobs);
    const { chain, scheduler, report } = options;
    this.#requests = new RequestDesk(options);
    const desk: SubmissionDesk = {
      chain,
      scheduler,
      report,
      history: this.#history,
      read: this.#read,
      followChain: () => this.#followChain(),
      runner: (job) => this.#runner(job),
      material: (job) => this.#material(job),
      requireStanding: (node) => this.#requireStanding(node),
    };
    this.#submissions = new Submissions(desk);
    this.#batches = new BatchSubmissions(desk, this.#submissions, options.verify);
  }

  /** Restores recorded jobs and works until the signal aborts. */
  async run(): Promise<void> {
    const { scheduler, signal, pollMs, report } = this.#options;
    while (!signal.aborted) {
      try {
        await this.turn();
      } catch (error) {
        report('coordinator.trouble', { reason: reasonOf(error) });
      }
      await scheduler.sleep(pollMs, signal);
    }
  }

  /** Reads the chain once, notices who is gone and which deadlines passed. */
  async turn(): Promise<void> {
    await this.#followChain();
    const { scheduler, presenceTimeoutMs } = this.#options;
    for (const [node, presence] of this.#presence) {
      if (scheduler.now() - presence.lastSeenMs <= presenceTimeoutMs) continue;
      this.#presence.delete(node);
      this.#options.report('node.gone', { node, role: presence.role });
      await this.#toAll({ type: 'nodeAbsent', node });
    }
    for (const runner of this.#runners.values()) await runner.tick();
  }

  /** Calls `listener` for every change, for the event stream. */
  onChange(listener: (event: string, data: unknown) => void): void {
    this.#listeners.add(listener);
  }

  // --- chain -------------------------------------------------------------------------------------------------------------

  /**
   * Brings the runners up to what the chain's head is now or later. One pass runs at a time, so that no event is taken twice;
   * calls during a pass share the next one.
   */
  #followChain(): Promise<void> {
    if (this.#following === null) {
      this.#following = this.#readChain().finally(() => {
        this.#following = null;
      });
      return this.#following;
    }
    this.#nextPass ??= this.#following
      .catch(() => undefined)
      .then(() => {
        this.#nextPass = null;
        return this.#followChain();
      });
    return this.#nextPass;
  }

  async #readChain(): Promise<void> {
    for (const event of await this.#history.sync()) await this.#onChainEvent(event);
    // A job whose spec had not been stored when its event came.
    for (const [job, record] of this.#history.jobs) {
      if (record.ended !== null || record.submitted.coordinator !== this.#options.chain.account || this.#runners.has(job)) continue;
      if ((await this.#adopt(job)) === null) this.#requests.look(record);
    }
  }

  async #onChainEvent(event: ChainEvent): Promise<void> {
    if (event.event === 'NodeSlashed' && !event.active) {
      this.#registered.delete(event.node);
      await this.#toAll({ type: 'nodeSlashed', node: event.node }, event.block);
      return;
    }
    if (event.event === 'ModelPublished') {
      for (const [job, record] of this.#history.jobs) {
        if (isPublished(record, event)) await this.#runners.get(job)?.apply({ type: 'modelPublished' }, event.block);
      }
      return;
    }
    if (!('job' in event)) return;
    const runner = this.#runners.get(event.job) ?? (await this.#adopt(event.job));
    if (runner === null || event.block < runner.lastBlock) return;
    const translated = await this.#translate(event);
    if (translated !== null) await runner.apply(translated, event.block);
  }

  /** Starts the runner of a job that names this coordinator; null for others' jobs and while the spec is not in the store. */
  async #adopt(job: JobId): Promise<JobRunner | null> {
    const record = this.#history.jobs.get(job);
    const { chain, blobs, log, scheduler, report, signal } = this.#options;
    if (record === undefined || record.submitted.coordinator !== chain.account || !isSpecified(record)) return null;
    const bytes = await blobs.get(objectCid(record.specCid));
    if (bytes === null) return null;
    let runner: JobRunner;
    try {
      const spec = decodeLinked(objectKinds.jobSpec, bytes);
      checkSpec(record, spec);
      const context = {
        chain,
        blobs,
        scheduler,
        report,
        material: (id: JobId) => this.#material(id),
        operatorOf: this.#history.operatorOf,
        record: (id: JobId) => this.#record(id),
        followChain: () => this.#followChain(),
      };
      runner = new JobRunner({
        job,
        spec,
        settlement: record.policy.settlement,
        log,
        scheduler,
        report,
        signal,
        perform: (duty, owner) => performDuty(context, duty, owner),
        changed: (owner, event) => this.#announce(owner, event),
      });
    } catch (error) {
      report('job.refused', { job, reason: reasonOf(error) });
      return null;
    }
    this.#runners.set(job, runner);
    await runner.restore();
    report('job.adopted', { job, name: runner.state.spec.name, round: runner.state.round?.round ?? 0 });
    // Who was present before a restart is given time to come back: a whole network may be starting again.
    for (const node of runner.state.trainers) {
      if (!this.#presence.has(node)) this.#presence.set(node, { role: 'trainer', lastSeenMs: scheduler.now() + returnGraceMs });
    }
    for (const [node, { role }] of this.#presence) if (role === 'trainer') await runner.apply({ type: 'nodePresent', node });
    runner.start();
    return runner;
  }

  async #translate(event: Extract<ChainEvent, { readonly job: JobId }>): Promise<JobEvent | null> {
    switch (event.event) {
      case 'NodesClosed':
        return { type: 'nodesClosed', round: event.round };
      case 'RoundAssigned': {
        const assignmentCid = objectCid(event.assignmentCid);
        const assignment = decodeLinked(objectKinds.assignment, await this.#read(assignmentCid));
        const assigned = {
          type: 'roundAssigned',
          round: event.round,
          assignmentCid,
          tasks: assignment.tasks.map(({ nodes }) => nodes),
        } as const;
        const batched = this.#history.jobs.get(event.job)?.policy.settlement === 'batched';
        return batched ? { ...assigned, commitDeadline: event.commitDeadline } : assigned;
      }
      case 'SlotReassigned':
        return { type: 'slotReassigned', round: event.round, task: event.task, slot: event.slot, node: event.node };
      case 'Committed':
        return { type: 'committed', round: event.round, task: event.task, slot: event.slot, node: event.node };
      case 'CommitsClosed':
        return { type: 'commitsClosed', round: event.round, task: event.task };
      case 'Revealed':
        return { type: 'revealed', round: event.round, task: event.task, slot: event.slot, node: event.node, resultRoot: event.resultRoot };
      case 'Convicted':
        return { type: 'convicted', round: event.round, task: event.task, slot: event.slot, node: event.node };
      case 'BatchCommitted':
        return { type: 'batchCommitted', round: event.round, closesAt: event.closesAt };
      case 'CommitForced':
        return { type: 'committed', round: event.round, ...this.#placeOf(event), node: event.node };
      case 'RevealForced':
        return this.#openedOnChain(event)
          ? { type: 'revealed', round: event.round, ...this.#placeOf(event), node: event.node, resultRoot: event.resultRoot }
          : null;
      case 'BatchConvicted':
        return { type: 'convicted', round: event.round, ...this.#placeOf(event), node: event.node };
      case 'BatchFinalized':
      case 'RoundFinalized':
        return { type: 'roundFinalized', round: event.round };
      case 'CheckpointAdded':
        return { type: 'checkpointAdded', round: event.round };
      case 'JobPaused':
        return { type: 'jobPaused' };
      case 'JobResumed':
        return { type: 'jobResumed' };
      case 'JobCancelled':
      case 'JobFailed':
        return { type: 'jobStopped' };
      case 'JobCompleted':
        return { type: 'jobCompleted' };
      case 'JobSubmitted':
      case 'TrainingRequested':
      case 'JobTermsSet':
      case 'JobSpecified':
      case 'JobSponsored':
      case 'ReserveReleased':
      case 'TaskFinalized':
      case 'UnrevealedReported':
      case 'NodeCredited':
      case 'RewardCredited':
      case 'VerdictSettled':
      case 'TasksSettled':
      case 'BatchRewardClaimed':
      case 'BatchRewardVoided':
      case 'BatchExpired':
      case 'TrainProofsRecorded':
        return null;
      default:
        return event satisfies never;
    }
  }

  /** Task and slot of a slot's index in a batched job. */
  #placeOf({ job, slotIndex }: { readonly job: JobId; readonly slotIndex: number }): { readonly task: number; readonly slot: number } {
    const { redundancy } = this.#runner(job).state.spec;
    return { task: Math.floor(slotIndex / redundancy), slot: slotIndex % redundancy };
  }

  /** Whether what a node revealed on chain opens what its slot is committed to. */
  #openedOnChain(event: Extract<ChainEvent, { readonly event: 'RevealForced' }>): boolean {
    const { task, slot } = this.#placeOf(event);
    const forced = this.#history.jobs.get(event.job)?.rounds.get(event.round)?.batch.forcedCommits.get(event.slotIndex);
    const current = this.#runner(event.job).state.round;
    const sent = current?.round === event.round ? current.tasks[task]?.slots[slot]?.sent : null;
    const seat = { node: event.node, holder: holderOf(event.node, this.#history.operatorOf(event.node)), task, slot };
    return opens(event.job, event.round, seat, event, forced?.commitment ?? sent?.commitment ?? null);
  }

  async #toAll(event: JobEvent, block = -1): Promise<void> {
    for (const runner of this.#runners.values()) await runner.apply(event, block);
  }

  /** The chain's record of a job, read again where it is not known yet. */
  async #record(job: JobId): Promise<JobRecord> {
    if (!this.#history.jobs.has(job)) await this.#history.sync();
    const record = this.#history.jobs.get(job);
    if (record === undefined) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${job}`, { job });
    return record;
  }

  #material(job: JobId): Promise<JobMaterial> {
    const runner = this.#runners.get(job);
    if (runner === undefined) throw new MusterError('JOB_UNKNOWN', `no job ${job} here`, { job });
    let material = this.#materials.get(job);
    if (material === undefined) {
      material = loadMaterial(runner.state.spec, this.#read, this.#options.executor, this.#options.limits);
      this.#materials.set(job, material);
      material.catch(() => this.#materials.delete(job));
    }
    return material;
  }

  #announce(runner: JobRunner, event: JobEvent): void {
    const { report } = this.#options;
    const { job, spec, status, round } = runner.state;
    const data = { job, name: spec.name, status, round: round?.round ?? null, phase: round?.phase ?? null, change: event.type };
    for (const listener of this.#listeners) listener('job', data);
    if (
      status === 'running' &&
      round?.phase === 'gather' &&
      (event.type === 'nodeAbsent' || event.type === 'nodePresent' || event.type === 'checkpointAdded' || event.type === 'prepared')
    ) {
      report('job.waiting', { job, round: round.round, present: runner.state.trainers.length, needed: spec.minimumNodes });
    }
    switch (event.type) {
      case 'roundAssigned':
        report('round.assigned', { job, round: event.round, nodes: round?.nodes.length ?? 0, tasks: event.tasks.length });
        return;
      case 'slotReassigned':
        report('task.reassigned', { job, round: event.round, task: event.task, slot: event.slot, node: event.node });
        return;
      case 'convicted':
        report('node.slashed', { job, round: event.round, task: event.task, node: event.node });
        return;
      case 'checkpointAdded':
        report('round.finished', { job, round: event.round });
        return;
      case 'jobCompleted':
      case 'jobStopped':
        report('job.ended', { job, status });
        return;
      default:
    }
  }

  // --- signed requests ---------------------------------------------------------------------------------------------------

  /** Handlers by message kind. */
  signedRoutes(): Record<string, (envelope: Envelope) => Promise<unknown>> {
    return {
      hello: (envelope) => this.#hello(envelope),
      fund: (envelope) => this.#fund(envelope),
      result: (envelope) => this.#submissions.result(envelope),
      verdict: (envelope) => this.#submissions.verdict(envelope),
      commitment: (envelope) => this.#batches.commitment(envelope),
      opening: (envelope) => this.#batches.opening(envelope),
    };
  }

  /** Whether `node` may store objects: active nodes and the organizer. */
  async authorize(node: NodeId): Promise<boolean> {
    return this.#options.organizers.includes(node) || (await this.#standing(node)) !== null;
  }

  /** Records a refused request; `GET /v1/refusals` shows the newest. */
  async recordRefusal(refused: {
    readonly code: ErrorCode;
    readonly node: NodeId | null;
    readonly kind: string | null;
    readonly details: ErrorDetails;
  }): Promise<void> {
    const { log, scheduler, report } = this.#options;
    const details = Object.fromEntries(
      Object.entries(refused.details).map(([key, value]) => [key, typeof value === 'bigint' ? value.toString() : value]),
    );
    report('submission.refused', { ...refused, details });
    if (refused.node === null && !this.#admitUnsigned(scheduler.now())) return;
    await log.append('refusals', scheduler.now(), [
      encodeCanonical({ code: refused.code, node: refused.node, kind: refused.kind, details }),
    ]);
  }

  /** Requests that nobody signed cost nothing to send: so many a minute are recorded. */
  #admitUnsigned(nowMs: number): boolean {
    if (nowMs - this.#unsigned.sinceMs >= 60_000) this.#unsigned = { sinceMs: nowMs, count: 0 };
    return ++this.#unsigned.count <= unsignedRefusalsPerMinute;
  }

  async #standing(node: NodeId): Promise<ChainNode | null> {
    const known = this.#registered.get(node);
    if (known !== undefined) return known;
    const found = await this.#options.chain.node(node);
    if (found === null || !found.active) return null;
    this.#registered.set(node, found);
    return found;
  }

  async #requireStanding(node: NodeId): Promise<ChainNode> {
    const standing = await this.#standing(node);
    if (standing === null) throw new MusterError('NODE_UNKNOWN', 'the node is not registered on chain, or its stake is gone', { node });
    return standing;
  }

  async #hello({ node, body }: Envelope): Promise<unknown> {
    const { role } = helloBody(body, 'hello');
    const standing = await this.#requireStanding(node);
    if (standing.role !== role)
      throw new MusterError('FIELD_INVALID', `node ${node} is registered as ${standing.role}`, { field: 'role', node });
    const known = this.#presence.get(node);
    this.#presence.set(node, { role, lastSeenMs: this.#options.scheduler.now() });
    if (known === undefined) {
      this.#options.report('node.joined', { node, role, operator: standing.operator });
      if (role === 'trainer') await this.#toAll({ type: 'nodePresent', node });
    }
    return { presenceTimeoutMs: this.#options.presenceTimeoutMs };
  }

  /** Gives an account that holds nothing the grant, once: enough for the stake on a network with its own chain. */
  async #fund({ node, body }: Envelope): Promise<unknown> {
    const { chain, grantWei, log, scheduler } = this.#options;
    const account = fundBody(body, 'fund').account as Address;
    if (grantWei === 0n) throw new MusterError('STATE_CONFLICT', 'this network gives no grants: fund the account yourself', { account });
    if ((await chain.balance(account)) >= grantWei) return { grantedWei: '0' };
    const granted = await log.read('grants', 0, 100_000);
    if (granted.some(({ bytes }) => (decodeCanonical(bytes) as { readonly node: NodeId }).node === node)) {
      throw new MusterError('STATE_CONFLICT', 'this node already had its grant', { node });
    }
    await chain.send({ call: 'transfer', to: account, amountWei: grantWei });
    await log.append('grants', scheduler.now(), [encodeCanonical({ node, account })]);
    return { grantedWei: grantWei.toString() };
  }

  #runner(job: JobId): JobRunner {
    const runner = this.#runners.get(job);
    if (runner === undefined) throw new MusterError('JOB_UNKNOWN', `no job ${job} here`, { job });
    return runner;
  }

  // --- public questions --------------------------------------------------------------------------------------------------

  /** Handlers of `GET /v1/<path>`. */
  publicRoutes(): Record<string, (params: Readonly<Record<string, string>>) => Promise<unknown>> {
    return {
      jobs: async () => ({ jobs: [...this.#runners.values()].map((runner) => summaryOf(runner)) }),
      'jobs/:job': async ({ job }) => await detailOf(this.#runner(jobIdText(job, 'job')), this.#read),
      nodes: async () => ({ nodes: [...this.#presence].map(([node, { role, lastSeenMs }]) => ({ node, role, lastSeenMs })) }),
      verdicts: async () => ({ tasks: wantedVerdicts(this.#runners.values()) }),
      refusals: async () => ({ refusals: await newestRefusals(this.#options.log) }),
    };
  }

  /** Throws QUOTA_EXCEEDED when `node` has stored more than its share within an hour. */
  admitUpload(node: NodeId, bytes: number): void {
    const { scheduler, uploadBytesPerHour } = this.#options;
    const now = scheduler.now();
    const known = this.#uploads.get(node);
    const current = known !== undefined && now - known.sinceMs < 3_600_000 ? known : { sinceMs: now, bytes: 0 };
    if (current.bytes + bytes > uploadBytesPerHour) {
      throw new MusterError('QUOTA_EXCEEDED', `${current.bytes} bytes stored within this hour, at most ${uploadBytesPerHour} in an hour`, {
        node,
        bytes: current.bytes + bytes,
        maxBytes: uploadBytesPerHour,
      });
    }
    current.bytes += bytes;
    this.#uploads.set(node, current);
  }
}
