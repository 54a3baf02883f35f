/**
 * Importer of IDX files, the format of MNIST and its relatives: an images file and a labels file per split, gzip or not.
 *
 * Format: two zero bytes, type byte, rank byte, big-endian uint32 extents, elements. Images are read as uint8 of any rank ≥ 2
 * (records × shape), labels as uint8 or int32 of rank 1. Source: Y. LeCun, "The MNIST database".
 */
import { dataError, type RawDataset, type RawSplit, type SourceFile, storeClasses } from './dataset.ts';
import { gunzipFile } from './gzip.ts';
import { elementCount, maxChunkBytes, maxClasses, type RecordType, type SplitName } from './manifest.ts';
import { type HeldOut, holdOut } from './heldout.ts';

export interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array | Int32Array;
}

export interface IdxPair {
  readonly images: SourceFile;
  readonly labels: SourceFile;
}

export interface IdxSources {
  readonly train: IdxPair;
  readonly test: IdxPair | null;
}

/** The array in `file`. `data` of a uint8 file is a view of it. Throws DATA_MALFORMED. */
export function decodeIdx(file: SourceFile, maxBytes: number): IdxArray {
  const { name, bytes } = gunzipFile(file, maxBytes);
  const fail = (problem: string) => dataError('DATA_MALFORMED', name, null, problem);
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0) throw fail('not an IDX file (it must start with two zero bytes)');
  const type = bytes[2];
  const rank = bytes[3] ?? 0;
  if (type !== 0x08 && type !== 0x0c) throw fail(`element type 0x${(type ?? 0).toString(16)} is not supported (uint8 0x08, int32 0x0c)`);
  if (rank < 1 || rank > 6) throw fail(`rank ${rank}, from 1 to 6 expected`);
  const start = 4 + 4 * rank;
  if (bytes.length < start) throw fail('the header is cut short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const count = elementCount(shape);
  const expected = start + count * (type === 0x08 ? 1 : 4);
  if (bytes.length !== expected) throw fail(`${bytes.length} bytes, the header (${shape.join(' × ')}) says ${expected}`);
  if (type === 0x08) return { shape, data: bytes.subarray(start) };
  return { shape, data: Int32Array.from({ length: count }, (_, i) => view.getInt32(start + 4 * i)) };
}

/**
 * The dataset of IDX files: uint8 features of the images' own shape, classes 0 … largest label. Without test files, `heldOut`
 * applies. Each file may hold `maxBytes` decompressed. Throws DATA_MALFORMED, DATA_UNLABELLED naming the file and the row (record).
 */
export function importIdx(name: string, sources: IdxSources, heldOut: HeldOut, maxBytes: number): RawDataset {
  const train = readPair(sources.train, maxBytes);
  const test = sources.test === null ? null : readPair(sources.test, maxBytes);
  if (test !== null && test.shape.join() !== train.shape.join()) {
    throw dataError(
      'DATA_MALFORMED',
      sources.test?.images.name ?? name,
      null,
      `records of ${test.shape.join(' × ')}, those of train have ${train.shape.join(' × ')}`,
    );
  }
  let classes = 1;
  for (const label of train.labels) classes = Math.max(classes, label + 1);
  test?.labels.forEach((label, row) => {
    if (label >= classes)
      throw dataError('DATA_MALFORMED', sources.test?.labels.name ?? name, row + 1, `label ${label}, train has 0 to ${classes - 1}`);
  });
  const record: RecordType = { feature: { dtype: 'uint8', shape: train.shape }, target: { kind: 'class', classes, names: null } };
  const splits = [splitOfPair('train', train, classes)];
  if (test !== null) splits.push(splitOfPair('test', test, classes));
  return holdOut({ name, record, splits }, heldOut);
}

interface ReadPair {
  readonly shape: readonly number[];
  readonly images: Uint8Array;
  readonly labels: Uint8Array | Int32Array;
}

function splitOfPair(name: SplitName, pair: ReadPair, classes: number): RawSplit {
  return { name, records: pair.labels.length, features: pair.images, targets: storeClasses(pair.labels, classes) };
}

function readPair(pair: IdxPair, maxBytes: number): ReadPair {
  const images = decodeIdx(pair.images, maxBytes);
  const labels = decodeIdx(pair.labels, maxBytes);
  const [records = 0, ...shape] = images.shape;
  if (!(images.data instanceof Uint8Array) || shape.length === 0) {
    throw dataError('DATA_MALFORMED', pair.images.name, null, 'not an images file (uint8 of rank 2 or more)');
  }
  if (labels.shape.length !== 1)
    throw dataError('DATA_MALFORMED', pair.labels.name, null, `not a labels file (rank ${labels.shape.length}, 1 expected)`);
  const size = elementCount(shape);
  if (records === 0 || size === 0) throw dataError('DATA_MALFORMED', pair.images.name, null, 'no records');
  if (size > maxChunkBytes) throw dataError('DATA_MALFORMED', pair.images.name, null, `records of ${size} bytes, at most ${maxChunkBytes}`);
  if (labels.data.length < records) {
    throw dataError(
      'DATA_UNLABELLED',
      pair.labels.name,
      labels.data.length + 1,
      `${labels.data.length} labels for ${records} records of ${pair.images.name}`,
    );
  }
  if (labels.data.length > records) {
    throw dataError(
      'DATA_MALFORMED',
      pair.labels.name,
      records + 1,
      `${labels.data.length} labels for ${records} records of ${pair.images.name}`,
    );
  }
  labels.data.forEach((label, row) => {
    if (label < 0 || label >= maxClasses)
      throw dataError('DATA_MALFORMED', pair.labels.name, row + 1, `label ${label}, from 0 to ${maxClasses - 1} expected`);
  });
  return { shape, images: images.data, labels: labels.data };
}
