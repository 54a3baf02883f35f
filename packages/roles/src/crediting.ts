/**
 * A node has its paid work counted on chain: to its reputation, and no longer to what its stake is exposed to. Nothing is paid here.
 */
import type { ChainWriter, NodeKey } from '@muster/ports';
import type { ChainHistory } from './history.ts';
import type { Report } from './link.ts';

/** One transaction is worth it from this many slots on. */
const worthIt = 16;
/** And takes at most this many. */
const mostAtOnce = 64;

export interface CreditingOptions {
  readonly chain: ChainWriter;
  readonly key: NodeKey;
  readonly report: Report;
}

/**
 * Sends `creditNodes` where there is enough to count, or anything at all with `now`. False where nothing was sent. Throws as
 * `ChainWriter.send`.
 */
export async function creditOwnWork({ chain, key, report }: CreditingOptions, history: ChainHistory, now: boolean): Promise<boolean> {
  const waiting = [...(history.uncredited.get(key.node)?.values() ?? [])];
  if (waiting.length === 0 || (!now && waiting.length < worthIt)) return false;
  const places = waiting.slice(0, mostAtOnce);
  await chain.send({ call: 'creditNodes', places });
  report('node.credited', { node: key.node, slots: places.length });
  return true;
}
