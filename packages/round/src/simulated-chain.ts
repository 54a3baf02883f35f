/**
 * The contracts' rules in memory, for the simulator: who may do what when, and what it costs or earns.
 *
 * It follows `AIJobManager.sol`, `ProofOfCompute.sol` and `NodeCertRegistry.sol` in every refusal that a run can meet. It is no
 * chain: one writer, no gas, blocks by the clock. Membership is looked up in the assignment; Merkle proofs are tested elsewhere.
 */
import {
  type Address,
  type CidText,
  commitmentOf,
  holderOf,
  type JobId,
  type JobSpec,
  keccakOfWords,
  type NodeId,
  type Root,
} from '@muster/protocol';
import { evenShare } from './reward.ts';
import type { JobEvent } from './state.ts';

export interface SimulatedChainEntry {
  readonly block: number;
  readonly at: number;
  readonly event: JobEvent;
}

interface ChainSlot {
  readonly node: NodeId;
  readonly commitment: Root;
  revealedRoot: Root | null;
  status: 'committed' | 'revealed' | 'rewarded' | 'convicted';
}

interface ChainTask {
  closed: boolean;
  verdictRoot: Root | null;
  readonly holders: (NodeId | null)[];
  readonly slots: (ChainSlot | null)[];
}

interface ChainRound {
  closedBlock: number;
  nodes: readonly NodeId[];
  beacon: Root | null;
  commitDeadline: number;
  tasks: ChainTask[] | null;
}

export interface PaidSlot {
  readonly round: number;
  readonly task: number;
  readonly slot: number;
  readonly node: NodeId;
}

export interface FinalizedRound {
  readonly round: number;
  readonly checkpoint: CidText;
  readonly accepted: readonly { readonly task: number; readonly resultRoot: Root }[];
}

/** Length of a block, ms: calls within one share its number. */
const blockMs = 500;

/** Simulated nodes have no accounts. */
export const simulatedHolder = (node: NodeId): Address => holderOf(node, `0x${'0'.repeat(40)}` as Address);

/** A refusal is the name of the contract's error; null is success. */
export type CallResult = string | null;

export class SimulatedChain {
  readonly log: SimulatedChainEntry[] = [];
  readonly paid: PaidSlot[] = [];
  readonly finalized: FinalizedRound[] = [];
  readonly convicted: NodeId[] = [];
  readonly stakes = new Map<NodeId, bigint>();
  readonly credits = new Map<NodeId, bigint>();
  readonly initialWei: bigint;
  escrowWei: bigint;
  ownerCreditWei = 0n;
  slashedWei = 0n;
  status: 'running' | 'paused' | 'completed' | 'cancelled' = 'running';
  nextRound = 0;
  readonly #job: JobId;
  readonly #spec: JobSpec;
  readonly #budgetWei: bigint;
  readonly #verdictSecret: Root;
  readonly #rounds = new Map<number, ChainRound>();

  constructor(job: JobId, spec: JobSpec, nodes: readonly NodeId[], budgetWei: bigint, stakeWei: bigint, verdictSecret: Root) {
    this.#job = job;
    this.#spec = spec;
    this.#budgetWei = budgetWei;
    this.#verdictSecret = verdictSecret;
    this.escrowWei = budgetWei;
    for (const node of nodes) {
      this.stakes.set(node, stakeWei);
      this.credits.set(node, 0n);
    }
    this.initialWei = this.totalWei();
  }

  /** All the money there is. It never changes. */
  totalWei(): bigint {
    let total = this.escrowWei + this.ownerCreditWei + this.slashedWei;
    for (const stake of this.stakes.values()) total += stake;
    for (const credit of this.credits.values()) total += credit;
    return total;
  }

  active(node: NodeId): boolean {
    return (this.stakes.get(node) ?? 0n) > 0n;
  }

  closeNodes(at: number, round: number, nodes: readonly NodeId[]): CallResult {
    const refused = this.#unassigned(round);
    if (refused !== null) return refused;
    if (nodes.length === 0) return 'NodeSetEmpty';
    this.#rounds.set(round, { closedBlock: blockOf(at), nodes, beacon: null, commitDeadline: 0, tasks: null });
    return this.#happened(at, { type: 'nodesClosed', round });
  }

  /** Known once a later block exists. */
  beacon(at: number, round: number): Root | null {
    const state = this.#rounds.get(round);
    if (state === undefined || blockOf(at) <= state.closedBlock) return null;
    return state.beacon ?? keccakOfWords([this.#job, round, state.closedBlock]);
  }

  assign(at: number, round: number, assignmentCid: CidText, tasks: readonly (readonly NodeId[])[], commitDeadline: number): CallResult {
    const refused = this.#unassigned(round);
    if (refused !== null) return refused;
    const state = this.#rounds.get(round);
    if (state === undefined) return 'NodesNotClosed';
    const beacon = this.beacon(at, round);
    if (beacon === null) return 'BeaconNotReady';
    state.beacon = beacon;
    state.commitDeadline = commitDeadline;
    state.tasks = tasks.map((nodes) => ({
      closed: false,
      verdictRoot: null,
      holders: Array.from({ length: this.#spec.redundancy }, (_, slot) => nodes[slot] ?? null),
      slots: Array.from({ length: this.#spec.redundancy }, () => null),
    }));
    return this.#happened(at, { type: 'roundAssigned', round, assignmentCid, tasks });
  }

  reassign(at: number, round: number, task: number, slot: number, node: NodeId): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    const state = this.task(round, task);
    if (state === null || round !== this.nextRound) return 'RoundNotAssigned';
    if (!this.active(node)) return 'NodeNotActive';
    if (state.closed || slot >= this.#spec.redundancy || state.slots[slot] !== null) return 'SlotTaken';
    state.holders[slot] = node;
    return this.#happened(at, { type: 'slotReassigned', round, task, slot, node });
  }

  commit(at: number, round: number, task: number, slot: number, node: NodeId, commitment: Root): CallResult {
    const state = this.#open(round, task);
    if (typeof state === 'string') return state;
    if (!this.active(node)) return 'NodeNotActive';
    if (state.slots[slot] !== null) return 'AlreadyCommitted';
    if (state.closed) return 'CommitsAreClosed';
    if (state.holders[slot] !== node) return 'NodeNotInSlot';
    if (state.slots.some((other) => other?.node === node)) return 'NodeAlreadyInTask';
    state.slots[slot] = { node, commitment, revealedRoot: null, status: 'committed' };
    this.#happened(at, { type: 'committed', round, task, slot, node });
    state.closed = state.slots.every((other) => other !== null);
    return null;
  }

  /** Refused before the deadline, which the contract counts in seconds. */
  closeCommits(at: number, round: number, task: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    const state = this.task(round, task);
    const deadline = this.#rounds.get(round)?.commitDeadline ?? 0;
    if (state === null || round !== this.nextRound) return 'RoundNotAssigned';
    if (Math.floor(at / 1000) < deadline) return 'DeadlineNotReached';
    if (state.closed) return 'CommitsAreClosed';
    this.#close(at, state, round, task);
    return null;
  }

  reveal(at: number, round: number, task: number, slot: number, node: NodeId, salt: Root, resultRoot: Root): CallResult {
    const state = this.#open(round, task);
    if (typeof state === 'string') return state;
    if (!this.active(node)) return 'NodeNotActive';
    const entry = state.slots[slot];
    if (entry === null || entry === undefined) return 'NotCommitted';
    if (entry.status !== 'committed') return 'AlreadyRevealed';
    if (!state.closed) return 'CommitsStillOpen';
    if (commitmentOf(this.#job, round, task, slot, simulatedHolder(node), salt, resultRoot) !== entry.commitment)
      return 'CommitmentMismatch';
    entry.revealedRoot = resultRoot;
    entry.status = 'revealed';
    return this.#happened(at, { type: 'revealed', round, task, slot, node, resultRoot });
  }

  /** What a validator signs: only its holder can make it, anyone can check it. */
  evidence(round: number, task: number, resultRoot: Root): `0x${string}` {
    return `0x${resultRoot.slice(2)}${keccakOfWords([this.#verdictSecret, round, task, resultRoot]).slice(2)}`;
  }

  convict(at: number, round: number, task: number, slot: number, node: NodeId, evidence: `0x${string}`): CallResult {
    const state = this.task(round, task);
    const entry = state?.slots[slot] ?? null;
    if (entry?.status === 'convicted') return 'AlreadyConvicted';
    if (state === null || entry === null || entry.revealedRoot === null) return 'NotRevealed';
    if (entry.node !== node) return 'NodeNotInSlot';
    const refused = this.#settleVerdict(state, round, task, evidence);
    if (refused !== null) return refused;
    if (state.verdictRoot === entry.revealedRoot) return 'ResultIsCorrect';
    entry.status = 'convicted';
    this.convicted.push(node);
    this.#happened(at, { type: 'convicted', round, task, slot, node });
    const stake = this.stakes.get(node) ?? 0n;
    this.stakes.set(node, 0n);
    this.slashedWei += stake;
    return this.#happened(at, { type: 'nodeSlashed', node });
  }

  finalize(
    at: number,
    round: number,
    checkpoint: CidText,
    accepted: readonly { readonly task: number; readonly resultRoot: Root; readonly evidence: `0x${string}` }[],
  ): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (round !== this.nextRound) return 'RoundOutOfOrder';
    const tasks = this.#rounds.get(round)?.tasks ?? null;
    if (tasks === null) return 'RoundNotAssigned';
    for (const [index, { task, resultRoot, evidence }] of accepted.entries()) {
      if (index > 0 && task <= (accepted[index - 1]?.task ?? -1)) return 'TasksNotAscending';
      const state = tasks[task];
      if (state === undefined) return 'SlotOutOfRange';
      const refused = this.#requireAccepted(state, round, task, resultRoot, evidence);
      if (refused !== null) return refused;
    }
    for (const { task, resultRoot } of accepted) this.#pay(tasks[task] as ChainTask, round, task, resultRoot);
    this.nextRound++;
    this.finalized.push({ round, checkpoint, accepted: accepted.map(({ task, resultRoot }) => ({ task, resultRoot })) });
    return this.#happened(at, { type: 'roundFinalized', round });
  }

  addCheckpoint(at: number, round: number): CallResult {
    if (round >= this.nextRound) return 'RoundNotFinalized';
    if (this.log.some(({ event }) => event.type === 'checkpointAdded' && event.round === round)) return 'CheckpointAlreadyAdded';
    return this.#happened(at, { type: 'checkpointAdded', round });
  }

  publishModel(at: number): CallResult {
    return this.#happened(at, { type: 'modelPublished' });
  }

  completeJob(at: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (this.nextRound !== this.#spec.rounds) return 'RoundsRemaining';
    this.status = 'completed';
    this.#refund();
    return this.#happened(at, { type: 'jobCompleted' });
  }

  cancelJob(at: number): CallResult {
    if (this.status !== 'running' && this.status !== 'paused') return 'JobEnded';
    this.status = 'cancelled';
    this.#refund();
    return this.#happened(at, { type: 'jobStopped' });
  }

  pauseJob(at: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    this.status = 'paused';
    return this.#happened(at, { type: 'jobPaused' });
  }

  resumeJob(at: number): CallResult {
    if (this.status !== 'paused') return 'JobNotPaused';
    this.status = 'running';
    return this.#happened(at, { type: 'jobResumed' });
  }

  /** A task of an assigned round. */
  task(round: number, task: number): ChainTask | null {
    return this.#rounds.get(round)?.tasks?.[task] ?? null;
  }

  #open(round: number, task: number): ChainTask | string {
    if (this.status !== 'running' && this.status !== 'paused') return 'JobEnded';
    if (round !== this.nextRound) return 'RoundOutOfOrder';
    return this.task(round, task) ?? 'RoundNotAssigned';
  }

  #unassigned(round: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (this.nextRound === this.#spec.rounds) return 'AllRoundsFinalized';
    if (round !== this.nextRound) return 'RoundOutOfOrder';
    return this.#rounds.get(round)?.tasks == null ? null : 'RoundAlreadyAssigned';
  }

  #close(at: number, state: ChainTask, round: number, task: number): void {
    state.closed = true;
    this.#happened(at, { type: 'commitsClosed', round, task });
  }

  #settleVerdict(state: ChainTask, round: number, task: number, evidence: `0x${string}`): CallResult {
    const root = evidence.slice(0, 66) as Root;
    if (evidence !== this.evidence(round, task, root)) return 'VerdictInvalid';
    if (state.verdictRoot !== null && state.verdictRoot !== root) return 'VerdictConflict';
    state.verdictRoot = root;
    return null;
  }

  #requireAccepted(state: ChainTask, round: number, task: number, resultRoot: Root, evidence: `0x${string}`): CallResult {
    if (evidence !== '0x') {
      const refused = this.#settleVerdict(state, round, task, evidence);
      if (refused !== null) return refused;
    }
    if (state.verdictRoot !== null) return state.verdictRoot === resultRoot ? null : 'VerdictForOtherRoot';
    const count = state.slots.filter((slot) => slot?.status === 'revealed' && slot.revealedRoot === resultRoot).length;
    return 2 * count > this.#spec.redundancy ? null : 'NoMajority';
  }

  #pay(state: ChainTask, round: number, task: number, resultRoot: Root): void {
    const { rounds, tasks, redundancy } = this.#spec;
    const reward = evenShare({ budgetWei: this.#budgetWei, rounds, tasks, redundancy });
    for (const [slot, entry] of state.slots.entries()) {
      if (entry?.status !== 'revealed' || entry.revealedRoot !== resultRoot) continue;
      entry.status = 'rewarded';
      this.escrowWei -= reward;
      this.credits.set(entry.node, (this.credits.get(entry.node) ?? 0n) + reward);
      this.paid.push({ round, task, slot, node: entry.node });
    }
  }

  #refund(): void {
    this.ownerCreditWei += this.escrowWei;
    this.escrowWei = 0n;
  }

  #happened(at: number, event: JobEvent): null {
    this.log.push({ block: blockOf(at), at, event });
    return null;
  }
}

const blockOf = (at: number): number => Math.floor(at / blockMs);
