/**
 * A chain that takes blocks back: each new transaction's block is dropped a given number of times as soon as its sender has seen it.
 *
 * Blocks are made by asking for the head, so that a sender that waits for confirmations gets them without a clock.
 */
import { custom, type Hex, keccak256, type Transport } from 'viem';

type Request = (method: string, params?: readonly unknown[]) => Promise<unknown>;

export interface ReorganisingChain {
  readonly transport: Transport;
  /** Times that a block with a transaction in it was taken back. */
  dropped(): number;
  /** Times that each raw transaction was sent, by hash. */
  readonly sends: ReadonlyMap<Hex, number>;
}

export interface ReorganisingOptions {
  readonly request: Request;
  readonly mine: () => Promise<unknown>;
  /** Called before a transaction is first sent; what it returns takes the chain back to this moment. */
  readonly mark: () => Promise<() => Promise<unknown>>;
  /** How often the block of the transaction number `index` is taken back. */
  readonly drops: (index: number) => number;
  /** Called with the number of a drop right after it, before anybody can ask anything. */
  readonly afterDrop?: (drop: number) => Promise<unknown>;
}

export function reorganising({ request, mine, mark, drops, afterDrop }: ReorganisingOptions): ReorganisingChain {
  const sends = new Map<Hex, number>();
  const left = new Map<Hex, number>();
  const marks = new Map<Hex, () => Promise<unknown>>();
  let dropped = 0;
  const answer = async (method: string, params: readonly unknown[]): Promise<unknown> => {
    if (method === 'eth_sendRawTransaction') {
      const hash = keccak256(params[0] as Hex);
      if (!sends.has(hash)) left.set(hash, drops(sends.size));
      sends.set(hash, (sends.get(hash) ?? 0) + 1);
      if ((left.get(hash) ?? 0) > 0) marks.set(hash, await mark());
    }
    if (method === 'eth_blockNumber') await mine();
    const found = await request(method, params);
    if (method !== 'eth_getTransactionReceipt' || found === null) return found;
    const hash = params[0] as Hex;
    const rest = left.get(hash) ?? 0;
    if (rest === 0) return found;
    left.set(hash, rest - 1);
    dropped++;
    await marks.get(hash)?.();
    await afterDrop?.(dropped);
    // The receipt of a block that is gone by the time it is read.
    return found;
  };
  // One after the other, since a mark and what follows belong together.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = ({ method, params }: { method: string; params?: readonly unknown[] }): Promise<unknown> => {
    const answered = last.then(() => answer(method, params ?? []));
    last = answered.catch(() => undefined);
    return answered;
  };
  return { transport: custom({ request: inTurn }, { retryCount: 0 }), dropped: () => dropped, sends };
}
