import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { indexRange, RandomStream, threefry2x32 } from '../src/index.ts';

const words = (stream: RandomStream) => [stream.next(), stream.next(), stream.next()];

const first = (...parts: ConstructorParameters<typeof RandomStream>) => new RandomStream(...parts).next();

test('threefry-2x32-20 gives the known answers of Random123', () => {
  expect(threefry2x32(0, 0, 0, 0)).toEqual([0x6b200159, 0x99ba4efe]);
  expect(threefry2x32(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff)).toEqual([0x1cb996fc, 0xbb002be7]);
  expect(threefry2x32(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3)).toEqual([0xc4923a9c, 0x483df7a0]);
});

test('a stream is pinned by its seed and labels', () => {
  expect(words(new RandomStream(7, 'test', 1))).toMatchInlineSnapshot(`
    [
      3101599002,
      800960132,
      4176305158,
    ]
  `);
  expect(words(new RandomStream(new Uint8Array(32).fill(9), 'test'))).toMatchInlineSnapshot(`
    [
      2798239601,
      1328706674,
      2172880388,
    ]
  `);
});

test('a seed, its bytes and every label give different streams', () => {
  const all = [first(7), first(8), first(Uint8Array.of(7)), first(7, 0), first(7, '0'), first(7, 'a', 'b'), first(7, 'ab')];
  expect(new Set(all).size).toBe(all.length);
});

test('bounded draws stay below the bound for every bound up to 2⁵³ − 1', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.oneof(
        fc.integer({ min: 1, max: 50 }),
        fc.maxSafeNat().map((n) => Math.max(1, n)),
      ),
      (seed, bound) => {
        const stream = new RandomStream(seed);
        for (let i = 0; i < 20; i++) {
          const drawn = stream.below(bound);
          if (!(Number.isSafeInteger(drawn) && drawn >= 0 && drawn < bound)) return false;
        }
        return true;
      },
    ),
  );
  expect(() => new RandomStream(1).below(0)).toThrow();
  expect(() => new RandomStream(1).below(2 ** 53)).toThrow();
});

test('bounded draws are spread evenly, narrow and wide', () => {
  for (const scale of [1, 2 ** 40]) {
    const stream = new RandomStream(3, 'even');
    const counts = Array.from({ length: 6 }, () => 0);
    for (let i = 0; i < 60_000; i++) counts[Math.floor(stream.below(6 * scale) / scale)]! += 1;
    const chiSquared = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquared).toBeLessThan(20.5); // 5 degrees of freedom: passed by 99.9 % of seeds, and this seed is fixed
  }
});

test('a shuffle is a permutation and every order of three is equally frequent', () => {
  expect([...new RandomStream(1).shuffle(indexRange(1000))].sort((a, b) => a - b)).toEqual([...indexRange(1000)]);
  const stream = new RandomStream(5);
  const counts = new Map<string, number>();
  for (let i = 0; i < 12_000; i++) {
    const order = stream.shuffle(indexRange(3)).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(6);
  for (const count of counts.values()) expect(Math.abs(count - 2000)).toBeLessThan(160);
});
