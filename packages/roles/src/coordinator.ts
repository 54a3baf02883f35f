/**
 * The coordinator: follows the chain, keeps one runner per job, takes signed submissions, tells what is going on.
 *
 * It is not trusted with results: every assignment, acceptance and aggregation it makes can be recomputed from chain and store.
 * It holds the jobs' clocks and chooses substitutes; docs/spec/10-rounds.md says what that lets it do.
 */
import { type Executor, stateRoot } from '@muster/engine';
import type { BlobStore, ChainEvent, ChainNode, ChainWriter, EventLog, NodeRole } from '@muster/ports';
import {
  type Address,
  type CidText,
  cidText,
  decodeCanonical,
  decodeLinked,
  digestOf,
  encodeCanonical,
  type Envelope,
  type ErrorCode,
  type ErrorDetails,
  integer,
  type JobId,
  jobIdText,
  MusterError,
  type NodeId,
  objectKinds,
  oneOf,
  struct,
  type TaskResult,
  text,
  type Verdict,
} from '@muster/protocol';
import { type JobEvent, outcomeRoot, type ReadBlock, summarize } from '@muster/round';
import { readAssignment } from './assignments.ts';
import { performDuty } from './coordinator-duties.ts';
import { ChainHistory, objectCid } from './history.ts';
import { JobRunner } from './job-runner.ts';
import { drive, reader, reasonOf, type Report, type Scheduler, type StopSignal } from './link.ts';
import { checkSpec, type JobMaterial, loadMaterial } from './material.ts';

export interface CoordinatorOptions {
  readonly chain: ChainWriter;
  readonly blobs: BlobStore;
  readonly log: EventLog;
  readonly executor: Executor;
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

/** How many refusals `GET /v1/refusals` shows. */
const shownRefusals = 200;

interface Presence {
  readonly role: NodeRole;
  lastSeenMs: number;
}

const place = { job: jobIdText, round: integer(0, 0xffff_ffff), task: integer(0, 0xffff_ffff) };
const resultBody = struct({ ...place, slot: integer(0, 0xffff_ffff), resultCid: cidText });
const verdictBody = struct({ ...place, verdictCid: cidText, evidence: text(4096, /^0x([0-9a-f]{2})*$/) });
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
  readonly #verifiedUpdates = new Map<string, string>();
  readonly #listeners = new Set<(event: string, data: unknown) => void>();

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#history = new ChainHistory(options.chain);
    this.#read = reader(options.blobs);
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
      if (record.ended === null && record.submitted.coordinator === this.#options.chain.account && !this.#runners.has(job))
        await this.#adopt(job);
    }
  }

  async #onChainEvent(event: ChainEvent): Promise<void> {
    if (event.event === 'NodeSlashed' && event.deactivated) {
      this.#registered.delete(event.node);
      await this.#toAll({ type: 'nodeSlashed', node: event.node }, event.block);
      return;
    }
    if (event.event === 'ModelPublished') {
      for (const [job, record] of this.#history.jobs) {
        if (record.submitted.modelId === event.modelId) await this.#runners.get(job)?.apply({ type: 'modelPublished' }, event.block);
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
    if (record === undefined || record.submitted.coordinator !== chain.account) return null;
    const bytes = await blobs.get(objectCid(record.submitted.specCid));
    if (bytes === null) return null;
    let runner: JobRunner;
    try {
      const spec = decodeLinked(objectKinds.jobSpec, bytes);
      checkSpec(record, spec);
      const context = { chain, blobs, scheduler, report, material: (id: JobId) => this.#material(id) };
      runner = new JobRunner({
        job,
        spec,
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
    // Who was present before a restart has until the presence timeout to say so again.
    for (const node of runner.state.trainers) {
      if (!this.#presence.has(node)) this.#presence.set(node, { role: 'trainer', lastSeenMs: scheduler.now() });
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
        return { type: 'roundAssigned', round: event.round, assignmentCid, tasks: assignment.tasks.map(({ nodes }) => nodes) };
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
      case 'RoundFinalized':
        return { type: 'roundFinalized', round: event.round };
      case 'CheckpointAdded':
        return { type: 'checkpointAdded', round: event.round };
      case 'JobPaused':
        return { type: 'jobPaused' };
      case 'JobResumed':
        return { type: 'jobResumed' };
      case 'JobCancelled':
        return { type: 'jobStopped' };
      case 'JobCompleted':
        return { type: 'jobCompleted' };
      case 'JobSubmitted':
      case 'TaskFinalized':
      case 'RewardCredited':
        return null;
      default:
        return event satisfies never;
    }
  }

  async #toAll(event: JobEvent, block = -1): Promise<void> {
    for (const runner of this.#runners.values()) await runner.apply(event, block);
  }

  #material(job: JobId): Promise<JobMaterial> {
    const runner = this.#runners.get(job);
    if (runner === undefined) throw new MusterError('JOB_UNKNOWN', `no job ${job} here`, { job });
    let material = this.#materials.get(job);
    if (material === undefined) {
      material = loadMaterial(runner.state.spec, this.#read, this.#options.executor);
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
      result: (envelope) => this.#result(envelope),
      verdict: (envelope) => this.#verdict(envelope),
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
    await log.append('refusals', scheduler.now(), [
      encodeCanonical({ code: refused.code, node: refused.node, kind: refused.kind, details }),
    ]);
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

  async #result({ node, body }: Envelope): Promise<unknown> {
    const { job, round, task, slot, resultCid } = resultBody(body, 'result');
    await this.#requireStanding(node);
    await this.#followChain();
    const runner = this.#runner(job);
    const current = runner.state.round;
    if (current === null || current.round !== round)
      throw new MusterError('SUBMISSION_LATE', `round ${round} takes no submissions`, { job, round });
    const taskState = current.tasks[task];
    if (taskState === undefined) throw new MusterError('TASK_UNKNOWN', `round ${round} has no task ${task}`, { job, round, task });
    const slotState = taskState.slots[slot];
    if (slotState === undefined || slotState.node !== node) {
      throw new MusterError('TASK_NOT_ASSIGNED', `slot ${slot} of task ${task} is not this node's`, { job, round, task, slot, node });
    }
    if (slotState.opened !== null)
      throw new MusterError('SUBMISSION_DUPLICATE', 'this slot was already submitted', { job, round, task, slot });
    if (slotState.phase === 'working')
      throw new MusterError('COMMITMENT_MISSING', 'nothing was committed for this slot', { job, round, task, slot });
    if (taskState.phase === 'commit' || taskState.phase === 'closing') {
      throw new MusterError('STATE_CONFLICT', 'commits are still open: submit after the reveal opens', { job, round, task, slot });
    }
    if (taskState.phase !== 'reveal' && taskState.phase !== 'judge') {
      throw new MusterError('SUBMISSION_LATE', `task ${task} takes no submissions`, { job, round, task, slot });
    }
    const result = decodeLinked(objectKinds.taskResult, await this.#read(resultCid));
    await this.#checkResult(job, result, { job, round, task, slot, node });
    const opened = { resultRoot: result.resultRoot, resultCid, outcome: summarize(result.outcome) };
    await runner.apply({ type: 'opened', round, task, slot, node, result: opened });
    return { accepted: true };
  }

  /** Throws RESULT_ROOT_MISMATCH unless `result` is for `expected` and the objects it links open its root. */
  async #checkResult(job: JobId, result: TaskResult | Verdict, expected: Readonly<Record<string, string | number>>): Promise<void> {
    for (const [field, value] of Object.entries(expected)) {
      const found = (result as unknown as Record<string, unknown>)[field];
      if (found !== value)
        throw new MusterError('RESULT_ROOT_MISMATCH', `the result's ${field} is ${String(found)}, expected ${value}`, {
          field,
          ...expected,
        });
    }
    if (outcomeRoot(result.outcome) !== result.resultRoot) {
      throw new MusterError('RESULT_ROOT_MISMATCH', 'the outcome does not give the result root', { resultRoot: result.resultRoot });
    }
    if (result.outcome.kind === 'fault') return;
    const { update, slotState, updateRoot } = result.outcome;
    if ((await this.#updateRoot(job, update, slotState)) !== updateRoot) {
      throw new MusterError('RESULT_ROOT_MISMATCH', 'the update in the store does not give the update root', { update, updateRoot });
    }
  }

  async #updateRoot(job: JobId, update: CidText, slotState: CidText | null): Promise<string> {
    const label = `${update}/${slotState ?? ''}`;
    const known = this.#verifiedUpdates.get(label);
    if (known !== undefined) return known;
    const material = await this.#material(job);
    const tensors = await material.update(update);
    const root = stateRoot([...tensors, ...(slotState === null ? [] : await material.slotState(slotState))]);
    if (this.#verifiedUpdates.size > 10_000) this.#verifiedUpdates.clear();
    this.#verifiedUpdates.set(label, root);
    return root;
  }

  async #verdict({ node, body }: Envelope): Promise<unknown> {
    const { job, round, task, verdictCid, evidence } = verdictBody(body, 'verdict');
    const { report, scheduler, chain } = this.#options;
    const standing = await this.#requireStanding(node);
    await this.#followChain();
    const runner = this.#runner(job);
    const record = this.#history.jobs.get(job);
    const roundRecord = record?.rounds.get(round);
    if (record === undefined || standing.role !== 'validator' || standing.operator !== record.submitted.validator) {
      throw new MusterError('TASK_NOT_ASSIGNED', 'this node is not the validator that the job names', { job, node });
    }
    if (runner.state.round?.round !== round || runner.state.round.tasks[task]?.phase !== 'judge' || roundRecord === undefined) {
      throw new MusterError('SUBMISSION_LATE', 'this task does not wait for a verdict', { job, round, task });
    }
    const verdict = decodeLinked(objectKinds.verdict, await this.#read(verdictCid));
    await this.#checkResult(job, verdict, { job, round, task, validator: node });
    const statement = { job, round, task, resultRoot: verdict.resultRoot, verdictCid: digestOf(verdictCid) };
    if (!(await chain.proves(statement, evidence as `0x${string}`))) {
      throw new MusterError('SIGNATURE_INVALID', 'the evidence does not prove the verdict to the contract', { job, round, task });
    }
    // Nobody is slashed on a signature alone: the verdict is replayed here, as any auditor will.
    const material = await this.#material(job);
    const assignment = await readAssignment(record, roundRecord, material, this.#read);
    const base = await material.parameters(assignment.base);
    const carried = assignment.tasks[task]?.slotState ?? null;
    const replayed = await drive(
      material.execute(round, task, base, carried === null ? null : await material.slotState(carried)),
      scheduler,
    );
    if (replayed.resultRoot !== verdict.resultRoot) {
      throw new MusterError('AUDIT_FAILED', `replay of task ${task} gives ${replayed.resultRoot}, the verdict says ${verdict.resultRoot}`, {
        job,
        round,
        task,
      });
    }
    report('verdict.replayed', { job, round, task, resultRoot: verdict.resultRoot });
    await runner.apply({
      type: 'verdict',
      round,
      task,
      verdict: { resultRoot: verdict.resultRoot, verdictCid, evidence: evidence as `0x${string}`, outcome: summarize(verdict.outcome) },
    });
    return { accepted: true };
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
      jobs: async () => ({ jobs: [...this.#runners.values()].map((runner) => this.#summary(runner)) }),
      'jobs/:job': async ({ job }) => await this.#detail(this.#runner(jobIdText(job, 'job'))),
      nodes: async () => ({ nodes: [...this.#presence].map(([node, { role, lastSeenMs }]) => ({ node, role, lastSeenMs })) }),
      verdicts: async () => ({ tasks: this.#wantedVerdicts() }),
      refusals: async () => ({ refusals: await this.#newestRefusals() }),
    };
  }

  async #newestRefusals(): Promise<unknown[]> {
    const { log } = this.#options;
    const newest: unknown[] = [];
    for (let after = 0; ;) {
      const entries = await log.read('refusals', after, 1000);
      if (entries.length === 0) return newest.slice(-shownRefusals);
      for (const { bytes, timeMs, sequence } of entries) {
        newest.push({ timeMs, ...(decodeCanonical(bytes) as object) });
        after = sequence;
      }
      newest.splice(0, Math.max(0, newest.length - shownRefusals));
    }
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

  #summary({ state }: JobRunner): Record<string, unknown> {
    const { job, spec, status, round, base, trainers, slashed, replaced } = state;
    return {
      job,
      name: spec.name,
      state: status,
      round: round?.round ?? spec.rounds,
      rounds: spec.rounds,
      phase: round?.phase ?? null,
      trainers: trainers.length,
      slashed,
      replaced,
      model: base?.parameters ?? null,
      checkpoint: base?.checkpoint ?? null,
    };
  }

  async #detail(runner: JobRunner): Promise<Record<string, unknown>> {
    const { state } = runner;
    const checkpoints = [];
    for (let cid = state.base?.checkpoint ?? null; cid !== null;) {
      const checkpoint = decodeLinked(objectKinds.checkpoint, await this.#read(cid));
      const { round, evaluation, tasks, previous } = checkpoint;
      const accuracy = evaluation.records === 0 ? null : evaluation.correct / evaluation.records;
      checkpoints.unshift({ round, checkpoint: cid, model: checkpoint.parameters, loss: evaluation.loss, accuracy, tasks: tasks.length });
      cid = previous;
    }
    const tasks = state.round?.tasks.map(({ phase, slots }) => ({
      phase,
      slots: slots.map((slot) => ({
        node: slot.node,
        phase: slot.phase,
        opened: slot.opened !== null,
        revealed: slot.revealedRoot !== null,
        convicted: slot.convicted,
      })),
    }));
    return { ...this.#summary(runner), spec: state.spec, checkpoints, tasks: tasks ?? [] };
  }

  #wantedVerdicts(): { job: JobId; round: number; task: number }[] {
    return [...this.#runners.values()].flatMap(({ state: { job, round } }) =>
      round === null
        ? []
        : round.tasks.flatMap((task, index) =>
            task.phase === 'judge' && task.verdict === null ? [{ job, round: round.round, task: index }] : [],
          ),
    );
  }
}
