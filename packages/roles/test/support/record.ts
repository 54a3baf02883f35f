/**
 * The chain's record as it is now, held in memory: a reader that answers events without asking the chain, and can be told to
 * answer others.
 */
import type { ChainEvent, ChainReader } from '@muster/ports';

export interface HeldRecord {
  readonly events: readonly ChainEvent[];
  /** A reader of `events`; everything else it asks the chain. */
  serving(events: readonly ChainEvent[]): ChainReader;
}

export async function holdRecord(chain: ChainReader): Promise<HeldRecord> {
  const head = await chain.head();
  const held = await chain.events(0, head.block);
  return {
    events: held,
    serving: (events) => ({
      info: chain.info,
      head: async () => head,
      events: async (from, to = head.block) => events.filter(({ block }) => block >= from && block <= to),
      node: (node) => chain.node(node),
      job: (job) => chain.job(job),
      beacon: (job, round) => chain.beacon(job, round),
      balance: (account) => chain.balance(account),
      credit: (account) => chain.credit(account),
      watch: () => undefined,
    }),
  };
}
