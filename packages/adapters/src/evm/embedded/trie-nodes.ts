/**
 * Trie nodes and contract code by hash, as ethereumjs asks for them: what has been written since the last take, over what is
 * committed.
 *
 * Nodes are named by their hash, so a view can never see a wrong value: at worst a missing one. Not thread-shared and not durable by
 * itself: the store writes what `takeReachable` returns inside the block's transaction.
 */
import { RLP } from '@ethereumjs/rlp';
import type { BatchDBOp, DB } from '@ethereumjs/util';

/** Hexadecimal of the contract-code key prefix that ethereumjs uses (`c`). */
export const CODE_PREFIX = '63';

export type ReadNode = (key: string) => Uint8Array | undefined;

export class TrieNodes implements DB<string> {
  private readonly committed: ReadNode;
  private written = new Map<string, Uint8Array>();

  /** @param committed reads a node from the durable store by unprefixed hexadecimal key */
  constructor(committed: ReadNode) {
    this.committed = committed;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.written.get(key) ?? this.committed(key));
  }

  put(key: string, value: Uint8Array): Promise<void> {
    this.written.set(key, value);
    return Promise.resolve();
  }

  /** Nodes stay: other roots may hold them. */
  del(): Promise<void> {
    return Promise.resolve();
  }

  batch(operations: BatchDBOp<string>[]): Promise<void> {
    for (const operation of operations) if (operation.type === 'put') this.written.set(operation.key, operation.value);
    return Promise.resolve();
  }

  shallowCopy(): DB<string> {
    return this;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * The written nodes that `root` reaches, and forgets all written ones. Updating key after key leaves a trail of superseded nodes;
   * only the last of them are part of the new state.
   */
  takeReachable(root: Uint8Array): Map<string, Uint8Array> {
    const reachable = new Map<string, Uint8Array>();
    this.visit(Buffer.from(root).toString('hex'), true, reachable);
    this.written = new Map();
    return reachable;
  }

  discard(): void {
    this.written = new Map();
  }

  private visit(key: string, accounts: boolean, reachable: Map<string, Uint8Array>): void {
    if (reachable.has(key)) return;
    const value = this.written.get(key);
    if (value === undefined) return; // Committed before, and with it everything below.
    reachable.set(key, value);
    this.visitNode(RLP.decode(value), accounts, reachable);
  }

  /** A branch has 17 items; a leaf or extension has 2, told apart by the flag in the first nibble of its path. */
  private visitNode(node: Uint8Array | readonly unknown[], accounts: boolean, reachable: Map<string, Uint8Array>): void {
    if (node instanceof Uint8Array) {
      if (node.length === 32) this.visit(Buffer.from(node).toString('hex'), accounts, reachable);
      return;
    }
    if (node.length === 17) {
      for (const child of node.slice(0, 16)) this.visitNode(child as Uint8Array | readonly unknown[], accounts, reachable);
      return;
    }
    const [path, payload] = node as [Uint8Array, Uint8Array | readonly unknown[]];
    const isLeaf = ((path[0] ?? 0) & 0x20) !== 0;
    if (!isLeaf) {
      this.visitNode(payload, accounts, reachable);
      return;
    }
    if (!accounts || !(payload instanceof Uint8Array)) return;
    const account = RLP.decode(payload) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    this.visit(Buffer.from(account[2]).toString('hex'), false, reachable);
    const codeKey = CODE_PREFIX + Buffer.from(account[3]).toString('hex');
    const code = this.written.get(codeKey);
    if (code !== undefined) reachable.set(codeKey, code);
  }
}
