/**
 * The contracts' rules in memory, for the simulator: who may do what when, and what it costs or earns.
 *
 * It follows `AIJobManager.sol`, `ProofOfCompute.sol` and `NodeCertRegistry.sol`: every call is refused for the same first reason and moves
 * the same money (`contracts/test/differential.test.ts`). It is no chain: one writer, no gas, blocks by the clock. It knows nodes and not
 * accounts, so what a contract refuses a wrong caller is not here; nor are exposure, sponsors, heartbeats and leaving. Membership is
 * looked up in the assignment; Merkle proofs are tested elsewhere. Over 400 lines with its types: one machine, whose refusals are read in
 * one go.
 */
import {
  type Address,
  type CidText,
  commitmentOf,
  holderOf,
  type JobId,
  type JobPolicy,
  type JobSpec,
  keccakOfWords,
  type NodeId,
  type Offence,
  plainPolicy,
  type ResultOffence,
  type Root,
} from '@muster/protocol';
import { accuracyBonus, evenShare, exposureOf, type PaidJob, roundBudget, slotReward } from './reward.ts';
import { divideSlash, penaltyOf, type SlashShares, slashingTable } from './slashing.ts';
import type { JobEvent } from './state.ts';

export interface SimulatedChainEntry {
  readonly block: number;
  readonly at: number;
  readonly event: JobEvent;
}

export type SimulatedSlotStatus = 'empty' | 'reassigned' | 'closed' | 'committed' | 'revealed' | 'rewarded' | 'convicted' | 'missed';

interface ChainSlot {
  status: SimulatedSlotStatus;
  /** Who committed. */
  node: NodeId | null;
  commitment: Root | null;
  revealedRoot: Root | null;
  rewardWei: bigint;
}

interface ChainTask {
  verdictRoot: Root | null;
  readonly holders: (NodeId | null)[];
  readonly slots: readonly ChainSlot[];
}

interface ChainRound {
  closedBlock: number;
  beacon: Root | null;
  commitDeadline: number;
  over: boolean;
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

/** An entry of `finalize`; a score that is not given is 1. */
export interface SimulatedAcceptance {
  readonly task: number;
  readonly resultRoot: Root;
  readonly evidence: `0x${string}`;
  readonly score?: number;
}

/** A job, and the nodes that may work for it. */
export interface SimulatedChainTerms {
  readonly job: JobId;
  readonly spec: JobSpec;
  readonly nodes: readonly NodeId[];
  readonly budgetWei: bigint;
  /** Of every node, and the least with which it is active. */
  readonly stakeWei: bigint;
  readonly verdictSecret: Root;
  /** Default: `plainPolicy`. */
  readonly policy?: JobPolicy;
  readonly shares?: SlashShares;
  /** When the job was submitted, ms. Default 0. */
  readonly submittedAt?: number;
}

/** Length of a block, ms: calls within one share its number. */
const blockMs = 500;
const noRoot = `0x${'0'.repeat(64)}` as Root;
const plainShares: SlashShares = { challenger: 4_000, insurance: 4_000, burn: 2_000 };
const resultOffences = ['gradientMismatch', 'invalidProof', 'fakeGradients', 'provenCheating'] as const satisfies readonly ResultOffence[];

/** Simulated nodes have no accounts. */
export const simulatedHolder = (node: NodeId): Address => holderOf(node, `0x${'0'.repeat(40)}` as Address);

/** Whether a slot waits for a commitment. */
export const waits = ({ status }: Pick<ChainSlot, 'status'>): boolean => status === 'empty' || status === 'reassigned';

/** Whether results of the task may be revealed. */
export const commitsClosed = (task: Pick<ChainTask, 'slots'>): boolean => !task.slots.some(waits);

/** A refusal is the name of the contract's error; null is success. */
export type CallResult = string | null;

export class SimulatedChain {
  readonly log: SimulatedChainEntry[] = [];
  readonly paid: PaidSlot[] = [];
  readonly finalized: FinalizedRound[] = [];
  readonly convicted: NodeId[] = [];
  readonly stakes = new Map<NodeId, bigint>();
  /** Of the nodes' operators. */
  readonly credits = new Map<NodeId, bigint>();
  readonly initialWei: bigint;
  escrowWei: bigint;
  /** The part of `escrowWei` that an ended job can still pay from. */
  reserveWei = 0n;
  ownerCreditWei = 0n;
  challengerWei = 0n;
  insuranceWei = 0n;
  burnedWei = 0n;
  /** What the insurance fund owes the job's owner. */
  coveredWei = 0n;
  status: 'running' | 'paused' | 'completed' | 'cancelled' | 'failed' = 'running';
  nextRound = 0;
  bestAccuracy = 0;
  readonly #job: JobId;
  readonly #spec: JobSpec;
  readonly #policy: JobPolicy;
  readonly #shares: SlashShares;
  readonly #paidJob: PaidJob;
  readonly #stakeWei: bigint;
  readonly #verdictSecret: Root;
  readonly #offences = new Map<NodeId, number>();
  readonly #deactivated = new Set<NodeId>();
  readonly #rounds = new Map<number, ChainRound>();
  #progressAt: number;
  #endedAt = 0;

  constructor(terms: SimulatedChainTerms) {
    const { job, spec, nodes, budgetWei, stakeWei, verdictSecret } = terms;
    this.#job = job;
    this.#spec = spec;
    this.#policy = terms.policy ?? plainPolicy(spec.tasks);
    this.#shares = terms.shares ?? plainShares;
    const { rounds, tasks, redundancy } = spec;
    this.#paidJob = { budgetWei, rounds, tasks, redundancy, reward: this.#policy.reward };
    this.#stakeWei = stakeWei;
    this.#verdictSecret = verdictSecret;
    this.#progressAt = secondsOf(terms.submittedAt ?? 0);
    this.escrowWei = budgetWei;
    for (const node of nodes) {
      this.stakes.set(node, stakeWei);
      this.credits.set(node, 0n);
    }
    this.initialWei = this.totalWei();
  }

  /** All the money there is. It never changes. */
  totalWei(): bigint {
    let total = this.escrowWei + this.ownerCreditWei + this.challengerWei + this.insuranceWei + this.burnedWei;
    for (const stake of this.stakes.values()) total += stake;
    for (const credit of this.credits.values()) total += credit;
    return total;
  }

  active(node: NodeId): boolean {
    return (this.stakes.get(node) ?? -1n) >= this.#stakeWei && !this.#deactivated.has(node);
  }

  // Rounds

  closeNodes(at: number, round: number, nodes: readonly NodeId[]): CallResult {
    const refused = this.#unassigned(round);
    if (refused !== null) return refused;
    if (nodes.length === 0 || nodes.length < this.#policy.minParticipants) return 'NodesTooFew';
    this.#rounds.set(round, { closedBlock: blockOf(at), beacon: null, commitDeadline: 0, over: false, tasks: null });
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
    if (commitDeadline > secondsOf(at) + Math.floor(this.#policy.roundTimeout / 2)) return 'DeadlineTooFar';
    const state = this.#rounds.get(round);
    if (state === undefined) return 'NodesNotClosed';
    const beacon = this.beacon(at, round);
    if (beacon === null) return 'BeaconNotReady';
    state.beacon = beacon;
    state.commitDeadline = commitDeadline;
    state.tasks = tasks.map((nodes) => ({
      verdictRoot: null,
      holders: Array.from({ length: this.#spec.redundancy }, (_, slot) => nodes[slot] ?? null),
      slots: Array.from({ length: this.#spec.redundancy }, emptySlot),
    }));
    this.#progressAt = secondsOf(at);
    return this.#happened(at, { type: 'roundAssigned', round, assignmentCid, tasks });
  }

  reassign(at: number, round: number, task: number, slot: number, node: NodeId): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (round !== this.nextRound) return 'RoundOutOfOrder';
    if (this.#rounds.get(round)?.tasks == null) return 'RoundNotAssigned';
    if (!this.active(node)) return 'NodeNotActive';
    const state = this.task(round, task);
    const entry = state?.slots[slot];
    if (state === null || entry === undefined) return 'SlotOutOfRange';
    if (!waits(entry)) return 'SlotTaken';
    entry.status = 'reassigned';
    state.holders[slot] = node;
    return this.#happened(at, { type: 'slotReassigned', round, task, slot, node });
  }

  commit(at: number, round: number, task: number, slot: number, node: NodeId, commitment: Root): CallResult {
    if (commitment === noRoot) return 'CommitmentMissing';
    const refused = this.roundRefusal(round);
    if (refused !== null) return refused;
    const state = this.task(round, task);
    const entry = state?.slots[slot];
    if (state === null || entry === undefined) return 'SlotOutOfRange';
    if (entry.status === 'closed') return 'CommitsAreClosed';
    if (!waits(entry)) return 'AlreadyCommitted';
    if (state.holders[slot] !== node) return 'NodeNotInSlot';
    entry.status = 'committed';
    entry.node = node;
    entry.commitment = commitment;
    return this.#happened(at, { type: 'committed', round, task, slot, node });
  }

  /** Refused before the deadline, which the contract counts in seconds. */
  closeCommits(at: number, round: number, task: number): CallResult {
    const refused = this.roundRefusal(round);
    if (refused !== null) return refused;
    const state = this.task(round, task);
    if (state === null) return 'SlotOutOfRange';
    if (secondsOf(at) < (this.#rounds.get(round)?.commitDeadline ?? 0)) return 'DeadlineNotReached';
    const open = state.slots.filter(waits);
    if (open.length === 0 || state.slots.some(({ status }) => status === 'closed')) return 'CommitsAreClosed';
    for (const slot of open) slot.status = 'closed';
    return this.#happened(at, { type: 'commitsClosed', round, task });
  }

  reveal(at: number, round: number, task: number, slot: number, node: NodeId, salt: Root, resultRoot: Root): CallResult {
    const refused = this.roundRefusal(round);
    if (refused !== null) return refused;
    const state = this.task(round, task);
    const entry = state?.slots[slot];
    if (state === null || entry === undefined || waits(entry) || entry.status === 'closed') return 'NotCommitted';
    if (entry.status !== 'committed') return 'AlreadyRevealed';
    if (!commitsClosed(state)) return 'CommitsStillOpen';
    if (resultRoot === noRoot) return 'ResultRootMissing';
    const opened = commitmentOf(this.#job, round, task, slot, simulatedHolder(node), salt, resultRoot);
    if (opened !== entry.commitment) return 'CommitmentMismatch';
    if (this.#deactivated.has(node)) return 'NodeDeactivated';
    entry.revealedRoot = resultRoot;
    entry.status = 'revealed';
    return this.#happened(at, { type: 'revealed', round, task, slot, node, resultRoot });
  }

  // Offences

  /** What a validator signs: only its holder can make it, anyone can check it. */
  evidence(round: number, task: number, resultRoot: Root, offence: ResultOffence = 'provenCheating'): `0x${string}` {
    const index = resultOffences.indexOf(offence);
    return `0x0${index}${resultRoot.slice(2)}${keccakOfWords([this.#verdictSecret, round, task, resultRoot, index]).slice(2)}`;
  }

  /** `hasChallenger`: false where the validator itself brings its evidence. */
  convict(at: number, round: number, task: number, slot: number, node: NodeId, evidence: `0x${string}`, hasChallenger = true): CallResult {
    const state = this.task(round, task);
    const entry = state?.slots[slot];
    if (entry?.status === 'convicted') return 'AlreadyConvicted';
    if (state === null || (entry?.status !== 'revealed' && entry?.status !== 'rewarded')) return 'NotRevealed';
    if (entry.node !== node) return 'NodeNotInSlot';
    const verdict = this.#verdictOf(state, round, task, evidence);
    if (typeof verdict === 'string') return verdict;
    if (verdict.root === entry.revealedRoot) return 'ResultIsCorrect';
    state.verdictRoot = verdict.root;
    entry.status = 'convicted';
    this.convicted.push(node);
    this.#happened(at, { type: 'convicted', round, task, slot, node });
    const insuredWei = this.#slash(at, node, verdict.offence, hasChallenger).insuranceWei;
    this.coveredWei += entry.rewardWei < insuredWei ? entry.rewardWei : insuredWei;
    return null;
  }

  reportUnrevealed(at: number, round: number, task: number, slot: number, node: NodeId): CallResult {
    const over = this.#rounds.get(round)?.over ?? false;
    const settled = this.#endedAt !== 0 && secondsOf(at) > this.#endedAt + this.#policy.roundTimeout;
    if (!over && !settled) return 'JobStillOpen';
    const state = this.task(round, task);
    const entry = state?.slots[slot];
    if (entry?.status !== 'committed') return 'NotCommitted';
    if (state?.holders[slot] !== node) return 'NodeNotInSlot';
    entry.status = 'missed';
    if (!over && this.status === 'failed') this.#slash(at, node, 'failedJob', true);
    return null;
  }

  // Settling

  finalize(at: number, round: number, checkpoint: CidText, accepted: readonly SimulatedAcceptance[], accuracy = 0): CallResult {
    const refused = this.roundRefusal(round);
    if (refused !== null) return refused;
    const state = this.#rounds.get(round);
    const tasks = state?.tasks ?? null;
    if (state === undefined || tasks === null) return 'RoundNotAssigned';
    if (accuracy > 10_000) return 'AccuracyInvalid';
    const payments: { task: number; state: ChainTask; verdictRoot: Root | null; rewarded: readonly number[]; rewardWei: bigint }[] = [];
    let firstAllowed = 0;
    let scoreLeft = this.#policy.reward.scoreTotal;
    for (const { task, resultRoot, evidence, score = 1 } of accepted) {
      if (task < firstAllowed) return 'TasksNotAscending';
      const found = tasks[task];
      if (found === undefined) return 'SlotOutOfRange';
      if (score > scoreLeft) return 'ScoreInvalid';
      firstAllowed = task + 1;
      scoreLeft -= score;
      const verdict = evidence === '0x' ? { root: found.verdictRoot } : this.#verdictOf(found, round, task, evidence);
      if (typeof verdict === 'string') return verdict;
      const rewarded = this.#majority(found.slots, verdict.root, resultRoot, false);
      if (typeof rewarded === 'string') return rewarded;
      if (rewarded.length > 0 && this.#ended()) return 'JobEnded';
      const base = slotReward(this.#paidJob, score);
      const rewardWei = base + accuracyBonus(this.#paidJob, base, score, accuracy, this.bestAccuracy);
      payments.push({ task, state: found, verdictRoot: verdict.root, rewarded, rewardWei });
    }
    if (this.status !== 'running') return 'JobNotRunning';
    for (const payment of payments) {
      payment.state.verdictRoot = payment.verdictRoot;
      this.#pay(round, payment.task, payment.state.slots, payment.rewarded, payment.rewardWei);
    }
    state.over = true;
    this.nextRound++;
    this.#progressAt = secondsOf(at);
    this.bestAccuracy = Math.max(this.bestAccuracy, accuracy);
    this.finalized.push({ round, checkpoint, accepted: accepted.map(({ task, resultRoot }) => ({ task, resultRoot })) });
    return this.#happened(at, { type: 'roundFinalized', round });
  }

  settleTask(at: number, round: number, task: number, resultRoot: Root): CallResult {
    const refused = this.roundRefusal(round);
    if (refused !== null) return refused;
    if (this.status !== 'cancelled' && this.status !== 'failed') return 'JobStillOpen';
    const state = this.task(round, task);
    const slots = state?.slots ?? [];
    const rewarded = this.#majority(slots, state?.verdictRoot ?? null, resultRoot, true);
    if (typeof rewarded === 'string') return rewarded;
    if (rewarded.length === 0) return null;
    if (secondsOf(at) > this.#endedAt + this.#policy.roundTimeout) return 'SettlementOver';
    const rewardWei = evenShare(this.#paidJob);
    this.reserveWei -= rewardWei * BigInt(rewarded.length);
    this.#pay(round, task, slots, rewarded, rewardWei);
    return null;
  }

  releaseReserve(at: number): CallResult {
    if (this.reserveWei === 0n) return 'NothingReserved';
    if (secondsOf(at) <= this.#endedAt + this.#policy.roundTimeout) return 'StillInTime';
    this.#refund(this.reserveWei);
    this.reserveWei = 0n;
    return null;
  }

  addCheckpoint(at: number, round: number): CallResult {
    if (round >= this.nextRound) return 'RoundNotFinalized';
    if (this.log.some(({ event }) => event.type === 'checkpointAdded' && event.round === round)) return 'CheckpointAlreadyAdded';
    return this.#happened(at, { type: 'checkpointAdded', round });
  }

  publishModel(at: number): CallResult {
    return this.#happened(at, { type: 'modelPublished' });
  }

  // The job

  completeJob(at: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (this.nextRound !== this.#spec.rounds) return 'RoundsRemaining';
    return this.#end(at, 'completed', { type: 'jobCompleted' });
  }

  cancelJob(at: number): CallResult {
    return this.#end(at, 'cancelled', { type: 'jobStopped' });
  }

  failJob(at: number): CallResult {
    if (secondsOf(at) <= this.#progressAt + this.#policy.roundTimeout) return 'StillInTime';
    return this.#end(at, 'failed', { type: 'jobStopped' });
  }

  pauseJob(at: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    this.status = 'paused';
    return this.#happened(at, { type: 'jobPaused' });
  }

  resumeJob(at: number): CallResult {
    if (this.status !== 'paused') return 'JobNotPaused';
    this.status = 'running';
    this.#progressAt = secondsOf(at);
    return this.#happened(at, { type: 'jobResumed' });
  }

  /** Why nothing more is done in a round, whoever wants to do it. */
  roundRefusal(round: number): CallResult {
    const state = this.#rounds.get(round);
    if (state?.tasks == null) return 'RoundNotAssigned';
    return state.over ? 'RoundIsOver' : null;
  }

  /** A task of an assigned round. */
  task(round: number, task: number): ChainTask | null {
    return this.#rounds.get(round)?.tasks?.[task] ?? null;
  }

  // Inside

  #ended(): boolean {
    return this.status !== 'running' && this.status !== 'paused';
  }

  #unassigned(round: number): CallResult {
    if (this.status !== 'running') return 'JobNotRunning';
    if (this.nextRound === this.#spec.rounds) return 'AllRoundsFinalized';
    if (round !== this.nextRound) return 'RoundOutOfOrder';
    return this.#rounds.get(round)?.tasks == null ? null : 'RoundAlreadyAssigned';
  }

  #verdictOf(
    state: ChainTask,
    round: number,
    task: number,
    evidence: `0x${string}`,
  ): { readonly root: Root; readonly offence: ResultOffence } | string {
    const offence = resultOffences[Number(evidence.slice(2, 4))];
    const root = `0x${evidence.slice(4, 68)}` as Root;
    if (offence === undefined || evidence !== this.evidence(round, task, root, offence)) return 'VerdictSignerWrong';
    if (root === noRoot) return 'VerdictEmpty';
    return state.verdictRoot !== null && state.verdictRoot !== root ? 'VerdictConflict' : { root, offence };
  }

  /**
   * Slots to pay for `resultRoot`: the first of every node that revealed it, if a verdict names it or most slots revealed it. Where it
   * may be a repetition, those who were paid for it before count, and are not paid again.
   */
  #majority(slots: readonly ChainSlot[], verdictRoot: Root | null, resultRoot: Root, mayRepeat: boolean): readonly number[] | string {
    if (resultRoot === noRoot) return 'ResultRootMissing';
    if (verdictRoot !== null && verdictRoot !== resultRoot) return 'VerdictForOtherRoot';
    const before = mayRepeat ? slots.filter((entry) => entry.status === 'rewarded' && entry.revealedRoot === resultRoot) : [];
    const nodes = new Set(before.map(({ node }) => node));
    const found: number[] = [];
    for (const [slot, entry] of slots.entries()) {
      if (entry.status !== 'revealed' || entry.revealedRoot !== resultRoot || nodes.has(entry.node)) continue;
      nodes.add(entry.node);
      found.push(slot);
    }
    return verdictRoot === null && 2 * nodes.size <= this.#spec.redundancy ? 'NoMajority' : found;
  }

  #pay(round: number, task: number, slots: readonly ChainSlot[], rewarded: readonly number[], rewardWei: bigint): void {
    for (const slot of rewarded) {
      const entry = slots[slot];
      if (entry === undefined || entry.node === null) continue;
      entry.status = 'rewarded';
      entry.rewardWei = rewardWei;
      this.escrowWei -= rewardWei;
      this.credits.set(entry.node, (this.credits.get(entry.node) ?? 0n) + rewardWei);
      this.paid.push({ round, task, slot, node: entry.node });
    }
  }

  /** Takes what the offence costs; what of it the insurance fund got. */
  #slash(at: number, node: NodeId, offence: Offence, hasChallenger: boolean): { readonly insuranceWei: bigint } {
    const offences = (this.#offences.get(node) ?? 0) + (slashingTable[offence].counts ? 1 : 0);
    this.#offences.set(node, offences);
    const stakeWei = this.stakes.get(node) ?? 0n;
    if (stakeWei === 0n) return { insuranceWei: 0n };
    const { amountWei, deactivated } = penaltyOf(offence, stakeWei, offences, exposureOf(this.#paidJob));
    this.stakes.set(node, stakeWei - amountWei);
    if (deactivated) this.#deactivated.add(node);
    const { challengerWei, insuranceWei, burnedWei } = divideSlash(amountWei, this.#shares, hasChallenger);
    this.challengerWei += challengerWei;
    this.insuranceWei += insuranceWei;
    this.burnedWei += burnedWei;
    if (!this.active(node)) this.#happened(at, { type: 'nodeSlashed', node });
    return { insuranceWei };
  }

  #end(at: number, status: 'completed' | 'cancelled' | 'failed', event: JobEvent): CallResult {
    if (this.#ended()) return 'JobEnded';
    this.status = status;
    this.#endedAt = secondsOf(at);
    const most = this.#rounds.get(this.nextRound)?.tasks == null ? 0n : roundBudget(this.#paidJob);
    this.reserveWei = most < this.escrowWei ? most : this.escrowWei;
    this.#refund(this.escrowWei - this.reserveWei);
    return this.#happened(at, event);
  }

  #refund(amountWei: bigint): void {
    this.ownerCreditWei += amountWei;
    this.escrowWei -= amountWei;
  }

  #happened(at: number, event: JobEvent): null {
    this.log.push({ block: blockOf(at), at, event });
    return null;
  }
}

const emptySlot = (): ChainSlot => ({ status: 'empty', node: null, commitment: null, revealedRoot: null, rewardWei: 0n });
const blockOf = (at: number): number => Math.floor(at / blockMs);
const secondsOf = (at: number): number => Math.floor(at / 1000);
