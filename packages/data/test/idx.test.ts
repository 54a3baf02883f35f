import * as fc from 'fast-check';
import { gzipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { decodeIdx, importIdx, noHeldOut, packDataset } from '../src/index.ts';
import { errorOf, idxFile, onlyCoded } from './support.ts';

const limit = 1_000_000;
const images = (records: number, name = 'train-images') =>
  idxFile(
    name,
    8,
    [records, 2, 3],
    Array.from({ length: records * 6 }, (_, i) => i % 256),
  );
const labels = (values: readonly number[], name = 'train-labels') => idxFile(name, 8, [values.length], values);
const zipped = ({ name, bytes }: { name: string; bytes: Uint8Array }) => ({ name, bytes: gzipSync(bytes) });
const train = { images: images(4), labels: labels([0, 2, 1, 2]) };
const testPair = { images: images(2, 't10k-images'), labels: labels([1, 0], 't10k-labels') };

test('images and labels become uint8 records and classes, gzip or not, under a pinned content id', () => {
  const plain = importIdx('tiny', { train, test: testPair }, noHeldOut, limit);
  expect(plain.record).toEqual({ feature: { dtype: 'uint8', shape: [2, 3] }, target: { kind: 'class', classes: 3, names: null } });
  expect(plain.splits.map(({ name, records }) => [name, records])).toEqual([
    ['train', 4],
    ['test', 2],
  ]);
  expect([...plain.splits[0]!.targets]).toEqual([0, 2, 1, 2]);
  expect(packDataset(plain).cid).toMatchInlineSnapshot(`"bafyreig4j3fujgqd7lyqrjz3yttwwexbv253a7w7s3o5sghw4lcclkyfym"`);
  const packed = importIdx(
    'tiny',
    { train: { images: zipped(train.images), labels: zipped(train.labels) }, test: testPair },
    noHeldOut,
    limit,
  );
  expect(packDataset(packed).cid).toBe(packDataset(plain).cid);
});

test('int32 labels beyond 255 are stored in two bytes', () => {
  const dataset = importIdx(
    'wide',
    { train: { images: images(2), labels: idxFile('l', 0x0c, [2], [300, 5]) }, test: null },
    noHeldOut,
    limit,
  );
  expect(dataset.record.target).toMatchObject({ classes: 301 });
  expect([...dataset.splits[0]!.targets]).toEqual([44, 1, 5, 0]);
});

test('without test files a fraction is held out by seed', () => {
  const many = { images: images(40), labels: labels(Array.from({ length: 40 }, (_, i) => i % 5)) };
  const dataset = importIdx('held', { train: many, test: null }, { fraction: 0.25, seed: 3 }, limit);
  expect(dataset.splits.map((split) => split.records)).toEqual([30, 10]);
  const rows = dataset.splits.flatMap((split) =>
    Array.from({ length: split.records }, (_, i) => split.features.subarray(6 * i, 6 * i + 6).join()),
  );
  expect(new Set(rows).size).toBe(40);
  expect(importIdx('held', { train: many, test: null }, { fraction: 0.25, seed: 4 }, limit).splits[1]).not.toEqual(dataset.splits[1]);
  expect(
    errorOf(() => importIdx('one', { train: { images: images(1), labels: labels([0]) }, test: null }, { fraction: 0.5, seed: 1 }, limit))
      .code,
  ).toBe('DATA_MALFORMED');
});

const failure = (pair: { images: ReturnType<typeof images>; labels: ReturnType<typeof labels> }, held: typeof testPair | null = null) => {
  const { code, details } = errorOf(() => importIdx('bad', { train: pair, test: held }, noHeldOut, limit));
  return [code, details['file'], details['row']];
};

describe('refused, naming file and row, is', () => {
  test('a missing label', () => expect(failure({ ...train, labels: labels([0, 2, 1]) })).toEqual(['DATA_UNLABELLED', 'train-labels', 4]));
  test('a label too many', () =>
    expect(failure({ ...train, labels: labels([0, 2, 1, 0, 1]) })).toEqual(['DATA_MALFORMED', 'train-labels', 5]));
  test('a negative label', () =>
    expect(failure({ ...train, labels: idxFile('l', 0x0c, [4], [0, 1, -1, 0]) })).toEqual(['DATA_MALFORMED', 'l', 3]));
  test('a test label that train does not have', () =>
    expect(failure(train, { ...testPair, labels: labels([0, 3], 't10k-labels') })).toEqual(['DATA_MALFORMED', 't10k-labels', 2]));
  test('test images of another shape', () =>
    expect(failure(train, { ...testPair, images: idxFile('t', 8, [2, 2], [1, 2, 3, 4]) })).toEqual(['DATA_MALFORMED', 't', null]));
  test('images given as labels', () =>
    expect(failure({ images: train.images, labels: train.images })).toEqual(['DATA_MALFORMED', 'train-images', null]));
  test('labels given as images', () =>
    expect(failure({ images: train.labels, labels: train.labels })).toEqual(['DATA_MALFORMED', 'train-labels', null]));
  test('a set without records', () =>
    expect(failure({ images: images(0), labels: labels([]) })).toEqual(['DATA_MALFORMED', 'train-images', null]));
  test('an extent that multiplies beyond the file', () => {
    const huge = idxFile('huge', 8, [0xffffffff, 0xffffffff, 0xffffffff], []);
    expect(failure({ ...train, images: huge })).toEqual(['DATA_MALFORMED', 'huge', null]);
  });
  test('an unknown element type', () => {
    const float = idxFile('f', 8, [1, 1], [0]);
    float.bytes[2] = 0x0d;
    expect(errorOf(() => decodeIdx(float, limit)).message).toContain('0xd');
  });
});

test('random and damaged IDX bytes give coded errors only', () => {
  const base = images(3).bytes;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(), fc.nat(255), fc.nat(), (random, at, byte, cut) => {
      const changed = base.slice(0, cut % 3 === 0 ? cut % base.length : base.length);
      if (changed.length > 0) changed[at % Math.min(changed.length, 20)] = byte;
      for (const bytes of [random, Uint8Array.of(0, 0, 8, ...random), changed])
        onlyCoded(() => decodeIdx({ name: 'x', bytes }, 10_000), ['DATA_MALFORMED']);
    }),
    { numRuns: 2000 },
  );
});
