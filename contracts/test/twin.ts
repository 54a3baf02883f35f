/**
 * One job on a chain and in the simulated chain at once: every call goes to both, which must refuse it for the same reason or take it and
 * then hold the same money. Not a test itself: `differential.test.ts` makes the calls.
 */
import { expect } from 'vitest';
import type { ChainCall } from '@muster/ports';
import {
  type Address,
  assignmentLeaf,
  type CidText,
  cidOfRoot,
  commitmentOf,
  holderOf,
  type JobId,
  type JobPolicy,
  type JobSpec,
  keccakOfWords,
  MusterError,
  type NodeId,
  type ResultOffence,
  type Root,
} from '@muster/protocol';
import { simulatedSpec } from '@muster/round';
import { toHex } from 'viem';
import { encodeCall } from '../../packages/adapters/src/evm/contracts/calls.ts';
import { requestError } from '../../packages/adapters/src/evm/contracts/errors.ts';
import { type CallResult, SimulatedChain, simulatedHolder } from '../../packages/round/src/simulated-chain.ts';
import { assignmentTree, escrowOf, minStakeWei, nodeOf, register, rootOf, type TestChain, zeroRoot } from './harness.ts';

export const shape = { rounds: 2, tasks: 2, redundancy: 3 } as const;
export const people = { owner: 1, coordinator: 2, validator: 3, stranger: 8 } as const;
/** What slots may reveal: two results that each can win, and the root that no result has. */
export const roots = [rootOf('result a'), rootOf('result b'), zeroRoot] as const;
const operators = [4, 5, 6, 7, 4] as const;
export const nodes: readonly NodeId[] = operators.map((_, index) => nodeOf(`twin ${index}`));
const spec: JobSpec = { ...simulatedSpec, ...shape };
const BURN = '0x000000000000000000000000000000000000dead' as Address;
const CID: CidText = cidOfRoot(rootOf('cid'), 'dag-cbor');

/** Node of a slot by the assignment. */
export const seat = (task: number, slot: number): NodeId => nodes[(2 * task + slot) % nodes.length] as NodeId;

/** A call as both worlds understand it. */
export interface TwinCall {
  /** Number of the actor who sends it. */
  readonly by: number;
  readonly call: ChainCall;
  readonly simulate: (at: number) => CallResult;
}

/** Registers the nodes, once per chain. */
export async function registerNodes(chain: TestChain): Promise<void> {
  for (const [index, node] of nodes.entries()) await register(await chain.actor(operators[index] ?? 0), node);
}

const evidences = new Map<string, `0x${string}`>();

export class Twin {
  readonly chain: TestChain;
  readonly job: JobId;
  readonly rules: SimulatedChain;
  readonly accounts: readonly Address[];
  /** Results of calls so far: null counts as `taken`. */
  readonly seen = new Map<string, number>();
  /** The newest block's time, seconds. */
  time: number;

  private constructor(chain: TestChain, job: JobId, rules: SimulatedChain, accounts: readonly Address[], time: number) {
    this.chain = chain;
    this.job = job;
    this.rules = rules;
    this.accounts = accounts;
    this.time = time;
  }

  static async submit(chain: TestChain, budgetWei: bigint, policy: JobPolicy): Promise<Twin> {
    const accounts = await Promise.all(Array.from({ length: 12 }, async (_, index) => (await chain.actor(index)).account));
    const [coordinator, validator] = [accounts[people.coordinator], accounts[people.validator]];
    if (coordinator === undefined || validator === undefined) throw new Error('twelve actors');
    const terms = { specCid: rootOf('spec'), modelId: zeroRoot, coordinator, validator, budgetWei, policy, ...shape };
    const { events } = await (await chain.actor(people.owner)).send({ call: 'submitJob', ...terms });
    const [submitted] = events;
    if (submitted?.event !== 'JobSubmitted') throw new Error('no JobSubmitted');
    const { job, time } = submitted;
    const verdictSecret = rootOf('secret');
    const rules = new SimulatedChain({
      job,
      spec,
      nodes,
      budgetWei,
      stakeWei: minStakeWei,
      verdictSecret,
      policy,
      submittedAt: 1000 * time,
    });
    return new Twin(chain, job, rules, accounts, time);
  }

  /** Makes the call `wait` seconds after the one before, in both worlds, and compares them. */
  async play(wait: number, callAt: (time: number) => TwinCall | Promise<TwinCall>): Promise<void> {
    this.time += wait;
    const { by, call, simulate } = await callAt(this.time);
    const found = await this.send(by, call);
    const expected = simulate(1000 * this.time);
    expect(found, `${call.call} by ${by}`).toBe(expected);
    const label = found ?? `${call.call} taken`;
    this.seen.set(label, (this.seen.get(label) ?? 0) + 1);
    await this.compare();
  }

  /** The error that a contract refuses the call with, or null. Without estimates, so that exactly this block decides. */
  private async send(by: number, call: ChainCall): Promise<CallResult> {
    const { to, data } = encodeCall(call, this.chain.info.contracts);
    await this.chain.request('evm_setNextBlockTimestamp', [toHex(this.time)]);
    try {
      await this.chain.request('eth_sendTransaction', [{ from: this.accounts[by], to, data, gas: toHex(5_000_000), gasPrice: '0x0' }]);
      return null;
    } catch (error) {
      const told = requestError(call.call, error);
      if (!(told instanceof MusterError) || told.code !== 'CHAIN_REVERTED') throw told;
      return String(told.details['error']);
    }
  }

  /** Every balance, every node and the job, in both worlds. */
  private async compare(): Promise<void> {
    const { rules } = this;
    const { reader, info } = this.chain;
    const job = await reader.job(this.job);
    const onChain = {
      status: job?.status,
      nextRound: job?.nextRound,
      reserveWei: job?.reserveWei,
      escrowWei: job === null ? 0n : escrowOf(job),
      nodes: await Promise.all(
        nodes.map(async (node) => {
          const found = await reader.node(node);
          return { stakeWei: found?.stakeWei, active: found?.active };
        }),
      ),
      credits: await Promise.all(this.accounts.map((account) => reader.credit(account))),
      insuranceWei: await reader.balance(info.contracts.insuranceFund),
      burnedWei: await reader.balance(BURN),
      coveredWei: await reader.insured(this.accounts[people.owner] as Address),
      stakesWei: await reader.balance(info.contracts.nodeCertRegistry),
      managedWei: await reader.balance(info.contracts.jobManager),
    };
    const credits = this.accounts.map(() => 0n);
    credits[people.owner] = rules.ownerCreditWei;
    credits[people.stranger] = rules.challengerWei;
    for (const [index, node] of nodes.entries()) {
      const operator = operators[index] ?? 0;
      credits[operator] = (credits[operator] ?? 0n) + (rules.credits.get(node) ?? 0n);
    }
    expect(onChain).toEqual({
      status: rules.status,
      nextRound: rules.nextRound,
      reserveWei: rules.reserveWei,
      escrowWei: rules.escrowWei,
      nodes: nodes.map((node) => ({ stakeWei: rules.stakes.get(node), active: rules.active(node) })),
      credits,
      insuranceWei: rules.insuranceWei,
      burnedWei: rules.burnedWei,
      coveredWei: rules.coveredWei,
      stakesWei: sum(rules.stakes.values()),
      managedWei: rules.escrowWei + sum(credits),
    });
    expect(rules.totalWei()).toBe(rules.initialWei);
  }

  // Calls

  /** Whom the contract asks for, before it looks at anything else. */
  private only(person: 'owner' | 'coordinator', by: number, simulate: TwinCall['simulate']): TwinCall['simulate'] {
    const refused = person === 'owner' ? 'NotOwner' : 'NotCoordinator';
    return by === people[person] ? simulate : () => refused;
  }

  closeNodes(by: number, round: number, count: number): TwinCall {
    const call: ChainCall = { call: 'closeNodes', job: this.job, round, nodeSetRoot: zeroRoot, nodeCount: count };
    return { by, call, simulate: this.only('coordinator', by, (at) => this.rules.closeNodes(at, round, nodes.slice(0, count))) };
  }

  assign(by: number, round: number, commitDeadline: number): TwinCall {
    const assignmentRoot = this.tree(round).root;
    const call: ChainCall = { call: 'assign', job: this.job, round, assignmentRoot, assignmentCid: zeroRoot, commitDeadline };
    const tasks = Array.from({ length: shape.tasks }, (_, task) =>
      Array.from({ length: shape.redundancy }, (_slot, slot) => seat(task, slot)),
    );
    return { by, call, simulate: this.only('coordinator', by, (at) => this.rules.assign(at, round, CID, tasks, commitDeadline)) };
  }

  reassign(by: number, round: number, task: number, slot: number, node: NodeId): TwinCall {
    const call: ChainCall = { call: 'reassign', job: this.job, round, task, slot, node };
    return { by, call, simulate: this.only('coordinator', by, (at) => this.rules.reassign(at, round, task, slot, node)) };
  }

  commit(by: number, round: number, task: number, slot: number, node: NodeId, resultRoot: Root): TwinCall {
    const salt = saltOf(round, task, slot);
    const committed = (holder: Address): Root => commitmentOf(this.job, round, task, slot, holder, salt, resultRoot);
    const proof = this.proof(round, task, slot);
    const commitment = committed(this.holder(node));
    const call: ChainCall = { call: 'commit', job: this.job, round, task, slot, node, commitment, proof };
    // Another account makes another holder, as another node does.
    const who = by === operatorOf(node) ? node : nodeOf('nobody');
    const simulate = (at: number): CallResult => this.rules.commit(at, round, task, slot, who, committed(simulatedHolder(node)));
    return { by, call, simulate };
  }

  reveal(by: number, round: number, task: number, slot: number, node: NodeId, resultRoot: Root): TwinCall {
    const salt = saltOf(round, task, slot);
    const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
    const proof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;
    const opening = { node, salt, resultRoot, resultCid: zeroRoot, proof };
    const call: ChainCall = { call: 'reveal', job: this.job, round, task, slot, ...opening };
    const known = by === operatorOf(node) ? salt : zeroRoot;
    return { by, call, simulate: (at) => this.rules.reveal(at, round, task, slot, node, known, resultRoot) };
  }

  closeCommits(by: number, round: number, task: number): TwinCall {
    const call: ChainCall = { call: 'closeCommits', job: this.job, round, task };
    return { by, call, simulate: (at) => this.rules.closeCommits(at, round, task) };
  }

  /** By the validator itself, or by a stranger who has its word. */
  async convict(by: 3 | 8, round: number, task: number, slot: number, node: NodeId, verdict: TwinVerdict): Promise<TwinCall> {
    const { onChain, simulated } = await this.evidence(round, task, verdict);
    const call: ChainCall = { call: 'convict', job: this.job, round, task, slot, node, verdictCid: zeroRoot, evidence: onChain };
    const shared = by === people.stranger;
    return { by, call, simulate: (at) => this.rules.convict(at, round, task, slot, node, simulated, shared) };
  }

  reportUnrevealed(round: number, task: number, slot: number, node: NodeId): TwinCall {
    const proof = this.proof(round, task, slot);
    const call: ChainCall = { call: 'reportUnrevealed', job: this.job, round, task, slot, node, proof };
    return { by: people.stranger, call, simulate: (at) => this.rules.reportUnrevealed(at, round, task, slot, node) };
  }

  async finalize(
    by: number,
    round: number,
    accuracy: number,
    accepted: readonly { readonly task: number; readonly score: number; readonly resultRoot: Root; readonly verdict: TwinVerdict | null }[],
  ): Promise<TwinCall> {
    const both = [];
    for (const { verdict, ...entry } of accepted) {
      const none = { onChain: '0x', simulated: '0x' } as const;
      both.push({ entry, evidence: verdict === null ? none : await this.evidence(round, entry.task, verdict) });
    }
    const onChain = both.map(({ entry, evidence }) => ({ ...entry, evidence: evidence.onChain }));
    const simulated = both.map(({ entry, evidence }) => ({ ...entry, evidence: evidence.simulated }));
    const call: ChainCall = { call: 'finalize', job: this.job, round, checkpointCid: zeroRoot, accuracy, accepted: onChain };
    const simulate = this.only('coordinator', by, (at) => this.rules.finalize(at, round, CID, simulated, accuracy));
    // Who leads a round is known only of a round that is there.
    return { by, call, simulate: (at) => this.rules.roundRefusal(round) ?? simulate(at) };
  }

  settleTask(by: number, round: number, task: number, resultRoot: Root): TwinCall {
    const call: ChainCall = { call: 'settleTask', job: this.job, round, task, resultRoot };
    return { by, call, simulate: (at) => this.rules.settleTask(at, round, task, resultRoot) };
  }

  /** Calls that name the job alone. */
  ofJob(by: number, name: 'pauseJob' | 'resumeJob' | 'cancelJob' | 'completeJob' | 'failJob' | 'releaseReserve'): TwinCall {
    const simulate = (at: number): CallResult => this.rules[name](at);
    const call: ChainCall = { call: name, job: this.job };
    if (name === 'cancelJob') return { by, call, simulate: this.only('owner', by, simulate) };
    const either = by === people.owner || by === people.coordinator;
    const led = name === 'pauseJob' || name === 'resumeJob';
    return { by, call, simulate: led && !either ? () => 'NotCoordinator' : simulate };
  }

  /** What was committed in a slot, where it is one of `roots`. */
  committedRoot(round: number, task: number, slot: number): Root | null {
    const entry = this.rules.task(round, task)?.slots[slot];
    if (entry?.node == null) return null;
    const holder = simulatedHolder(entry.node);
    const salt = saltOf(round, task, slot);
    return roots.find((root) => commitmentOf(this.job, round, task, slot, holder, salt, root) === entry.commitment) ?? null;
  }

  private holder(node: NodeId): Address {
    return holderOf(node, this.accounts[operatorOf(node)] as Address);
  }

  private tree(round: number): ReturnType<typeof assignmentTree> {
    const { tasks, redundancy } = shape;
    const places = Array.from({ length: tasks * redundancy }, (_, index) => [Math.floor(index / redundancy), index % redundancy] as const);
    return assignmentTree(places.map(([task, slot]) => assignmentLeaf(this.job, round, task, slot, this.holder(seat(task, slot)))));
  }

  private proof(round: number, task: number, slot: number): Root[] {
    return this.tree(round).proof(task * shape.redundancy + slot);
  }

  private async evidence(
    round: number,
    task: number,
    { resultRoot, offence, signer }: TwinVerdict,
  ): Promise<{ readonly onChain: `0x${string}`; readonly simulated: `0x${string}` }> {
    const key = `${this.job} ${round} ${task} ${resultRoot} ${offence} ${signer}`;
    const statement = { job: this.job, round, task, resultRoot, verdictCid: zeroRoot, offence };
    const onChain = evidences.get(key) ?? (await (await this.chain.actor(signer)).signVerdict(statement));
    evidences.set(key, onChain);
    const honest = this.rules.evidence(round, task, resultRoot, offence);
    return {
      onChain,
      simulated: signer === people.validator ? honest : (`${honest.slice(0, -2)}${honest.endsWith('00') ? '01' : '00'}` as `0x${string}`),
    };
  }
}

/** A verdict to be signed by an actor, who should be the validator. */
export interface TwinVerdict {
  readonly resultRoot: Root;
  readonly offence: ResultOffence;
  readonly signer: number;
}

export const operatorOf = (node: NodeId): number => operators[nodes.indexOf(node)] ?? 0;
const saltOf = (round: number, task: number, slot: number): Root => keccakOfWords([rootOf('salt'), round, task, slot]);
const sum = (amounts: Iterable<bigint>): bigint => [...amounts].reduce((total, amount) => total + amount, 0n);
