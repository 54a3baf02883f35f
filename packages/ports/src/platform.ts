/**
 * What the platform gives: time, randomness, a node's signing key.
 */
import type { NodeId } from '@muster/protocol';

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
}

export interface Entropy {
  bytes(length: number): Uint8Array;
}

/** A node's Ed25519 key. */
export interface NodeKey {
  readonly node: NodeId;
  /** Signature of 64 bytes over `message`. */
  sign(message: Uint8Array): Uint8Array;
  /** A 32-byte secret bound to this key and `label`; the same every time. Salts come from here, so a restart loses nothing. */
  derive(label: string): Uint8Array;
}

/** Whether `signature` is `node`'s Ed25519 signature over `message`. */
export type VerifySignature = (node: NodeId, message: Uint8Array, signature: Uint8Array) => boolean;
