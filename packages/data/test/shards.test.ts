import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SplitSpec, splitSchema } from '@muster/protocol';
import { indexRange, RandomStream, splitRecords } from '../src/index.ts';
import { errorOf } from './support.ts';

function labels(records: number, classes: number, seed = 1): Int32Array {
  const random = new RandomStream(seed, 'labels');
  return Int32Array.from({ length: records }, () => random.below(classes));
}

const kinds: readonly SplitSpec[] = [
  { kind: 'equal' },
  { kind: 'dirichlet', alpha: 0.1 },
  { kind: 'dirichlet', alpha: 0.001 },
  { kind: 'dirichlet', alpha: 1000 },
  { kind: 'label', shardsPerSlot: 2 },
];

test('every kind divides all records, each once, none empty, the same each time', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.integer({ min: 1, max: 30 }),
      fc.integer({ min: 0, max: 300 }),
      fc.nat(),
      (kind, slots, extra, seed) => {
        const records = 2 * slots + extra;
        const targets = labels(records, 10, seed);
        const shards = splitRecords(kind, targets, records, slots, seed);
        expect(shards).toHaveLength(slots);
        for (const shard of shards) {
          expect(shard.length).toBeGreaterThan(0);
          expect(shard).toEqual(shard.slice().sort());
        }
        expect(Uint32Array.from(shards.flatMap((shard) => [...shard])).sort()).toEqual(indexRange(records));
        expect(splitRecords(kind, targets, records, slots, seed)).toEqual(shards);
      },
    ),
  );
});

test('equal shards differ by at most one record and need no targets', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 500 }), fc.nat(), (slots, extra, seed) => {
      const sizes = splitRecords({ kind: 'equal' }, null, slots + extra, slots, seed).map((shard) => shard.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }),
  );
});

test('shards are pinned', () => {
  const targets = labels(12, 3);
  const shown = (kind: SplitSpec) => splitRecords(kind, targets, 12, 3, 42).map((shard) => shard.join(' '));
  expect(shown({ kind: 'equal' })).toMatchInlineSnapshot(`
    [
      "4 5 6 7",
      "0 3 8 10",
      "1 2 9 11",
    ]
  `);
  expect(shown({ kind: 'dirichlet', alpha: 0.5 })).toMatchInlineSnapshot(`
    [
      "0 2 3 6 7 9 10",
      "4",
      "1 5 8 11",
    ]
  `);
  expect(shown({ kind: 'label', shardsPerSlot: 2 })).toMatchInlineSnapshot(`
    [
      "4 7 9 10",
      "1 2 3 8",
      "0 5 6 11",
    ]
  `);
  expect(shown({ kind: 'class' })).toMatchInlineSnapshot(`
    [
      "0 2 3 11",
      "5 6 9",
      "1 4 7 8 10",
    ]
  `);
});

test('another seed gives other shards', () => {
  expect(splitRecords({ kind: 'equal' }, null, 100, 2, 1)).not.toEqual(splitRecords({ kind: 'equal' }, null, 100, 2, 2));
});

/** Mean over seeds of the squared share of one slot in one class. */
function secondMoment(alpha: number, slots: number, records: number, seeds: number): number {
  let sum = 0;
  const targets = new Int32Array(records);
  for (let seed = 0; seed < seeds; seed++) {
    const share = splitRecords({ kind: 'dirichlet', alpha }, targets, records, slots, seed)[0]!.length / records;
    sum += share * share;
  }
  return sum / seeds;
}

describe('the Dirichlet split', () => {
  test('has the variance of the Dirichlet-multinomial law', () => {
    const slots = 4;
    const records = 200;
    for (const alpha of [0.5, 1, 10]) {
      const total = slots * alpha;
      const mean = 1 / slots;
      const variance = ((mean * (1 - mean)) / records) * ((records + total) / (1 + total));
      const measured = secondMoment(alpha, slots, records, 600);
      expect(Math.abs(measured / (mean * mean + variance) - 1)).toBeLessThan(0.15); // 600 draws: about 3 standard errors at alpha 0.5
    }
  });

  test('is skewed for small alpha and level for large', () => {
    const targets = labels(5000, 10);
    const largestClassShare = (alpha: number) => {
      const shards = splitRecords({ kind: 'dirichlet', alpha }, targets, 5000, 10, 3);
      const shares = shards.map((shard) => {
        const counts = Array.from({ length: 10 }, () => 0);
        for (const record of shard) counts[targets[record]!]! += 1;
        return Math.max(...counts) / shard.length;
      });
      return shares.reduce((sum, share) => sum + share, 0) / shares.length;
    };
    expect(largestClassShare(0.05)).toBeGreaterThan(0.6);
    expect(largestClassShare(100)).toBeLessThan(0.2);
  });

  test('leaves no slot empty even where the urn gives one everything', () => {
    const sizes = splitRecords({ kind: 'dirichlet', alpha: 0.001 }, new Int32Array(50), 50, 50, 1).map((shard) => shard.length);
    expect(sizes).toEqual(Array.from({ length: 50 }, () => 1));
  });
});

test('label shards hold few classes and class shards whole ones', () => {
  const targets = labels(2000, 10);
  for (const shard of splitRecords({ kind: 'label', shardsPerSlot: 2 }, targets, 2000, 10, 1)) {
    expect(new Set([...shard].map((record) => targets[record])).size).toBeLessThanOrEqual(4);
  }
  const seen = splitRecords({ kind: 'class' }, targets, 2000, 4, 1).map((shard) => new Set([...shard].map((record) => targets[record]!)));
  expect(seen.map((classes) => classes.size).sort((a, b) => a - b)).toEqual([2, 2, 3, 3]);
  expect(new Set(seen.flatMap((classes) => [...classes])).size).toBe(10);
});

test('what cannot be divided is a coded error', () => {
  expect(errorOf(() => splitRecords({ kind: 'equal' }, null, 3, 4, 1)).code).toBe('DATA_MALFORMED');
  expect(errorOf(() => splitRecords({ kind: 'label', shardsPerSlot: 3 }, labels(8, 2), 8, 4, 1)).code).toBe('DATA_MALFORMED');
  expect(errorOf(() => splitRecords({ kind: 'class' }, labels(50, 2), 50, 4, 1)).code).toBe('DATA_MALFORMED');
  expect(errorOf(() => splitRecords({ kind: 'class' }, null, 50, 4, 1)).code).toBe('DATA_UNLABELLED');
  expect(errorOf(() => splitRecords({ kind: 'class' }, labels(49, 2), 50, 4, 1)).code).toBe('FIELD_INVALID');
  expect(errorOf(() => splitRecords({ kind: 'equal' }, null, 3, 0, 1)).code).toBe('FIELD_INVALID');
  expect(errorOf(() => splitRecords({ kind: 'dirichlet', alpha: 0.0005 }, labels(9, 2), 9, 2, 1)).code).toBe('FIELD_INVALID');
  expect(errorOf(() => splitRecords({ kind: 'dirichlet', alpha: 0.1234 }, labels(9, 2), 9, 2, 1)).code).toBe('FIELD_INVALID');
});

test('every alpha of three decimals is accepted', () => {
  for (let thousandths = 1; thousandths <= 3000; thousandths++) {
    expect(splitSchema({ kind: 'dirichlet', alpha: Number((thousandths / 1000).toFixed(3)) }, 'split').kind).toBe('dirichlet');
  }
});

test('a hundred thousand records are divided among a thousand slots quickly', () => {
  const shards = splitRecords({ kind: 'dirichlet', alpha: 0.3 }, labels(100_000, 10), 100_000, 1000, 1);
  expect(shards.reduce((sum, shard) => sum + shard.length, 0)).toBe(100_000);
});
