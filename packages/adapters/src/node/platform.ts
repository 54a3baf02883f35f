/**
 * Time, randomness and fast hashing from Node.
 */
import { hash, randomBytes } from 'node:crypto';
import { createTreeHasher, installTreeHasher, wasmExecutor } from '@muster/engine';
import type { Clock, Entropy } from '@muster/ports';
import { installSha256 } from '@muster/protocol';
import { createNativeExecutor, nativeKernels } from '../compute/native.ts';

export const systemClock: Clock = { now: () => Date.now() };

export const systemEntropy: Entropy = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** SHA-256 of `bytes` by `node:crypto`, 32 bytes. */
export function nodeSha256(bytes: Uint8Array): Uint8Array {
  const digest = hash('sha256', bytes, 'buffer');
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength);
}

/** Made when it is first needed: many commands hash nothing large. */
let treeHasher: ReturnType<typeof createTreeHasher> | undefined;

/**
 * Makes the protocol's SHA-256 use `node:crypto` (about ten times faster) in this process, and the roots of tensors the kernels, native
 * ones where they are: 2.6 GB/s beside 0.6 in WebAssembly and 0.4 leaf by leaf.
 */
export function installFastSha256(): void {
  installSha256(nodeSha256);
  installTreeHasher((bytes) => {
    treeHasher ??= createTreeHasher((nativeKernels().available ? createNativeExecutor({ threads: 1 }) : wasmExecutor).backend);
    return treeHasher(bytes);
  });
}
