/**
 * SHA-256 for everything with a content id, and keccak-256 where the EVM recomputes.
 *
 * The default is portable JavaScript. A platform that has a faster SHA-256 installs it once at start
 * (`installSha256`), after which every caller uses it; the result is the same by the check made there.
 */
import { sha256 as portableSha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { MusterError } from './errors.ts';
import { bytesToHex } from './ids.ts';

export type Sha256 = (bytes: Uint8Array) => Uint8Array;

let current: Sha256 = portableSha256;

/** SHA-256 of `bytes`, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return current(bytes);
}

/** keccak-256 of `bytes`, 32 bytes. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  return keccak_256(bytes);
}

/** Uses `implementation` from now on. Throws INTERNAL if it does not agree with the portable one. */
export function installSha256(implementation: Sha256): void {
  for (const length of [0, 1, 55, 56, 64, 1025]) {
    const probe = Uint8Array.from({ length }, (_, i) => (i * 31 + 7) & 0xff);
    if (bytesToHex(implementation(probe)) !== bytesToHex(portableSha256(probe))) {
      throw new MusterError('INTERNAL', `the SHA-256 offered is wrong for ${length} bytes`);
    }
  }
  current = implementation;
}
