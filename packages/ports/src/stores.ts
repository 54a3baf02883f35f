/**
 * Storage ports: content-addressed blocks and an append-only event log.
 */
import type { CidText, Codec } from '@muster/protocol';

/** Blocks by content id. An implementation never returns bytes that do not hash to their id (STORE_DAMAGED). */
export interface BlobStore {
  /** Stores `bytes` durably and returns their id; storing again is free. */
  put(bytes: Uint8Array, codec: Codec): Promise<CidText>;
  /** The bytes, or null where this store does not hold them. Throws STORE_DAMAGED. */
  get(cid: CidText): Promise<Uint8Array | null>;
  has(cid: CidText): Promise<boolean>;
}

/** One entry: `sequence` counts from 1 within its stream without gaps. */
export interface LogEntry {
  readonly stream: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** Canonical DAG-CBOR of the event. */
  readonly bytes: Uint8Array;
}

/** Append-only log of byte strings in named streams. An append that returned survives kill -9 and power loss. */
export interface EventLog {
  /** Appends in order, all or none, and returns the last sequence of the stream. */
  append(stream: string, timeMs: number, entries: readonly Uint8Array[]): Promise<number>;
  /** Entries with `sequence > after`, ascending. */
  read(stream: string, after: number, limit: number): Promise<readonly LogEntry[]>;
  streams(): Promise<readonly string[]>;
}

/** Remembers request nonces so that none is accepted twice, also after a restart. */
export interface NonceStore {
  /** True the first time for `(node, nonce)`, false ever after; entries issued before `forgetBeforeMs` may be dropped. */
  claim(node: string, nonce: string, issuedAtMs: number, forgetBeforeMs: number): Promise<boolean>;
}
