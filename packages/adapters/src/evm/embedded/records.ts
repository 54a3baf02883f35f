/**
 * What the store keeps of a finished block: itself, its transactions with their results, and its logs.
 */
import type { Block } from '@ethereumjs/block';
import type { Executed } from './machine.ts';
import type { StoredBlock, StoredLog, StoredTransaction } from './store.ts';

/** Rows for `executed`, the transactions of `block` in order; logs are numbered through the block. */
export function recordsOf(block: Block, executed: readonly Executed[]): { transactions: StoredTransaction[]; logs: StoredLog[] } {
  const number = Number(block.header.number);
  const transactions: StoredTransaction[] = [];
  const logs: StoredLog[] = [];
  for (const [position, { tx, result }] of executed.entries()) {
    const hash = tx.hash();
    transactions.push({
      hash,
      block: number,
      position,
      raw: tx.serialize(),
      sender: tx.getSenderAddress().bytes,
      status: result.execResult.exceptionError === undefined ? 1 : 0,
      gasUsed: Number(result.totalGasSpent),
      cumulativeGas: Number(result.receipt.cumulativeBlockGasUsed),
      gasPrice: 'gasPrice' in tx ? tx.gasPrice : tx.getEffectivePriorityFee(0n),
      bloom: result.bloom.bitvector,
      created: tx.to === undefined ? (result.createdAddress?.bytes ?? null) : null,
    });
    for (const [address, topics, data] of result.receipt.logs) {
      logs.push({ block: number, index: logs.length, transaction: hash, position, address, topics, data });
    }
  }
  return { transactions, logs };
}

/** The row of a finished block. */
export const storedBlock = (block: Block): StoredBlock => ({
  number: Number(block.header.number),
  hash: block.hash(),
  timestamp: Number(block.header.timestamp),
  rlp: block.serialize(),
});
