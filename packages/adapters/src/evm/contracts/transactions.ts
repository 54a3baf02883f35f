/**
 * One account's transactions, one after the other: sign, send, wait until in a block.
 *
 * A transaction is signed once and the same bytes are sent again while the chain does not answer, has forgotten them or has taken their
 * block back (`inclusion.ts`), so it never happens twice. Only when its nonce was used by something else before it was in any block, so
 * that it can never happen, is it signed anew.
 * The nonce is asked for each time: a process that starts again, or shares the account, needs no memory.
 */
import { randomInt } from 'node:crypto';
import { MusterError } from '@muster/protocol';
import { type Hex, keccak256, type PrivateKeyAccount, type RpcLog, type RpcTransactionReceipt, toHex } from 'viem';
import type { CallRequest } from './calls.ts';
import { ask, type Connection } from './connection.ts';
import { requestError, revertError, unreachable } from './errors.ts';
import { lowerAddress } from './events.ts';
import { include, type SignedTransaction } from './inclusion.ts';

/** A transaction that is in a block, deep enough, and succeeded. */
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
/** Who signs, waits and says what happened: an account of its own, or one whose calls a relayer carries. */
export interface CallSender {
  /** The account that signs, which the contracts see as the caller. */
  readonly account: PrivateKeyAccount;
  /** Sends after all earlier ones have ended, in a block or not. Throws CHAIN_REVERTED, CHAIN_UNREACHABLE. */
  send(action: string, request: CallRequest): Promise<Included>;
}

export class AccountSender implements CallSender {
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
      const receipt = await include(this.connection, action, await this.sign(action, request));
      if (receipt !== 'superseded') return this.settle(action, request, receipt);
    }
    throw new MusterError('CHAIN_REVERTED', `${action} refused: others keep using the account's nonces`, { error: 'NonceTaken' });
  }

  /**
   * Estimates, which finds a revert without spending anything, and signs with the account's next nonce. Where gas is free and a
   * sufficient limit is known nothing is estimated: a revert then shows in the block.
   */
  private async sign(action: string, request: CallRequest): Promise<SignedTransaction> {
    const { client } = this.connection;
    const { address } = this.account;
    const call = { from: address, data: request.data, value: toHex(request.valueWei), ...(request.to === null ? {} : { to: request.to }) };
    const [nonce, block] = await Promise.all([
      ask(action, () => client.request({ method: 'eth_getTransactionCount', params: [address, 'pending'] })),
      ask(action, () => client.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })),
    ]);
    if (block === null) throw unreachable(action, new Error('no newest block'));
    const baseFee = BigInt(block.baseFeePerGas ?? '0x0');
    const fees = await feesAt(this.connection, baseFee);
    // "pending", because the newest block's time may be long past on a chain that is idle.
    const estimated =
      baseFee === 0n && request.knownGas !== undefined
        ? request.knownGas
        : BigInt(await ask(action, () => client.request({ method: 'eth_estimateGas', params: [call, 'pending'] })));
    // Headroom for what others change between the estimate and the block; unused gas costs nothing. The odd rest keeps two equal calls,
    // signed in two processes with the same nonce, from being one transaction that both take for theirs.
    const wanted = (estimated * 13n) / 10n + 50_000n + BigInt(randomInt(65_536));
    const gas = wanted < BigInt(block.gasLimit) ? wanted : BigInt(block.gasLimit);
    return await signTransaction(this.account, this.chainId, request, { nonce: Number(nonce), gas, ...fees });
  }

  private async settle(action: string, request: CallRequest, receipt: RpcTransactionReceipt): Promise<Included> {
    if (receipt.status !== '0x1') throw await this.whyReverted(action, request, receipt);
    return includedBy(receipt);
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

export interface Fees {
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

/** EIP-1559 fees that stay enough while the base fee doubles; none where the base fee is 0. */
export async function feesAt(connection: Connection, baseFee: bigint): Promise<Fees> {
  if (baseFee === 0n) return { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n };
  let maxPriorityFeePerGas = 1_000_000_000n;
  try {
    maxPriorityFeePerGas = BigInt(await connection.client.request({ method: 'eth_maxPriorityFeePerGas' }));
  } catch {
    // Not every endpoint offers it.
  }
  return { maxFeePerGas: 2n * baseFee + maxPriorityFeePerGas, maxPriorityFeePerGas };
}

/** `request` as a signed EIP-1559 transaction. */
export async function signTransaction(
  account: PrivateKeyAccount,
  chainId: number,
  request: CallRequest,
  envelope: Fees & { readonly nonce: number; readonly gas: bigint },
): Promise<SignedTransaction> {
  const to = request.to === null ? {} : { to: request.to };
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId,
    ...envelope,
    data: request.data,
    value: request.valueWei,
    ...to,
  });
  return { raw, hash: keccak256(raw), from: lowerAddress(account.address), nonce: envelope.nonce };
}

/** What a receipt of a transaction that succeeded says. */
export function includedBy(receipt: RpcTransactionReceipt): Included {
  const { transactionHash, contractAddress, logs } = receipt;
  return {
    transaction: transactionHash,
    block: Number(receipt.blockNumber),
    gasUsed: Number(receipt.gasUsed),
    logs,
    created: contractAddress ?? null,
  };
}
