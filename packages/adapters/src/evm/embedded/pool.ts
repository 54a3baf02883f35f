/**
 * Transactions that wait: `ready` ones in order of arrival, and per account those whose nonce leaves a gap.
 *
 * A pure data structure of bounded size; it neither executes, stores nor checks balances. Amounts and nonces are bigint.
 */
import type { TypedTransaction } from '@ethereumjs/tx';
import { refused } from './rpc-error.ts';

export interface Waiting {
  readonly hash: string;
  readonly sender: string;
  readonly nonce: bigint;
  readonly tx: TypedTransaction;
  readonly raw: Uint8Array;
  /** Whether the store keeps it, because its sender was told that it is held back. */
  held: boolean;
  /** Held-back transactions that it replaced; the store forgets them only with it, since their sender was answered. */
  readonly obsolete: Uint8Array[];
  /** Called once: with null when it is durably in a block, with the error when it is dropped. */
  readonly settle: (error: Error | null) => void;
}

interface Account {
  /** The nonce after the last ready transaction. */
  next: bigint;
  readonly gapped: Map<bigint, Waiting>;
}

export interface PoolLimits {
  readonly ready: number;
  readonly heldPerAccount: number;
  readonly held: number;
}

export class Pool {
  private readonly limits: PoolLimits;
  private readonly accounts = new Map<string, Account>();
  private readonly byHash = new Map<string, Waiting>();
  private ready: Waiting[] = [];
  private heldCount = 0;

  constructor(limits: PoolLimits) {
    this.limits = limits;
  }

  get readyCount(): number {
    return this.ready.length;
  }

  find(hash: string): Waiting | null {
    return this.byHash.get(hash) ?? null;
  }

  /** The nonce that a new transaction of `sender` should use, if the chain's is `nonce`. */
  nextNonce(sender: string, nonce: bigint): bigint {
    const next = this.accounts.get(sender)?.next;
    return next === undefined || next < nonce ? nonce : next;
  }

  /**
   * Takes a transaction whose sender has the nonce `accountNonce` on chain. Returns whether it is ready or must be held, and the one
   * it replaces. Throws `nonce too low`, `already known`, `replacement transaction underpriced` and, unless `bounded` is false, `txpool is
   * full`.
   */
  add(waiting: Waiting, accountNonce: bigint, bounded = true): { readonly state: 'ready' | 'held'; readonly replaced: Waiting | null } {
    if (waiting.nonce < accountNonce) {
      throw refused(`nonce too low: next nonce ${accountNonce}, tx nonce ${waiting.nonce}`);
    }
    if (this.byHash.has(waiting.hash)) throw refused('already known');
    const account = this.accounts.get(waiting.sender) ?? { next: accountNonce, gapped: new Map<bigint, Waiting>() };
    if (account.next < accountNonce) {
      account.next = accountNonce;
      this.promote(account);
    }
    const place = waiting.nonce < account.next ? this.ready.findIndex((other) => sameSlot(other, waiting)) : -1;
    const before = place >= 0 ? this.ready[place] : account.gapped.get(waiting.nonce);
    if (before !== undefined) {
      if (price(waiting.tx) * 10n < price(before.tx) * 11n) throw refused('replacement transaction underpriced');
    } else if (waiting.nonce < account.next) {
      // Its predecessor is being executed at this moment.
      throw refused(`nonce too low: next nonce ${account.next}, tx nonce ${waiting.nonce}`);
    } else if (waiting.nonce === account.next) {
      if (bounded && this.ready.length >= this.limits.ready) throw refused('txpool is full');
    } else if (bounded && (account.gapped.size >= this.limits.heldPerAccount || this.heldCount >= this.limits.held)) {
      throw refused(`nonce too high: next nonce ${account.next}, tx nonce ${waiting.nonce}, and no more are held back`);
    }

    this.accounts.set(waiting.sender, account);
    this.byHash.set(waiting.hash, waiting);
    if (before !== undefined) {
      this.byHash.delete(before.hash);
      waiting.obsolete.push(...before.obsolete, ...(before.held ? [before.tx.hash()] : []));
    }
    if (place >= 0) {
      this.ready[place] = waiting;
      return { state: 'ready', replaced: before ?? null };
    }
    if (waiting.nonce !== account.next) {
      if (before === undefined) this.heldCount++;
      account.gapped.set(waiting.nonce, waiting);
      return { state: 'held', replaced: before ?? null };
    }
    this.ready.push(waiting);
    account.next++;
    this.promote(account);
    return { state: 'ready', replaced: before ?? null };
  }

  /** Removes up to `most` ready transactions, in order of arrival. They stay findable until `done` or `drop`. */
  take(most: number): Waiting[] {
    return this.ready.splice(0, most);
  }

  /** Puts transactions back at the front: a block had no room for them. */
  putBack(waiting: readonly Waiting[]): void {
    this.ready = [...waiting, ...this.ready];
  }

  /** A taken transaction is in a block. */
  done(waiting: Waiting): void {
    this.byHash.delete(waiting.hash);
    this.forgetIfIdle(waiting.sender);
  }

  /**
   * A taken transaction was refused on execution; its account is at `accountNonce` now. What follows it in `ready` from the same account
   * cannot run: those that the store keeps go back to being held, the others are returned as dropped.
   */
  drop(waiting: Waiting, accountNonce: bigint): Waiting[] {
    this.byHash.delete(waiting.hash);
    const account = this.accounts.get(waiting.sender);
    if (account === undefined) return [];
    account.next = accountNonce;
    const dropped: Waiting[] = [];
    this.ready = this.ready.filter((other) => {
      if (other.sender !== waiting.sender) return true;
      if (other.held && other.nonce > accountNonce) {
        account.gapped.set(other.nonce, other);
        this.heldCount++;
      } else {
        this.byHash.delete(other.hash);
        dropped.push(other);
      }
      return false;
    });
    this.promote(account);
    this.forgetIfIdle(waiting.sender);
    return dropped;
  }

  /** Everything that waits, removed. */
  clear(): Waiting[] {
    const all = [...this.byHash.values()];
    this.accounts.clear();
    this.byHash.clear();
    this.ready = [];
    this.heldCount = 0;
    return all;
  }

  private promote(account: Account): void {
    for (let waiting = account.gapped.get(account.next); waiting !== undefined; waiting = account.gapped.get(account.next)) {
      account.gapped.delete(account.next);
      this.heldCount--;
      this.ready.push(waiting);
      account.next++;
    }
  }

  private forgetIfIdle(sender: string): void {
    const account = this.accounts.get(sender);
    if (account?.gapped.size === 0 && !this.ready.some((other) => other.sender === sender)) this.accounts.delete(sender);
  }
}

const sameSlot = (one: Waiting, other: Waiting): boolean => one.sender === other.sender && one.nonce === other.nonce;
/** What the sender offers per gas. */
export const price = (tx: TypedTransaction): bigint => ('maxFeePerGas' in tx ? tx.maxFeePerGas : tx.gasPrice);

/** Hashes that the store may forget once `waiting` is in a block or refused. */
export const keptFor = (waiting: Waiting): Uint8Array[] => [...waiting.obsolete, ...(waiting.held ? [waiting.tx.hash()] : [])];
