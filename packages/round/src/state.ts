/**
 * State, events and duties of the job machine, as plain data.
 *
 * A state is what follows from the recorded events; it holds no clock, no connection and no bulk bytes.
 * A duty is something the world must still do for the job to go on. Duties follow from the state alone, so after a crash the
 * same ones come back, and carrying one out twice must be harmless.
 */
import type { CidText, JobId, JobSpec, NodeId, OutcomeSummary, Root, Settlement, TaskOutcome } from '@muster/protocol';

export interface OpenedResult {
  readonly resultRoot: Root;
  readonly resultCid: CidText;
  readonly outcome: OutcomeSummary;
}

/** What a node has sent the coordinator of a batched job: its commitment, and its operator's signature over it. */
export interface SentCommitment {
  readonly commitment: Root;
  readonly signature: `0x${string}`;
}

/** How a node of a batched job has opened its commitment, beside the result itself. */
export interface SentOpening {
  readonly salt: Root;
  /** R22, signed by the node. */
  readonly proof: {
    readonly step: number;
    readonly lossDigest: Root;
    readonly gradientDigest: Root;
    readonly weightsDigest: Root;
    readonly timestamp: number;
    readonly signature: `0x${string}`;
  };
}

/** One execution of a task. `silent` slots are out of the task without blame. */
export interface SlotState {
  readonly node: NodeId;
  /** When this node got the slot, ms. */
  readonly since: number;
  readonly phase: 'working' | 'committed' | 'silent';
  /** Verified opening in the store; null until the node submitted it. */
  readonly opened: OpenedResult | null;
  /** Root revealed on chain, or in batches to the coordinator. */
  readonly revealedRoot: Root | null;
  /** Only in batches: what came in a message, not on chain. */
  readonly sent: SentCommitment | null;
  readonly opening: SentOpening | null;
  /** Who is to take the slot over; null unless a reassignment is due. */
  readonly substitute: NodeId | null;
  readonly convicted: boolean;
}

export interface VerdictState {
  readonly resultRoot: Root;
  readonly verdictCid: CidText;
  readonly evidence: `0x${string}`;
  readonly outcome: OutcomeSummary;
}

export interface AcceptedResult {
  readonly resultRoot: Root;
  readonly outcome: OutcomeSummary;
  /** Empty where a majority revealed the root. */
  readonly evidence: `0x${string}`;
}

/**
 * commit: slots train and commit · closing: no more nodes to wait for, commits to be closed on chain · reveal: openings come in ·
 * judge: results differ or are too few, a validator executes the task · accepted · failed: nobody can say what the result is.
 */
export type TaskPhase = 'commit' | 'closing' | 'reveal' | 'judge' | 'accepted' | 'failed';

export interface TaskState {
  readonly phase: TaskPhase;
  /** When the phase began, ms. */
  readonly since: number;
  readonly slots: readonly SlotState[];
  readonly verdict: VerdictState | null;
  readonly accepted: AcceptedResult | null;
}

/** gather: waiting for enough nodes · close, draw, assign: see stage 1 · work: tasks · aggregate · finalize · publish. */
export type RoundPhase = 'gather' | 'close' | 'draw' | 'assign' | 'work' | 'aggregate' | 'finalize' | 'publish';

export interface RoundState {
  readonly round: number;
  readonly phase: RoundPhase;
  /** The closed node set; empty while gathering. */
  readonly nodes: readonly NodeId[];
  readonly beacon: Root | null;
  readonly assignmentCid: CidText | null;
  /** When work began, ms; 0 before. */
  readonly startedAt: number;
  readonly tasks: readonly TaskState[];
  readonly checkpoint: CidText | null;
  /** Of batched jobs; null in others. */
  readonly batch: BatchState | null;
}

/** How far a batched round is, beside its tasks. Times in ms. */
export interface BatchState {
  /** By when the list of commitments must be on chain. */
  readonly deadline: number;
  /** When no commitment is taken any more; null until there is a list. */
  readonly closesAt: number | null;
  /** Whether the model registry has the checkpoint: the round still lasts until whoever lied in it is convicted. */
  readonly registered: boolean;
}

export type JobStatus = 'running' | 'paused' | 'stopped' | 'completed';

export interface JobState {
  readonly job: JobId;
  readonly spec: JobSpec;
  readonly settlement: Settlement;
  readonly status: JobStatus;
  /** While paused, when the pause began, ms: time stands still for every deadline. */
  readonly pausedAt: number | null;
  /** Present, unslashed trainers, ascending. */
  readonly trainers: readonly NodeId[];
  readonly slashed: readonly NodeId[];
  /** Nodes that lost a slot to a substitute, in order. */
  readonly replaced: readonly NodeId[];
  /** What the next round starts from; null until the job is prepared. `checkpoint` is null before the first round ended. */
  readonly base: { readonly checkpoint: CidText | null; readonly parameters: CidText } | null;
  readonly shardSizes: readonly number[];
  readonly slotStates: readonly (CidText | null)[];
  /** The round under way; null between the last round and completion. */
  readonly round: RoundState | null;
  readonly published: boolean;
}

export type JobEvent =
  | {
      readonly type: 'prepared';
      readonly parameters: CidText;
      readonly shardSizes: readonly number[];
    }
  | { readonly type: 'nodePresent' | 'nodeAbsent' | 'nodeSlashed'; readonly node: NodeId }
  | { readonly type: 'nodesClosed'; readonly round: number }
  | { readonly type: 'beaconDrawn'; readonly round: number; readonly beacon: Root }
  | {
      readonly type: 'roundAssigned';
      readonly round: number;
      readonly assignmentCid: CidText;
      /** Nodes by slot, task by task. */
      readonly tasks: readonly (readonly NodeId[])[];
      /** Seconds since 1970; only where the job settles in batches. */
      readonly commitDeadline?: number;
    }
  /** Only in batches: a commitment came in a message. */
  | {
      readonly type: 'sent';
      readonly round: number;
      readonly task: number;
      readonly slot: number;
      readonly node: NodeId;
      readonly sent: SentCommitment;
    }
  /** Only in batches: the list is on chain. `closesAt`: seconds since 1970. */
  | { readonly type: 'batchCommitted'; readonly round: number; readonly closesAt: number }
  | { readonly type: 'slotReassigned'; readonly round: number; readonly task: number; readonly slot: number; readonly node: NodeId }
  | { readonly type: 'committed'; readonly round: number; readonly task: number; readonly slot: number; readonly node: NodeId }
  | { readonly type: 'commitsClosed'; readonly round: number; readonly task: number }
  | {
      readonly type: 'opened';
      readonly round: number;
      readonly task: number;
      readonly slot: number;
      readonly node: NodeId;
      readonly result: OpenedResult;
    }
  /** Only in batches: result and opening of the commitment came in a message. */
  | {
      readonly type: 'openedInBatch';
      readonly round: number;
      readonly task: number;
      readonly slot: number;
      readonly node: NodeId;
      readonly result: OpenedResult;
      readonly opening: SentOpening;
    }
  | {
      readonly type: 'revealed';
      readonly round: number;
      readonly task: number;
      readonly slot: number;
      readonly node: NodeId;
      readonly resultRoot: Root;
    }
  | { readonly type: 'verdict'; readonly round: number; readonly task: number; readonly verdict: VerdictState }
  | { readonly type: 'convicted'; readonly round: number; readonly task: number; readonly slot: number; readonly node: NodeId }
  | {
      readonly type: 'aggregated';
      readonly round: number;
      readonly checkpoint: CidText;
      readonly parameters: CidText;
    }
  | { readonly type: 'roundFinalized' | 'checkpointAdded'; readonly round: number }
  | { readonly type: 'modelPublished' | 'jobPaused' | 'jobResumed' | 'jobStopped' | 'jobCompleted' }
  /** The coordinator was away for so long: nobody could be heard, so no deadline of the round ran. */
  | { readonly type: 'coordinatorReturned'; readonly awayMs: number }
  | { readonly type: 'tick' };

export interface AcceptedTask {
  readonly task: number;
  readonly weight: number;
  readonly resultRoot: Root;
  readonly outcome: OutcomeSummary;
  readonly evidence: `0x${string}`;
}

export type Duty =
  | { readonly duty: 'prepare' }
  | { readonly duty: 'closeNodes'; readonly round: number; readonly nodes: readonly NodeId[] }
  | { readonly duty: 'drawBeacon'; readonly round: number }
  | { readonly duty: 'assign'; readonly round: number; readonly nodes: readonly NodeId[]; readonly beacon: Root }
  | { readonly duty: 'reassign'; readonly round: number; readonly task: number; readonly slot: number; readonly node: NodeId }
  | { readonly duty: 'closeCommits'; readonly round: number; readonly task: number }
  | { readonly duty: 'commitBatch'; readonly round: number }
  | { readonly duty: 'judge'; readonly round: number; readonly task: number }
  | {
      readonly duty: 'convict';
      readonly round: number;
      readonly task: number;
      readonly slot: number;
      readonly node: NodeId;
      readonly verdict: VerdictState;
    }
  | { readonly duty: 'aggregate'; readonly round: number; readonly accepted: readonly AcceptedTask[] }
  | { readonly duty: 'finalize'; readonly round: number; readonly checkpoint: CidText; readonly accepted: readonly AcceptedTask[] }
  | { readonly duty: 'addCheckpoint'; readonly round: number; readonly checkpoint: CidText }
  | { readonly duty: 'publishModel'; readonly checkpoint: CidText }
  | { readonly duty: 'completeJob' };

/** Time as an argument: milliseconds since 1970. */
export interface StepEnvironment {
  readonly now: number;
}

/** `outcome` without what only its root needs. */
export function summarize(outcome: TaskOutcome): OutcomeSummary {
  return outcome.kind === 'update'
    ? { kind: 'update', update: outcome.update, slotState: outcome.slotState }
    : { kind: 'fault', step: outcome.step, operation: outcome.operation };
}
