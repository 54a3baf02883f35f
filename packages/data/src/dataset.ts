/**
 * A dataset in memory, and its packing into chunks and a manifest.
 *
 * Importers and generators return a `RawDataset` once everything in it has been checked; only then does anything get a content
 * id. Storing the blocks is the caller's work: chunks first, manifest last.
 */
import { type CidText, cidOfBytes, type Codec, MusterError } from '@muster/protocol';
import {
  type ChunkList,
  type DatasetManifest,
  encodeManifest,
  featureBytes,
  fullChunkBytes,
  maxChunks,
  type RecordType,
  type SplitName,
  targetBytes,
  tokenBytes,
  windowCount,
} from './manifest.ts';

/** One split: stored bytes of all features and all targets, records in order. For text, `features` is the stream. */
export interface RawSplit {
  readonly name: SplitName;
  readonly records: number;
  readonly features: Uint8Array;
  readonly targets: Uint8Array;
}

export interface RawDataset {
  readonly name: string;
  readonly record: RecordType;
  readonly splits: readonly RawSplit[];
  /** Blocks that the record type links to: a tokenizer's. */
  readonly linked?: readonly DatasetBlock[];
}

/** A file as read: `name` is what errors call it. */
export interface SourceFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One block to store. `bytes` of a chunk is a view of the dataset's memory. */
export interface DatasetBlock {
  readonly cid: CidText;
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

export interface PackedDataset {
  readonly manifest: DatasetManifest;
  readonly cid: CidText;
  /** Chunks in order of the manifest, what the record type links to, and the manifest's own block last. Equal chunks appear once. */
  readonly blocks: readonly DatasetBlock[];
  /** Bytes of all chunks, before equal ones are counted once. */
  readonly bytes: number;
}

/** An error of the importer naming file and 1-based row (record, line), null where the whole file is meant. */
export function dataError(
  code: 'DATA_UNREADABLE' | 'DATA_MALFORMED' | 'DATA_UNLABELLED' | 'DATA_NOT_FINITE',
  file: string,
  row: number | null,
  problem: string,
  cause?: unknown,
): MusterError {
  const place = row === null ? file : `${file}, row ${row}`;
  return new MusterError(code, `${place}: ${problem}`, { file, row }, cause === undefined ? undefined : { cause });
}

/** Chunks, manifest and content id of `dataset`. Throws FIELD_INVALID if its sizes do not fit its record type. Deterministic. */
export function packDataset(dataset: RawDataset): PackedDataset {
  const { record } = dataset;
  const blocks = new Map<CidText, DatasetBlock>();
  let total = 0;

  function chunk(bytes: Uint8Array, unitBytes: number): ChunkList {
    const chunkBytes = fullChunkBytes(unitBytes);
    if (bytes.length > chunkBytes * maxChunks)
      throw new MusterError('BYTES_TOO_LARGE', `${bytes.length} bytes in one split`, { bytes: bytes.length });
    const chunks: CidText[] = [];
    for (let start = 0; start < bytes.length; start += chunkBytes) {
      const part = bytes.subarray(start, start + chunkBytes);
      const cid = cidOfBytes(part, 'raw');
      blocks.set(cid, { cid, codec: 'raw', bytes: part });
      chunks.push(cid);
    }
    total += bytes.length;
    return { bytes: bytes.length, chunkBytes, chunks };
  }

  const manifest: DatasetManifest = {
    version: 1,
    name: dataset.name,
    record,
    splits: dataset.splits.map((split) => ({
      name: split.name,
      records: split.records,
      features: chunk(split.features, record.target.kind === 'next-token' ? tokenBytes(record.target.vocabulary) : featureBytes(record)),
      targets: chunk(split.targets, targetBytes(record)),
    })),
  };
  for (const block of dataset.linked ?? []) blocks.set(block.cid, block);
  const encoded = encodeManifest(manifest);
  return {
    manifest,
    cid: encoded.cid,
    blocks: [...blocks.values(), { cid: encoded.cid, codec: 'dag-cbor', bytes: encoded.bytes }],
    bytes: total,
  };
}

/** Class indices as stored: one byte each up to 256 classes, else two, little-endian. */
export function storeClasses(indices: ArrayLike<number>, classes: number): Uint8Array {
  if (classes <= 256) return Uint8Array.from(indices);
  const bytes = new Uint8Array(2 * indices.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < indices.length; i++) view.setUint16(2 * i, indices[i] ?? 0, true);
  return bytes;
}

/** float32 values as stored: four bytes each, little-endian. */
export function storeFloats(values: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i] ?? 0, true);
  return bytes;
}

/** The records `indices` of `split`, in that order. Not for text, whose records overlap. */
export function selectRecords(split: RawSplit, indices: Uint32Array, record: RecordType, name: SplitName): RawSplit {
  const pick = (bytes: Uint8Array, unit: number): Uint8Array => {
    const picked = new Uint8Array(indices.length * unit);
    indices.forEach((from, to) => picked.set(bytes.subarray(from * unit, (from + 1) * unit), to * unit));
    return picked;
  };
  return {
    name,
    records: indices.length,
    features: pick(split.features, featureBytes(record)),
    targets: pick(split.targets, targetBytes(record)),
  };
}

/** Token numbers as stored: one, two or four bytes each by the size of the vocabulary, little-endian. */
export function storeTokens(tokens: ArrayLike<number>, vocabulary: number): Uint8Array {
  const width = tokenBytes(vocabulary);
  if (width === 1) return Uint8Array.from(tokens);
  const bytes = new Uint8Array(width * tokens.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < tokens.length; i++) {
    if (width === 2) view.setUint16(2 * i, tokens[i] ?? 0, true);
    else view.setUint32(4 * i, tokens[i] ?? 0, true);
  }
  return bytes;
}

/** A text split over the stored tokens `stream`, `width` bytes each. Throws DATA_MALFORMED naming `file` if not one window fits. */
export function textSplit(
  name: SplitName,
  stream: Uint8Array,
  context: number,
  stride: number,
  file: string,
  width: 1 | 2 | 4 = 1,
): RawSplit {
  const tokens = stream.length / width;
  const records = windowCount(tokens, context, stride);
  if (records === 0) {
    const unit = width === 1 ? 'bytes' : 'tokens';
    throw dataError('DATA_MALFORMED', file, null, `${tokens} ${unit} of ${name} text, a record needs ${context + 1}`);
  }
  return { name, records, features: stream, targets: new Uint8Array(0) };
}
