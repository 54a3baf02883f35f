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
    serving: (events) =>
      new Proxy(chain, {
        get(target, name) {
          if (name === 'head') return async () => head;
          if (name === 'events') return async (from: number, to = head.block) => events.filter(({ block }) => block >= from && block <= to);
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (...given: unknown[]): unknown => Reflect.apply(value, target, given) as unknown : value;
        },
      }),
  };
}
