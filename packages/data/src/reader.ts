/**
 * Records as tensors: loads one split from its chunks, checks it, and gives batches.
 *
 * The rule from stored bytes to values is exact (04-data.md): a uint8 feature v is fl(v · fl(1/255)) in float32, a token and a
 * class are int32, float32 and int32 are themselves. Whole split in memory; no I/O beyond `getChunk`.
 */
import { type CidText, integer, MusterError, verifyCid } from '@muster/protocol';
import {
  type ChunkList,
  type DatasetManifest,
  elementCount,
  featureBytes,
  type RecordType,
  type SplitName,
  splitOf,
  targetBytes,
  tokenBytes,
} from './manifest.ts';
import { type BatchTensor, uint8Values } from './tensors.ts';

/** `x`: [B, …feature shape]; `y`: int32 [B] for classes, float32 [B, …shape] for values, int32 [B, context] for text, null for none. */
export interface Batch {
  readonly x: BatchTensor;
  readonly y: BatchTensor | null;
}

/** A batch of an evaluation: the last one is padded with zeros, for which `mask` (float32 [B]) is 0 instead of 1. */
export interface EvaluationBatch extends Batch {
  readonly mask: BatchTensor;
  /** Records that count. */
  readonly records: number;
}

export interface ReaderOptions {
  /** Largest split to load, bytes; default 2 GiB. */
  readonly maxBytes?: number;
  /** Whether to hash every chunk; default true. False where `getChunk` has verified already. */
  readonly verify?: boolean;
}

export type GetChunk = (cid: CidText) => Promise<Uint8Array>;

export class BatchReader {
  readonly record: RecordType;
  readonly records: number;
  readonly #x: Float32Array | Int32Array | Uint8Array;
  readonly #y: Float32Array | Int32Array | null;

  private constructor(record: RecordType, records: number, x: Float32Array | Int32Array | Uint8Array, y: Float32Array | Int32Array | null) {
    this.record = record;
    this.records = records;
    this.#x = x;
    this.#y = y;
  }

  /**
   * Loads split `name` of `manifest`. Throws BYTES_TOO_LARGE, CID_MISMATCH, DATA_MALFORMED (chunk of a wrong length, class out of
   * range) or DATA_NOT_FINITE, naming the record.
   */
  static async open(manifest: DatasetManifest, name: SplitName, getChunk: GetChunk, options: ReaderOptions = {}): Promise<BatchReader> {
    const split = splitOf(manifest, name);
    const { record } = manifest;
    const maxBytes = options.maxBytes ?? 2 ** 31;
    const bytes = split.features.bytes + split.targets.bytes;
    if (bytes > maxBytes)
      throw new MusterError('BYTES_TOO_LARGE', `${name} split of ${bytes} bytes, at most ${maxBytes}`, { bytes, maxBytes });
    const verify = options.verify ?? true;
    const features = await join(split.features, getChunk, verify);
    const targets = await join(split.targets, getChunk, verify);
    const place = `${manifest.name} ${name}`;
    return new BatchReader(record, split.records, readFeatures(features, record, place), readTargets(targets, record, place));
  }

  /** Class index per record, int32 [records], as `splitRecords` takes it; null if records have no class. Do not write to it. */
  classes(): Int32Array | null {
    return this.record.target.kind === 'class' && this.#y instanceof Int32Array ? this.#y : null;
  }

  /** The records `indices`, in that order. Throws DATA_MALFORMED for an index that does not exist. */
  read(indices: Uint32Array): Batch {
    return this.#read(indices, indices.length);
  }

  /** All records in order, in batches of `batchSize`, the last one padded and masked. */
  *evaluation(batchSize: number): Generator<EvaluationBatch, void, undefined> {
    integer(1, 1 << 24)(batchSize, 'batchSize');
    for (let start = 0; start < this.records; start += batchSize) {
      const records = Math.min(batchSize, this.records - start);
      const indices = Uint32Array.from({ length: records }, (_, i) => start + i);
      const mask = new Float32Array(batchSize).fill(1, 0, records);
      yield { ...this.#read(indices, batchSize), mask: { dtype: 'float32', shape: [batchSize], data: mask }, records };
    }
  }

  #read(indices: Uint32Array, rows: number): Batch {
    for (const index of indices) {
      if (index >= this.records)
        throw new MusterError('DATA_MALFORMED', `no record ${index} of ${this.records}`, { record: index, records: this.records });
    }
    const { feature, target } = this.record;
    const count = elementCount(feature.shape);
    if (target.kind === 'next-token') return this.#readWindows(indices, rows, count, target.stride);
    const shape = [rows, ...feature.shape];
    const x = gather(this.#x, indices, rows, count);
    const y = this.#y;
    return {
      x: x instanceof Int32Array ? { dtype: 'int32', shape, data: x } : { dtype: 'float32', shape, data: x },
      y:
        y === null
          ? null
          : tensorOf(
              gather(y, indices, rows, target.kind === 'value' ? elementCount(target.shape) : 1),
              target.kind === 'value' ? [rows, ...target.shape] : [rows],
            ),
    };
  }

  #readWindows(indices: Uint32Array, rows: number, context: number, stride: number): Batch {
    const x = new Int32Array(rows * context);
    const y = new Int32Array(rows * context);
    indices.forEach((index, row) => {
      x.set(this.#x.subarray(index * stride, index * stride + context), row * context);
      y.set(this.#x.subarray(index * stride + 1, index * stride + context + 1), row * context);
    });
    const shape = [rows, context];
    return { x: { dtype: 'int32', shape, data: x }, y: { dtype: 'int32', shape, data: y } };
  }
}

function tensorOf(data: Float32Array | Int32Array, shape: readonly number[]): BatchTensor {
  return data instanceof Int32Array ? { dtype: 'int32', shape, data } : { dtype: 'float32', shape, data };
}

/** Rows `indices` of `source`, `count` elements each; bytes become float32 by the rule above. */
function gather(
  source: Float32Array | Int32Array | Uint8Array,
  indices: Uint32Array,
  rows: number,
  count: number,
): Float32Array | Int32Array {
  if (source instanceof Uint8Array) {
    const values = new Float32Array(rows * count);
    let to = 0;
    for (const index of indices) {
      for (let from = index * count; from < (index + 1) * count; from++) values[to++] = uint8Values[source[from] ?? 0] ?? 0;
    }
    return values;
  }
  const values = source instanceof Int32Array ? new Int32Array(rows * count) : new Float32Array(rows * count);
  indices.forEach((index, row) => values.set(source.subarray(index * count, (index + 1) * count), row * count));
  return values;
}

async function join(part: ChunkList, getChunk: GetChunk, verify: boolean): Promise<Uint8Array> {
  const bytes = new Uint8Array(part.bytes);
  let start = 0;
  for (const cid of part.chunks) {
    const chunk = await getChunk(cid);
    const expected = Math.min(part.chunkBytes, part.bytes - start);
    if (chunk.length !== expected) {
      throw new MusterError('DATA_MALFORMED', `chunk ${cid} has ${chunk.length} bytes instead of ${expected}`, {
        object: cid,
        expected,
        actual: chunk.length,
      });
    }
    if (verify) verifyCid(cid, chunk);
    bytes.set(chunk, start);
    start += expected;
  }
  return bytes;
}

function readFeatures(bytes: Uint8Array, record: RecordType, place: string): Float32Array | Int32Array | Uint8Array {
  if (record.feature.dtype === 'float32') return readFloats(bytes, featureBytes(record) / 4, place);
  if (record.target.kind === 'next-token') return readTokens(bytes, record.target.vocabulary, place);
  if (record.feature.dtype !== 'int32') return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i, true));
}

/** Tokens of the stream. One-byte tokens of a full vocabulary stay the bytes they are. */
function readTokens(bytes: Uint8Array, vocabulary: number, place: string): Int32Array | Uint8Array {
  const width = tokenBytes(vocabulary);
  if (vocabulary === 256) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.length / width }, (_, i) => {
    const token = width === 1 ? view.getUint8(i) : width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
    if (token >= vocabulary)
      throw new MusterError('DATA_MALFORMED', `${place}, token ${i}: ${token} of a vocabulary of ${vocabulary}`, { token: i, vocabulary });
    return token;
  });
}

function readTargets(bytes: Uint8Array, record: RecordType, place: string): Float32Array | Int32Array | null {
  if (record.target.kind === 'value') return readFloats(bytes, targetBytes(record) / 4, place);
  if (record.target.kind !== 'class') return null;
  const { classes } = record.target;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = targetBytes(record);
  return Int32Array.from({ length: bytes.length / width }, (_, i) => {
    const index = width === 1 ? view.getUint8(i) : view.getUint16(2 * i, true);
    if (index >= classes)
      throw new MusterError('DATA_MALFORMED', `${place}, record ${i}: class ${index} of ${classes}`, { record: i, class: index, classes });
    return index;
  });
}

function readFloats(bytes: Uint8Array, perRecord: number, place: string): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(bytes.length / 4);
  for (let i = 0; i < values.length; i++) {
    const value = view.getFloat32(4 * i, true);
    if (!Number.isFinite(value)) {
      const at = Math.floor(i / perRecord);
      throw new MusterError('DATA_NOT_FINITE', `${place}, record ${at}: not a finite number`, { record: at });
    }
    values[i] = value;
  }
  return values;
}
