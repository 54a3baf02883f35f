/**
 * A fresh in-process chain with the contracts on it, and actors with funded accounts that speak through the chain adapter.
 *
 * Tests use the same adapter as everybody else, so every contract test is also one of the adapter. Not for timing: see bench.
 */
import { createHardhatRuntimeEnvironment } from 'hardhat/hre';
import type { Abi, ContractFunctionArgs, ContractFunctionName, Hex, Transport } from 'viem';
import { custom, encodeDeployData, encodeFunctionData, keccak256, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { connectAccount, connectChain, deployContracts } from '@muster/adapters';
import type { ChainInfo, ChainJob, ChainReader, ChainReceipt, ChainWriter } from '@muster/ports';
import type { Address, JobId, JobPolicy, NodeId, ResultOffence, Root } from '@muster/protocol';
import {
  assignmentLeaf,
  bytesToHex,
  commitmentOf,
  hexToBytes,
  holderOf,
  keccakProof,
  keccakRoot,
  MusterError,
  plainPolicy,
} from '@muster/protocol';
import { openConnection } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { AccountSender } from '../../packages/adapters/src/evm/contracts/transactions.ts';
import config from '../hardhat.config.ts';

export const ether = 10n ** 18n;
export const minStakeWei = 1n * ether;
export const zeroRoot = `0x${'00'.repeat(32)}` as Root;
const ACCOUNTS = 12;

/** A 32-byte value that belongs to `label`; also serves as a private key. */
export const rootOf = (label: string): Root => keccak256(toHex(label)) as Root;
export const nodeOf = (label: string): NodeId => rootOf(`node ${label}`) as string as NodeId;
const keyOf = (index: number): Hex => rootOf(`account ${index}`);

export interface TestChain {
  readonly transport: Transport;
  readonly info: ChainInfo;
  readonly reader: ChainReader;
  /** Actor number `index`, below 12, with 10 000 ether. Actor 0 deployed and owns what has an owner. */
  actor(index: number): Promise<ChainWriter>;
  keyOf(index: number): Hex;
  request(method: string, params?: readonly unknown[]): Promise<unknown>;
  mine(blocks?: number): Promise<void>;
  /** Lets `seconds` pass and makes a block. */
  elapse(seconds: number): Promise<void>;
  /** Runs `body` and takes everything it did back. */
  reverting<T>(body: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export async function startTestChain(): Promise<TestChain> {
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => ({ privateKey: keyOf(index), balance: 10_000n * ether }));
  const networks = { default: { ...config.networks?.['default'], type: 'edr-simulated' as const, accounts } };
  const environment = await createHardhatRuntimeEnvironment({ ...config, networks });
  const connection = await environment.network.connect();
  const request = (method: string, params: readonly unknown[] = []): Promise<unknown> =>
    connection.provider.request({ method, params: [...params] });
  const transport = custom(
    { request: ({ method, params }: { method: string; params?: unknown[] }) => request(method, params) },
    { retryCount: 0 },
  );
  const info = await deployContracts({ transport, privateKey: keyOf(0), minStakeWei, pollMs: 1 });
  const actors = new Map<number, Promise<ChainWriter>>();
  const mine = async (blocks = 1): Promise<void> => {
    await request('hardhat_mine', [toHex(blocks)]);
  };
  return {
    transport,
    info,
    reader: await connectChain({ transport, info, pollMs: 1 }),
    actor(index) {
      const known = actors.get(index) ?? connectAccount({ transport, info, privateKey: keyOf(index), pollMs: 1 });
      actors.set(index, known);
      return known;
    },
    keyOf,
    request,
    mine,
    async elapse(seconds) {
      await request('evm_increaseTime', [seconds]);
      await mine();
    },
    async reverting(body) {
      const snapshot = await request('evm_snapshot');
      try {
        return await body();
      } finally {
        await request('evm_revert', [snapshot]);
      }
    },
    close: () => connection.close(),
  };
}

/** What the job manager keeps for a job: what is unpaid of an open one, what is reserved of one that has ended. */
export const escrowOf = ({ status, budgetWei, paidWei, reserveWei }: ChainJob): bigint =>
  status === 'running' || status === 'paused' ? budgetWei - paidWei : reserveWei;

/** The contract error that `call` is refused with, with its arguments; fails where the call succeeds. */
export async function refusal(call: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await call;
  } catch (error) {
    if (error instanceof MusterError && error.code === 'CHAIN_REVERTED') return { ...error.details };
    throw error;
  }
  throw new Error('the call was not refused');
}

/** A call of any contract function by actor `index`, for what the chain port does not offer. Refusals as the adapter tells them. */
export async function execute<const A extends Abi, F extends ContractFunctionName<A, 'nonpayable' | 'payable'>>(
  chain: TestChain,
  index: number,
  call: {
    readonly to: Address;
    readonly abi: A;
    readonly functionName: F;
    readonly args: ContractFunctionArgs<A, 'nonpayable' | 'payable', F>;
  },
  valueWei = 0n,
): Promise<void> {
  const { abi, functionName, args } = call as { abi: Abi; functionName: string; args: readonly unknown[] };
  await sender(chain, index).send(functionName, { to: call.to, data: encodeFunctionData({ abi, functionName, args }), valueWei });
}

/** Creates a contract as actor `index`. */
export async function create(
  chain: TestChain,
  index: number,
  contract: { readonly abi: Abi; readonly bytecode: Hex },
  args: readonly unknown[],
): Promise<Address> {
  const { abi, bytecode } = contract;
  const { created } = await sender(chain, index).send('creating', {
    to: null,
    data: encodeDeployData({ abi, bytecode, args }),
    valueWei: 0n,
  });
  return (created ?? '0x').toLowerCase() as Address;
}

function sender(chain: TestChain, index: number): AccountSender {
  return new AccountSender(
    openConnection({ transport: chain.transport, pollMs: 1 }),
    chain.info.chainId,
    privateKeyToAccount(chain.keyOf(index)),
  );
}

const hex = (bytes: Uint8Array): Root => bytesToHex(bytes) as Root;

/**
 * Root and proofs of an assignment tree: the protocol's keccak tree, which OpenZeppelin's verifier checks in the contract.
 * A place outside the tree has an empty proof.
 */
export function assignmentTree(leaves: readonly Root[]): { readonly root: Root; proof(index: number): Root[] } {
  const values = leaves.map(hexToBytes);
  return { root: hex(keccakRoot(values)), proof: (index) => (index < values.length ? keccakProof(values, index).map(hex) : []) };
}

/** Node of slot `slot` of task `task`, and the actor that operates it. */
export interface Seat {
  readonly node: NodeId;
  readonly operator: ChainWriter;
}

const holderOfSeat = (seat: Seat): Address => holderOf(seat.node, seat.operator.account);

export interface JobShape {
  readonly rounds: number;
  readonly tasks: number;
  readonly redundancy: number;
  readonly budgetWei: bigint;
  /** Default: every task counts the same, a week without progress. */
  readonly policy?: Partial<JobPolicy>;
}

/** A job driven step by step: owner is actor 1, coordinator actor 2, validator actor 3, trainers are actors 4 and up. */
export class JobDriver {
  readonly chain: TestChain;
  readonly shape: JobShape;
  readonly job: JobId;
  readonly modelId: Root;
  readonly owner: ChainWriter;
  readonly coordinator: ChainWriter;
  readonly validator: ChainWriter;
  readonly seats: readonly (readonly Seat[])[];

  private constructor(chain: TestChain, shape: JobShape, job: JobId, modelId: Root, people: readonly ChainWriter[], seats: Seat[][]) {
    const [owner, coordinator, validator] = people;
    if (owner === undefined || coordinator === undefined || validator === undefined) throw new Error('three people');
    this.chain = chain;
    this.shape = shape;
    this.job = job;
    this.modelId = modelId;
    this.owner = owner;
    this.coordinator = coordinator;
    this.validator = validator;
    this.seats = seats;
  }

  /** Registers one node per slot and submits the job. */
  static async submit(chain: TestChain, shape: JobShape, label = 'job'): Promise<JobDriver> {
    const people = [await chain.actor(1), await chain.actor(2), await chain.actor(3)];
    const [owner, coordinator, validator] = people;
    if (owner === undefined || coordinator === undefined || validator === undefined) throw new Error('three people');
    const seats: Seat[][] = [];
    for (let task = 0; task < shape.tasks; task++) {
      const row: Seat[] = [];
      for (let slot = 0; slot < shape.redundancy; slot++) {
        const operator = await chain.actor(4 + ((task * shape.redundancy + slot) % 7));
        const node = nodeOf(`${label} ${task} ${slot}`);
        await register(operator, node);
        row.push({ node, operator });
      }
      seats.push(row);
    }
    const modelId = rootOf(`${label} model`);
    const { events } = await owner.send({
      call: 'submitJob',
      specCid: rootOf(`${label} spec`),
      modelId,
      coordinator: coordinator.account,
      validator: validator.account,
      ...shape,
      policy: { ...plainPolicy(shape.tasks), ...shape.policy },
    });
    const submitted = events.find((event) => event.event === 'JobSubmitted');
    if (submitted === undefined) throw new Error('no JobSubmitted');
    return new JobDriver(chain, shape, submitted.job, modelId, people, seats);
  }

  seat(task: number, slot: number): Seat {
    const seat = this.seats[task]?.[slot];
    if (seat === undefined) throw new Error(`no seat ${task}/${slot}`);
    return seat;
  }

  /** Proof that the seat holds the slot. */
  proof(round: number, task: number, slot: number): Root[] {
    return this.tree(round).proof(task * this.shape.redundancy + slot);
  }

  private tree(round: number): ReturnType<typeof assignmentTree> {
    return assignmentTree(
      this.seats.flatMap((row, task) => row.map((seat, slot) => assignmentLeaf(this.job, round, task, slot, holderOfSeat(seat)))),
    );
  }

  closeNodes(round: number): Promise<ChainReceipt> {
    return this.coordinator.send({ call: 'closeNodes', job: this.job, round, nodeSetRoot: rootOf('nodes'), nodeCount: 3 });
  }

  assign(round: number, commitDeadline = 0): Promise<ChainReceipt> {
    const assignment = { assignmentRoot: this.tree(round).root, assignmentCid: rootOf('assignment'), commitDeadline };
    return this.coordinator.send({ call: 'assign', job: this.job, round, ...assignment });
  }

  /** Node set, beacon and assignment of a round. */
  async open(round: number, commitDeadline = 0): Promise<void> {
    await this.closeNodes(round);
    await this.chain.mine();
    await this.assign(round, commitDeadline);
  }

  saltOf(round: number, task: number, slot: number): Root {
    return rootOf(`salt ${round} ${task} ${slot}`);
  }

  async commit(round: number, task: number, slot: number, resultRoot: Root, by: Seat = this.seat(task, slot)): Promise<ChainReceipt> {
    const commitment = commitmentOf(this.job, round, task, slot, holderOfSeat(by), this.saltOf(round, task, slot), resultRoot);
    const proof = this.proof(round, task, slot);
    return by.operator.send({ call: 'commit', job: this.job, round, task, slot, node: by.node, commitment, proof });
  }

  reveal(round: number, task: number, slot: number, resultRoot: Root, by: Seat = this.seat(task, slot)): Promise<ChainReceipt> {
    const proof = {
      step: 7,
      lossDigest: rootOf('loss'),
      gradientDigest: rootOf('gradient'),
      weightsDigest: rootOf('weights'),
      timestamp: 1_700_000_000_123,
      signature: `0x${'5a'.repeat(64)}`,
    } as const;
    const salt = this.saltOf(round, task, slot);
    const slotId = { job: this.job, round, task, slot };
    return by.operator.send({ call: 'reveal', ...slotId, node: by.node, salt, resultRoot, resultCid: rootOf('cid'), proof });
  }

  closeCommits(round: number, task: number): Promise<ChainReceipt> {
    return this.coordinator.send({ call: 'closeCommits', job: this.job, round, task });
  }

  /** The verdict that `resultRoot` is right, signed by the validator or whoever. */
  verdict(
    round: number,
    task: number,
    resultRoot: Root,
    by: ChainWriter = this.validator,
    offence: ResultOffence = 'provenCheating',
  ): Promise<Hex> {
    return by.signVerdict({ job: this.job, round, task, resultRoot, verdictCid: rootOf('verdict'), offence });
  }

  async convict(
    round: number,
    task: number,
    slot: number,
    correctRoot: Root,
    by: ChainWriter = this.coordinator,
    offence: ResultOffence = 'provenCheating',
  ): Promise<ChainReceipt> {
    const evidence = await this.verdict(round, task, correctRoot, this.validator, offence);
    const { node } = this.seat(task, slot);
    return by.send({ call: 'convict', job: this.job, round, task, slot, node, verdictCid: rootOf('verdict'), evidence });
  }

  finalize(
    round: number,
    accepted: readonly (readonly [task: number, resultRoot: Root, evidence?: Hex, score?: number])[],
    accuracy = 0,
  ): Promise<ChainReceipt> {
    return this.coordinator.send({
      call: 'finalize',
      job: this.job,
      round,
      checkpointCid: rootOf(`checkpoint ${round}`),
      accuracy,
      accepted: accepted.map(([task, resultRoot, evidence, score]) => ({
        task,
        score: score ?? 1,
        resultRoot,
        evidence: evidence ?? '0x',
      })),
    });
  }

  /** A round in which everybody reveals `rootFor(task)`, accepted as a whole. */
  async honestRound(round: number, rootFor: (task: number) => Root): Promise<void> {
    await this.open(round);
    for (const phase of ['commit', 'reveal'] as const) {
      for (const [task, row] of this.seats.entries()) {
        for (const slot of row.keys()) await this[phase](round, task, slot, rootFor(task));
      }
    }
    await this.finalize(
      round,
      this.seats.map((_, task) => [task, rootFor(task)] as const),
    );
  }
}

export function register(operator: ChainWriter, node: NodeId, stakeWei = minStakeWei): Promise<ChainReceipt> {
  return operator.send({ call: 'registerNode', node, role: 'trainer', region: 'eu', caps: zeroRoot, slaId: zeroRoot, stakeWei });
}
