/**
 * The trainer: follows the chain, executes the slots it holds, commits, submits and reveals.
 *
 * Everything it has to do follows from the chain and the store, and every result and salt can be computed again, so a trainer
 * that is killed loses time and nothing else. It refuses assignments that do not follow from the beacon.
 */
import type { CostLimits, Executor } from '@muster/engine';
import type { ChainWriter, NodeKey, SlotId } from '@muster/ports';
import {
  type Assignment,
  bytesToHex,
  commitmentOf,
  digestOf,
  encodeLinked,
  type ErrorCode,
  holderOf,
  type JobId,
  MusterError,
  type Root,
} from '@muster/protocol';
import { assignmentProof, type ComputedTask, exposureOf, saltLabel, type ReadBlock } from '@muster/round';
import { nodeIn, readAssignment } from './assignments.ts';
import { BatchTrainer } from './batch-trainer.ts';
import { Heartbeat } from './heartbeat.ts';
import { creditOwnWork } from './crediting.ts';
import { budgetAt, ChainHistory, type JobRecord, revealOpen, type RoundRecord } from './history.ts';
import { type CoordinatorLink, drive, reader, reasonOf, type Report, type Scheduler, type StopSignal, takeTurns } from './link.ts';
import { type JobMaterial, MaterialCache } from './material.ts';
import { proofDigests, signProof } from './proof.ts';

export interface TrainerOptions {
  readonly link: CoordinatorLink;
  readonly chain: ChainWriter;
  readonly key: NodeKey;
  readonly executor: Executor;
  /** The most that a job's programs may cost here; `defaultCostLimits` unless given. */
  readonly limits?: CostLimits;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly signal: StopSignal;
  /** How long to sleep when there is nothing to do, ms. */
  readonly pollMs: number;
  /** For demonstrations and tests: submit results that are not the honest ones. */
  readonly dishonest: boolean;
}

interface OpenRound {
  readonly job: JobRecord;
  readonly round: RoundRecord;
  readonly material: JobMaterial;
  readonly assignment: Assignment;
}

/** Contract errors that say that the work is done already or no longer wanted: the chain decides, the next look finds out. */
const settledErrors = new Set([
  'AlreadyCommitted',
  'AlreadyRevealed',
  'CommitsAreClosed',
  'CommitsStillOpen',
  'JobEnded',
  'JobNotRunning',
  'JobStillOpen',
  'NoMajority',
  'NodeNotActive',
  'NodeNotInSlot',
  'RoundIsOver',
  'RoundNotAssigned',
  'RoundOutOfOrder',
  'SettlementOver',
]);

/** What is wrong with a job itself: its objects, its programs, its data, or that they are not in the store. */
const ofTheJob = new Set<ErrorCode>([
  'BYTES_TOO_LARGE',
  'BYTES_MALFORMED',
  'BYTES_NOT_CANONICAL',
  'FIELD_INVALID',
  'CID_INVALID',
  'CID_MISMATCH',
  'PROGRAM_INVALID',
  'PRIMITIVE_UNKNOWN',
  'TENSOR_MISMATCH',
  'MODEL_INVALID',
  'JOB_INVALID',
  'DATA_MALFORMED',
  'DATA_UNLABELLED',
  'DATA_NOT_FINITE',
  'OBJECT_MISSING',
  'TASK_UNKNOWN',
]);
const firstWaitMs = 500;
const longestWaitMs = 60_000;

export class Trainer {
  readonly #options: TrainerOptions;
  readonly #history: ChainHistory;
  readonly #read: ReadBlock;
  readonly #materials: MaterialCache;
  readonly #assignments = new Map<Root, Assignment>();
  readonly #refused = new Set<Root>();
  /** Jobs that something is wrong with, and when they are looked at again. */
  readonly #troubles = new Map<JobId, { readonly nextMs: number; readonly waitMs: number; readonly reason: string }>();
  /** Jobs whose results are worth more than the stake that is free. */
  readonly #short = new Set<JobId>();
  readonly #computed = new Map<string, ComputedTask>();
  readonly #batches: BatchTrainer;

  constructor(options: TrainerOptions) {
    this.#options = options;
    this.#history = new ChainHistory(options.chain);
    this.#read = reader(options.link.blobs);
    this.#materials = new MaterialCache(this.#read, options.executor, options.limits);
    this.#batches = new BatchTrainer({ ...options, read: this.#read, operatorOf: this.#history.operatorOf });
  }

  /** Works until the signal aborts. Throws NODE_INACTIVE when the node's stake is gone. */
  run(): Promise<void> {
    const heartbeat = new Heartbeat(this.#options);
    return takeTurns(this.#options, async () => {
      await heartbeat.beat();
      return this.turn();
    });
  }

  /** Does at most one piece of work; false when there was none. Failures of the network are reported and retried next turn. */
  async turn(): Promise<boolean> {
    try {
      await this.#history.sync();
      this.#checkStanding();
      for (const job of this.#history.jobs.values()) if (await this.#lookAt(job)) return true;
      const idle = [...this.#history.jobs.values()].every(({ status }) => status !== 'running');
      return await creditOwnWork(this.#options, this.#history, idle);
    } catch (error) {
      if (error instanceof MusterError && error.code === 'NODE_INACTIVE') throw error;
      if (error instanceof MusterError && error.code === 'NODE_UNKNOWN') {
        // Turned away by the coordinator: slashed in the meantime?
        await this.#history.sync().catch(() => undefined);
        this.#checkStanding();
      }
      this.#options.report('trainer.trouble', { reason: reasonOf(error) });
      return false;
    }
  }

  /**
   * Does one piece of work of `job`; false where it has none. Anybody may put a job on the chain: what is wrong with one is said once and
   * looked at again after growing pauses, and the others go on.
   */
  async #lookAt(job: JobRecord): Promise<boolean> {
    const { scheduler, report } = this.#options;
    const id = job.submitted.job;
    const trouble = this.#troubles.get(id) ?? { nextMs: 0, waitMs: firstWaitMs, reason: '' };
    if (scheduler.now() < trouble.nextMs) return false;
    try {
      const worked =
        (job.status === 'running' && (await this.#workOn(job))) ||
        (await this.#batches.claim(job)) ||
        (this.#canSettle(job) && (await this.#settle(job)));
      this.#troubles.delete(id);
      return worked;
    } catch (error) {
      if (!(error instanceof MusterError) || !ofTheJob.has(error.code)) throw error;
      const reason = reasonOf(error);
      if (reason !== trouble.reason) report('job.refused', { job: id, reason });
      this.#troubles.set(id, { nextMs: scheduler.now() + trouble.waitMs, waitMs: Math.min(2 * trouble.waitMs, longestWaitMs), reason });
      return false;
    }
  }

  #checkStanding(): void {
    const { node } = this.#options.key;
    const last = this.#history.slashed.get(node)?.at(-1);
    if (last?.active !== false) return;
    const later = this.#history.stakeChanges.filter((event) => event.node === node && event.block >= last.block);
    // Suspended until its stake was topped up.
    if (!later.some((event) => event.event === 'StakeAdded' && event.active)) {
      throw new MusterError(
        'NODE_INACTIVE',
        `node ${this.#options.key.node} was slashed and may not go on; a suspended node can top up its stake`,
        {
          node: this.#options.key.node,
        },
      );
    }
  }

  async #workOn(job: JobRecord): Promise<boolean> {
    const open = await this.#openRound(job);
    if (open === null) return false;
    const mine = this.#slotsOf(open);
    if (job.policy.settlement === 'batched') return this.#batches.work(open, mine, (place) => this.#compute(open, place));
    for (const place of mine) if ((await this.#close(open, place)) || (await this.#reveal(open, place))) return true;
    for (const place of mine) if (await this.#commit(open, place)) return true;
    return false;
  }

  /**
   * Closes the commits of a task that this node waits to reveal in, where nobody else does: at once after the deadline of a job that has
   * ended, after a quarter of its time for a round where a coordinator may only be late.
   */
  async #close({ job, round }: OpenRound, place: SlotId): Promise<boolean> {
    const { key, chain, scheduler, report } = this.#options;
    const task = round.tasks.get(place.task);
    const own = task?.slots.get(place.slot);
    if (own?.committed?.node !== key.node || own.revealed !== null || revealOpen(job, task)) return false;
    const grace = job.ended === null ? Math.ceil(job.policy.roundTimeout / 4) : 0;
    if (scheduler.now() / 1000 <= (round.assigned?.commitDeadline ?? 0) + grace) return false;
    const { job: id, round: number, task: index } = place;
    if (!(await this.#settling(() => chain.send({ call: 'closeCommits', job: id, round: number, task: index })))) return false;
    report('task.closed', { job: id, round: number, task: index });
    return true;
  }

  /** Whether work in the open round of a job that ended early can still be paid. */
  #canSettle({ ended, policy }: JobRecord): boolean {
    if (policy.settlement === 'batched') return false;
    if (ended === null || !('reserveWei' in ended) || ended.reserveWei === 0n) return false;
    return this.#options.scheduler.now() < (ended.time + policy.roundTimeout) * 1000;
  }

  /** Reveals what was committed before a job ended, and has the majorities that this node belongs to paid. */
  async #settle(job: JobRecord): Promise<boolean> {
    const open = await this.#openRound(job);
    if (open === null) return false;
    for (const place of this.#slotsOf(open)) {
      if ((await this.#close(open, place)) || (await this.#reveal(open, place))) return true;
      const task = open.round.tasks.get(place.task);
      const own = task?.slots.get(place.slot);
      const resultRoot = own?.revealed?.resultRoot;
      if (task === undefined || resultRoot === undefined || own?.rewarded !== null || own.convicted !== null) continue;
      const agreeing = [...task.slots.values()].filter((slot) => slot.revealed?.resultRoot === resultRoot && slot.convicted === null);
      if (2 * agreeing.length <= job.submitted.redundancy) continue;
      const { job: id, round, task: number } = place;
      if (!(await this.#settling(() => this.#options.chain.send({ call: 'settleTask', job: id, round, task: number, resultRoot }))))
        continue;
      this.#options.report('task.settled', { job: id, round, task: number, resultRoot });
      return true;
    }
    return false;
  }

  /** The job's round under way, with its assignment checked; null if there is none or it is refused. */
  async #openRound(job: JobRecord): Promise<OpenRound | null> {
    const round = [...job.rounds.values()].at(-1);
    if (round === undefined || round.assigned === null || round.finalized !== null) return null;
    const { assignmentCid } = round.assigned;
    if (this.#refused.has(assignmentCid)) return null;
    const material = await this.#materials.of(job);
    let assignment = this.#assignments.get(assignmentCid);
    if (assignment === undefined) {
      try {
        assignment = await readAssignment(job, round, this.#history.operatorOf, material, this.#read);
      } catch (error) {
        if (!(error instanceof MusterError) || error.code !== 'ASSIGNMENT_WRONG') throw error;
        this.#refused.add(assignmentCid);
        this.#options.report('assignment.refused', { job: job.submitted.job, round: round.assigned.round, reason: reasonOf(error) });
        return null;
      }
      this.#assignments.clear();
      this.#computed.clear();
      this.#assignments.set(assignmentCid, assignment);
    }
    return { job, round, material, assignment };
  }

  #slotsOf({ assignment, round }: OpenRound): SlotId[] {
    return assignment.tasks.flatMap(({ nodes }, task) =>
      nodes.flatMap((_, slot) =>
        nodeIn(assignment, round, task, slot) === this.#options.key.node
          ? [{ job: assignment.job, round: assignment.round, task, slot }]
          : [],
      ),
    );
  }

  async #commit(open: OpenRound, place: SlotId): Promise<boolean> {
    const task = open.round.tasks.get(place.task);
    if (task?.slots.get(place.slot)?.committed !== undefined && task.slots.get(place.slot)?.committed !== null) return false;
    if (revealOpen(open.job, task)) return false;
    if (!(await this.#covered(open))) return false;
    const { key, chain, report } = this.#options;
    const computed = await this.#compute(open, place);
    const holder = holderOf(key.node, chain.account);
    const commitment = commitmentOf(place.job, place.round, place.task, place.slot, holder, this.#salt(place), computed.resultRoot);
    const original = open.assignment.tasks[place.task]?.nodes[place.slot] === key.node;
    const proof = original ? assignmentProof(open.assignment, this.#history.operatorOf, place.task, place.slot) : [];
    if (!(await this.#settling(() => chain.send({ call: 'commit', ...place, node: key.node, commitment, proof })))) return false;
    report('task.committed', { ...place, commitment });
    return true;
  }

  /**
   * Whether the stake covers one more result of the job, beside those that are committed and not revealed. Work whose reveal the chain would
   * refuse is not begun; it goes to another node.
   */
  async #covered(open: OpenRound): Promise<boolean> {
    const { key, chain, report } = this.#options;
    const { job } = open.job.submitted;
    const exposureWei = this.#exposureOf(open.job, open.round);
    let waitingWei = 0n;
    for (const other of this.#history.jobs.values()) {
      const round = [...other.rounds.values()].at(-1);
      if (other.ended !== null || round === undefined || round.finalized !== null) continue;
      const slots = [...round.tasks.values()].flatMap((task) => [...task.slots.values()]);
      const waiting = slots.filter(({ committed, revealed }) => committed?.node === key.node && revealed === null).length;
      waitingWei += this.#exposureOf(other, round) * BigInt(waiting);
    }
    let freeWei = await chain.freeStake(key.node);
    if (exposureWei + waitingWei > freeWei && (await creditOwnWork(this.#options, this.#history, true))) {
      freeWei = await chain.freeStake(key.node);
    }
    const missingWei = exposureWei + waitingWei - freeWei;
    if (missingWei <= 0n) {
      this.#short.delete(job);
      return true;
    }
    // Said once: until the stake is topped up or earlier work is paid there is nothing else to say.
    if (!this.#short.has(job)) report('stake.short', { job, node: key.node, exposureWei, freeWei, missingWei });
    this.#short.add(job);
    return false;
  }

  /** What one result of a round puts at stake, by the budget as of its assignment. */
  #exposureOf(job: JobRecord, round: RoundRecord): bigint {
    const { rounds, tasks, redundancy } = job.submitted;
    return exposureOf({ budgetWei: budgetAt(job, round.assigned?.block ?? 0), rounds, tasks, redundancy });
  }

  async #reveal(open: OpenRound, place: SlotId): Promise<boolean> {
    const task = open.round.tasks.get(place.task);
    const slot = task?.slots.get(place.slot);
    if (slot?.committed?.node !== this.#options.key.node || slot.revealed !== null || !revealOpen(open.job, task)) return false;
    const { key, chain, link, scheduler, report } = this.#options;
    const computed = await this.#compute(open, place);
    for (const block of computed.blocks) if (!(await link.blobs.has(block.cid))) await link.blobs.put(block.bytes, block.codec);
    const { resultRoot, outcome } = computed;
    const result = encodeLinked({ version: 1, ...place, node: key.node, resultRoot, outcome });
    await link.blobs.put(result.bytes, 'dag-cbor');
    await this.#submit(place, result.cid);
    const step = (place.round + 1) * open.material.spec.localSteps;
    const digests = proofDigests(outcome, resultRoot, open.material.model);
    const proof = signProof(key, place, result.cid, { step, ...digests, timestamp: scheduler.now() });
    const salt = this.#salt(place);
    const reveal = { call: 'reveal', ...place, node: key.node, salt, resultRoot, resultCid: digestOf(result.cid), proof } as const;
    if (!(await this.#settling(() => chain.send(reveal)))) return false;
    report('task.revealed', { ...place, resultRoot });
    return true;
  }

  /** Tells the coordinator where the result is. One that came before or too late is no reason to stop. */
  async #submit(place: SlotId, resultCid: string): Promise<void> {
    try {
      await this.#options.link.message('result', { ...place, resultCid });
    } catch (error) {
      if (!(error instanceof MusterError) || (error.code !== 'SUBMISSION_DUPLICATE' && error.code !== 'SUBMISSION_LATE')) throw error;
    }
  }

  async #compute({ material, assignment }: OpenRound, place: SlotId): Promise<ComputedTask> {
    const label = `${place.job}/${place.round}/${place.task}`;
    const known = this.#computed.get(label);
    if (known !== undefined) return known;
    const { scheduler, report, dishonest } = this.#options;
    const start = await material.startOf(assignment, place.task);
    const started = scheduler.now();
    if (dishonest) for (const tensor of start.base) if (tensor.data.length > 0) tensor.data[0] = (tensor.data[0] ?? 0) + 1 + place.slot;
    const computed = await drive(material.execute(place.round, place.task, start), scheduler);
    this.#computed.set(label, computed);
    report('task.trained', { ...place, milliseconds: scheduler.now() - started, resultRoot: computed.resultRoot });
    return computed;
  }

  #salt(place: SlotId): Root {
    return bytesToHex(this.#options.key.derive(saltLabel(place.job, place.round, place.task, place.slot))) as Root;
  }

  /** Sends; false for a refusal that only says that the chain has moved on: the next turn sees where to. */
  async #settling(send: () => Promise<unknown>): Promise<boolean> {
    try {
      await send();
      return true;
    } catch (error) {
      const contractError = error instanceof MusterError ? error.details['error'] : undefined;
      if (typeof contractError !== 'string' || !settledErrors.has(contractError)) throw error;
      return false;
    }
  }
}
