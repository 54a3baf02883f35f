/**
 * What a simulation is given and what it returns: options, faults and the record of a run. `simulate.ts` runs it.
 */
import { cidOfRoot, type JobId, type JobSpec, keccakOfWords, type NodeId, type Root } from '@muster/protocol';
import type { FinalizedRound, PaidSlot, SimulatedChainEntry } from './simulated-chain.ts';
import type { JobEvent, JobState, TaskState } from './state.ts';

/** What goes wrong. Which nodes are struck and when follows from the seed; liars come first, hung nodes last. */
export interface SimulatedFaults {
  /** Messages and calls that get lost, in percent. Everybody tries again. */
  readonly dropPercent: number;
  readonly duplicatePercent: number;
  /** Longest delay of a message, ms. Later messages overtake earlier ones. */
  readonly maxDelayMs: number;
  readonly liars: number;
  /** Whether liars agree on the same wrong result. */
  readonly collude: boolean;
  /** Whether liars reveal on chain without showing their result to the coordinator. */
  readonly withhold: boolean;
  /** Nodes that stop for good, at a random time or between commit and reveal. */
  readonly killed: number;
  /** Nodes that stop for a while before or after a commitment and start again. */
  readonly crashing: number;
  /** Nodes that say they are there and never do anything. */
  readonly hung: number;
  /** Nodes that come after the job began. */
  readonly late: number;
  readonly validator: 'live' | 'silent';
  readonly coordinatorCrashes: number;
  /** Longest time for which a crashed coordinator is away, ms. */
  readonly coordinatorAwayMs: number;
  readonly pauses: number;
  /** When the organizer cancels the job, ms; null: never. */
  readonly cancelAtMs: number | null;
}

export interface SimulationOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Laid over a small job of 3 rounds, 4 tasks, redundancy 3. */
  readonly spec?: Partial<JobSpec>;
  readonly faults?: Partial<SimulatedFaults>;
  readonly budgetWei?: bigint;
  /** When the simulation gives up, ms. */
  readonly limitMs?: number;
}

/** One recorded event with the state it led to. */
export interface SimulatedStep {
  readonly at: number;
  readonly block: number;
  readonly event: JobEvent;
  readonly state: JobState;
}

/** How a task stood when its round went on to aggregation. */
export interface SimulatedTask {
  readonly round: number;
  readonly task: number;
  readonly honestRoot: Root;
  readonly state: TaskState;
}

export interface SimulationResult {
  readonly state: JobState;
  /** Whether the job came to an end within the limit. */
  readonly ended: boolean;
  readonly virtualMs: number;
  readonly steps: readonly SimulatedStep[];
  readonly chain: readonly SimulatedChainEntry[];
  readonly tasks: readonly SimulatedTask[];
  readonly finalized: readonly FinalizedRound[];
  readonly paid: readonly PaidSlot[];
  readonly convicted: readonly NodeId[];
  readonly liars: readonly NodeId[];
  /** Slots whose wrong root was seen while their task was still open: `round/task/slot/node`. */
  readonly seenLies: readonly string[];
  readonly refundWei: bigint;
  /** Kept of a cancelled job's budget, for finished work of its open round. */
  readonly reserveWei: bigint;
  readonly rewardWei: bigint;
  /** Sentences about everything that was broken; empty when nothing was. */
  readonly violations: readonly string[];
}

export const noFaults: SimulatedFaults = {
  dropPercent: 0,
  duplicatePercent: 0,
  maxDelayMs: 40,
  liars: 0,
  collude: false,
  withhold: false,
  killed: 0,
  crashing: 0,
  hung: 0,
  late: 0,
  validator: 'live',
  coordinatorCrashes: 0,
  coordinatorAwayMs: 2500,
  pauses: 0,
  cancelAtMs: null,
};

/** The job that is simulated. */
export const simulatedJob = keccakOfWords([1]) as string as JobId;
/** A digest of nothing in particular. */
export const anything = (label: number): Root => keccakOfWords([0x5eed, label]);

/** A small job: the spec that simulations start from. */
export const simulatedSpec: JobSpec = {
  version: 1,
  name: 'simulated',
  model: cidOfRoot(anything(1), 'dag-cbor'),
  dataset: cidOfRoot(anything(2), 'dag-cbor'),
  seed: anything(3),
  rounds: 3,
  tasks: 4,
  redundancy: 3,
  localSteps: 1,
  digestInterval: 1,
  split: { kind: 'equal' },
  slotState: 'carry',
  minimumNodes: 3,
  quorumPercent: 80,
  commitTimeoutMs: 5000,
  revealTimeoutMs: 5000,
  verdictTimeoutMs: 15_000,
  roundTimeoutMs: 60_000,
};

/** The id of simulated node `index`. */
export const simulatedNode = (index: number): NodeId => keccakOfWords([0x0de, index]) as string as NodeId;
