/**
 * A signed transaction on its way into the chain: sent, sent again, waited for until it is deep enough.
 *
 * The same bytes are sent every time, so whatever is lost, forgotten or taken back by a re-organisation, it happens once or not at all.
 */
import { performance } from 'node:perf_hooks';
import { type Address, MusterError } from '@muster/protocol';
import { type Hex, type RpcTransactionReceipt, toHex } from 'viem';
import { blockAt, confirmationsOf } from './confirmations.ts';
import { type Connection, pause } from './connection.ts';
import { requestError, revertDataOf, rpcRefusalOf, unreachable } from './errors.ts';

export interface SignedTransaction {
  readonly raw: Hex;
  readonly hash: Hex;
  readonly from: Address;
  readonly nonce: number;
}

/** While waiting, the transaction is sent again after this many looks without a receipt. */
const LOOKS_BEFORE_RESEND = 20;

/**
 * The receipt of `transaction`, `confirmations` deep (default: the connection's) and part of the chain; or `superseded` once another
 * transaction with its nonce lies as deep, so that it can never have one.
 *
 * Throws CHAIN_UNREACHABLE after the connection's timeout without anything new, CHAIN_REVERTED for what the endpoint refuses, and
 * CHAIN_REORGANISED (`NonceReplaced`) where the transaction was in a block, was taken back, and another took its nonce: the call must be judged anew.
 */
export async function include(
  connection: Connection,
  action: string,
  transaction: SignedTransaction,
  confirmations?: number,
): Promise<RpcTransactionReceipt | 'superseded'> {
  const { pollMs, timeoutMs } = connection;
  const depth = confirmations ?? (await confirmationsOf(connection));
  let progress = performance.now();
  let lastFailure: unknown = new Error(`not included after ${timeoutMs} ms`);
  let newestHead = -1;
  let seen = false;
  let inBlock = false;
  for (let look = 0; performance.now() - progress < timeoutMs; look++) {
    try {
      const sent = look % LOOKS_BEFORE_RESEND === 0 ? await submit(connection, action, transaction.raw) : 'known';
      const found = await placeOf(connection, transaction.hash, depth);
      seen ||= found.known;
      if (found.receipt !== null) {
        inBlock = true;
        if (found.settled) return found.receipt;
        lastFailure = new Error(`in block ${Number(found.receipt.blockNumber)}, and the chain does not go on to ${depth} confirmations`);
        if (found.head > newestHead) progress = performance.now();
        newestHead = Math.max(newestHead, found.head);
        // Known to be in a block: sending it again would only be refused. Once it is gone it is sent at once.
        look = 0;
      } else if (sent === 'nonce used') {
        // Once more, for an endpoint whose answers come from several machines.
        await pause(4 * pollMs);
        const again = await placeOf(connection, transaction.hash, depth);
        if (again.receipt === null && (await nonceGone(connection, action, transaction, depth))) {
          if (seen) throw nonceReplaced(action, transaction);
          return 'superseded';
        }
        if (again.settled && again.receipt !== null) return again.receipt;
        look = -1;
      } else if (inBlock) {
        // It was taken back.
        inBlock = false;
        look = -1;
        continue;
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

/** Where a transaction is, as the endpoint has it now. */
export interface Place {
  /** Null unless the block that it names is part of the chain. */
  readonly receipt: RpcTransactionReceipt | null;
  /** Whether the endpoint has a receipt, be it of a block that was taken back. */
  readonly known: boolean;
  readonly settled: boolean;
  readonly head: number;
}

/** Where the transaction `hash` is; settled means `depth` blocks deep in the chain as it is now. */
export async function placeOf(connection: Connection, hash: Hex, depth: number): Promise<Place> {
  const { client } = connection;
  const receipt = await client.request({ method: 'eth_getTransactionReceipt', params: [hash] });
  if (receipt === null || depth === 0) return { receipt, known: receipt !== null, settled: receipt !== null, head: -1 };
  const number = Number(receipt.blockNumber);
  const head = Number(await client.request({ method: 'eth_blockNumber' }));
  // Last, so that the block is still there after the head was: an endpoint may keep receipts of blocks that it took back.
  const block = await blockAt(connection, number);
  if (block?.hash !== receipt.blockHash) return { receipt: null, known: true, settled: false, head };
  return { receipt, known: true, settled: head - number >= depth, head };
}

/** Whether the account's nonce has passed the transaction's, as deep as everything else must lie. */
async function nonceGone(connection: Connection, action: string, transaction: SignedTransaction, depth: number): Promise<boolean> {
  const { client } = connection;
  if (depth === 0) return true;
  try {
    const head = Number(await client.request({ method: 'eth_blockNumber' }));
    const at = toHex(Math.max(0, head - depth));
    return Number(await client.request({ method: 'eth_getTransactionCount', params: [transaction.from, at] })) > transaction.nonce;
  } catch (error) {
    throw requestError(action, error);
  }
}

function nonceReplaced(action: string, { from, nonce, hash }: SignedTransaction): MusterError {
  return new MusterError(
    'CHAIN_REORGANISED',
    `${action}: a re-organisation took transaction ${hash} back, and another of ${from} has used its nonce ${nonce}`,
    { error: 'NonceReplaced', account: from, nonce, transaction: hash },
  );
}

async function submit(connection: Connection, action: string, raw: Hex): Promise<'known' | 'nonce used'> {
  try {
    await connection.client.request({ method: 'eth_sendRawTransaction', params: [raw] });
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
