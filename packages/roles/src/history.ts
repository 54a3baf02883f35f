/**
 * The chain's record of Muster, folded from its events: what any node or auditor can know without trusting anybody.
 */
import type { ChainEvent, ChainEventName, ChainReader, EventPlace, SlotId } from '@muster/ports';
import type { Address, CidText, JobId, JobPolicy, NodeId, Root } from '@muster/protocol';
import { cidOfRoot, MusterError, plainPolicy } from '@muster/protocol';
import { applyBatchEvent, type BatchEvent, type BatchRecord, emptyBatch, isBatchEvent } from './batch-record.ts';

type EventOf<N extends ChainEventName> = Extract<ChainEvent, { readonly event: N }>;

export interface SlotRecord {
  /** Set where the slot was given to another node than the assignment says. */
  reassigned: EventOf<'SlotReassigned'> | null;
  committed: EventOf<'Committed'> | null;
  revealed: EventOf<'Revealed'> | null;
  convicted: EventOf<'Convicted'> | null;
  rewarded: EventOf<'RewardCredited'> | null;
  unrevealed: EventOf<'UnrevealedReported'> | null;
}

const labelOf = ({ job, round, task, slot }: SlotId): string => `${job}/${round}/${task}/${slot}`;

export interface TaskRecord {
  readonly slots: Map<number, SlotRecord>;
  closed: boolean;
  finalized: EventOf<'TaskFinalized'> | null;
}

export interface RoundRecord {
  closed: EventOf<'NodesClosed'> | null;
  assigned: EventOf<'RoundAssigned'> | null;
  readonly tasks: Map<number, TaskRecord>;
  finalized: FinalizedRound | null;
  checkpoint: EventOf<'CheckpointAdded'> | null;
  /** Of jobs that settle in batches; empty in others. */
  readonly batch: BatchRecord;
}

/** A round that is final, however it was settled. */
export type FinalizedRound = EventPlace & {
  readonly job: JobId;
  readonly round: number;
  readonly checkpointCid: Root;
  /** Basis points, as the chain was told; null in batches, whose events do not say it. */
  readonly accuracy: number | null;
};

/** What a TRAIN_REQUEST asked for. */
export interface RequestRecord {
  readonly asked: EventOf<'TrainingRequested'>;
  /** The base model, as it was registered before the request; null where it was not. */
  readonly modelCid: Root | null;
}

export interface JobRecord {
  readonly submitted: EventOf<'JobSubmitted'>;
  /** Set where the job was opened by TRAIN_REQUEST. */
  request: RequestRecord | null;
  /** How the job is run and paid, by the event that follows its submission. */
  policy: JobPolicy;
  /** What its coordinator named as the specification; zero while a requested job has none. */
  specCid: Root;
  /** What the emission pool added to the budget, in order. */
  readonly sponsored: EventOf<'JobSponsored'>[];
  status: 'running' | 'paused' | 'completed' | 'cancelled' | 'failed';
  readonly rounds: Map<number, RoundRecord>;
  ended: EventOf<'JobCompleted'> | EventOf<'JobCancelled'> | EventOf<'JobFailed'> | null;
  /** What was kept when the job ended early and came back unused. */
  released: EventOf<'ReserveReleased'> | null;
  published: EventOf<'ModelPublished'> | null;
}

export class ChainHistory {
  readonly nodes = new Map<NodeId, EventOf<'NodeRegistered'>>();
  /** Every registration; a node that left may have several. */
  readonly registrations: EventOf<'NodeRegistered'>[] = [];
  /** Paid slots that do not count to their node's reputation yet, and still to what its stake is exposed to. */
  readonly uncredited = new Map<NodeId, Map<string, SlotId>>();
  /** What the insurance fund was given, slashed shares included. */
  readonly deposits: EventOf<'InsuranceDeposited'>[] = [];
  readonly slashed = new Map<NodeId, EventOf<'NodeSlashed'>[]>();
  /** Where each slashed amount went, in the order of `slashed`. */
  readonly divided: EventOf<'SlashDivided'>[] = [];
  /** Stakes that were added to or taken out again. */
  readonly stakeChanges: (EventOf<'StakeAdded'> | EventOf<'StakeWithdrawn'>)[] = [];
  /** What the insurance fund was told to make good, and what it paid. */
  readonly covers: EventOf<'CoverGranted' | 'CoverPaid'>[] = [];
  readonly jobs = new Map<JobId, JobRecord>();
  readonly models = new Map<Root, EventOf<'ModelRegistered'>>();
  readonly withdrawn: EventOf<'Withdrawn'>[] = [];
  readonly #chain: ChainReader;
  #nextBlock: number;
  #syncing: Promise<readonly ChainEvent[]> | null = null;

  constructor(chain: ChainReader, fromBlock = 0) {
    this.#chain = chain;
    this.#nextBlock = fromBlock;
  }

  /** The first block not yet read. */
  get nextBlock(): number {
    return this.#nextBlock;
  }

  /** Reads the blocks that are new and returns their events. Concurrent calls share one read. */
  sync(): Promise<readonly ChainEvent[]> {
    this.#syncing ??= this.#read().finally(() => {
      this.#syncing = null;
    });
    return this.#syncing;
  }

  async #read(): Promise<readonly ChainEvent[]> {
    const { block } = await this.#chain.head();
    if (block < this.#nextBlock) return [];
    const events = await this.#chain.events(this.#nextBlock, block);
    this.#nextBlock = block + 1;
    for (const event of events) this.#apply(event);
    return events;
  }

  /** The account that operates a node. Throws NODE_UNKNOWN where the chain has no such node. */
  readonly operatorOf = (node: NodeId): Address => {
    const registered = this.nodes.get(node);
    if (registered === undefined) throw new MusterError('NODE_UNKNOWN', `node ${node} is not registered on chain`, { node });
    return registered.operator;
  };

  #apply(event: ChainEvent): void {
    switch (event.event) {
      case 'NodeRegistered':
        this.nodes.set(event.node, event);
        this.registrations.push(event);
        return;
      case 'NodeSlashed':
        this.slashed.set(event.node, [...(this.slashed.get(event.node) ?? []), event]);
        return;
      case 'SlashDivided':
        this.divided.push(event);
        return;
      case 'StakeAdded':
      case 'StakeWithdrawn':
        this.stakeChanges.push(event);
        return;
      case 'CoverGranted':
      case 'CoverPaid':
        this.covers.push(event);
        return;
      case 'ModelRegistered':
        this.models.set(event.modelId, event);
        return;
      case 'Withdrawn':
        this.withdrawn.push(event);
        return;
      case 'JobSubmitted':
        this.jobs.set(event.job, {
          submitted: event,
          request: null,
          policy: plainPolicy(event.tasks),
          specCid: event.specCid,
          sponsored: [],
          status: 'running',
          rounds: new Map(),
          ended: null,
          released: null,
          published: null,
        });
        return;
      case 'ModelPublished':
        this.#applyPublished(event);
        return;
      case 'CheckpointAdded':
        this.#round(event.job, event.round, (round) => (round.checkpoint = event));
        return;
      case 'UnbondingStarted':
      case 'UnbondingCancelled':
      case 'HeartbeatsMissed':
      case 'CreditTransferred':
        return;
      case 'InsuranceDeposited':
        this.deposits.push(event);
        return;
      default:
        this.#applyJob(event);
    }
  }

  #applyJob(event: Exclude<Extract<ChainEvent, { readonly job: JobId }>, { readonly event: 'JobSubmitted' | 'CheckpointAdded' }>): void {
    const job = this.jobs.get(event.job);
    if (job === undefined) return;
    if (isBatchEvent(event)) return this.#applyBatch(event);
    switch (event.event) {
      case 'TrainingRequested':
        job.request = { asked: event, modelCid: this.models.get(event.baseModel)?.modelCid ?? null };
        return;
      case 'JobTermsSet':
        job.policy = event.policy;
        return;
      case 'JobSpecified':
        job.specCid = event.specCid;
        return;
      case 'JobSponsored':
        job.sponsored.push(event);
        return;
      case 'JobPaused':
        job.status = 'paused';
        return;
      case 'JobResumed':
        job.status = 'running';
        return;
      case 'JobCompleted':
        job.status = 'completed';
        job.ended = event;
        return;
      case 'JobCancelled':
        job.status = 'cancelled';
        job.ended = event;
        return;
      case 'JobFailed':
        job.status = 'failed';
        job.ended = event;
        return;
      case 'ReserveReleased':
        job.released = event;
        return;
      case 'NodesClosed':
        this.#round(event.job, event.round, (round) => (round.closed = event));
        return;
      case 'RoundAssigned':
        this.#round(event.job, event.round, (round) => (round.assigned = event));
        return;
      case 'RoundFinalized':
        this.#round(event.job, event.round, (round) => (round.finalized = event));
        return;
      case 'CommitsClosed':
        this.#task(event.job, event.round, event.task, (task) => (task.closed = true));
        return;
      case 'TaskFinalized':
        this.#task(event.job, event.round, event.task, (task) => {
          // An ended job's task may be settled again, for whoever revealed late.
          task.finalized = { ...event, paid: event.paid + (task.finalized?.paid ?? 0) };
        });
        return;
      case 'SlotReassigned':
        this.#slot(event, (slot) => (slot.reassigned = event));
        return;
      case 'Committed':
        this.#slot(event, (slot) => (slot.committed = event));
        return;
      case 'Revealed':
        this.#slot(event, (slot) => (slot.revealed = event));
        return;
      case 'Convicted':
        this.#slot(event, (slot) => (slot.convicted = event));
        this.uncredited.get(event.node)?.delete(labelOf(event));
        return;
      case 'RewardCredited':
        this.#slot(event, (slot) => (slot.rewarded = event));
        this.#owe(event);
        return;
      case 'UnrevealedReported':
        this.#slot(event, (slot) => (slot.unrevealed = event));
        return;
      case 'NodeCredited':
        this.uncredited.get(event.node)?.delete(labelOf(event));
        return;
      default:
        event satisfies never;
    }
  }

  /** What came from no job of its model is held against all of them. */
  #applyPublished(event: EventOf<'ModelPublished'>): void {
    const ofModel = [...this.jobs.values()].filter(({ submitted }) => submitted.modelId === event.modelId);
    const origin = ofModel.filter((job) => isPublished(job, event));
    for (const job of origin.length > 0 ? origin : ofModel) job.published = event;
  }

  #applyBatch(event: BatchEvent): void {
    this.#round(event.job, event.round, (round) => {
      applyBatchEvent(round.batch, event);
      if (event.event === 'BatchFinalized') round.finalized = { ...event, accuracy: null };
    });
  }

  /** Work settled in batches is credited when it is claimed. */
  #owe(event: EventOf<'RewardCredited'>): void {
    const { job, round, task, slot, node } = event;
    const places = this.uncredited.get(node) ?? new Map<string, SlotId>();
    this.uncredited.set(node, places.set(labelOf(event), { job, round, task, slot }));
  }

  #round(jobId: JobId, number: number, change: (round: RoundRecord) => void): void {
    const job = this.jobs.get(jobId);
    if (job === undefined) return;
    const round = job.rounds.get(number) ?? {
      closed: null,
      assigned: null,
      tasks: new Map(),
      finalized: null,
      checkpoint: null,
      batch: emptyBatch(),
    };
    job.rounds.set(number, round);
    change(round);
  }

  #task(job: JobId, number: number, taskNumber: number, change: (task: TaskRecord) => void): void {
    this.#round(job, number, (round) => {
      const task = round.tasks.get(taskNumber) ?? { slots: new Map(), closed: false, finalized: null };
      round.tasks.set(taskNumber, task);
      change(task);
    });
  }

  #slot(
    place: { readonly job: JobId; readonly round: number; readonly task: number; readonly slot: number },
    change: (slot: SlotRecord) => void,
  ): void {
    this.#task(place.job, place.round, place.task, (task) => {
      const slot = task.slots.get(place.slot) ?? {
        reassigned: null,
        committed: null,
        revealed: null,
        convicted: null,
        rewarded: null,
        unrevealed: null,
      };
      task.slots.set(place.slot, slot);
      change(slot);
    });
  }
}

/** Reveals of a task open when its commitments are complete or closed. */
export function revealOpen(job: JobRecord, task: TaskRecord | undefined): boolean {
  if (task === undefined) return false;
  if (task.closed) return true;
  let commits = 0;
  for (const slot of task.slots.values()) if (slot.committed !== null) commits++;
  return commits >= job.submitted.redundancy;
}

/** Whether what was published came from `job`: several jobs may begin with the same model. */
export function isPublished(job: JobRecord, { modelId, checkpointCid }: EventOf<'ModelPublished'>): boolean {
  if (job.submitted.modelId !== modelId) return false;
  return [...job.rounds.values()].some(({ checkpoint }) => checkpoint?.checkpointCid === checkpointCid);
}

/** The job's budget as of block `block`: what its owner paid in and what was added until then. */
export function budgetAt(job: JobRecord, block: number): bigint {
  return job.sponsored.reduce((sum, { amountWei, block: at }) => (at <= block ? sum + amountWei : sum), job.submitted.budgetWei);
}

/** The content id whose on-chain digest is `root`; the objects of the record are all dag-cbor. */
export const objectCid = (root: Root): CidText => cidOfRoot(root, 'dag-cbor');
