/**
 * The state that a chain starts with: accounts with a balance, code and storage, in block 0.
 *
 * They are part of what the file says it is (`identityOf`) and of the first block's state root, so a chain opened or verified with
 * others is refused. Code in the genesis is there without a transaction having made it: whoever makes the chain chooses it.
 */
import type { Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import { Address, createAccount } from '@ethereumjs/util';
import { MusterError } from '@muster/protocol';
import { createMachine, openHeader, sealBlock } from './machine.ts';
import { bytesOf, type Hex } from './params.ts';
import { storedBlock } from './records.ts';
import type { ChainStore } from './store.ts';

/** A storage slot and the word in it, 32 bytes 0x-hex each. */
export type StorageWord = readonly [slot: Hex, value: Hex];

export interface GenesisAccount {
  /** 20 bytes, 0x-hex. */
  readonly address: string;
  readonly balanceWei: bigint;
  /** Contract code that stands there from the start, 0x-hex. */
  readonly code?: string;
  /** What the code finds in its storage, in any order; a word of zeros is the same as none. Only beside code. */
  readonly storage?: readonly StorageWord[];
}

/** What the file keeps to tell which chain it holds; `genesis` as `canonicalGenesis` returns it. */
export const identityOf = (chainId: number, genesis: readonly GenesisAccount[]): string =>
  JSON.stringify({
    chainId,
    genesis: genesis.map(({ address, balanceWei, code, storage }) => [
      address,
      balanceWei.toString(),
      code ?? '',
      ...(storage === undefined ? [] : [storage]),
    ]),
  });

/** Accounts checked, hexadecimal in lower case, storage in the order of its slots. Throws FIELD_INVALID. */
export function canonicalGenesis(accounts: readonly GenesisAccount[]): GenesisAccount[] {
  const seen = new Set<string>();
  return accounts.map(({ address: given, balanceWei, code, storage }) => {
    const address = given.toLowerCase();
    if (!/^0x[0-9a-f]{40}$/.test(address)) throw invalid('address', `address ${address.slice(0, 60)}`);
    if (seen.has(address)) throw invalid('address', `names ${address} twice`);
    seen.add(address);
    if (balanceWei < 0n || balanceWei >= 1n << 256n) throw invalid('balanceWei', `balance of ${address}`);
    if (code !== undefined && !/^0x(?:[0-9a-fA-F]{2})+$/.test(code)) throw invalid('code', `code of ${address}`);
    const words = canonicalStorage(storage ?? [], address);
    if (words.length > 0 && code === undefined) throw invalid('storage', `gives ${address} storage without code`);
    return {
      address,
      balanceWei,
      ...(code === undefined ? {} : { code: code.toLowerCase() }),
      ...(words.length === 0 ? {} : { storage: words }),
    };
  });
}

function canonicalStorage(storage: readonly StorageWord[], address: string): StorageWord[] {
  const words = new Map<Hex, Hex>();
  for (const [slot, value] of storage) {
    if (![slot, value].every((word) => /^0x[0-9a-fA-F]{64}$/.test(word))) throw invalid('storage', `storage of ${address}`);
    const key = slot.toLowerCase() as Hex;
    if (words.has(key)) throw invalid('storage', `names slot ${key} of ${address} twice`);
    words.set(key, value.toLowerCase() as Hex);
  }
  return [...words].filter(([, value]) => BigInt(value) !== 0n).sort(([a], [b]) => (a < b ? -1 : 1));
}

const invalid = (field: string, problem: string): MusterError => new MusterError('FIELD_INVALID', `genesis ${problem}`, { field });

/** Writes the block that holds the genesis accounts, which are canonical; `timestamp` in seconds since 1970. */
export async function writeGenesis(
  store: ChainStore,
  common: Common,
  accounts: readonly GenesisAccount[],
  timestamp: number,
): Promise<Block> {
  const { state, nodes } = await createMachine(common, store.node, null, () => null);
  for (const { address, balanceWei, code, storage } of accounts) {
    const place = new Address(bytesOf(address));
    await state.putAccount(place, createAccount({ balance: balanceWei }));
    if (code !== undefined) await state.putCode(place, bytesOf(code));
    for (const [slot, value] of storage ?? []) await state.putStorage(place, bytesOf(slot), bytesOf(value));
  }
  const stateRoot = await state.getStateRoot();
  const block = await sealBlock(openHeader(null, timestamp, new Uint8Array(32)), [], stateRoot, common);
  store.append({
    block: storedBlock(block),
    transactions: [],
    logs: [],
    nodes: nodes.takeReachable(stateRoot),
    released: [],
  });
  return block;
}
