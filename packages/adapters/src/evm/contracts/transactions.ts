/**
 * One account's transactions, one after the other: sign, send, wait until in a block.
 *
 * A transaction is signed once and the same bytes are sent again while the chain does not answer or has forgotten them, so a crash of
 * the chain never makes it happen twice. Only when its nonce was used by something else, so that it can never happen, is it signed anew.
 * The nonce is asked for each time: a process that starts again, or shares the account, needs no memory.
 */
import { randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { MusterError } from '@muster/protocol';
import { type Hex, keccak256, type PrivateKeyAccount, type RpcLog, type RpcTransactionReceipt, toHex } from 'viem';
import type { CallRequest } from './calls.ts';
import { ask, type Connection, pause } from './connection.ts';
import { requestError, revertDataOf, revertError, rpcRefusalOf, unreachable } from './errors.ts';

/** A transaction that is in a block and succeeded. */
export interface Included {
  readonly transaction: Hex;
  readonly block: number;
  readonly gasUsed: number;
  readonly logs: readonly RpcLog[];
  /** Address of the contract created, or null. */
  readonly created: Hex | null;
}

/** Signing attempts against others who use the same account at the same time. */
const MAX_ATTEMPTS = 20;
/** While waiting, the transaction is sent again after this many looks without a receipt. */
const LOOKS_BEFORE_RESEND = 20;

export class AccountSender {
  readonly account: PrivateKeyAccount;
  private readonly connection: Connection;
  private readonly chainId: number;
  private last: Promise<unknown> = Promise.resolve();

  constructor(connection: Connection, chainId: number, account: PrivateKeyAccount) {
    this.connection = connection;
    this.chainId = chainId;
    this.account = account;
  }

  /** Sends after all earlier ones have ended, in a block or not. Throws CHAIN_REVERTED, CHAIN_UNREACHABLE. */
  send(action: string, request: CallRequest): Promise<Included> {
    const sent = this.last.then(() => this.attempt(action, request));
    this.last = sent.catch(() => undefined);
    return sent;
  }

  private async attempt(action: string, request: CallRequest): Promise<Included> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const raw = await this.sign(action, request);
      const receipt = await this.include(action, raw);
      if (receipt !== 'superseded') return this.settle(action, request, receipt);
    }
    throw new MusterError('CHAIN_REVERTED', `${action} refused: others keep using the account's nonces`, { error: 'NonceTaken' });
  }

  /**
   * Estimates, which finds a revert without spending anything, and signs with the account's next nonce. Where gas is free and a
   * sufficient limit is known nothing is estimated: a revert then shows in the block.
   */
  private async sign(action: string, request: CallRequest): Promise<Hex> {
    const { client } = this.connection;
    const { address } = this.account;
    const call = { from: address, data: request.data, value: toHex(request.valueWei), ...(request.to === null ? {} : { to: request.to }) };
    const [nonce, block] = await Promise.all([
      ask(action, () => client.request({ method: 'eth_getTransactionCount', params: [address, 'pending'] })),
      ask(action, () => client.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })),
    ]);
    if (block === null) throw unreachable(action, new Error('no newest block'));
    const baseFee = BigInt(block.baseFeePerGas ?? '0x0');
    const maxPriorityFeePerGas = baseFee === 0n ? 0n : await this.priorityFee();
    // "pending", because the newest block's time may be long past on a chain that is idle.
    const estimated =
      baseFee === 0n && request.knownGas !== undefined
        ? request.knownGas
        : BigInt(await ask(action, () => client.request({ method: 'eth_estimateGas', params: [call, 'pending'] })));
    // Headroom for what others change between the estimate and the block; unused gas costs nothing. The odd rest keeps two equal calls,
    // signed in two processes with the same nonce, from being one transaction that both take for theirs.
    const wanted = (estimated * 13n) / 10n + 50_000n + BigInt(randomInt(65_536));
    const gas = wanted < BigInt(block.gasLimit) ? wanted : BigInt(block.gasLimit);
    return this.account.signTransaction({
      type: 'eip1559',
      chainId: this.chainId,
      nonce: Number(nonce),
      gas,
      maxFeePerGas: 2n * baseFee + maxPriorityFeePerGas,
      maxPriorityFeePerGas,
      data: request.data,
      value: request.valueWei,
      ...(request.to === null ? {} : { to: request.to }),
    });
  }

  private async priorityFee(): Promise<bigint> {
    try {
      return BigInt(await this.connection.client.request({ method: 'eth_maxPriorityFeePerGas' }));
    } catch {
      return 1_000_000_000n;
    }
  }

  /** The receipt of the transaction in `raw`, or `superseded` once it can never have one. */
  private async include(action: string, raw: Hex): Promise<RpcTransactionReceipt | 'superseded'> {
    const { pollMs, timeoutMs } = this.connection;
    const hash = keccak256(raw);
    const started = performance.now();
    let lastFailure: unknown = new Error(`not included after ${timeoutMs} ms`);
    for (let look = 0; performance.now() - started < timeoutMs; look++) {
      try {
        const sent = look % LOOKS_BEFORE_RESEND === 0 ? await this.submit(action, raw) : 'known';
        const receipt = await this.receipt(hash);
        if (receipt !== null) return receipt;
        if (sent === 'nonce used') {
          // Once more, for an endpoint whose answers come from several machines.
          await pause(4 * pollMs);
          return (await this.receipt(hash)) ?? 'superseded';
        }
        await pause(pollMs);
      } catch (error) {
        const failure = requestError(action, error);
        if (failure.code !== 'CHAIN_UNREACHABLE') throw failure;
        lastFailure = error;
        await pause(Math.max(pollMs, 100));
        look = -1;
      }
    }
    throw unreachable(action, lastFailure);
  }

  private async submit(action: string, raw: Hex): Promise<'known' | 'nonce used'> {
    try {
      await this.connection.client.request({ method: 'eth_sendRawTransaction', params: [raw] });
      return 'known';
    } catch (error) {
      const refusal = rpcRefusalOf(error) ?? '';
      if (/already known|known transaction|already imported/i.test(refusal)) return 'known';
      if (/nonce (?:is )?too low|already been used|replacement|replaced by/i.test(refusal)) return 'nonce used';
      // Some development chains answer with the revert of a transaction that they did put into a block.
      if (revertDataOf(error) !== null || /revert/i.test(refusal)) return 'known';
      throw requestError(action, error);
    }
  }

  private receipt(hash: Hex): Promise<RpcTransactionReceipt | null> {
    return this.connection.client.request({ method: 'eth_getTransactionReceipt', params: [hash] });
  }

  private async settle(action: string, request: CallRequest, receipt: RpcTransactionReceipt): Promise<Included> {
    if (receipt.status !== '0x1') throw await this.whyReverted(action, request, receipt);
    const { transactionHash, contractAddress, logs } = receipt;
    return {
      transaction: transactionHash,
      block: Number(receipt.blockNumber),
      gasUsed: Number(receipt.gasUsed),
      logs,
      created: contractAddress ?? null,
    };
  }

  /** Runs the call again where it failed, since a receipt does not say why. */
  private async whyReverted(action: string, request: CallRequest, receipt: RpcTransactionReceipt): Promise<MusterError> {
    const call = {
      from: this.account.address,
      data: request.data,
      value: toHex(request.valueWei),
      ...(request.to === null ? {} : { to: request.to }),
    };
    try {
      await this.connection.client.request({ method: 'eth_call', params: [call, receipt.blockNumber] });
      return revertError(action, '0x');
    } catch (error) {
      return requestError(action, error);
    }
  }
}
