/** Random numbers and tensors for `random-program.ts`: tame ones, edge values, infinities, indices in and out of range. */
import type { Tensor, TensorType } from './program.ts';
import { at, zeros } from './reference/layout.ts';
import { floatOf } from './reference/math.ts';

/** Small integer generator (xorshift32 on a mixed seed); equal on every machine. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed | 0, 0x9e3779b1) ^ 0x5bd1e995) | 0 || 1;
    for (let i = 0; i < 4; i++) this.bits();
  }

  /** 32 bits, unsigned. */
  bits(): number {
    let s = this.#state;
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    this.#state = s;
    return s >>> 0;
  }

  /** An integer from 0 to `end` − 1. */
  below(end: number): number {
    return this.bits() % end;
  }

  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(options: readonly T[]): T {
    return at(options, this.below(options.length));
  }

  shuffled<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [result[i], result[j]] = [at(result, j), at(result, i)];
    }
    return result;
  }
}

/** Extents of axes, around the widths at which vector code changes its path. */
export const extents = [1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65];
const floatSpecials = [
  0,
  -0,
  floatOf(1), // smallest subnormal
  -floatOf(1),
  floatOf(0x007fffff), // largest subnormal
  -floatOf(0x00012345),
  floatOf(0x00800000), // smallest normal
  floatOf(0x7f7fffff), // largest finite
  -floatOf(0x7f7fffff),
  1,
  -1,
  0.5,
  2.5,
  -2.5,
  16777217,
  floatOf(0x3f7fffff),
  floatOf(0x4effffff), // just below 2³¹
  floatOf(0xcf000000 | 0), // −2³¹
  floatOf(0x4f800000), // 2³²
  88.7,
  -103.9,
  49999,
];
const integerSpecials = [0, 1, -1, 2, 31, 32, 33, 0x7fffffff, -0x80000000, 0x10000, -7];

/** How a fresh float tensor is filled. */
export type Mood = 'tame' | 'positive' | 'special' | 'infinite';

function floatValue(dice: Dice, mood: Mood): number {
  if (mood !== 'tame' && mood !== 'positive') {
    if (mood === 'infinite' && dice.chance(10)) return dice.chance(50) ? Infinity : -Infinity;
    if (dice.chance(50)) return dice.pick(floatSpecials);
    const value = floatOf(dice.bits() | 0);
    return Number.isFinite(value) ? value : -0;
  }
  const value = Math.fround(((dice.bits() >>> 8) / 2 ** 24) * 8 - 4);
  if (mood === 'positive') return Math.abs(value) + floatOf(0x3a83126f);
  return dice.chance(4) ? dice.pick([0, -0, 1, -1]) : value;
}

/** A tensor of `type`; integers are indices around 0 … `indexExtent` − 1 if that is given. */
export function fill(dice: Dice, type: TensorType, mood: Mood, indexExtent?: number): Tensor {
  const data = zeros(type);
  for (let i = 0; i < data.length; i++) {
    if (type.dtype === 'float32') data[i] = floatValue(dice, mood);
    else if (type.dtype === 'bool') data[i] = dice.below(2);
    else if (indexExtent !== undefined)
      data[i] = dice.chance(90) ? dice.below(Math.max(indexExtent, 1)) : dice.between(-2 * indexExtent - 2, 2 * indexExtent + 2);
    else
      data[i] =
        mood === 'tame' || mood === 'positive'
          ? dice.between(type.dtype === 'int32' && mood === 'tame' ? -100 : 1, 100)
          : dice.chance(50)
            ? dice.pick(integerSpecials)
            : dice.bits();
  }
  return { ...type, data };
}
