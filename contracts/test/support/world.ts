/**
 * The people, nodes and jobs of a random history, and the few facts that the chain does not say, such as what a slot committed to.
 * What is on the chain is read from it, so that no mistake can hide in a second bookkeeping.
 */
import { encodeAbiParameters, type Hex, keccak256, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { assignmentTree } from '../harness.ts';
import type { Root } from '@muster/protocol';
import { type Actor, digests, type Economy, type Question } from './economy.ts';
import type { Dice } from './history.ts';

export const hashOf = (label: string): Hex => keccak256(toHex(label));
export const zeroWord: Hex = `0x${'00'.repeat(32)}`;
/** The results that nodes claim; the first is right. */
export const results = [hashOf('right result'), hashOf('wrong result')] as const;
export const NODES = 12;

/** Enums of the contracts, in their order. */
export const JobStatus = { None: 0, Running: 1, Paused: 2, Completed: 3, Cancelled: 4, Failed: 5 } as const;
export const NodeStatus = { None: 0, Active: 1, Suspended: 2, Unbonding: 3, Left: 4, Deactivated: 5 } as const;
export const SlotStatus = { Empty: 0, Reassigned: 1, Closed: 2, Committed: 3, Revealed: 4, Rewarded: 5, Convicted: 6, Missed: 7 } as const;
/** What a verdict may say: GradientMismatch, InvalidProof, FakeGradients, ProvenCheating. */
export const offencesOfResults = [2, 3, 4, 5] as const;

/** What a job was submitted with, as `submitJob` takes it. */
export interface Terms {
  readonly specCid: Hex;
  readonly modelId: Hex;
  readonly rounds: bigint;
  readonly tasks: number;
  readonly redundancy: number;
  readonly coordinator: Hex;
  readonly validator: Hex;
  readonly kind: number;
  readonly settlement: number;
  readonly minParticipants: number;
  readonly roundTimeout: bigint;
  readonly reward: Readonly<Record<string, number>>;
}

export interface PlannedJob {
  readonly id: Hex;
  readonly owner: Actor;
  readonly terms: Terms;
  /** Node of each slot of each task, in every round. */
  readonly seats: readonly (readonly Hex[])[];
}

/** The fields of the contract's Job that histories look at. */
export interface JobState {
  readonly status: number;
  readonly nextRound: bigint;
  readonly rounds: bigint;
  readonly budget: bigint;
  readonly paid: bigint;
  readonly sponsored: bigint;
  readonly reserve: bigint;
}

export interface NodeState {
  readonly status: number;
  readonly stake: bigint;
}

/** Place of one execution in the round that a job is in. */
export interface Place {
  readonly job: PlannedJob;
  readonly round: number;
  readonly task: number;
  readonly slot: number;
}

export interface People {
  /** Owns the registry's settings and the emission pool; relays. */
  readonly deployer: Actor;
  readonly owner: Actor;
  readonly hostileOwner: Actor;
  readonly coordinator: Actor;
  readonly validator: Actor;
  /** Node `i` is registered by operator `i` modulo their number. */
  readonly operators: readonly Actor[];
  readonly outsider: Actor;
}

export class World {
  readonly economy: Economy;
  readonly people: People;
  readonly everybody: readonly Actor[];
  readonly nodes: readonly Hex[] = Array.from({ length: NODES }, (_, index) => hashOf(`node ${index}`));
  readonly jobs: PlannedJob[] = [];
  /** The result that each slot committed to, by its place. */
  readonly commitments = new Map<string, Hex>();
  /** Who a slot was given to instead, by its place. */
  readonly reassigned = new Map<string, Hex>();
  private readonly evidences = new Map<string, Hex>();

  constructor(economy: Economy, people: People) {
    this.economy = economy;
    this.people = people;
    const { deployer, owner, hostileOwner, coordinator, validator, operators, outsider } = people;
    this.everybody = [deployer, owner, hostileOwner, coordinator, validator, ...operators, outsider];
  }

  /** Accounts 0 to 11 of the chain in their parts: two operators let their calls be relayed, an operator and a job owner call back when paid. */
  static async people(economy: Economy): Promise<People> {
    const operators = [4, 5, 6].map((index) => economy.actor(index));
    const relayed = [7, 8].map((index) => economy.actor(index, 'relayed'));
    return {
      deployer: await economy.actor(0),
      owner: await economy.actor(1),
      hostileOwner: await economy.actor(10, 'hostile'),
      coordinator: await economy.actor(2),
      validator: await economy.actor(3),
      operators: await Promise.all([...operators, ...relayed, economy.actor(9, 'hostile')]),
      outsider: await economy.actor(11),
    };
  }

  node(index: number): Hex {
    const node = this.nodes[index % NODES];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  /** Who registers `node`. */
  operatorOf(node: Hex): Actor {
    const { operators } = this.people;
    const operator = operators[this.nodes.indexOf(node) % operators.length];
    if (operator === undefined) throw new Error(`no operator of ${node}`);
    return operator;
  }

  async job(id: Hex): Promise<JobState> {
    const [job] = await this.economy.read([['jobManager', 'job', [id]]]);
    return job as JobState;
  }

  /** Jobs that are running or paused. */
  async openJobs(): Promise<PlannedJob[]> {
    const states = (await this.economy.read(this.jobs.map(({ id }): Question => ['jobManager', 'job', [id]]))) as JobState[];
    return this.jobs.filter((_, index) => [JobStatus.Running, JobStatus.Paused].some((status) => states[index]?.status === status));
  }

  async nodeStates(): Promise<NodeState[]> {
    return (await this.economy.read(this.nodes.map((node) => ['nodeCertRegistry', 'nodeCert', [node]] as const))) as NodeState[];
  }

  /** Status of every slot of a round, by task. */
  async slots(job: PlannedJob, round: number): Promise<number[][]> {
    const questions = job.seats.flatMap((row, task) =>
      row.map((_, slot) => ['proofOfCompute', 'slotOf', [job.id, BigInt(round), task, slot]] as const),
    );
    const flat = (await this.economy.read(questions)) as { readonly status: number }[];
    const { redundancy } = job.terms;
    return job.seats.map((_, task) => flat.slice(task * redundancy, (task + 1) * redundancy).map(({ status }) => status));
  }

  /** The assignment of a round: the same seats every time. */
  tree(job: PlannedJob, round: number): ReturnType<typeof assignmentTree> {
    const key = digests.roundKey(job.id, round);
    const leaves = job.seats.flatMap((row, task) =>
      row.map((node, slot) => digests.leaf(key, task, slot, digests.holder(node, this.operatorOf(node).account)) as Root),
    );
    return assignmentTree(leaves);
  }

  proof({ job, round, task, slot }: Place): readonly Hex[] {
    return this.tree(job, round).proof(task * job.terms.redundancy + slot);
  }

  /** The node that may work there. */
  seat(place: Place): Hex {
    const node = this.reassigned.get(keyOf(place)) ?? place.job.seats[place.task]?.[place.slot];
    if (node === undefined) throw new Error(`no seat ${place.task}/${place.slot}`);
    return node;
  }

  /** The verdict that `root` is right, signed by `by`; made once, since signing costs more than the calls. */
  async evidence(place: Omit<Place, 'slot'>, root: Hex, offence: number, by: Actor = this.people.validator): Promise<Hex> {
    const { job, round, task } = place;
    const key = [job.id, round, task, root, offence, by.account].join(' ');
    const known = this.evidences.get(key) ?? (await signVerdict(this.economy, by.key, { job: job.id, round, task, root, offence }));
    this.evidences.set(key, known);
    return known;
  }

  /** A place in any round of any job that is there. */
  async place(dice: Dice): Promise<Place | null> {
    if (this.jobs.length === 0) return null;
    const job = dice.pick(this.jobs);
    const { nextRound } = await this.job(job.id);
    const round = dice.chance(1, 4) ? dice.below(Number(job.terms.rounds) + 1) : Number(nextRound);
    return { job, round, task: dice.below(job.terms.tasks), slot: dice.below(job.terms.redundancy) };
  }
}

/** Place as a key of a map. */
export const keyOf = ({ job, round, task, slot }: Place): string => `${job.id} ${round} ${task} ${slot}`;

/** The record that all verdicts of these tests are about. */
export const verdictCid = hashOf('verdict');

export interface Verdict {
  readonly job: Hex;
  readonly round: number;
  readonly task: number;
  readonly root: Hex;
  readonly offence: number;
}

/** Evidence for the fault verifier; `domain` to sign it for another chain or contract. */
export async function signVerdict(
  economy: Economy,
  key: Hex,
  { job, round, task, root, offence }: Verdict,
  domain: { readonly chainId?: number; readonly verifyingContract?: Hex } = {},
): Promise<Hex> {
  const signature = await privateKeyToAccount(key).signTypedData({
    domain: {
      name: 'Muster',
      version: '1',
      chainId: economy.chain.info.chainId,
      verifyingContract: economy.contract('faultVerifier').address,
      ...domain,
    },
    types: {
      Verdict: [
        { name: 'job', type: 'bytes32' },
        { name: 'round', type: 'uint64' },
        { name: 'task', type: 'uint32' },
        { name: 'resultRoot', type: 'bytes32' },
        { name: 'verdictCid', type: 'bytes32' },
        { name: 'offence', type: 'uint8' },
      ],
    },
    primaryType: 'Verdict',
    message: { job, round: BigInt(round), task, resultRoot: root, verdictCid, offence },
  });
  return encodeEvidence(root, offence, signature);
}

function encodeEvidence(root: Hex, offence: number, signature: Hex): Hex {
  const types = ['bytes32', 'bytes32', 'uint8', 'bytes'].map((type) => ({ type }));
  return encodeAbiParameters(types, [root, verdictCid, offence, signature]);
}
