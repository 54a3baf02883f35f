/**
 * The contracts around batched settlement, the real ones, at addresses worked out beforehand; and a job driven round by round.
 *
 * Not a test itself. Owner of jobs is actor 1, coordinator 2, validator 3; actors 4 to 10 operate nodes.
 */
import { encodeAbiParameters, encodeFunctionData, getContractAddress, type Hex, hexToBytes } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { type Address, holderOf, type JobId, type NodeId, type Root } from '@muster/protocol';
import {
  batchAssignmentProof,
  batchCommitment,
  batchSalt,
  type BatchSlotState,
  type ForcedCommit,
  majorityRoots,
  type SettledBatch,
  settleBatch,
} from '@muster/round';
import { accountOf, deploy, type Handle, type Told } from './handles.ts';
import { ether, nodeOf, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

export const [owner, coordinator, validator, firstOperator] = [1, 2, 3, 4] as const;
const OPERATORS = 7;
export const forceWindow = 100n;
/** Seconds between assignment and commit deadline. */
export const commitTime = 1_000;
export const challengeTime = 100_000;
const lower = (address: string): Address => address.toLowerCase() as Address;

export interface Stage {
  readonly chain: TestChain;
  readonly forwarder: Handle;
  readonly registry: Handle;
  readonly jobs: Handle;
  readonly verifier: Handle;
  readonly batches: Handle;
  readonly reputation: Handle;
  readonly insurance: Handle;
  readonly log: Handle;
  /** Time of the newest block, seconds. */
  now(): Promise<number>;
}

/** A fresh chain with the contracts on it. */
export async function raiseStage(): Promise<Stage> {
  const chain = await startTestChain();
  const deployer = accountOf(chain, 0);
  const nonce = BigInt((await chain.request('eth_getTransactionCount', [deployer, 'latest'])) as string);
  const planned = (position: number): Hex => getContractAddress({ from: deployer, nonce: nonce + BigInt(position) });
  const [forwarder, registry, jobManager, faultVerifier, proofOfCompute, batchedProofOfCompute, reputation, insuranceFund] = Array.from(
    { length: 8 },
    (_, position) => planned(position),
  ) as [Hex, Hex, Hex, Hex, Hex, Hex, Hex, Hex];
  const nobody = accountOf(chain, 0);
  const tiers = { basic: ether, gpu: ether, tee: ether, priority: 100n * ether };
  const times = { heartbeat: 3_600, challenge: challengeTime, unbonding: 2 * challengeTime };
  const settings = { tiers, times, shares: { challenger: 4_000, insurance: 4_000, burn: 2_000 } };
  const doors = { registry, jobManager, faultVerifier, reputation, insuranceFund };
  const handles = [
    await deploy(chain, 0, 'MusterForwarder', []),
    await deploy(chain, 0, 'NodeCertRegistry', [
      forwarder,
      nobody,
      { proofOfCompute, batchedProofOfCompute, credits: jobManager, insuranceFund, reputation },
      { teeVerifier: `0x${'0'.repeat(40)}`, ...settings },
    ]),
    await deploy(chain, 0, 'AIJobManager', [
      forwarder,
      { registry, proofOfCompute, batchedProofOfCompute, trainRequest: nobody, emissionPool: nobody },
    ]),
    await deploy(chain, 0, 'SignedVerdictVerifier', [jobManager]),
    await deploy(chain, 0, 'ProofOfCompute', [forwarder, doors]),
    await deploy(chain, 0, 'BatchedProofOfCompute', [forwarder, doors, forceWindow]),
    await deploy(chain, 0, 'ReputationRegistry', [[registry, proofOfCompute, batchedProofOfCompute], registry]),
    await deploy(chain, 0, 'InsuranceFund', [forwarder, [proofOfCompute, batchedProofOfCompute]]),
    await deploy(chain, 0, 'TrainProofLog', [forwarder, registry, jobManager]),
  ] as const;
  if (handles[7].address !== lower(insuranceFund)) throw new Error('the deployer was used meanwhile');
  return {
    chain,
    forwarder: handles[0],
    registry: handles[1],
    jobs: handles[2],
    verifier: handles[3],
    batches: handles[5],
    reputation: handles[6],
    insurance: handles[7],
    log: handles[8],
    now: async () => (await chain.reader.head()).time,
  };
}

/** A node and who operates it. */
export interface BatchSeat {
  readonly node: NodeId;
  readonly actor: number;
  readonly holder: Address;
}

/** Registers `count` nodes with the operators in turn. */
export async function registerNodes(stage: Stage, count: number, label = 'batch'): Promise<BatchSeat[]> {
  const seats: BatchSeat[] = [];
  for (let index = 0; index < count; index++) {
    const actor = firstOperator + (index % OPERATORS);
    const node = nodeOf(`${label} ${index}`);
    await stage.registry.call(actor, 'registerNode', [node, 0, 'eu', zeroRoot, zeroRoot], ether);
    seats.push({ node, actor, holder: holderOf(node, lower(accountOf(stage.chain, actor))) });
  }
  return seats;
}

export interface BatchShape {
  readonly rounds: number;
  readonly tasks: number;
  readonly redundancy: number;
  readonly budgetWei: bigint;
}

const plainReward = {
  model: 0,
  scoreTotal: 1,
  gpuSecondsPerTask: 0,
  batchSize: 0,
  stepsPerTask: 0,
  bonusBasisPoints: 0,
  targetGainBasisPoints: 0,
};
let jobNumber = 0;

/** A job that settles in batches. */
export async function submitBatched(stage: Stage, shape: BatchShape, changes: Record<string, unknown> = {}): Promise<JobId> {
  const { rounds, tasks, redundancy, budgetWei } = shape;
  const terms = {
    specCid: rootOf(`batched job ${jobNumber++}`),
    modelId: rootOf('batched model'),
    rounds,
    tasks,
    redundancy,
    coordinator: accountOf(stage.chain, coordinator),
    validator: accountOf(stage.chain, validator),
    kind: 0,
    settlement: 1,
    minParticipants: 1,
    roundTimeout: 8_000,
    reward: plainReward,
    ...changes,
  };
  const { events } = await stage.jobs.call(owner, 'submitJob', [terms], budgetWei);
  return events.find(({ event }) => event === 'JobSubmitted')?.['job'] as JobId;
}

/** What a slot does in a round: commits to `root` or not at all, and opens it or not. */
export interface Play {
  readonly root: Root | null;
  readonly opens: boolean;
}

/** The salt of a slot: 16 bytes that follow from where it is. */
export const saltOf = (job: JobId, round: number, index: number): Root =>
  batchSalt(hexToBytes(rootOf(`${job} ${round} ${index}`)).slice(0, 16));

/** One round of a batched job, driven step by step. Slot `index` belongs to `seats[index]`. */
export class BatchDriver {
  readonly stage: Stage;
  readonly job: JobId;
  readonly round: number;
  readonly shape: BatchShape;
  readonly seats: readonly BatchSeat[];
  readonly slots: readonly BatchSlotState[];
  private readonly forced: ForcedCommit[] = [];

  constructor(stage: Stage, job: JobId, round: number, shape: BatchShape, seats: readonly BatchSeat[], plays: readonly Play[]) {
    this.stage = stage;
    this.job = job;
    this.round = round;
    this.shape = shape;
    this.seats = seats;
    this.slots = plays.map(({ root, opens }, index) => {
      const { holder } = seats[index] as BatchSeat;
      const salt = saltOf(job, round, index);
      const { task, slot } = this.place(index);
      const commitment = root === null ? null : batchCommitment(job, round, task, slot, holder, salt, root);
      return { holder, commitment, opening: root !== null && opens ? { salt, resultRoot: root } : null };
    });
  }

  place(index: number): { readonly task: number; readonly slot: number } {
    return { task: Math.floor(index / this.shape.redundancy), slot: index % this.shape.redundancy };
  }

  get slotWei(): bigint {
    const { rounds, tasks, redundancy, budgetWei } = this.shape;
    return budgetWei / BigInt(rounds * tasks * redundancy);
  }

  seat(index: number): BatchSeat {
    return this.seats[index] as BatchSeat;
  }

  /** What settles the round as it stands; `roots` where it is not the majority's. */
  settled(roots: readonly (Root | null)[] = majorityRoots(this.shape.redundancy, this.slots), slots = this.slots): SettledBatch {
    const { job, round, slotWei: amountWei, forced } = this;
    return settleBatch({ job, round, redundancy: this.shape.redundancy, taskRoots: roots, slots, amountWei, forced });
  }

  /** Node set and assignment. */
  async open(deadlineIn = commitTime): Promise<{ closeNodes: bigint; assign: bigint }> {
    const { jobs, chain } = this.stage;
    const closed = await jobs.call(coordinator, 'closeNodes', [this.job, BigInt(this.round), rootOf('nodes'), this.seats.length]);
    await chain.mine();
    const deadline = BigInt((await this.stage.now()) + deadlineIn);
    const { assignmentRoot } = this.settled();
    const args = [this.job, BigInt(this.round), assignmentRoot, rootOf('assignment'), deadline];
    const assigned = await jobs.call(coordinator, 'assign', args);
    return { closeNodes: closed.gas, assign: assigned.gas };
  }

  /** The committed list; by default all commitments that there are. */
  async commitBatch(listed: readonly (Root | null)[] = this.slots.map(({ commitment }) => commitment)): Promise<{ gas: bigint }> {
    const slots = this.slots.map((slot, index) => ({ ...slot, commitment: listed[index] ?? null }));
    const { commitmentsHash, commitments } = settleBatch({
      job: this.job,
      round: this.round,
      redundancy: this.shape.redundancy,
      taskRoots: Array.from({ length: this.shape.tasks }, () => null),
      slots,
      amountWei: 0n,
      forced: [],
    });
    return this.stage.batches.call(coordinator, 'commitBatch', [
      this.job,
      BigInt(this.round),
      commitmentsHash,
      commitments,
      rootOf('list'),
    ]);
  }

  private proof(index: number): Root[] {
    const holders = this.seats.slice(0, this.slots.length).map(({ holder }) => holder);
    return batchAssignmentProof(this.job, this.round, this.shape.redundancy, holders, index);
  }

  commitArgs(index: number, commitment = this.slots[index]?.commitment ?? zeroRoot): readonly unknown[] {
    const { task, slot } = this.place(index);
    return [this.job, BigInt(this.round), task, slot, this.seat(index).node, commitment, this.proof(index)];
  }

  /** A node commits on chain; `listed` is what the list has in its place. */
  async forceCommit(index: number, listed: Root | null): Promise<void> {
    await this.stage.batches.call(this.seat(index).actor, 'commit', this.commitArgs(index));
    this.forced.push({ index, listed });
  }

  revealArgs(index: number, resultRoot: Root, salt = saltOf(this.job, this.round, index)): readonly unknown[] {
    const { task, slot } = this.place(index);
    return [this.job, BigInt(this.round), task, slot, this.seat(index).node, salt, resultRoot, this.proof(index)];
  }

  resultArgs(settled: SettledBatch, changes: Record<string, unknown> = {}): readonly unknown[] {
    const { taskRoots, packedSlots, closedCommitments, listedCommitments } = settled;
    const result = { taskRoots, packedSlots, closedCommitments, listedCommitments };
    return [this.job, BigInt(this.round), { checkpointCid: rootOf('checkpoint'), accuracyBasisPoints: 5_000, ...result, ...changes }];
  }

  finalize(settled: SettledBatch = this.settled()): Promise<{ gas: bigint; events: Told[] }> {
    return this.stage.batches.call(coordinator, 'finalizeBatch', this.resultArgs(settled));
  }

  /** Everything up to and with finalizeBatch. */
  async run(roots?: readonly (Root | null)[]): Promise<SettledBatch> {
    await this.open();
    await this.commitBatch();
    await this.stage.chain.elapse(2 * commitTime);
    const settled = this.settled(roots);
    await this.finalize(settled);
    return settled;
  }

  /** A slot of the settled round as the contract takes it. */
  slot(settled: SettledBatch, index: number): Record<string, unknown> {
    const { commitment, amountWei, proof } = settled.slot(index);
    return { index, node: this.seat(index).node, commitment, amountWei, proof };
  }

  claimArgs(settled: SettledBatch, index: number): readonly unknown[] {
    return [this.job, BigInt(this.round), this.slot(settled, index)];
  }

  /** The validator's verdict, as evidence. */
  async evidence(task: number, resultRoot: Root, offence = 5, by: number = validator): Promise<Hex> {
    const verdictCid = rootOf('verdict');
    const signature = await privateKeyToAccount(this.stage.chain.keyOf(by)).signTypedData({
      domain: { name: 'Muster', version: '1', chainId: this.stage.chain.info.chainId, verifyingContract: this.stage.verifier.address },
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
      message: { job: this.job, round: BigInt(this.round), task, resultRoot, verdictCid, offence },
    });
    return encodeAbiParameters(
      [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint8' }, { type: 'bytes' }],
      [resultRoot, verdictCid, offence, signature],
    );
  }

  /** The operator's signature over a slot's commitment. */
  signature(index: number, by = this.seat(index).actor, domain: Record<string, unknown> = {}): Promise<Hex> {
    return privateKeyToAccount(this.stage.chain.keyOf(by)).signTypedData({
      domain: {
        name: 'Muster',
        version: '1',
        chainId: this.stage.chain.info.chainId,
        verifyingContract: this.stage.batches.address,
        ...domain,
      },
      types: { BatchCommitment: [{ name: 'commitment', type: 'bytes32' }] },
      primaryType: 'BatchCommitment',
      message: { commitment: this.slots[index]?.commitment ?? zeroRoot },
    });
  }

  async convictArgs(
    settled: SettledBatch,
    index: number,
    correctRoot: Root,
    charge: { readonly signature?: Hex; readonly resultRoot?: Root; readonly offence?: number } = {},
  ): Promise<readonly unknown[]> {
    const evidence = await this.evidence(this.place(index).task, correctRoot, charge.offence);
    const resultRoot = charge.resultRoot ?? this.slots[index]?.opening?.resultRoot ?? zeroRoot;
    const signature = charge.signature ?? (await this.signature(index));
    const salt = saltOf(this.job, this.round, index);
    return [this.job, BigInt(this.round), this.slot(settled, index), { salt, resultRoot, signature, evidence }];
  }
}

/** What a call costs where calldata has a floor price (EIP-7623, Prague): `gas` as measured without, or the floor. */
export function withFloor(handle: Handle, functionName: string, args: readonly unknown[], gas: bigint): bigint {
  const data = hexToBytes(encodeFunctionData({ abi: handle.abi, functionName, args }));
  const zeros = data.filter((byte) => byte === 0).length;
  const floor = 21_000n + 10n * BigInt(zeros) + 40n * BigInt(data.length - zeros);
  return gas > floor ? gas : floor;
}
