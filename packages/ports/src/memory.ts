/**
 * In-memory stores for simulations and tests: the same behaviour as the durable ones, without durability.
 * The suites in `compliance/` hold them and the durable ones to the same contract.
 */
import { cidOfBytes, type CidText, maxObjectBytes, MusterError } from '@muster/protocol';
import type { BlobStore, EventLog, LogEntry, NonceStore } from './stores.ts';

/** A store whose content can be looked through. */
export interface ListedBlobStore extends BlobStore {
  /** Ids held, ascending. */
  list(): Promise<readonly CidText[]>;
  size(): Promise<{ readonly blocks: number; readonly bytes: number }>;
}

/** Blocks in memory, at most 4 MiB each (BYTES_TOO_LARGE). Bytes are copied in and out. */
export function memoryBlobStore(): ListedBlobStore {
  const blocks = new Map<CidText, Uint8Array>();
  return {
    async put(bytes, codec) {
      if (bytes.length > maxObjectBytes) {
        throw new MusterError('BYTES_TOO_LARGE', `a block of ${bytes.length} bytes, at most ${maxObjectBytes}`, { bytes: bytes.length });
      }
      const cid = cidOfBytes(bytes, codec);
      if (!blocks.has(cid)) blocks.set(cid, bytes.slice());
      return cid;
    },
    get: async (cid) => blocks.get(cid)?.slice() ?? null,
    has: async (cid) => blocks.has(cid),
    list: async () => [...blocks.keys()].sort(),
    size: async () => ({ blocks: blocks.size, bytes: [...blocks.values()].reduce((sum, block) => sum + block.length, 0) }),
  };
}

export function memoryEventLog(): EventLog {
  const streams = new Map<string, LogEntry[]>();
  return {
    async append(stream, timeMs, entries) {
      const log = streams.get(stream) ?? [];
      if (entries.length > 0) streams.set(stream, log);
      for (const bytes of entries) log.push({ stream, sequence: log.length + 1, timeMs, bytes: bytes.slice() });
      return log.length;
    },
    read: async (stream, after, limit) =>
      (streams.get(stream) ?? []).slice(after, after + limit).map((entry) => ({ ...entry, bytes: entry.bytes.slice() })),
    streams: async () => [...streams.keys()].sort(),
  };
}

export function memoryNonceStore(): NonceStore {
  const issued = new Map<string, number>();
  let forgottenBeforeMs = 0;
  return {
    async claim(node, nonce, issuedAtMs, forgetBeforeMs) {
      // A pass over everything only when the horizon has moved by a second.
      if (forgetBeforeMs >= forgottenBeforeMs + 1000) {
        for (const [key, time] of issued) if (time < forgetBeforeMs) issued.delete(key);
        forgottenBeforeMs = forgetBeforeMs;
      }
      const key = `${node}/${nonce}`;
      if (issued.has(key)) return false;
      issued.set(key, issuedAtMs);
      return true;
    },
  };
}
