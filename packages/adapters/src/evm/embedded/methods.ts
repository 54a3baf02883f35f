/**
 * The JSON-RPC methods: parameters in, chain facts out, in the shapes of the Ethereum execution API.
 *
 * Only what viem, wallets and `cast` use; filters and subscriptions are not offered (viem falls back to polling eth_getLogs). All blocks
 * are final: one sequencer makes no forks.
 */
import { createBlockFromRLP, type Block } from '@ethereumjs/block';
import { createTxFromRLP, type TypedTransaction } from '@ethereumjs/tx';
import { call, estimateGas, inTurn, type CallContext } from './calls.ts';
import { blockJson, logJson, receiptJson, transactionJson, type JsonObject } from './format.ts';
import { blockOptions, readAccount, readCode, readStorage } from './machine.ts';
import * as params from './params.ts';
import { hexOf, quantity, type BlockTag, type Hex } from './params.ts';
import { invalidParams, limitExceeded, methodNotFound, refused } from './rpc-error.ts';
import type { Pool } from './pool.ts';
import type { Sequencer } from './sequencer.ts';
import type { ChainStore, StoredBlock, StoredTransaction } from './store.ts';
import { MAX_TRANSACTION_BYTES } from './transaction-rules.ts';

/** Most logs one eth_getLogs answers; more is refused with −32005, so that clients ask for shorter ranges. */
export const MAX_LOGS = 10_000;
const MAX_FEE_HISTORY = 1024;

type Method = (args: readonly unknown[]) => unknown;

/** What answers are made from besides the store: the sequencer, or a finished record that takes no transactions. */
export type ChainFront = Pick<Sequencer, 'common' | 'head' | 'pendingBlock' | 'submit'> & {
  readonly pool: Pick<Pool, 'find' | 'nextNonce'>;
};

/** One function from method and parameters to the answer; throws RpcError. */
export function createMethods(sequencer: ChainFront, store: ChainStore): (method: string, args: readonly unknown[]) => Promise<unknown> {
  const { common } = sequencer;
  const chainId = quantity(common.chainId());
  const read = store.node;
  const turn = inTurn();
  const blockHash = (number: number): Uint8Array | null => store.block(number)?.hash ?? null;
  const decodeBlock = (rlp: Uint8Array): Block => createBlockFromRLP(rlp, blockOptions(common));
  const decodeTx = (raw: Uint8Array): TypedTransaction => createTxFromRLP(raw, { common });

  /** The block that a parameter names, or null; pending means the head, whose state it starts from. */
  const find = (place: BlockTag | { readonly hash: Uint8Array }): Block | null => {
    if (place === 'latest' || place === 'pending' || place === Number(sequencer.head.header.number)) return sequencer.head;
    const stored = store.block(place);
    return stored === null ? null : decodeBlock(stored.rlp);
  };
  const existing = (value: unknown): Block => {
    const block = find(params.blockParam(value));
    if (block === null) throw refused('header not found');
    return block;
  };
  const stateRoot = (value: unknown): Uint8Array => existing(value).header.stateRoot;

  const context = (value: unknown): CallContext => {
    const place = params.blockParam(value);
    const block = existing(value);
    const environment = place === 'pending' ? sequencer.pendingBlock() : block;
    return { common, read, blockHash, stateRoot: block.header.stateRoot, environment };
  };

  const receipt = (stored: StoredTransaction, block: StoredBlock): JsonObject =>
    receiptJson(stored, decodeTx(stored.raw), store.logsOf(stored.block, stored.position), block);

  const number = (tag: BlockTag): number => (typeof tag === 'number' ? tag : Number(sequencer.head.header.number));

  const methods: Readonly<Record<string, Method>> = {
    web3_clientVersion: () => 'muster/embedded-chain/1',
    net_version: () => common.chainId().toString(),
    net_listening: () => true,
    eth_chainId: () => chainId,
    eth_syncing: () => false,
    eth_accounts: () => [],
    eth_blockNumber: () => quantity(sequencer.head.header.number),
    eth_gasPrice: () => '0x0',
    eth_maxPriorityFeePerGas: () => '0x0',
    eth_getBlockByNumber: ([tag, full]) => {
      const place = params.blockParam(tag);
      if (typeof place === 'object') throw invalidParams('the block must be a number or tag');
      return wholeBlock(find(place), params.booleanParam(full, 'full'));
    },
    eth_getBlockByHash: ([hash, full]) => wholeBlock(find({ hash: params.hashParam(hash) }), params.booleanParam(full, 'full')),
    eth_getTransactionByHash: ([value]) => {
      const hash = params.hashParam(value);
      const stored = store.transaction(hash);
      if (stored !== null) {
        const blockHashOf = blockHash(stored.block) ?? new Uint8Array(32);
        return transactionJson(decodeTx(stored.raw), { blockHash: blockHashOf, block: stored.block, position: stored.position });
      }
      const waiting = sequencer.pool.find(hexOf(hash));
      return waiting === null ? null : transactionJson(waiting.tx, null);
    },
    eth_getTransactionReceipt: ([hash]) => {
      const stored = store.transaction(params.hashParam(hash));
      const block = stored === null ? null : store.block(stored.block);
      return stored === null || block === null ? null : receipt(stored, block);
    },
    eth_getBlockReceipts: ([tag]) => {
      const block = store.block(Number(existing(tag).header.number));
      return block === null ? null : store.transactionsOf(block.number).map((stored) => receipt(stored, block));
    },
    eth_getTransactionCount: async ([value, tag]) => {
      const address = params.addressParam(value);
      const nonce = (await readAccount(common, read, stateRoot(tag), address))?.nonce ?? 0n;
      return quantity(params.blockParam(tag) === 'pending' ? sequencer.pool.nextNonce(hexOf(address), nonce) : nonce);
    },
    eth_getBalance: async ([address, tag]) =>
      quantity((await readAccount(common, read, stateRoot(tag), params.addressParam(address)))?.balance ?? 0n),
    eth_getCode: async ([address, tag]) => hexOf(await readCode(common, read, stateRoot(tag), params.addressParam(address))),
    eth_getStorageAt: async ([address, slot, tag]) => {
      const key = Buffer.from(params.quantityParam(slot, 'slot').toString(16).padStart(64, '0'), 'hex');
      return hexOf(await readStorage(common, read, stateRoot(tag), params.addressParam(address), key));
    },
    eth_call: async ([request, tag, overrides]) => {
      if (overrides !== undefined && overrides !== null) throw invalidParams('state overrides are not supported');
      return hexOf(await turn(() => call(context(tag), params.callParam(request))));
    },
    // Estimates are for the transaction that is sent next, so they see the time of the next block.
    eth_estimateGas: async ([request, tag, overrides]) => {
      if (overrides !== undefined && overrides !== null) throw invalidParams('state overrides are not supported');
      return quantity(await turn(() => estimateGas(context(tag ?? 'pending'), params.callParam(request))));
    },
    eth_sendRawTransaction: async ([raw]) =>
      hexOf(await sequencer.submit(params.dataParam(raw, 'transaction', { limit: MAX_TRANSACTION_BYTES }))),
    eth_getLogs: ([value]) => {
      const filter = params.logFilterParam(value);
      let [from, to] = [number(filter.from), number(filter.to)];
      if (filter.blockHash !== null) {
        const block = store.block({ hash: filter.blockHash });
        if (block === null) throw refused('unknown block');
        from = to = block.number;
      }
      if (from > to) throw invalidParams('invalid block range: fromBlock is after toBlock');
      const logs = store.logs(filter, from, to, MAX_LOGS + 1);
      if (logs.length > MAX_LOGS) throw limitExceeded(`query returned more than ${MAX_LOGS} results; ask for fewer blocks`);
      const blocks = new Map<number, StoredBlock | null>();
      return logs.map((log) => {
        const block = blocks.get(log.block) ?? store.block(log.block);
        blocks.set(log.block, block);
        return logJson(log, block?.hash ?? new Uint8Array(32), block?.timestamp ?? 0);
      });
    },
    eth_feeHistory: ([countValue, newest, percentiles]) => {
      const asked = typeof countValue === 'number' ? countValue : params.indexParam(countValue, 'blockCount');
      const last = number(existingTag(newest));
      if (last > Number(sequencer.head.header.number)) throw refused('request beyond head block');
      const count = Math.max(0, Math.min(Math.trunc(asked) || 0, MAX_FEE_HISTORY, last + 1));
      const blocks = Array.from({ length: count }, (_, index) => find(last - count + 1 + index));
      const rewards = Array.isArray(percentiles) ? percentiles.slice(0, 100).map(() => '0x0') : null;
      return {
        oldestBlock: quantity(last - count + 1),
        baseFeePerGas: Array.from({ length: count + 1 }, () => '0x0'),
        gasUsedRatio: blocks.map((block) => Number(block?.header.gasUsed ?? 0n) / Number(block?.header.gasLimit ?? 1n)),
        ...(rewards === null ? {} : { reward: blocks.map(() => rewards) }),
      };
    },
    debug_getRawBlock: ([tag]) => hexOf(existing(tag).serialize()),
  };

  return async (method, args) => {
    const run = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (run === undefined) throw methodNotFound(method);
    return run(args);
  };
}

/** A block as eth_getBlockBy… gives it, with whole transactions or their hashes. */
function wholeBlock(block: Block | null, full: boolean): JsonObject | null {
  if (block === null) return null;
  const inclusion = { blockHash: block.hash(), block: Number(block.header.number) };
  const transactions: (Hex | JsonObject)[] = block.transactions.map((tx, position) =>
    full ? transactionJson(tx, { ...inclusion, position }) : hexOf(tx.hash()),
  );
  return blockJson(block, block.serialize().length, transactions);
}

function existingTag(value: unknown): BlockTag {
  const tag = params.blockParam(value);
  if (typeof tag === 'object') throw invalidParams('the block must be a number or tag');
  return tag;
}
