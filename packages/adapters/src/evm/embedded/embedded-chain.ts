/**
 * The embedded chain of record: a durable single-sequencer EVM chain in one SQLite file, spoken to as an EIP-1193 provider.
 *
 * docs/spec/06-embedded-chain.md says what it is and is not. Whoever runs it is trusted with order, time and randomness.
 */
import { randomBytes } from 'node:crypto';
import { createBlockFromRLP, type Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import { KECCAK256_RLP } from '@ethereumjs/util';
import { MusterError } from '@muster/protocol';
import type { Clock } from '@muster/ports';
import { canonicalGenesis, type GenesisAccount, identityOf } from './genesis.ts';
import { blockOptions, chainRules } from './machine.ts';
import { createMethods } from './methods.ts';
import { hexOf } from './params.ts';
import { internalError, invalidRequest, RpcError } from './rpc-error.ts';
import { Sequencer } from './sequencer.ts';
import { ChainStore } from './store.ts';

export interface EmbeddedChainOptions {
  /** File of the chain, or `:memory:` for one that ends with the process. */
  readonly path: string;
  /** 1 … 2^53 − 1. */
  readonly chainId: number;
  readonly genesis: { readonly accounts: readonly GenesisAccount[] };
  readonly clock: Clock;
  /** Idle milliseconds after a block with transactions until an empty block follows it; null: none follows. Default 200. */
  readonly followMs?: number | null;
  /** Source of each block's PREVRANDAO; default `node:crypto`. */
  readonly random?: (length: number) => Uint8Array;
}

export interface EmbeddedChain {
  readonly chainId: number;
  /** EIP-1193: answers one JSON-RPC method; rejects with RpcError `{code, message, data?}`. viem: `custom(chain)`. */
  request(call: { readonly method: string; readonly params?: unknown }): Promise<unknown>;
  /** Finishes the block in the making and closes the file. Later requests reject. */
  close(): Promise<void>;
}

/**
 * Opens the chain in `path`, or starts it with the genesis accounts. Throws HOME_LOCKED while another process has it open, STORE_DAMAGED
 * where the file does not hold a whole chain, FIELD_INVALID where it holds another chain than the one asked for.
 */
export async function openEmbeddedChain(options: EmbeddedChainOptions): Promise<EmbeddedChain> {
  const { path, chainId } = options;
  if (!Number.isSafeInteger(chainId) || chainId < 1)
    throw new MusterError('FIELD_INVALID', 'chainId must be a positive integer', { chainId });
  const common = chainRules(chainId);
  const genesis = canonicalGenesis(options.genesis.accounts);
  const store = new ChainStore(path);
  try {
    checkIdentity(store, path, identityOf(chainId, genesis));
    checkWhole(store, path, common);
    const sequencer = await Sequencer.open({
      store,
      common,
      genesis,
      now: () => options.clock.now(),
      random: options.random ?? ((length) => new Uint8Array(randomBytes(length))),
      followMs: options.followMs === undefined ? 200 : options.followMs,
    });
    const methods = createMethods(sequencer, store);
    return provider(chainId, methods, () => sequencer.close().then(() => store.close()));
  } catch (error) {
    store.close();
    throw error;
  }
}

/** `methods` as an EIP-1193 provider that `end` closes. */
export function provider(
  chainId: number,
  methods: (method: string, args: readonly unknown[]) => Promise<unknown>,
  end: () => Promise<void>,
): EmbeddedChain {
  let closing: Promise<void> | null = null;
  return {
    chainId,
    request: async (call) => {
      if (closing !== null) throw new RpcError(-32000, 'the chain is closed');
      const { method, params } = call;
      if (typeof method !== 'string') throw invalidRequest('method must be a string');
      if (params !== undefined && params !== null && !Array.isArray(params)) throw invalidRequest('params must be an array');
      try {
        return await methods(method, params ?? []);
      } catch (error) {
        throw error instanceof RpcError ? error : internalError(error);
      }
    },
    close: () => (closing ??= end()),
  };
}

function checkIdentity(store: ChainStore, path: string, identity: string): void {
  const stored = store.meta('identity');
  if (stored === null) store.setMeta('identity', identity);
  else if (stored !== identity) {
    throw new MusterError('FIELD_INVALID', `${path} holds another chain: its chain id or genesis accounts differ`, {
      path,
      field: 'genesis',
    });
  }
}

/** Blocks are numbered without a hole, the head is the block it says it is, and its state is there. */
function checkWhole(store: ChainStore, path: string, common: Common): void {
  const head = store.head();
  if (head === null) return;
  const damaged = (what: string, cause?: unknown): MusterError =>
    new MusterError('STORE_DAMAGED', `${path} ${what}`, { path, block: head.number }, { cause });
  if (store.blockCount() !== head.number + 1) throw damaged(`lacks blocks before ${head.number}`);
  let block: Block;
  try {
    block = createBlockFromRLP(head.rlp, blockOptions(common));
  } catch (error) {
    throw damaged(`holds an unreadable block ${head.number}`, error);
  }
  if (hexOf(block.hash()) !== hexOf(head.hash)) throw damaged(`holds another block ${head.number} than its hash says`);
  const { stateRoot } = block.header;
  const isEmpty = hexOf(stateRoot) === hexOf(KECCAK256_RLP);
  if (!isEmpty && store.node(hexOf(stateRoot).slice(2)) === undefined) throw damaged(`lacks the state of block ${head.number}`);
}
