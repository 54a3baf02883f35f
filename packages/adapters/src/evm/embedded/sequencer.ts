/**
 * The single sequencer: takes signed transactions, orders them by arrival, executes them and appends durable blocks.
 *
 * A block is made as soon as a transaction can run, with what waits at that moment (at most `MAX_BLOCK_TRANSACTIONS`). `submit` answers
 * only after the transaction is durable: in a block, or, when its nonce leaves a gap, in the held table. After a block with transactions
 * an empty one follows when nothing else does, so that "the block after" exists for whoever waits for its hash. One process, no consensus:
 * whoever runs it decides order, time and randomness.
 */
import { createBlockFromRLP, type Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import type { TypedTransaction } from '@ethereumjs/tx';
import { Account } from '@ethereumjs/util';
import { type GenesisAccount, writeGenesis } from './genesis.ts';
import { blockEnvironment, blockOptions, BLOCK_GAS_LIMIT, createMachine, openHeader, readAccount, runNext, sealBlock } from './machine.ts';
import type { Executed, Machine } from './machine.ts';
import { hexOf } from './params.ts';
import { keptFor, Pool, type Waiting } from './pool.ts';
import { recordsOf, storedBlock } from './records.ts';
import { refused } from './rpc-error.ts';
import type { ChainStore } from './store.ts';
import { checkAffordable, decodeTransaction, translateRefusal } from './transaction-rules.ts';

export const MAX_BLOCK_TRANSACTIONS = 50;
const POOL_LIMITS = { ready: 1000, heldPerAccount: 64, held: 512 };

export interface SequencerOptions {
  readonly store: ChainStore;
  readonly common: Common;
  readonly now: () => number;
  readonly random: (length: number) => Uint8Array;
  /** Idle time after a block with transactions until an empty one follows; null: never. */
  readonly followMs: number | null;
  readonly genesis: readonly GenesisAccount[];
}

export class Sequencer {
  readonly common: Common;
  readonly pool = new Pool(POOL_LIMITS);
  private readonly options: SequencerOptions;
  private readonly store: ChainStore;
  private machine: Machine;
  private headBlock: Block;
  private admission: Promise<void> = Promise.resolve();
  private working: Promise<void> | null = null;
  private follow: NodeJS.Timeout | null = null;
  private broken: Error | null = null;
  private closed = false;

  private constructor(options: SequencerOptions, machine: Machine, head: Block) {
    this.options = options;
    this.store = options.store;
    this.common = options.common;
    this.machine = machine;
    this.headBlock = head;
  }

  /** Continues the stored chain, or starts one with the genesis accounts. */
  static async open(options: SequencerOptions): Promise<Sequencer> {
    const { store, common } = options;
    const newest = store.head();
    const head =
      newest === null
        ? await writeGenesis(store, common, options.genesis, Math.floor(options.now() / 1000))
        : createBlockFromRLP(newest.rlp, blockOptions(common));
    const machine = await createMachine(common, store.node, head.header.stateRoot, (number) => store.block(number)?.hash ?? null);
    const sequencer = new Sequencer(options, machine, head);
    await sequencer.resumeHeld();
    return sequencer;
  }

  get head(): Block {
    return this.headBlock;
  }

  /** Seconds since 1970 for the next block: the clock, but never before the head. */
  nextTimestamp(): number {
    return Math.max(Math.floor(this.options.now() / 1000), Number(this.headBlock.header.timestamp));
  }

  /** The environment of the block that would come next. */
  pendingBlock(): Block {
    return blockEnvironment(openHeader(this.headBlock, this.nextTimestamp(), new Uint8Array(32)), this.common);
  }

  /** Account at the head, an empty one where there is none; at the head of the moment of return, not of the call. */
  async account(address: Uint8Array): Promise<Account> {
    for (;;) {
      const head = this.headBlock;
      const account = await readAccount(this.common, this.store.node, head.header.stateRoot, address);
      if (head === this.headBlock) return account ?? new Account();
    }
  }

  /** Takes a signed transaction; resolves with its hash once it is durable. Rejects with an RpcError where it is refused. */
  async submit(raw: Uint8Array): Promise<Uint8Array> {
    const tx = decodeTransaction(raw, this.common);
    // One after the other, so that a burst of consecutive nonces from one account keeps its order.
    const admitted = this.admission.then(() => this.admit(tx, raw));
    this.admission = admitted.then(
      () => undefined,
      () => undefined,
    );
    const { settled } = await admitted;
    await settled;
    return tx.hash();
  }

  /** Finishes the block being made, refuses what still waits and stops. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.follow !== null) clearTimeout(this.follow);
    await this.admission;
    await this.working;
    for (const waiting of this.pool.clear()) waiting.settle(refused('the chain is closing'));
  }

  private async admit(tx: TypedTransaction, raw: Uint8Array): Promise<{ readonly settled: Promise<void> | null }> {
    if (this.broken !== null) throw this.broken;
    if (this.closed) throw refused('the chain is closing');
    const sender = tx.getSenderAddress();
    const hash = tx.hash();
    const account = await this.account(sender.bytes);
    checkAffordable(tx, account);
    const { promise: settled, resolve, reject } = Promise.withResolvers<void>();
    const settle: Waiting['settle'] = (error) => (error === null ? resolve() : reject(error));
    settled.catch(() => undefined);
    const waiting: Waiting = { hash: hexOf(hash), sender: sender.toString(), nonce: tx.nonce, tx, raw, held: false, obsolete: [], settle };
    const { state, replaced } = this.pool.add(waiting, account.nonce);
    replaced?.settle(refused(`replaced by the transaction ${waiting.hash}`));
    if (state === 'held') {
      // In one step: whichever of the two is stored, its sender was answered.
      this.store.hold({ hash, raw }, waiting.obsolete);
      waiting.held = true;
      waiting.obsolete.length = 0;
      return { settled: null };
    }
    this.wake();
    return { settled };
  }

  /** Held-back transactions of the last run: stale ones are forgotten, the others wait again. */
  private async resumeHeld(): Promise<void> {
    const held = this.store.held().map(({ hash, raw }) => ({ hash, raw, tx: decodeTransaction(raw, this.common) }));
    held.sort((a, b) => (a.tx.nonce < b.tx.nonce ? -1 : 1));
    for (const { hash, raw, tx } of held) {
      const sender = tx.getSenderAddress();
      const { nonce } = await this.account(sender.bytes);
      const waiting: Waiting = {
        hash: hexOf(hash),
        sender: sender.toString(),
        nonce: tx.nonce,
        tx,
        raw,
        held: true,
        obsolete: [],
        settle: nobodyAsks,
      };
      try {
        this.pool.add(waiting, nonce, false);
      } catch {
        this.store.release(hash);
      }
    }
    if (this.pool.readyCount > 0) this.wake();
  }

  private wake(): void {
    if (this.working !== null || this.closed) return;
    // From the next turn of the event loop on: what arrived together goes into one block.
    this.working = nextTurn()
      .then(() => this.emptyPool())
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.working = null;
        if (this.pool.readyCount > 0) this.wake();
        else this.scheduleFollower();
      });
  }

  private async emptyPool(): Promise<void> {
    while (this.pool.readyCount > 0 && !this.closed && this.broken === null) {
      await this.makeBlock(this.pool.take(MAX_BLOCK_TRANSACTIONS));
      await nextTurn();
    }
  }

  private scheduleFollower(): void {
    const { followMs } = this.options;
    if (followMs === null || this.closed || this.broken !== null || this.headBlock.transactions.length === 0) return;
    if (this.follow !== null) clearTimeout(this.follow);
    this.follow = setTimeout(() => {
      this.follow = null;
      if (this.working !== null || this.closed) return;
      this.working = this.makeBlock([])
        .catch((error: unknown) => this.fail(error))
        .finally(() => {
          this.working = null;
          if (this.pool.readyCount > 0) this.wake();
        });
    }, followMs);
    this.follow.unref();
  }

  /** Nothing more is accepted: the state in memory may not be the one stored. */
  private fail(error: unknown): void {
    this.broken = refused('the chain stopped after a storage or execution fault; restart it');
    this.broken.cause = error;
    for (const waiting of this.pool.clear()) waiting.settle(this.broken);
  }

  private async makeBlock(batch: Waiting[]): Promise<void> {
    const header = openHeader(this.headBlock, this.nextTimestamp(), this.options.random(32));
    const environment = blockEnvironment(header, this.common);
    const executed: (Executed & { readonly waiting: Waiting })[] = [];
    const refusals: { readonly waiting: Waiting; readonly error: Error }[] = [];
    let gasUsed = 0n;
    const { vm, state, nodes } = this.machine;
    await vm.evm.journal.checkpoint();
    try {
      for (const [position, waiting] of batch.entries()) {
        if (waiting.tx.gasLimit > BLOCK_GAS_LIMIT - gasUsed) {
          this.pool.putBack(batch.slice(position));
          break;
        }
        try {
          const result = await runNext(this.machine, environment, waiting.tx, gasUsed);
          gasUsed += result.totalGasSpent;
          executed.push({ tx: waiting.tx, result, waiting });
        } catch (error) {
          refusals.push({ waiting, error: translateRefusal(error, waiting.tx, await state.getAccount(waiting.tx.getSenderAddress())) });
        }
      }
    } finally {
      await vm.evm.journal.commit();
    }
    if (executed.length > 0 || batch.length === 0) {
      const stateRoot = await state.getStateRoot();
      const block = await sealBlock(header, executed, stateRoot, this.common);
      const records = recordsOf(block, executed);
      this.store.append({
        block: storedBlock(block),
        ...records,
        nodes: nodes.takeReachable(stateRoot),
        released: executed.flatMap(({ waiting }) => keptFor(waiting)),
      });
      this.headBlock = block;
      // Back to what is stored: superseded nodes were not kept, so nothing in memory may point to them.
      await state.setStateRoot(stateRoot, true);
      for (const { waiting } of executed) {
        this.pool.done(waiting);
        waiting.settle(null);
      }
    } else {
      nodes.discard();
      await state.setStateRoot(this.headBlock.header.stateRoot, true);
    }
    for (const { waiting, error } of refusals) await this.refuse(waiting, error);
  }

  private async refuse(waiting: Waiting, error: Error): Promise<void> {
    const { nonce } = await this.account(waiting.tx.getSenderAddress().bytes);
    for (const hash of keptFor(waiting)) this.store.release(hash);
    waiting.settle(error);
    for (const dropped of this.pool.drop(waiting, nonce)) {
      for (const hash of keptFor(dropped)) this.store.release(hash);
      dropped.settle(refused(`nonce too high: next nonce ${nonce}, tx nonce ${dropped.nonce}; an earlier transaction was dropped`));
    }
  }
}

/** A transaction of the last run: its sender was answered then. */
const nobodyAsks = (): void => undefined;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
