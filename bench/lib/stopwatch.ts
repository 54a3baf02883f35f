/**
 * What a node of a network in one process costs: how long it computed, what it sent to and took from the store, what it asked the
 * chain. All wrappers; what they wrap behaves as before.
 */
import type { BlobStore } from '../../packages/ports/src/index.ts';
import type { EmbeddedChain } from '../../packages/adapters/src/index.ts';
import { createScheduler, type WakeableScheduler } from '../../apps/cli/src/runtime.ts';

/** A scheduler that adds up how long its role worked between two looks at the clock without letting anybody else in. */
export interface Stopwatch extends WakeableScheduler {
  /** Milliseconds of computing so far. */
  computed(): number;
}

/** Ends the interval of whoever looked last. One thread runs all roles, so one interval is open at a time. */
let endInterval: (at: number) => void = () => undefined;

/**
 * Roles look at the clock before and after every slice of a long computation (`drive`), so the time between two looks in the same
 * turn of the event loop is computing, up to a look of another role between them. A look in a later turn starts anew. Everything a
 * task takes counts: drawing batches, training steps, state digests, the update and its encoding; reading the base from the store
 * and sending the result do not.
 */
export function stopwatch(): Stopwatch {
  const scheduler = createScheduler();
  let total = 0;
  let begun: number | null = null;
  let ended: number | null = null;
  const end = (at: number): void => {
    ended ??= at;
  };
  const forget = (): void => {
    begun = null;
  };
  return {
    ...scheduler,
    now() {
      const look = performance.now();
      endInterval(look);
      if (begun === null) setImmediate(forget);
      else total += (ended ?? look) - begun;
      begun = look;
      ended = null;
      endInterval = end;
      return scheduler.now();
    },
    breathe() {
      begun = null;
      return scheduler.breathe();
    },
    computed: () => total,
  };
}

/** Bytes and requests of one node at the store. */
export interface Traffic {
  uploadedBytes: number;
  downloadedBytes: number;
  puts: number;
  gets: number;
  has: number;
}

export const noTraffic = (): Traffic => ({ uploadedBytes: 0, downloadedBytes: 0, puts: 0, gets: 0, has: 0 });

/** `store`, counting into `traffic` the bytes of the blocks themselves, without framing, headers or signatures. */
export function counted(store: BlobStore, traffic: Traffic): BlobStore {
  return {
    put(bytes, codec) {
      traffic.puts++;
      traffic.uploadedBytes += bytes.length;
      return store.put(bytes, codec);
    },
    async get(cid) {
      traffic.gets++;
      const bytes = await store.get(cid);
      traffic.downloadedBytes += bytes?.length ?? 0;
      return bytes;
    },
    has(cid) {
      traffic.has++;
      return store.has(cid);
    },
  };
}

/** `chain`, counting its requests into `calls` by method. */
export function countedChain(chain: EmbeddedChain, calls: Map<string, number>): EmbeddedChain {
  return {
    chainId: chain.chainId,
    request(call) {
      calls.set(call.method, (calls.get(call.method) ?? 0) + 1);
      return chain.request(call);
    },
    close: () => chain.close(),
  };
}
