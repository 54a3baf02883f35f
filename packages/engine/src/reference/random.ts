/** Threefry-2x32, 20 rounds, with the counter layout of jax-js. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011. */
import type { ParamsOf, Tensor, TensorData, TensorType } from '../program.ts';
import { at, sizeOf, zeros } from './layout.ts';

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const parity = 0x1bd11bda;

/** The two output words of key (k0, k1) and counter (c0, c1), all uint32. */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const key = [k0, k1, k0 ^ k1 ^ parity];
  let x0 = (c0 + k0) | 0;
  let x1 = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const r = at(rotations, round % 8);
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0;
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      x0 = (x0 + at(key, injection % 3)) | 0;
      x1 = (x1 + at(key, (injection + 1) % 3) + injection) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** Element i of each key's block has the counter (0, i); `mode` 0 or 1 takes that output word, 'xor' both combined. */
export function randomBits(k0: Tensor, k1: Tensor, { mode }: ParamsOf<'random_bits'>, type: TensorType): TensorData {
  const result = zeros(type);
  const block = sizeOf(type.shape.slice(k0.shape.length));
  for (let i = 0; i < result.length; i++) {
    const key = Math.floor(i / block);
    const words = threefry2x32(at(k0.data, key), at(k1.data, key), 0, i % block);
    result[i] = mode === 'xor' ? (words[0] ^ words[1]) >>> 0 : words[mode];
  }
  return result;
}
