/**
 * Reproducible random integers: threefry-2x32 with 20 rounds in counter mode.
 *
 * A stream is named by a seed and labels, so that every use (a shard, an epoch, a picture) has its own and any of them can be
 * recomputed alone. Integers only: no engine-dependent `Math` function is on the way. Not a source of secrets: the key has
 * 64 bits. Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011).
 */
import { encodeCanonical, MusterError, sha256 } from '@muster/protocol';

/** Bytes (a beacon, a job seed) or a safe integer. The number 7 and the byte 7 are different seeds. */
export type Seed = Uint8Array | number;

const rotationsEven = [13, 15, 26, 6] as const;
const rotationsOdd = [17, 29, 16, 24] as const;
const parity = 0x1bd11bda;
const domain = 'muster/data/random/1';

/** The two output words of threefry-2x32-20 for key (k0, k1) and counter (c0, c1), all uint32. */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): readonly [number, number] {
  const keys = [k0, k1, k0 ^ k1 ^ parity] as const;
  let x0 = (c0 + k0) >>> 0;
  let x1 = (c1 + k1) >>> 0;
  for (let group = 0; group < 5; group++) {
    for (const rotation of group % 2 === 0 ? rotationsEven : rotationsOdd) {
      x0 = (x0 + x1) >>> 0;
      x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) ^ x0;
    }
    x0 = (x0 + (keys[((group + 1) % 3) as 0 | 1 | 2] >>> 0)) >>> 0;
    x1 = (x1 + (keys[((group + 2) % 3) as 0 | 1 | 2] >>> 0) + group + 1) >>> 0;
  }
  return [x0, x1];
}

/**
 * The stream named by `seed` and `labels`: key = first 8 bytes, as two little-endian words, of
 * SHA-256(canonical [domain, seed, ...labels]); word i of the stream is word i mod 2 of block ⌊i / 2⌋.
 */
export class RandomStream {
  readonly #k0: number;
  readonly #k1: number;
  #block = 0;
  #spare: number | null = null;

  constructor(seed: Seed, ...labels: readonly (string | number)[]) {
    const digest = sha256(encodeCanonical([domain, seed, ...labels]));
    const view = new DataView(digest.buffer, digest.byteOffset, 8);
    this.#k0 = view.getUint32(0, true);
    this.#k1 = view.getUint32(4, true);
  }

  /** The next uint32. */
  next(): number {
    if (this.#spare !== null) {
      const word = this.#spare;
      this.#spare = null;
      return word;
    }
    const block = this.#block++;
    const [first, second] = threefry2x32(this.#k0, this.#k1, block >>> 0, Math.floor(block / 0x1_0000_0000));
    this.#spare = second;
    return first;
  }

  /** An unbiased integer in [0, bound), bound from 1 to 2⁵³ − 1. Rejection: every draw takes one word, two if bound > 2³². */
  below(bound: number): number {
    if (!Number.isSafeInteger(bound) || bound < 1) throw new MusterError('INTERNAL', `no integer below ${bound}`);
    const wide = bound > 0x1_0000_0000;
    const range = wide ? 0x20_0000_0000_0000 : 0x1_0000_0000;
    const limit = range - (range % bound);
    for (;;) {
      const word = this.next();
      const drawn = wide ? (word >>> 11) * 0x1_0000_0000 + this.next() : word;
      if (drawn < limit) return drawn % bound;
    }
  }

  /** Shuffles `values` in place (Fisher–Yates from the end: for i = n − 1 … 1 swaps i with `below(i + 1)`). */
  shuffle(values: Uint32Array): Uint32Array {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const held = values[i] ?? 0;
      values[i] = values[j] ?? 0;
      values[j] = held;
    }
    return values;
  }
}

/** 0, 1 … count − 1. */
export function indexRange(count: number): Uint32Array {
  const indices = new Uint32Array(count);
  for (let i = 0; i < count; i++) indices[i] = i;
  return indices;
}
