/**
 * Executes recorded blocks again, from the genesis accounts on, into a store of its own.
 *
 * A block's transactions, time and randomness are taken from the record; everything else of it (roots, bloom, gas, constants of the
 * header, parent) is worked out and must give the same bytes. It does not judge order, times or randomness: the sequencer may choose them.
 */
import { createBlockFromRLP, type Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import type { TypedTransaction } from '@ethereumjs/tx';
import { type GenesisAccount, writeGenesis } from '../embedded/genesis.ts';
import { blockEnvironment, blockOptions, createMachine, openHeader, runNext, sealBlock } from '../embedded/machine.ts';
import type { Executed, Machine } from '../embedded/machine.ts';
import { hexOf } from '../embedded/params.ts';
import { recordsOf, storedBlock } from '../embedded/records.ts';
import { MAX_BLOCK_TRANSACTIONS } from '../embedded/sequencer.ts';
import type { ChainStore } from '../embedded/store.ts';
import { decodeTransaction } from '../embedded/transaction-rules.ts';
import { fault, messageOf } from './fault.ts';

/** A block as some record has it, not yet believed. */
export interface RecordedBlock {
  readonly number: bigint;
  readonly hash: Uint8Array;
  readonly rlp: Uint8Array;
}

/**
 * The block that `recorded` holds, its hash, number, parent and transactions root checked; nothing is executed. Throws AUDIT_FAILED.
 *
 * @param parent the block before; null for the genesis
 */
export async function linkedBlock(recorded: RecordedBlock, parent: Block | null, common: Common): Promise<Block> {
  const expected = parent === null ? 0n : parent.header.number + 1n;
  if (recorded.number !== expected) throw fault(`block ${expected}`, 'it is missing');
  const place = `block ${expected}`;
  let block: Block;
  try {
    block = createBlockFromRLP(recorded.rlp, blockOptions(common));
  } catch (error) {
    throw fault(place, `it cannot be read: ${messageOf(error)}`, error);
  }
  const hash = hexOf(block.hash());
  if (hash !== hexOf(recorded.hash)) throw fault(place, `it has the hash ${hash}, the record says ${hexOf(recorded.hash)}`);
  if (!Buffer.from(block.serialize()).equals(recorded.rlp)) throw fault(place, 'its encoding is not canonical');
  if (!(await block.transactionsTrieIsValid())) throw fault(place, 'its transactions are not those of its transactions root');
  const { number, parentHash, timestamp } = block.header;
  if (number !== expected) throw fault(place, `its header says ${number}`);
  if (timestamp > BigInt(Number.MAX_SAFE_INTEGER)) throw fault(place, `its time is ${timestamp}`);
  if (parent === null) return block;
  const [found, right] = [hexOf(parentHash), hexOf(parent.hash())];
  if (found !== right) throw fault(place, `its parent is ${found}, but the block before is ${right}`);
  if (timestamp < parent.header.timestamp) throw fault(place, 'it is older than its parent');
  return block;
}

export class Rebuilder {
  private readonly store: ChainStore;
  private readonly common: Common;
  private readonly genesis: readonly GenesisAccount[];
  private head: Block | null = null;
  private machine: Machine | null = null;

  /** @param store an empty store that receives what execution gives */
  constructor(store: ChainStore, common: Common, genesis: readonly GenesisAccount[]) {
    this.store = store;
    this.common = common;
    this.genesis = genesis;
  }

  /** Executes the next block. Throws AUDIT_FAILED naming it, or its transaction, where it does not follow from those before. */
  async add(recorded: RecordedBlock): Promise<void> {
    const claimed = await linkedBlock(recorded, this.head, this.common);
    const place = `block ${recorded.number}`;
    const block =
      this.head === null
        ? await writeGenesis(this.store, this.common, this.genesis, Number(claimed.header.timestamp))
        : await this.execute(this.head, claimed, place);
    if (!Buffer.from(block.serialize()).equals(recorded.rlp)) {
      const fields = differences(block, claimed);
      throw fault(place, `executing it again gives ${fields.length === 0 ? 'other bytes' : `another ${fields.join(', ')}`}`);
    }
    this.head = block;
  }

  /** Runs the claimed block's transactions on `parent`'s state and stores what they give. */
  private async execute(parent: Block, claimed: Block, place: string): Promise<Block> {
    const { store, common } = this;
    if (claimed.transactions.length > MAX_BLOCK_TRANSACTIONS) throw fault(place, `it has ${claimed.transactions.length} transactions`);
    this.machine ??= await createMachine(common, store.node, parent.header.stateRoot, (number) => store.block(number)?.hash ?? null);
    const { vm, state, nodes } = this.machine;
    const header = openHeader(parent, Number(claimed.header.timestamp), claimed.header.mixHash);
    const environment = blockEnvironment(header, common);
    const executed: Executed[] = [];
    let gasUsed = 0n;
    await vm.evm.journal.checkpoint();
    for (const [position, unchecked] of claimed.transactions.entries()) {
      const name = `transaction ${position} of ${place}`;
      const tx = this.checked(unchecked, name);
      try {
        const result = await runNext(this.machine, environment, tx, gasUsed);
        gasUsed += result.totalGasSpent;
        executed.push({ tx, result });
      } catch (error) {
        throw fault(`transaction ${hexOf(tx.hash())} in ${place}`, `it cannot be executed: ${messageOf(error)}`, error);
      }
    }
    await vm.evm.journal.commit();
    const stateRoot = await state.getStateRoot();
    const block = await sealBlock(header, executed, stateRoot, common);
    store.append({ block: storedBlock(block), ...recordsOf(block, executed), nodes: nodes.takeReachable(stateRoot), released: [] });
    // As the sequencer does: superseded nodes were not kept, so nothing in memory may point to them.
    await state.setStateRoot(stateRoot, true);
    return block;
  }

  private checked(tx: TypedTransaction, name: string): TypedTransaction {
    try {
      return decodeTransaction(tx.serialize(), this.common);
    } catch (error) {
      throw fault(name, `this chain does not take it: ${messageOf(error)}`, error);
    }
  }
}

/** Names of the header fields in which two blocks differ. */
function differences(a: Block, b: Block): string[] {
  const fields = {
    'state root': (block: Block) => hexOf(block.header.stateRoot),
    'transactions root': (block: Block) => hexOf(block.header.transactionsTrie),
    'receipts root': (block: Block) => hexOf(block.header.receiptTrie),
    'logs bloom': (block: Block) => hexOf(block.header.logsBloom),
    'gas used': (block: Block) => block.header.gasUsed.toString(),
    'gas limit': (block: Block) => block.header.gasLimit.toString(),
    'base fee': (block: Block) => String(block.header.baseFeePerGas),
  };
  return Object.entries(fields).flatMap(([name, read]) => (read(a) === read(b) ? [] : [name]));
}
