/**
 * Blocks, transactions, receipts and logs in the shapes of the Ethereum JSON-RPC specification.
 */
import type { Block } from '@ethereumjs/block';
import { isAccessList2930Tx, isFeeMarket1559Tx, type TypedTransaction } from '@ethereumjs/tx';
import { hexOf, quantity, type Hex } from './params.ts';
import type { StoredBlock, StoredLog, StoredTransaction } from './store.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** A block with its transactions as hashes, or whole. */
export function blockJson(block: Block, rlpLength: number, transactions: readonly (Hex | JsonObject)[]): JsonObject {
  const { header } = block;
  return {
    number: quantity(header.number),
    hash: hexOf(block.hash()),
    parentHash: hexOf(header.parentHash),
    nonce: hexOf(header.nonce),
    mixHash: hexOf(header.mixHash),
    sha3Uncles: hexOf(header.uncleHash),
    logsBloom: hexOf(header.logsBloom),
    transactionsRoot: hexOf(header.transactionsTrie),
    stateRoot: hexOf(header.stateRoot),
    receiptsRoot: hexOf(header.receiptTrie),
    miner: header.coinbase.toString(),
    difficulty: '0x0',
    totalDifficulty: '0x0',
    extraData: hexOf(header.extraData),
    size: quantity(rlpLength),
    gasLimit: quantity(header.gasLimit),
    gasUsed: quantity(header.gasUsed),
    timestamp: quantity(header.timestamp),
    baseFeePerGas: quantity(header.baseFeePerGas ?? 0n),
    withdrawals: [],
    withdrawalsRoot: hexOf(header.withdrawalsRoot ?? new Uint8Array(32)),
    blobGasUsed: '0x0',
    excessBlobGas: '0x0',
    parentBeaconBlockRoot: hexOf(header.parentBeaconBlockRoot ?? new Uint8Array(32)),
    requestsHash: hexOf(header.requestsHash ?? new Uint8Array(32)),
    transactions,
    uncles: [],
  };
}

/** Where a transaction stands; null while it waits. */
export interface Inclusion {
  readonly blockHash: Uint8Array;
  readonly block: number;
  readonly position: number;
}

export function transactionJson(tx: TypedTransaction, inclusion: Inclusion | null): JsonObject {
  const fields = tx.toJSON();
  const typed = isFeeMarket1559Tx(tx) || isAccessList2930Tx(tx);
  const v = tx.v ?? 0n;
  const gasPrice = 'gasPrice' in tx ? tx.gasPrice : tx.getEffectivePriorityFee(0n);
  return {
    blockHash: inclusion === null ? null : hexOf(inclusion.blockHash),
    blockNumber: inclusion === null ? null : quantity(inclusion.block),
    transactionIndex: inclusion === null ? null : quantity(inclusion.position),
    hash: hexOf(tx.hash()),
    type: quantity(tx.type),
    from: tx.getSenderAddress().toString(),
    to: tx.to?.toString() ?? null,
    nonce: quantity(tx.nonce),
    value: quantity(tx.value),
    input: hexOf(tx.data),
    gas: quantity(tx.gasLimit),
    gasPrice: quantity(gasPrice),
    ...(isFeeMarket1559Tx(tx) ? { maxFeePerGas: quantity(tx.maxFeePerGas), maxPriorityFeePerGas: quantity(tx.maxPriorityFeePerGas) } : {}),
    ...(typed ? { accessList: fields.accessList ?? [], chainId: quantity(tx.chainId), yParity: quantity(v) } : {}),
    // Legacy: v = chain id · 2 + 35 + parity (EIP-155), or 27 + parity without a chain id.
    ...(!typed && v >= 35n ? { chainId: quantity((v - 35n) / 2n) } : {}),
    v: quantity(v),
    r: quantity(tx.r ?? 0n),
    s: quantity(tx.s ?? 0n),
  };
}

export function logJson(log: StoredLog, blockHash: Uint8Array, timestamp: number): JsonObject {
  return {
    address: hexOf(log.address),
    topics: log.topics.map(hexOf),
    data: hexOf(log.data),
    blockNumber: quantity(log.block),
    blockHash: hexOf(blockHash),
    blockTimestamp: quantity(timestamp),
    transactionHash: hexOf(log.transaction),
    transactionIndex: quantity(log.position),
    logIndex: quantity(log.index),
    removed: false,
  };
}

export function receiptJson(stored: StoredTransaction, tx: TypedTransaction, logs: readonly StoredLog[], block: StoredBlock): JsonObject {
  const blockHash = block.hash;
  return {
    transactionHash: hexOf(stored.hash),
    transactionIndex: quantity(stored.position),
    blockHash: hexOf(blockHash),
    blockNumber: quantity(stored.block),
    from: hexOf(stored.sender),
    to: tx.to?.toString() ?? null,
    contractAddress: stored.created === null ? null : hexOf(stored.created),
    type: quantity(tx.type),
    status: quantity(stored.status),
    gasUsed: quantity(stored.gasUsed),
    cumulativeGasUsed: quantity(stored.cumulativeGas),
    effectiveGasPrice: quantity(stored.gasPrice),
    logsBloom: hexOf(stored.bloom),
    logs: logs.map((log) => logJson(log, blockHash, block.timestamp)),
  };
}
