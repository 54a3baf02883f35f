import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BatchReader,
  batchTypes,
  type DatasetManifest,
  defaultTextOptions,
  importText,
  indexRange,
  maxChunkBytes,
  noHeldOut,
  packDataset,
  type RawDataset,
  storeClasses,
  storeFloats,
  uint8Values,
} from '../src/index.ts';
import { storeOf, textFile } from './support.ts';

const pictures: RawDataset = {
  name: 'p',
  record: { feature: { dtype: 'uint8', shape: [2] }, target: { kind: 'class', classes: 300, names: null } },
  splits: [{ name: 'train', records: 3, features: Uint8Array.of(0, 1, 127, 128, 254, 255), targets: storeClasses([299, 0, 7], 300) }],
};

async function opened(dataset: RawDataset): Promise<BatchReader> {
  const packed = packDataset(dataset);
  return await BatchReader.open(packed.manifest, 'train', storeOf(packed.blocks));
}
const codeOf = async (reader: Promise<unknown>) =>
  await reader.then(
    () => 'no error',
    (error: { code?: string }) => error.code,
  );

test('a uint8 feature v is fl(v · fl(1/255)): one product, rounded once', () => {
  const factor = new Float32Array([1 / 255])[0]!;
  for (let value = 0; value < 256; value++) expect(uint8Values[value]).toBe(Math.fround(value * factor));
  expect([uint8Values[0], uint8Values[255]]).toEqual([0, 1]);
});

test('records are read in the order asked for', async () => {
  const reader = await opened(pictures);
  expect(reader.read(Uint32Array.of(2, 0))).toEqual({
    x: { dtype: 'float32', shape: [2, 2], data: Float32Array.of(uint8Values[254]!, 1, 0, uint8Values[1]!) },
    y: { dtype: 'int32', shape: [2], data: Int32Array.of(7, 299) },
  });
  expect(reader.classes()).toEqual(Int32Array.of(299, 0, 7));
  expect(() => [...reader.evaluation(0)]).toThrow('batchSize');
  expect(() => reader.read(Uint32Array.of(3))).toThrow('no record 3');
});

test('an evaluation visits every record once, the last batch padded and masked', async () => {
  const reader = await opened(pictures);
  const batches = [...reader.evaluation(2)];
  expect(batches.map((batch) => [batch.records, [...batch.mask.data], [...batch.y!.data]])).toEqual([
    [2, [1, 1], [299, 0]],
    [1, [1, 0], [7, 0]],
  ]);
  expect(batches[1]!.x).toEqual({ dtype: 'float32', shape: [2, 2], data: Float32Array.of(uint8Values[254]!, 1, 0, 0) });
});

test('float features with value targets, and records without target, come back bit for bit', async () => {
  const values = [1.5, -0, 3e-45, 4];
  const reader = await opened({
    name: 'v',
    record: { feature: { dtype: 'float32', shape: [2] }, target: { kind: 'value', shape: [1] } },
    splits: [{ name: 'train', records: 2, features: storeFloats(values), targets: storeFloats([0.5, -2]) }],
  });
  const { x, y } = reader.read(indexRange(2));
  expect(new Uint32Array(x.data.slice().buffer)).toEqual(new Uint32Array(Float32Array.from(values).buffer));
  expect(y).toEqual({ dtype: 'float32', shape: [2, 1], data: Float32Array.of(0.5, -2) });
  const bare = await opened({
    name: 'b',
    record: { feature: { dtype: 'int32', shape: [] }, target: { kind: 'none' } },
    splits: [{ name: 'train', records: 2, features: Uint8Array.of(1, 0, 0, 0, 255, 255, 255, 255), targets: new Uint8Array(0) }],
  });
  expect(bare.read(indexRange(2))).toEqual({ x: { dtype: 'int32', shape: [2], data: Int32Array.of(1, -1) }, y: null });
  expect(bare.classes()).toBe(null);
});

test('text records are the windows of the stream, the target one byte on', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 40 }),
      async (context, stride, extra) => {
        const content = Array.from({ length: context + 1 + extra }, (_, i) => String.fromCharCode(33 + (i % 90))).join('');
        const reader = await opened(
          importText('t', textFile('a.txt', content), null, { ...defaultTextOptions, context, stride }, noHeldOut, 1000),
        );
        const starts: number[] = [];
        for (let start = 0; start + context < content.length; start += stride) starts.push(start);
        expect(reader.records).toBe(starts.length);
        const { x, y } = reader.read(indexRange(reader.records));
        const codes = (from: number) => Array.from({ length: context }, (_, i) => content.charCodeAt(from + i));
        expect([...x.data]).toEqual(starts.flatMap((start) => codes(start)));
        expect([...(y?.data ?? [])]).toEqual(starts.flatMap((start) => codes(start + 1)));
      },
    ),
  );
});

test('text windows cross chunks', async () => {
  const bytes = new Uint8Array(maxChunkBytes + 50).map((_, i) => i % 251);
  const reader = await opened(
    importText('t', { name: 't', bytes }, null, { ...defaultTextOptions, context: 16, stride: 8 }, noHeldOut, 2 ** 22),
  );
  const record = maxChunkBytes / 8 - 1;
  expect([...reader.read(Uint32Array.of(record)).y!.data]).toEqual([...bytes.subarray(8 * record + 1, 8 * record + 17)]);
});

test('the held-out part of a text is its end', () => {
  const dataset = importText(
    't',
    textFile('a.txt', 'abcdefghijklmnopqrst'),
    null,
    { ...defaultTextOptions, context: 3, stride: 1 },
    { fraction: 0.25, seed: 1 },
    1000,
  );
  expect(dataset.splits.map((split) => String.fromCharCode(...split.features))).toEqual(['abcdefghijklmno', 'pqrst']);
  expect(() => importText('t', textFile('a.txt', 'abc'), null, { ...defaultTextOptions, context: 3, stride: 1 }, noHeldOut, 1000)).toThrow(
    'a.txt',
  );
});

const openedCode = (dataset: RawDataset) => codeOf(opened(dataset));

describe('opening is refused', () => {
  const packed = packDataset(pictures);
  const get = storeOf(packed.blocks);
  const damaged = async (cid: Parameters<typeof get>[0]) => (await get(cid)).map((byte) => byte ^ 1);

  test('for a chunk of another length or other bytes', async () => {
    expect(await codeOf(BatchReader.open(packed.manifest, 'train', async () => new Uint8Array(3)))).toBe('DATA_MALFORMED');
    expect(await codeOf(BatchReader.open(packed.manifest, 'train', damaged))).toBe('CID_MISMATCH');
    expect((await BatchReader.open(packed.manifest, 'train', async (cid) => (await get(cid)).slice(), { verify: false })).records).toBe(3);
  });

  test('for a split that is not there or beyond the limit', async () => {
    expect(await codeOf(BatchReader.open(packed.manifest, 'test', get))).toBe('DATA_MALFORMED');
    expect(await codeOf(BatchReader.open(packed.manifest, 'train', get, { maxBytes: 11 }))).toBe('BYTES_TOO_LARGE');
  });

  test('for a class that does not exist or a float that is not finite', async () => {
    const classes: DatasetManifest['record'] = { ...pictures.record, target: { kind: 'class', classes: 299, names: null } };
    expect(await openedCode({ ...pictures, record: classes })).toBe('DATA_MALFORMED');
    const infinite = storeFloats([1, Number.POSITIVE_INFINITY]);
    expect(
      await openedCode({
        name: 'f',
        record: { feature: { dtype: 'float32', shape: [] }, target: { kind: 'none' } },
        splits: [{ name: 'train', records: 2, features: infinite, targets: new Uint8Array(0) }],
      }),
    ).toBe('DATA_NOT_FINITE');
  });
});

test('the declared types of a batch are those of the batches read', async () => {
  const targets: readonly (readonly [DatasetManifest['record']['target'], number])[] = [
    [{ kind: 'class', classes: 2, names: null }, 1],
    [{ kind: 'value', shape: [2] }, 8],
    [{ kind: 'none' }, 0],
  ];
  for (const dtype of ['uint8', 'float32', 'int32'] as const) {
    for (const [target, width] of targets) {
      const features = new Uint8Array(2 * 3 * (dtype === 'uint8' ? 1 : 4));
      const record: DatasetManifest['record'] = { feature: { dtype, shape: [3] }, target };
      const reader = await opened({
        name: 't',
        record,
        splits: [{ name: 'train', records: 2, features, targets: new Uint8Array(2 * width) }],
      });
      const { x, y } = reader.read(indexRange(2));
      const types = batchTypes(record, 2);
      expect([x, y]).toMatchObject([types.x, types.y]);
    }
  }
  const text = importText('t', textFile('a.txt', 'abcdef'), null, { ...defaultTextOptions, context: 2, stride: 2 }, noHeldOut, 100);
  const { x, y } = (await opened(text)).read(indexRange(2));
  expect([x, y]).toMatchObject(Object.values(batchTypes(text.record, 2)));
});
