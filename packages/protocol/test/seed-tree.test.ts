import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bytesToHex,
  childSeed,
  coverOf,
  delegate,
  leafCount,
  leafKey,
  leafRange,
  leafSeed,
  leafSeedFromSubtree,
  type SeedTreeShape,
  shapeFor,
} from '../src/index.ts';

const master = Uint8Array.from({ length: 32 }, (_, i) => i);
const shapes = fc.oneof(
  fc.record({ fanout: fc.constant(2), depth: fc.nat(10) }),
  fc.record({ fanout: fc.integer({ min: 3, max: 5 }), depth: fc.nat(4) }),
  fc.record({ fanout: fc.constant(16), depth: fc.nat(2) }),
);

describe('seed tree', () => {
  it('derives a child as the written hash', () => {
    const expected = createHash('sha256')
      .update('muster/seed/child/1')
      .update(master)
      .update(Uint8Array.of(0, 0, 1, 2))
      .digest();
    expect(bytesToHex(childSeed(master, 258))).toBe(`0x${expected.toString('hex')}`);
  });

  it('derives a threefry key as the written hash', () => {
    const digest = createHash('sha256').update('muster/seed/key/1').update(master).digest();
    expect(leafKey(master)).toEqual([digest.readUInt32BE(0), digest.readUInt32BE(4)]);
  });

  it('gives every leaf its own seed', () => {
    const seeds = new Set(Array.from({ length: 81 }, (_, i) => bytesToHex(leafSeed(master, { depth: 4, fanout: 3 }, i))));
    expect(seeds.size).toBe(81);
  });

  it('gives the holder of a subtree exactly the seeds below it', () => {
    const shape: SeedTreeShape = { depth: 4, fanout: 3 };
    for (const path of [[], [2], [1, 0], [0, 2, 1], [2, 2, 2, 2]]) {
      const subtree = delegate(master, shape, path);
      const { start, end } = leafRange(shape, path);
      for (let index = 0; index < leafCount(shape); index++) {
        if (index >= start && index < end) expect(leafSeedFromSubtree(subtree, index)).toEqual(leafSeed(master, shape, index));
        else
          expect(() => leafSeedFromSubtree(subtree, index)).toThrow(
            expect.objectContaining({ code: 'FIELD_INVALID', details: { field: 'index' } }),
          );
      }
    }
  });

  it('covers a range exactly, in order and with the fewest subtrees', () => {
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), (shape, x, y) => {
        const count = leafCount(shape);
        const [start, end] = [x % (count + 1), y % (count + 1)].sort((a, b) => a - b) as [number, number];
        const ranges = coverOf(shape, { start, end }).map((path) => leafRange(shape, path));
        let next = start;
        for (const range of ranges) {
          expect(range.start).toBe(next);
          next = range.end;
        }
        expect(next).toBe(end);
        // A cover is the smallest if no fanout neighbours of it are all the children of one node.
        for (let i = 0; i + shape.fanout <= ranges.length; i++) {
          const group = ranges.slice(i, i + shape.fanout);
          const width = (group[0] as { start: number; end: number }).end - (group[0] as { start: number }).start;
          const siblings =
            group.every((range) => range.end - range.start === width) &&
            (group[0] as { start: number }).start % (width * shape.fanout) === 0;
          expect(siblings).toBe(false);
        }
      }),
    );
  });

  it('is as shallow as the number of leaves allows', () => {
    expect(shapeFor(1, 2)).toEqual({ depth: 0, fanout: 2 });
    expect(shapeFor(16, 2)).toEqual({ depth: 4, fanout: 2 });
    expect(shapeFor(17, 2)).toEqual({ depth: 5, fanout: 2 });
    expect(shapeFor(17, 16)).toEqual({ depth: 2, fanout: 16 });
    expect(shapeFor(2 ** 32, 65_536)).toEqual({ depth: 2, fanout: 65_536 });
  });

  it('refuses shapes, paths, ranges and seeds outside the limits', () => {
    const shape = { depth: 2, fanout: 2 };
    for (const wrong of [
      () => leafCount({ depth: 33, fanout: 2 }),
      () => leafCount({ depth: -1, fanout: 2 }),
      () => leafCount({ depth: 1, fanout: 1 }),
      () => leafCount({ depth: 3, fanout: 65_536 }),
      () => delegate(master, shape, [2]),
      () => delegate(master, shape, [0, 0, 0]),
      () => delegate(master.subarray(1), shape, []),
      () => leafSeed(master, shape, 4),
      () => leafSeed(master, shape, 0.5),
      () => childSeed(master, -1),
      () => leafKey(new Uint8Array(16)),
      () => shapeFor(0, 2),
      () => shapeFor(5, 1),
      () => coverOf(shape, { start: 3, end: 2 }),
      () => coverOf(shape, { start: 0, end: 5 }),
    ]) {
      expect(wrong).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
  });
});
