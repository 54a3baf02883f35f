/**
 * A sender whose account has no gas: it signs requests, hands them to a relayer, and watches the chain for what becomes of them.
 *
 * It believes only its own endpoint. A request that is not seen in the chain is handed over again as it is: the forwarder's nonce keeps it
 * from happening twice. Requests follow one another, each after the one before is as deep as the connection asks.
 */
import { performance } from 'node:perf_hooks';
import { MusterError } from '@muster/protocol';
import { decodeEventLog, encodeEventTopics, type Hex, type PrivateKeyAccount, type RpcLog, toHex } from 'viem';
import { musterForwarderAbi } from '../generated/index.ts';
import type { CallRequest } from './calls.ts';
import { confirmationsOf } from './confirmations.ts';
import { ask, type Connection, pause } from './connection.ts';
import { unreachable } from './errors.ts';
import { lowerAddress } from './events.ts';
import { placeOf } from './inclusion.ts';
import { forwardNonce, type ForwarderPlace, type ForwardRequest, relayedData, signForwardRequest } from './relay.ts';
import { type CallSender, type Included, includedBy } from './transactions.ts';

/** Hands a request to whoever pays for it; returns the transaction's hash. Throws the relayer's refusal, or PEER_UNREACHABLE. */
export type HandOver = (request: ForwardRequest) => Promise<{ readonly transaction: Hex }>;

export interface RelayedSenderOptions {
  /** How long a request may wait to be made. Default 600 s. */
  readonly patienceSeconds?: number;
}

/** Signing attempts against others who use the same account at the same time. */
const MAX_ATTEMPTS = 20;
/** Gas of a call that cannot be estimated, such as one with money along, which the forwarder does not have: more than any needs. */
const ampleGas = 600_000n;
/** Looks for a transaction that the relayer has named before the request is handed over again. */
const LOOKS_BEFORE_AGAIN = 40;

export class RelayedSender implements CallSender {
  readonly account: PrivateKeyAccount;
  private readonly connection: Connection;
  private readonly place: ForwarderPlace;
  private readonly handOver: HandOver;
  private readonly patienceSeconds: number;
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    connection: Connection,
    place: ForwarderPlace,
    account: PrivateKeyAccount,
    handOver: HandOver,
    { patienceSeconds = 600 }: RelayedSenderOptions = {},
  ) {
    this.connection = connection;
    this.place = place;
    this.account = account;
    this.handOver = handOver;
    this.patienceSeconds = patienceSeconds;
  }

  /** As AccountSender's, and throws what the relayer refuses with. */
  send(action: string, request: CallRequest): Promise<Included> {
    const sent = this.last.then(() => this.attempt(action, request));
    this.last = sent.catch(() => undefined);
    return sent;
  }

  private async attempt(action: string, call: CallRequest): Promise<Included> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { request, block } = await this.sign(action, call);
      const included = await this.carry(action, request, block);
      if (included !== 'superseded') return included;
    }
    throw new MusterError('CHAIN_REVERTED', `${action} refused: others keep using the account's requests`, { error: 'NonceTaken' });
  }

  private async sign(action: string, call: CallRequest): Promise<{ readonly request: ForwardRequest; readonly block: number }> {
    const { client } = this.connection;
    const from = lowerAddress(this.account.address);
    const [nonce, head] = await Promise.all([
      forwardNonce(this.connection, this.place.forwarder, from),
      ask(action, () => client.getBlock({ blockTag: 'latest' })),
    ]);
    const gas = await this.gasOf(action, call);
    // An idle chain's newest block may be long past, a test's chain ahead of the clock.
    const now = Math.max(Number(head.timestamp), Math.floor(Date.now() / 1000));
    const request = await signForwardRequest(this.account, this.place, call, { nonce, gas, deadline: now + this.patienceSeconds });
    return { request, block: Number(head.number) };
  }

  /**
   * Estimated as the forwarder will call, which finds a revert before anybody pays for it. Some nodes estimate nothing for an account with
   * code, as the forwarder is: there the call is only tried.
   */
  private async gasOf(action: string, call: CallRequest): Promise<bigint> {
    if (call.knownGas !== undefined) return call.knownGas;
    if (call.valueWei > 0n || call.to === null) return ampleGas;
    const { client } = this.connection;
    const data = relayedData({ data: call.data, from: lowerAddress(this.account.address) });
    const asForwarded = { from: this.place.forwarder, to: call.to, data };
    try {
      const estimated = await ask(action, () => client.request({ method: 'eth_estimateGas', params: [asForwarded, 'pending'] }));
      return (BigInt(estimated) * 13n) / 10n + 20_000n;
    } catch (error) {
      if (!(error instanceof MusterError) || error.details['error'] !== 'RequestRefused') throw error;
      await ask(action, () => client.request({ method: 'eth_call', params: [asForwarded, 'pending'] }));
      return ampleGas;
    }
  }

  /** Hands `request` over until the chain shows it, deep enough; `superseded` once its nonce was used by another. */
  private async carry(action: string, request: ForwardRequest, signedAt: number): Promise<Included | 'superseded'> {
    const { pollMs, timeoutMs } = this.connection;
    const started = performance.now();
    let failure: unknown = new Error(`the relayer did not make it within ${timeoutMs} ms`);
    while (performance.now() - started < timeoutMs) {
      try {
        const { transaction } = await this.handOver(request);
        const included = await this.watch(transaction, request, started);
        if (included !== null) return included;
      } catch (error) {
        if (!(error instanceof MusterError)) throw error;
        failure = error;
        // Whatever the relayer says: where the nonce is used, the chain knows by what.
        if ((await forwardNonce(this.connection, this.place.forwarder, request.from)) > request.nonce) {
          const made = await this.findMade(action, request, signedAt);
          if (made === null) return 'superseded';
          const included = await this.watch(made, request, started);
          if (included !== null) return included;
        } else if (error.code !== 'PEER_UNREACHABLE' && error.code !== 'CHAIN_UNREACHABLE') throw error;
      }
      await pause(Math.max(pollMs, 10));
    }
    throw unreachable(action, failure);
  }

  /** What the chain has of `transaction`, as soon as it carries `request` deep enough; null where it is not there. */
  private async watch(transaction: Hex, request: ForwardRequest, started: number): Promise<Included | null> {
    const { pollMs, timeoutMs } = this.connection;
    const depth = await confirmationsOf(this.connection);
    for (let look = 0; look < LOOKS_BEFORE_AGAIN && performance.now() - started < timeoutMs; look++) {
      const { receipt, settled } = await ask('relaying', () => placeOf(this.connection, transaction, depth));
      if (receipt !== null) {
        const carried = receipt.status === '0x1' && receipt.logs.some((log) => this.carries(log, request));
        if (settled) return carried && (await this.makes(transaction, request)) ? includedBy(receipt) : null;
        look = 0;
      }
      await pause(pollMs);
    }
    return null;
  }

  /** The transaction that made exactly this request, among those since it was signed; null where another took its nonce. */
  private async findMade(action: string, request: ForwardRequest, signedAt: number): Promise<Hex | null> {
    const { client } = this.connection;
    const topics = encodeEventTopics({ abi: musterForwarderAbi, eventName: 'ExecutedForwardRequest', args: { signer: request.from } });
    const filter = { address: this.place.forwarder, topics: topics as Hex[], fromBlock: toHex(Math.max(0, signedAt)), toBlock: 'latest' };
    const logs = await ask(action, () => client.request({ method: 'eth_getLogs', params: [filter as never] }));
    const log = logs.find((found) => this.carries(found, request));
    if (log?.transactionHash === undefined || log.transactionHash === null) return null;
    return (await this.makes(log.transactionHash, request)) ? log.transactionHash : null;
  }

  /** Whether it is this request, and not another with its nonce, that `transaction` hands to the forwarder. */
  private async makes(transaction: Hex, request: ForwardRequest): Promise<boolean> {
    const { client } = this.connection;
    const made = await ask('relaying', () => client.request({ method: 'eth_getTransactionByHash', params: [transaction] }));
    return made?.input.includes(request.signature.slice(2)) === true;
  }

  private carries(log: RpcLog, request: ForwardRequest): boolean {
    if (lowerAddress(log.address) !== this.place.forwarder) return false;
    try {
      const { eventName, args } = decodeEventLog({ abi: musterForwarderAbi, topics: log.topics, data: log.data });
      if (eventName !== 'ExecutedForwardRequest') return false;
      return lowerAddress(args.signer) === request.from && args.nonce === request.nonce && args.success;
    } catch {
      return false;
    }
  }
}
