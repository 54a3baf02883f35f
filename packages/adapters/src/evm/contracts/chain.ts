/**
 * The chain port over JSON-RPC: Muster's contracts on any EVM chain, the embedded one included.
 *
 * Events are read up to the settled block (`confirmations` below the newest), so that a re-organisation takes none of them back; all other
 * reads are what the node says at its newest block.
 */
import type { AbortSignalLike, ChainCall, ChainEvent, ChainInfo, ChainJob, ChainJobStatus, ChainNode, ChainReader } from '@muster/ports';
import type { ChainNodeStatus, ChainReceipt, ChainReputation, ChainWriter, VerdictStatement } from '@muster/ports';
import { type Address, type JobId, MusterError, type NodeId, offences, type Root } from '@muster/protocol';
import { type Hex, type RpcLog, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import {
  aiJobManagerAbi,
  insuranceFundAbi,
  nodeCertRegistryAbi,
  reputationRegistryAbi,
  signedVerdictVerifierAbi,
} from '../generated/index.ts';
import { encodeCall, nodeRoles } from './calls.ts';
import { settledBlock } from './confirmations.ts';
import { ask, type ChainEndpoint, type Connection, type ConnectionOptions, openConnection, pause } from './connection.ts';
import { decodeEvent, decodePolicy, lowerAddress } from './events.ts';
import { type HandOver, RelayedSender } from './relayed-sender.ts';
import { AccountSender, type CallSender } from './transactions.ts';
import { signCommitment, signsCommitment } from './commitment.ts';
import { signedVerdict } from './verdict.ts';

export type ConnectChainOptions = ChainEndpoint & ConnectionOptions & { readonly info: ChainInfo };
export type ConnectAccountOptions = ConnectChainOptions & {
  /** secp256k1 key of the account, 32 bytes 0x-hex. */
  readonly privateKey: Hex;
};

/** Job states in the order of the contract's `JobStatus`; `null` is a job that does not exist. */
const jobStatuses = [null, 'running', 'paused', 'completed', 'cancelled', 'failed'] as const satisfies readonly (ChainJobStatus | null)[];
/** Node states in the order of the contract's `NodeStatus`; `null` is a node that is not registered. */
export const nodeStatuses = [
  null,
  'active',
  'suspended',
  'unbonding',
  'left',
  'deactivated',
] as const satisfies readonly (ChainNodeStatus | null)[];
/** Block times kept, oldest out first. */
const BLOCK_TIMES = 10_000;
/** Blocks asked for at a time when logs come without their time. */
const PARALLEL_BLOCKS = 16;

/** A reader of the contracts in `info`. Throws CHAIN_UNREACHABLE, and CHAIN_REVERTED (`WrongChain`) where another chain answers. */
export async function connectChain(options: ConnectChainOptions): Promise<ChainReader> {
  const connection = await connectTo(options);
  return new EvmReader(connection, options.info);
}

/** A writer for one account. Throws as `connectChain`. */
export async function connectAccount(options: ConnectAccountOptions): Promise<ChainWriter> {
  const connection = await connectTo(options);
  const { info, privateKey } = options;
  return new EvmWriter(connection, info, new AccountSender(connection, info.chainId, privateKeyToAccount(privateKey)));
}

export type ConnectRelayedOptions = ConnectAccountOptions & {
  /** Hands what the account signs to a relayer: `relayOverHttp`, or a function in this process. */
  readonly handOver: HandOver;
};

/** A writer for an account without gas: it signs, and a relayer pays. Throws as `connectChain`. */
export async function connectRelayedAccount(options: ConnectRelayedOptions): Promise<ChainWriter> {
  const connection = await connectTo(options);
  const { info, privateKey, handOver } = options;
  const place = { chainId: info.chainId, forwarder: info.contracts.forwarder };
  return new EvmWriter(connection, info, new RelayedSender(connection, place, privateKeyToAccount(privateKey), handOver));
}

async function connectTo(options: ConnectChainOptions): Promise<Connection> {
  const connection = openConnection(options);
  const chainId = Number(await ask('connecting', () => connection.client.request({ method: 'eth_chainId' })));
  if (chainId !== options.info.chainId) {
    const details = { error: 'WrongChain', expected: options.info.chainId, actual: chainId };
    throw new MusterError(
      'CHAIN_REVERTED',
      `the endpoint serves chain ${chainId}, the contracts are on chain ${options.info.chainId}`,
      details,
    );
  }
  return connection;
}

class EvmReader implements ChainReader {
  readonly info: ChainInfo;
  protected readonly connection: Connection;
  private readonly times = new Map<number, number>();

  constructor(connection: Connection, info: ChainInfo) {
    this.connection = connection;
    this.info = info;
  }

  async head(): Promise<{ readonly block: number; readonly time: number }> {
    const { block, time } = await settledBlock(this.connection);
    return { block, time };
  }

  async node(node: NodeId): Promise<ChainNode | null> {
    const { client } = this.connection;
    const address = this.info.contracts.nodeCertRegistry;
    const cert = await ask('node', () =>
      client.readContract({ address, abi: nodeCertRegistryAbi, functionName: 'nodeCert', args: [node] }),
    );
    const status = nodeStatuses[cert.status];
    if (status === null || status === undefined) return null;
    return {
      node,
      operator: lowerAddress(cert.operator),
      role: nodeRoles[cert.role] ?? 'trainer',
      caps: cert.caps as Root,
      stakeWei: cert.stake,
      registeredAt: cert.registeredAt,
      lastHeartbeat: cert.lastHeartbeat,
      status,
      active: status === 'active',
      offences: cert.offences,
      hardwareVerified: cert.hardwareVerified,
    };
  }

  async job(job: JobId): Promise<ChainJob | null> {
    const found = await nullOn(['JobUnknown'], () =>
      this.readJobs('job', (contract) => this.connection.client.readContract({ ...contract, functionName: 'job', args: [job] })),
    );
    const status = found === null ? null : jobStatuses[found.status];
    if (found === null || status === null || status === undefined) return null;
    return {
      job,
      owner: lowerAddress(found.owner),
      coordinator: lowerAddress(found.coordinator),
      validator: lowerAddress(found.validator),
      specCid: found.specCid as Root,
      modelId: found.modelId as Root,
      status,
      budgetWei: found.budget,
      paidWei: found.paid,
      reserveWei: found.reserve,
      policy: decodePolicy(found),
      nextRound: Number(found.nextRound),
    };
  }

  async beacon(job: JobId, round: number): Promise<Root | null> {
    const args = [job, BigInt(round)] as const;
    const read = () =>
      this.readJobs('beacon', (contract) => this.connection.client.readContract({ ...contract, functionName: 'beacon', args }));
    return (await nullOn(['NodesNotClosed', 'BeaconNotReady', 'BeaconExpired'], read)) as Root | null;
  }

  balance(account: Address): Promise<bigint> {
    return ask('balance', () => this.connection.client.getBalance({ address: account }));
  }

  credit(account: Address): Promise<bigint> {
    return this.readJobs('credit', (contract) =>
      this.connection.client.readContract({ ...contract, functionName: 'credits', args: [account] }),
    );
  }

  async reputation(node: NodeId): Promise<ChainReputation> {
    const contract = { address: this.info.contracts.reputationRegistry, abi: reputationRegistryAbi, args: [node] } as const;
    const { client } = this.connection;
    const [score, counters] = await ask('reputation', () =>
      Promise.all([
        client.readContract({ ...contract, functionName: 'scoreOf' }),
        client.readContract({ ...contract, functionName: 'countersOf' }),
      ]),
    );
    return { score, accepted: counters.accepted, rejected: counters.rejected, missed: counters.missed };
  }

  freeStake(node: NodeId): Promise<bigint> {
    const contract = { address: this.info.contracts.nodeCertRegistry, abi: nodeCertRegistryAbi } as const;
    return ask('free stake', () => this.connection.client.readContract({ ...contract, functionName: 'freeStake', args: [node] }));
  }

  insured(account: Address): Promise<bigint> {
    const contract = { address: this.info.contracts.insuranceFund, abi: insuranceFundAbi } as const;
    return ask('insured', () => this.connection.client.readContract({ ...contract, functionName: 'owed', args: [account] }));
  }

  async proves(statement: VerdictStatement, evidence: Hex): Promise<boolean> {
    const { job, round, task, resultRoot, verdictCid } = statement;
    const contract = { address: this.info.contracts.faultVerifier, abi: signedVerdictVerifierAbi } as const;
    const args = [job, BigInt(round), task, evidence] as const;
    try {
      const found = await ask('verdict', () => this.connection.client.readContract({ ...contract, functionName: 'correctRoot', args }));
      return found[0] === resultRoot && found[1] === verdictCid && offences[found[2]] === statement.offence;
    } catch (error) {
      if (error instanceof MusterError && error.code === 'CHAIN_REVERTED') return false;
      throw error;
    }
  }

  signedCommitment(operator: Address, commitment: Root, signature: Hex): Promise<boolean> {
    return signsCommitment(operator, this.info, commitment, signature);
  }

  async events(fromBlock: number, toBlock?: number): Promise<ChainEvent[]> {
    // Nodes differ in what they say to blocks that are not there yet: an empty answer or an error.
    const head = (await this.head()).block;
    const last = Math.min(toBlock ?? head, head);
    const { client, logsBlocks } = this.connection;
    const {
      nodeCertRegistry,
      jobManager,
      proofOfCompute,
      modelRegistry,
      insuranceFund,
      trainRequest,
      batchedProofOfCompute,
      trainProofLog,
    } = this.info.contracts;
    const address = [
      nodeCertRegistry,
      jobManager,
      proofOfCompute,
      modelRegistry,
      insuranceFund,
      trainRequest,
      batchedProofOfCompute,
      trainProofLog,
    ];
    const events: ChainEvent[] = [];
    for (let from = fromBlock; from <= last; from += logsBlocks) {
      const range = { fromBlock: toHex(from), toBlock: toHex(Math.min(last, from + logsBlocks - 1)) };
      const logs = await ask('events', () => client.request({ method: 'eth_getLogs', params: [{ address, ...range }] }));
      events.push(...(await this.decode(logs)));
    }
    return events.sort((a, b) => a.block - b.block || a.index - b.index);
  }

  watch(onBlock: (block: number) => void, signal: AbortSignalLike): void {
    const { pollMs } = this.connection;
    const follow = async (): Promise<void> => {
      let seen = -1;
      while (!signal.aborted) {
        // An unreachable chain is looked for again; whoever needs to know asks it something.
        const head = await settledBlock(this.connection).then(
          ({ block }) => block,
          () => seen,
        );
        if (signal.aborted) return;
        if (head > seen) onBlock((seen = head));
        await pause(pollMs);
      }
    };
    void follow();
  }

  /** The Muster events among `logs`, with the times of their blocks. */
  protected async decode(logs: readonly RpcLog[]): Promise<ChainEvent[]> {
    const missing = new Set<number>();
    for (const log of logs) {
      const block = Number(log.blockNumber);
      if (log.blockTimestamp !== undefined && log.blockTimestamp !== null) this.remember(block, Number(log.blockTimestamp));
      else if (!this.times.has(block)) missing.add(block);
    }
    const blocks = [...missing];
    const found = new Map<number, number>();
    for (let start = 0; start < blocks.length; start += PARALLEL_BLOCKS) {
      await Promise.all(
        blocks.slice(start, start + PARALLEL_BLOCKS).map(async (number) => {
          const block = await ask('events', () => this.connection.client.getBlock({ blockNumber: BigInt(number) }));
          found.set(number, Number(block.timestamp));
          this.remember(number, Number(block.timestamp));
        }),
      );
    }
    const events: ChainEvent[] = [];
    for (const log of logs) {
      const block = Number(log.blockNumber);
      const time = Number(log.blockTimestamp ?? found.get(block) ?? this.times.get(block) ?? 0);
      const event = decodeEvent(log, { block, index: Number(log.logIndex), time, transaction: log.transactionHash ?? '0x' });
      if (event !== null) events.push(event);
    }
    return events;
  }

  private remember(block: number, time: number): void {
    this.times.set(block, time);
    const [oldest] = this.times.keys();
    if (this.times.size > BLOCK_TIMES && oldest !== undefined) this.times.delete(oldest);
  }

  private readJobs<T>(
    action: string,
    read: (contract: { readonly address: Address; readonly abi: typeof aiJobManagerAbi }) => Promise<T>,
  ): Promise<T> {
    return ask(action, () => read({ address: this.info.contracts.jobManager, abi: aiJobManagerAbi }));
  }
}

class EvmWriter extends EvmReader implements ChainWriter {
  readonly account: Address;
  private readonly sender: CallSender;

  constructor(connection: Connection, info: ChainInfo, sender: CallSender) {
    super(connection, info);
    this.sender = sender;
    this.account = lowerAddress(sender.account.address);
  }

  async send(call: ChainCall): Promise<ChainReceipt> {
    const included = await this.sender.send(call.call, encodeCall(call, this.info.contracts));
    const { transaction, block, gasUsed } = included;
    return { transaction, block, gasUsed, events: await this.decode(included.logs) };
  }

  signVerdict(statement: VerdictStatement): Promise<Hex> {
    return signedVerdict(this.sender.account, this.info, statement);
  }

  signCommitment(commitment: Root): Promise<Hex> {
    return signCommitment(this.sender.account, this.info, commitment);
  }
}

/** The answer of `read`, or null where a contract refuses with one of the `errors`. */
async function nullOn<T>(errors: readonly string[], read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof MusterError && error.code === 'CHAIN_REVERTED' && errors.includes(String(error.details['error']))) return null;
    throw error;
  }
}
