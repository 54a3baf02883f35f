import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { BatchReader, decodeManifest, indexRange } from '@muster/data';
import { type CidText, cidOfBytes, type Codec, MusterError } from '@muster/protocol';
import { encode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { importDataset, type ImportOptions, type ImportProgress } from '../src/data/import.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-data-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

class MemoryStore {
  readonly blocks = new Map<CidText, Uint8Array>();
  readonly order: Codec[] = [];
  readonly put = async (bytes: Uint8Array, codec: Codec): Promise<CidText> => {
    const cid = cidOfBytes(bytes, codec);
    this.blocks.set(cid, bytes);
    this.order.push(codec);
    return cid;
  };
  readonly get = async (cid: CidText): Promise<Uint8Array> => this.blocks.get(cid) ?? new Uint8Array(0);
}

/** Imports, checks that the store alone gives the dataset back, and returns what was imported. */
async function imported(path: string, options: ImportOptions = {}) {
  const store = new MemoryStore();
  const result = await importDataset(path, options, store.put);
  expect(decodeManifest(store.blocks.get(result.cid) ?? new Uint8Array(0))).toEqual(result.manifest);
  expect(store.order.indexOf('dag-cbor')).toBe(store.order.length - 1);
  const train = await BatchReader.open(result.manifest, 'train', store.get);
  return { ...result, train, splits: result.manifest.splits.map((split) => [split.name, split.records]) };
}

/** Code and file of the failure; nothing may have been stored. */
async function failure(path: string, options: ImportOptions = {}) {
  const store = new MemoryStore();
  const error = await importDataset(path, options, store.put).catch((thrown: unknown) => thrown);
  expect(store.order).toEqual([]);
  if (!(error instanceof MusterError)) throw new Error('no MusterError', { cause: error });
  return { code: error.code, file: error.details['file'], row: error.details['row'], message: error.message };
}

const idx = (shape: readonly number[], values: readonly number[]) =>
  Uint8Array.from([0, 0, 8, shape.length, ...shape.flatMap((extent) => [0, 0, extent >> 8, extent & 255]), ...values]);
const png = (shade: number) => encode({ width: 2, height: 2, channels: 1, depth: 8, data: new Uint8Array(4).fill(shade) });

describe('importDataset', () => {
  test('reads a folder of IDX files, gzip or not, with both splits', async () => {
    await write('mnist/train-images-idx3-ubyte.gz', gzipSync(idx([3, 1, 2], [0, 255, 1, 2, 3, 4])));
    await write('mnist/train-labels-idx1-ubyte', idx([3], [1, 0, 1]));
    await write('mnist/t10k-images.idx3-ubyte', idx([1, 1, 2], [9, 9]));
    await write('mnist/t10k-labels.idx1-ubyte.gz', gzipSync(idx([1], [0])));
    await write('mnist/README', 'not looked at');
    const result = await imported(join(folder, 'mnist'));
    expect(result.splits).toEqual([
      ['train', 3],
      ['test', 1],
    ]);
    expect([result.records, result.bytes, result.manifest.name]).toEqual([4, 12, 'mnist']);
    expect([...result.train.read(Uint32Array.of(0)).x.data]).toEqual([0, 1]);
    const single = await imported(join(folder, 'mnist/t10k-images.idx3-ubyte'), { format: 'idx', name: 'one' }).catch(
      (error: MusterError) => error.code,
    );
    expect(single).toBe('DATA_UNREADABLE'); // its labels file is compressed: the name beside it does not exist
  });

  test('reads one IDX images file with the labels beside it and a test pair', async () => {
    const train = await write('pair/a-images-idx3-ubyte', idx([2, 1, 1], [5, 6]));
    await write('pair/a-labels-idx1-ubyte', idx([2], [0, 1]));
    const testPath = await write('pair/b-images-idx3-ubyte', idx([1, 1, 1], [7]));
    await write('pair/b-labels-idx1-ubyte', idx([1], [1]));
    expect((await imported(train, { testPath })).splits).toEqual([
      ['train', 2],
      ['test', 1],
    ]);
  });

  test('reads CSV with a test file or a part held out, and TSV', async () => {
    const rows = Array.from({ length: 20 }, (_, i) => `${i},${i % 2 === 0 ? 'even' : 'odd'}`).join('\n');
    const path = await write('n.csv', rows);
    const testPath = await write('m.csv', '7,odd\n');
    expect((await imported(path, { testPath })).records).toBe(21);
    const held = await imported(path, { heldOut: { fraction: 0.2, seed: 1 } });
    expect(held.splits).toEqual([
      ['train', 16],
      ['test', 4],
    ]);
    const tsv = await imported(await write('t.tsv', 'x\ty\n1\t2\n'), { csv: { target: 'value' } });
    expect(tsv.train.read(indexRange(1)).y).toEqual({ dtype: 'float32', shape: [1], data: Float32Array.of(2) });
  });

  test('reads plain text', async () => {
    const result = await imported(await write('a.txt', 'hello hello'), { text: { context: 4, stride: 2 } });
    expect(result.records).toBe(4);
    expect(result.bytes).toBe(11);
    expect(String.fromCharCode(...result.train.read(Uint32Array.of(1)).y!.data)).toBe('lo h');
  });

  test('reads a folder of pictures per class, and one divided into train and test', async () => {
    for (const root of ['pictures', 'divided/train', 'divided/test']) {
      await write(`${root}/cat/1.png`, png(10));
      await write(`${root}/cat/.hidden`, 'x');
      await write(`${root}/ant/2.png`, png(20));
    }
    const result = await imported(join(folder, 'pictures'));
    expect(result.manifest.record).toEqual({
      feature: { dtype: 'uint8', shape: [2, 2] },
      target: { kind: 'class', classes: 2, names: ['ant', 'cat'] },
    });
    expect([...(result.train.classes() ?? [])]).toEqual([0, 1]);
    expect((await imported(join(folder, 'divided'))).splits).toEqual([
      ['train', 2],
      ['test', 2],
    ]);
  });

  test('tells how far it is', async () => {
    const seen: ImportProgress[] = [];
    await importDataset(await write('p.csv', '1,a\n'), {}, new MemoryStore().put, (progress) => seen.push(progress));
    expect(seen).toEqual([
      { stage: 'read', done: 1, total: 1 },
      { stage: 'store', done: 1, total: 3 },
      { stage: 'store', done: 2, total: 3 },
      { stage: 'store', done: 3, total: 3 },
    ]);
  });

  test('gives the same content id again', async () => {
    const path = await write('same.csv', '1,a\n2,b\n');
    expect((await imported(path)).cid).toBe((await imported(path)).cid);
  });
});

describe('nothing is stored and file and row are named', () => {
  test('for a path that does not exist, is unknown or too large', async () => {
    expect(await failure(join(folder, 'nowhere'))).toMatchObject({ code: 'DATA_UNREADABLE', file: join(folder, 'nowhere') });
    expect((await failure(await write('what.bin', 'x'))).code).toBe('DATA_UNREADABLE');
    expect((await failure(await write('big.csv', '1,a\n'.repeat(100)), { maxBytes: 100 })).code).toBe('DATA_UNREADABLE');
    await write('flat/a.jpg', 'x');
    expect((await failure(join(folder, 'flat'))).code).toBe('DATA_UNREADABLE');
    expect((await failure(join(folder, 'flat'), { format: 'csv' })).code).toBe('DATA_UNREADABLE');
  });

  test('for a bad row of CSV', async () => {
    expect(await failure(await write('bad.csv', '1,a\nnan,b\n'))).toMatchObject({ code: 'DATA_NOT_FINITE', file: 'bad.csv', row: 2 });
  });

  test('for pictures of two sizes, damaged, outside a class, nested, or a class without any', async () => {
    await write('sizes/a/1.png', png(1));
    await write('sizes/b/2.png', encode({ width: 1, height: 1, data: Uint8Array.of(1), channels: 1 }));
    expect(await failure(join(folder, 'sizes'))).toMatchObject({ code: 'DATA_MALFORMED', file: 'b/2.png' });
    await write('damaged/a/1.png', png(1).subarray(0, 30));
    expect(await failure(join(folder, 'damaged'))).toMatchObject({ code: 'DATA_MALFORMED', file: 'a/1.png' });
    await write('loose/a/1.png', png(1));
    await write('loose/2.png', png(1));
    expect(await failure(join(folder, 'loose'))).toMatchObject({ code: 'DATA_UNLABELLED', file: '2.png' });
    await write('nested/a/b/1.png', png(1));
    expect(await failure(join(folder, 'nested'))).toMatchObject({ code: 'DATA_MALFORMED', file: 'a/b' });
    await mkdir(join(folder, 'empty/a'), { recursive: true });
    expect(await failure(join(folder, 'empty'))).toMatchObject({ code: 'DATA_MALFORMED', file: 'a' });
  });

  test('for IDX files of which one is missing or there twice', async () => {
    await write('unlabelled/train-images-idx3-ubyte', idx([1, 1, 1], [1]));
    expect((await failure(join(folder, 'unlabelled'))).code).toBe('DATA_UNLABELLED');
    await write('unlabelled/train-labels-idx1-ubyte', idx([1], [0]));
    await write('unlabelled/t10k-images-idx3-ubyte', idx([1, 1, 1], [1]));
    expect((await failure(join(folder, 'unlabelled'))).code).toBe('DATA_UNLABELLED');
    await write('unlabelled/t10k-labels-idx1-ubyte', idx([2], [0, 0]));
    expect(await failure(join(folder, 'unlabelled'))).toMatchObject({ code: 'DATA_MALFORMED', file: 't10k-labels-idx1-ubyte', row: 2 });
    await write('unlabelled/train-images.idx3-ubyte', idx([1, 1, 1], [1]));
    expect((await failure(join(folder, 'unlabelled'))).message).toContain('2 files');
  });
});

test('a store that calls a block something else is a mismatch', async () => {
  const path = await write('mismatch.csv', '1,a\n');
  await expect(importDataset(path, {}, async () => cidOfBytes(Uint8Array.of(0), 'raw'))).rejects.toMatchObject({ code: 'CID_MISMATCH' });
});
