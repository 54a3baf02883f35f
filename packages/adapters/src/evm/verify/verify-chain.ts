/**
 * Verifies the record of an embedded chain: executes every block again from the genesis and demands that the file holds exactly what
 * that gives. The chain's process is not asked, and may run meanwhile.
 *
 * It proves that the record is one that the rules allow and that nobody changed a part of it; it cannot know of a longer or other
 * record that its operator shows to somebody else (docs/spec/06-embedded-chain.md).
 */
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createBlockFromRLP, type Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import { MusterError } from '@muster/protocol';
import { provider, type EmbeddedChain } from '../embedded/embedded-chain.ts';
import { canonicalGenesis, type GenesisAccount, identityOf } from '../embedded/genesis.ts';
import { blockEnvironment, blockOptions, chainRules, openHeader } from '../embedded/machine.ts';
import { createMethods } from '../embedded/methods.ts';
import { hexOf } from '../embedded/params.ts';
import { refused } from '../embedded/rpc-error.ts';
import { ChainStore, type StoredBlock } from '../embedded/store.ts';
import { decodeTransaction } from '../embedded/transaction-rules.ts';
import { fault, messageOf } from './fault.ts';
import { linkedBlock, Rebuilder, type RecordedBlock } from './rebuild.ts';
import { takeSnapshot } from './snapshot.ts';
import { compareTables } from './tables.ts';

/** Stands for the file's path where a check does not know it. */
const WHOLE_FILE = 'chain file';

export interface VerifyChainOptions {
  readonly chainId: number;
  /** The accounts that the chain must have started with. */
  readonly genesis: { readonly accounts: readonly GenesisAccount[] };
  /** Called as blocks have been executed again. */
  readonly onProgress?: (blocks: number, ofBlocks: number) => void;
}

/** What was verified. Counts are of the whole chain. */
export interface ChainReport {
  /** Genesis included. */
  readonly blocks: number;
  readonly transactions: number;
  readonly receipts: number;
  readonly logs: number;
  /** Trie nodes and contract codes. */
  readonly trieNodes: number;
  readonly head: { readonly number: number; readonly hash: `0x${string}` };
}

export interface VerifiedChain {
  readonly report: ChainReport;
  /** Answers reads as the chain does, from what executing the blocks again gave, up to the head at the time of verification. */
  readonly chain: EmbeddedChain;
}

/**
 * Verifies the chain in the file `path`. Throws AUDIT_FAILED with `details.object` naming the first thing that does not hold. Changes
 * nothing on disk but a temporary copy. Some 5 to 10 ms per transaction.
 */
export async function verifyChainFile(path: string, options: VerifyChainOptions): Promise<ChainReport> {
  const { report, chain } = await openVerifiedChain(path, options);
  await chain.close();
  return report;
}

/** As `verifyChainFile`, and gives the verified record to read from; it is in memory, about as large as the file, until it is closed. */
export async function openVerifiedChain(path: string, options: VerifyChainOptions): Promise<VerifiedChain> {
  const genesis = canonicalGenesis(options.genesis.accounts);
  const common = chainRules(options.chainId);
  const snapshot = await takeSnapshot(path);
  let file: DatabaseSync | null = null;
  let rebuilt: ChainStore | null = null;
  try {
    file = new DatabaseSync(snapshot.path, { readOnly: true });
    rebuilt = await rebuildRecord(file, { ...options, common, genesis });
    const report = checkRecord(file, rebuilt, common);
    return { report, chain: reader(rebuilt, common, options.chainId) };
  } catch (error) {
    rebuilt?.close();
    if (!(error instanceof MusterError)) throw unreadable(path, error);
    throw error.details['object'] === WHOLE_FILE ? fault(`chain file ${path}`, String(error.details['problem']), error) : error;
  } finally {
    file?.close();
    await snapshot.remove();
  }
}

/** Whatever SQLite or a decoder throws over bytes that nobody vouches for is a fault of the record. */
const unreadable = (path: string, error: unknown): MusterError =>
  fault(`chain file ${path}`, `it cannot be read: ${messageOf(error)}`, error);

export interface RebuildOptions {
  readonly chainId: number;
  readonly common: Common;
  /** As `canonicalGenesis` returns it. */
  readonly genesis: readonly GenesisAccount[];
  readonly onProgress?: VerifyChainOptions['onProgress'];
}

/** A store of what executing the blocks of `file` gives. Before anything is executed, all blocks are read and their links checked. */
export async function rebuildRecord(file: DatabaseSync, options: RebuildOptions): Promise<ChainStore> {
  const { chainId, common, genesis, onProgress } = options;
  const blocks = await checkLinks(file, common);
  const rebuilt = new ChainStore(':memory:');
  try {
    rebuilt.setMeta('identity', identityOf(chainId, genesis));
    const rebuilder = new Rebuilder(rebuilt, common, genesis);
    for (const recorded of recordedBlocks(file)) {
      await rebuilder.add(recorded);
      onProgress?.(Number(recorded.number) + 1, blocks);
      await nextTurn();
    }
    return rebuilt;
  } catch (error) {
    rebuilt.close();
    throw error;
  }
}

/** Reads all blocks of `file`: numbers without a hole, hashes, parents, transactions. Returns how many there are; throws AUDIT_FAILED. */
export async function checkLinks(file: DatabaseSync, common: Common): Promise<number> {
  let blocks = 0;
  let parent: Block | null = null;
  for (const recorded of recordedBlocks(file)) {
    parent = await linkedBlock(recorded, parent, common);
    blocks++;
  }
  if (blocks === 0) throw fault(WHOLE_FILE, 'it holds no block');
  return blocks;
}

function* recordedBlocks(file: DatabaseSync): Generator<RecordedBlock> {
  const blocks = file.prepare('SELECT number, hash, rlp FROM blocks ORDER BY number');
  blocks.setReadBigInts(true);
  for (const { number, hash, rlp } of blocks.iterate()) {
    const isBlock = typeof number === 'bigint' && hash instanceof Uint8Array && rlp instanceof Uint8Array;
    if (!isBlock) throw fault(`block ${String(number)}`, 'its row has columns of other types');
    yield { number, hash, rlp };
  }
}

/** Holds every table of `file` against `rebuilt`. Throws AUDIT_FAILED. */
export function checkRecord(file: DatabaseSync, rebuilt: ChainStore, common: Common): ChainReport {
  const rows = compareTables(file, rebuilt);
  checkHeld(file, common);
  checkStructure(file);
  const count = (table: string): number => rows.get(table) ?? 0;
  const head = headOf(rebuilt);
  return {
    blocks: count('blocks'),
    transactions: count('transactions'),
    receipts: count('transactions'),
    logs: count('logs'),
    trieNodes: count('nodes'),
    head: { number: head.number, hash: hexOf(head.hash) },
  };
}

/** Transactions that wait for an earlier nonce: each is what its hash says, and signed. */
function checkHeld(file: DatabaseSync, common: Common): void {
  for (const { hash, raw } of file.prepare('SELECT hash, raw FROM held').iterate()) {
    const name = `held-back transaction ${hash instanceof Uint8Array ? hexOf(hash) : String(hash)}`;
    if (!(hash instanceof Uint8Array) || !(raw instanceof Uint8Array)) throw fault(name, 'its row has columns of other types');
    let actual: string;
    try {
      actual = hexOf(decodeTransaction(raw, common).hash());
    } catch (error) {
      throw fault(name, `it cannot be read: ${messageOf(error)}`, error);
    }
    if (actual !== hexOf(hash)) throw fault(name, `its hash is ${actual}`);
  }
}

/** Indexes say the same as their tables, so that answers found through them are the verified rows. */
function checkStructure(file: DatabaseSync): void {
  const [first] = file.prepare('PRAGMA integrity_check(1)').all();
  const answer = String(first?.['integrity_check']);
  if (answer !== 'ok') throw fault(WHOLE_FILE, answer.replaceAll('\n', '; ').slice(0, 200));
}

/** Reads of a finished chain: it has a head and takes no transactions. */
function reader(store: ChainStore, common: Common, chainId: number): EmbeddedChain {
  const stored = headOf(store);
  const head = createBlockFromRLP(stored.rlp, blockOptions(common));
  const front = {
    common,
    head,
    pool: { find: () => null, nextNonce: (_: string, nonce: bigint) => nonce },
    pendingBlock: () => blockEnvironment(openHeader(head, stored.timestamp, new Uint8Array(32)), common),
    submit: () => Promise.reject(refused('a verified record takes no transactions')),
  };
  return provider(chainId, createMethods(front, store), () => Promise.resolve(store.close()));
}

function headOf(store: ChainStore): StoredBlock {
  const head = store.head();
  if (head === null) throw new MusterError('INTERNAL', 'a verified chain has a head');
  return head;
}
