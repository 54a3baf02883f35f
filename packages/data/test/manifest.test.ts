import { cidOfBytes, decodeCanonical, encodeCanonical, linkOf } from '@muster/protocol';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DatasetManifest,
  decodeManifest,
  encodeManifest,
  fullChunkBytes,
  maxChunkBytes,
  packDataset,
  type RawDataset,
  splitOf,
  textSplit,
  windowCount,
} from '../src/index.ts';
import { errorOf, onlyCoded } from './support.ts';

const decodeCodes = ['BYTES_TOO_LARGE', 'BYTES_MALFORMED', 'BYTES_NOT_CANONICAL', 'CID_INVALID', 'FIELD_INVALID'] as const;

const small: RawDataset = {
  name: 'small',
  record: { feature: { dtype: 'uint8', shape: [2, 2] }, target: { kind: 'class', classes: 3, names: ['a', 'b', 'c'] } },
  splits: [
    { name: 'train', records: 3, features: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), targets: Uint8Array.of(0, 1, 2) },
    { name: 'test', records: 1, features: Uint8Array.of(0, 0, 0, 255), targets: Uint8Array.of(1) },
  ],
};
const stream: RawDataset = {
  name: 'stream',
  record: { feature: { dtype: 'token', shape: [8] }, target: { kind: 'next-token', vocabulary: 256, tokenizer: null, stride: 4 } },
  splits: [textSplit('train', new Uint8Array(maxChunkBytes + 100).fill(65), 8, 4, 'a.txt')],
};

describe('the manifest', () => {
  test('decodes to what was encoded, under a pinned content id', () => {
    const packed = packDataset(small);
    expect(decodeManifest(encodeManifest(packed.manifest).bytes)).toEqual(packed.manifest);
    expect(packed.cid).toMatchInlineSnapshot(`"bafyreigrvpa4mcnbnhdvsyzqypom66grbyxjouxssxjdp7mgq3jihasdkq"`);
    expect(splitOf(packed.manifest, 'test').records).toBe(1);
  });

  test('of a text stores the stream once in chunks of exactly 1 MiB', () => {
    const packed = packDataset(stream);
    const part = packed.manifest.splits[0]!;
    expect(part.features).toMatchObject({ bytes: maxChunkBytes + 100, chunkBytes: maxChunkBytes });
    expect(part.features.chunks).toHaveLength(2);
    expect(part.records).toBe(windowCount(maxChunkBytes + 100, 8, 4));
    expect(decodeManifest(encodeManifest(packed.manifest).bytes)).toEqual(packed.manifest);
    expect(packed.cid).toMatchInlineSnapshot(`"bafyreiharsq5lv67taqendybqbafpfvz7hybb5jxefjamvqpl2faqc76re"`);
  });

  test('keeps whole records in chunks of at most 1 MiB', () => {
    expect(fullChunkBytes(784)).toBe(784 * 1337);
    expect(fullChunkBytes(maxChunkBytes)).toBe(maxChunkBytes);
    const records = 3000;
    const packed = packDataset({
      name: 'many',
      record: { feature: { dtype: 'uint8', shape: [784] }, target: { kind: 'none' } },
      splits: [{ name: 'train', records, features: new Uint8Array(records * 784).map((_, i) => i * 7), targets: new Uint8Array(0) }],
    });
    expect(packed.blocks.slice(0, -1).map((block) => block.bytes.length)).toEqual([784 * 1337, 784 * 1337, 784 * 326]);
    for (const block of packed.blocks) expect(cidOfBytes(block.bytes, block.codec)).toBe(block.cid);
    expect(packed.blocks.at(-1)?.cid).toBe(packed.cid);
  });

  test('stores equal chunks once', () => {
    const packed = packDataset(stream);
    const twice = packDataset({ ...stream, splits: [stream.splits[0]!, { ...stream.splits[0]!, name: 'test' }] });
    expect(twice.blocks).toHaveLength(packed.blocks.length);
    expect(twice.bytes).toBe(2 * packed.bytes);
  });

  test('knows no split that is not there', () => {
    expect(errorOf(() => splitOf(packDataset(stream).manifest, 'test')).code).toBe('DATA_MALFORMED');
  });
});

describe('a manifest is refused', () => {
  const manifest = packDataset(small).manifest;
  const [train, held] = manifest.splits as [DatasetManifest['splits'][0], DatasetManifest['splits'][0]];
  const wrong: Record<string, DatasetManifest> = {
    'with splits out of order': { ...manifest, splits: [held, train] },
    'with one split twice': { ...manifest, splits: [train, train] },
    'with more records than bytes': { ...manifest, splits: [{ ...train, records: 4 }] },
    'with fewer targets than records': { ...manifest, splits: [{ ...train, targets: { ...train.targets, bytes: 2 } }] },
    'with another chunk size': { ...manifest, splits: [{ ...train, features: { ...train.features, chunkBytes: 12 } }] },
    'with a missing chunk': { ...manifest, splits: [{ ...train, features: { ...train.features, chunks: [] } }] },
    'with names for other classes': {
      ...manifest,
      record: { ...manifest.record, target: { kind: 'class', classes: 3, names: ['a', 'b'] } },
    },
    'with equal names': { ...manifest, record: { ...manifest.record, target: { kind: 'class', classes: 3, names: ['a', 'b', 'a'] } } },
    'with token features and class targets': { ...manifest, record: { ...manifest.record, feature: { dtype: 'token', shape: [4] } } },
    'with next-token targets over uint8': {
      ...manifest,
      record: { ...manifest.record, target: { kind: 'next-token', vocabulary: 256, tokenizer: null, stride: 1 } },
    },
    'with records beyond a chunk': { ...manifest, record: { ...manifest.record, feature: { dtype: 'float32', shape: [maxChunkBytes] } } },
    'with links to objects': { ...manifest, splits: [{ ...train, features: { ...train.features, chunks: [packDataset(small).cid] } }] },
  };
  for (const [title, value] of Object.entries(wrong)) {
    test(title, () => {
      expect(errorOf(() => encodeManifest(value)).code).toBe('FIELD_INVALID');
      const withLinks = {
        ...value,
        splits: value.splits.map((part) => ({
          ...part,
          features: { ...part.features, chunks: part.features.chunks.map(linkOf) },
          targets: { ...part.targets, chunks: part.targets.chunks.map(linkOf) },
        })),
      };
      expect(errorOf(() => decodeManifest(encodeCanonical(withLinks))).code).toBe('FIELD_INVALID');
    });
  }

  test('with a wrong number of windows', () => {
    const text = packDataset(stream).manifest;
    expect(errorOf(() => encodeManifest({ ...text, splits: [{ ...text.splits[0]!, records: 7 }] })).details['field']).toBe(
      'manifest.splits[0].records',
    );
  });

  test('with names that make it longer than a decoder reads', () => {
    const names = Array.from({ length: 60_000 }, (_, i) => `${i}`.padEnd(100));
    const target = { kind: 'class', classes: names.length, names } as const;
    const dataset: RawDataset = {
      name: 'wide',
      record: { feature: small.record.feature, target },
      splits: [{ ...small.splits[0]!, targets: new Uint8Array(6) }],
    };
    expect(errorOf(() => packDataset(dataset)).code).toBe('BYTES_TOO_LARGE');
  });

  test('with an unknown field, naming it', () => {
    const value = decodeCanonical(packDataset(small).blocks.at(-1)!.bytes) as Record<string, unknown>;
    expect(errorOf(() => decodeManifest(encodeCanonical({ ...value, extra: 1 }))).details['field']).toBe('manifest.extra');
  });
});

describe('hostile manifests', () => {
  const encodings = [packDataset(small), packDataset(stream)].map((packed) => packed.blocks.at(-1)!.bytes);

  test('of random bytes give coded errors only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => onlyCoded(() => decodeManifest(bytes), decodeCodes)),
      { numRuns: 2000 },
    );
  });

  test('of good bytes with a few changed give coded errors, or a manifest that encodes to the same bytes', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...encodings), changes, fc.nat(), (bytes, edits, cut) => {
        const changed = bytes.slice(0, cut % 5 === 0 ? cut % bytes.length : bytes.length);
        for (const [at, byte] of edits) if (changed.length > 0) changed[at % changed.length] = byte;
        onlyCoded(() => expect(encodeManifest(decodeManifest(changed)).bytes).toEqual(changed), decodeCodes);
      }),
      { numRuns: 3000 },
    );
  });

  test('of more than 4 MiB are not even read', () => {
    expect(errorOf(() => decodeManifest(new Uint8Array(4 * 1024 * 1024 + 1))).code).toBe('BYTES_TOO_LARGE');
  });
});
