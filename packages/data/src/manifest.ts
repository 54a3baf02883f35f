/**
 * The dataset manifest: what one record is, and the raw chunks that hold the records of each split.
 *
 * The manifest is a canonical object, so a dataset has one content id; its chunks are raw blocks of at most 1 MiB holding whole
 * records (for text: consecutive bytes of the stream). This file checks bytes from outside and holds no data. Spec: 04-data.md.
 */
import {
  type CidText,
  codecOf,
  decodeCanonical,
  encodeObject,
  fieldError,
  type Infer,
  integer,
  link,
  linkOf,
  list,
  literal,
  maxObjectBytes,
  MusterError,
  nullable,
  oneOf,
  struct,
  text,
  variant,
} from '@muster/protocol';

/** Longest chunk: 1 MiB. A record is never longer. */
export const maxChunkBytes = 1024 * 1024;
/** Largest dataset part (features or targets of a split): 64 GiB of chunks. */
export const maxChunks = 65_536;
export const maxClasses = 65_536;
/** Largest vocabulary of a text. */
export const maxVocabulary = 2 ** 24;

const maxRank = 6;
const shape = list(integer(1, maxChunkBytes), maxRank);
const label = text(200);

const feature = struct({ dtype: oneOf('uint8', 'float32', 'int32', 'token'), shape });
const target = variant('kind', {
  class: struct({ kind: literal('class'), classes: integer(1, maxClasses), names: nullable(list(label, maxClasses, 1)) }),
  value: struct({ kind: literal('value'), shape }),
  /** `tokenizer`: the object that turned the text into tokens; null for bytes, of which there are 256. `stride` in tokens. */
  'next-token': struct({
    kind: literal('next-token'),
    vocabulary: integer(2, maxVocabulary),
    tokenizer: nullable(link),
    stride: integer(1, maxChunkBytes),
  }),
  none: struct({ kind: literal('none') }),
});
const chunkList = struct({
  bytes: integer(0),
  chunkBytes: integer(1, maxChunkBytes),
  chunks: list(link, maxChunks),
});
const split = struct({ name: oneOf('train', 'test'), records: integer(1, 0xffff_ffff), features: chunkList, targets: chunkList });
const schema = struct({ version: literal(1), name: text(200), record: struct({ feature, target }), splits: list(split, 2, 1) });

/** `dtype` as stored: `uint8` is read as float32 in [0, 1], `token` (a token of text) as int32, the others as they are. */
export type FeatureType = Infer<typeof feature>;
/** What a record is trained towards; `none` for unlabelled records. */
export type TargetType = Infer<typeof target>;
export interface RecordType {
  readonly feature: FeatureType;
  readonly target: TargetType;
}
export type SplitName = 'train' | 'test';
/** `bytes` in total, cut into chunks of `chunkBytes`; the last may be shorter. Each chunk is a raw block. */
export type ChunkList = Infer<typeof chunkList>;
export type DatasetSplit = Infer<typeof split>;
/** Splits are in the order train, test; train is always there. */
export type DatasetManifest = Infer<typeof schema>;

const storedBytes = { uint8: 1, token: 1, float32: 4, int32: 4 } as const;

export function elementCount(extents: readonly number[]): number {
  let count = 1;
  for (const extent of extents) count *= extent;
  return count;
}

/** Bytes one token of a vocabulary takes in the store: one up to 256 tokens, two up to 65 536, else four. */
export function tokenBytes(vocabulary: number): 1 | 2 | 4 {
  if (vocabulary <= 256) return 1;
  return vocabulary <= 65_536 ? 2 : 4;
}

/** Bytes one record's features take in the store. For text: the window of context + 1 tokens. */
export function featureBytes({ feature, target }: RecordType): number {
  const count = elementCount(feature.shape);
  return target.kind === 'next-token' ? (count + 1) * tokenBytes(target.vocabulary) : count * storedBytes[feature.dtype];
}

/** Bytes one record's target takes in the store: a class is one byte up to 256 classes, else two. */
export function targetBytes({ target }: RecordType): number {
  if (target.kind === 'class') return target.classes <= 256 ? 1 : 2;
  return target.kind === 'value' ? 4 * elementCount(target.shape) : 0;
}

/** Bytes of a full chunk for units of `unitBytes`: as many whole units as fit 1 MiB. For a stream (unit: a token) exactly 1 MiB. */
export function fullChunkBytes(unitBytes: number): number {
  return unitBytes === 0 ? maxChunkBytes : maxChunkBytes - (maxChunkBytes % unitBytes);
}

/** Records in a text of `tokens` tokens: the windows [i · stride, i · stride + context] that fit. */
export function windowCount(tokens: number, context: number, stride: number): number {
  return tokens < context + 1 ? 0 : Math.floor((tokens - context - 1) / stride) + 1;
}

/** The split called `name`. Throws DATA_MALFORMED if the dataset has none. */
export function splitOf(manifest: DatasetManifest, name: SplitName): DatasetSplit {
  const found = manifest.splits.find((candidate) => candidate.name === name);
  if (found === undefined) throw new MusterError('DATA_MALFORMED', `dataset "${manifest.name}" has no ${name} split`, { split: name });
  return found;
}

/** Canonical bytes and content id of `manifest`. Throws FIELD_INVALID if it breaks a rule of the format, BYTES_TOO_LARGE. */
export function encodeManifest(manifest: DatasetManifest): { readonly cid: CidText; readonly bytes: Uint8Array } {
  checkMeaning(manifest);
  const { feature, target } = manifest.record;
  const tokenizer = target.kind === 'next-token' ? target.tokenizer : null;
  const encoded = encodeObject({
    ...manifest,
    record: { feature, target: tokenizer === null ? target : { ...target, tokenizer: linkOf(tokenizer) } },
    splits: manifest.splits.map((part) => ({ ...part, features: withLinks(part.features), targets: withLinks(part.targets) })),
  });
  if (encoded.bytes.length > maxObjectBytes) {
    throw new MusterError('BYTES_TOO_LARGE', `a manifest of ${encoded.bytes.length} bytes, at most ${maxObjectBytes}`, {
      bytes: encoded.bytes.length,
    });
  }
  return encoded;
}

/** The manifest in `bytes`. Throws BYTES_TOO_LARGE, BYTES_MALFORMED, BYTES_NOT_CANONICAL, CID_INVALID or FIELD_INVALID. */
export function decodeManifest(bytes: Uint8Array): DatasetManifest {
  const manifest = schema(decodeCanonical(bytes), 'manifest');
  checkMeaning(manifest);
  return manifest;
}

function withLinks(part: ChunkList): object {
  return { ...part, chunks: part.chunks.map(linkOf) };
}

function checkMeaning(manifest: DatasetManifest): void {
  const { record } = manifest;
  const isStream = record.target.kind === 'next-token';
  if (isStream !== (record.feature.dtype === 'token') || (isStream && record.feature.shape.length !== 1)) {
    throw fieldError(
      'manifest.record.feature',
      'token features of shape [context] exactly where the target is next-token',
      record.feature.dtype,
    );
  }
  if (record.target.kind === 'next-token' && record.target.tokenizer === null && record.target.vocabulary !== 256) {
    throw fieldError('manifest.record.target.vocabulary', '256, the bytes, where there is no tokenizer', record.target.vocabulary);
  }
  if (record.target.kind === 'class' && record.target.names !== null) {
    const { classes, names } = record.target;
    if (names.length !== classes || new Set(names).size !== classes) {
      throw fieldError('manifest.record.target.names', `${classes} different names`, `${names.length} names`);
    }
  }
  const perRecord = featureBytes(record);
  if (perRecord > maxChunkBytes || targetBytes(record) > maxChunkBytes) {
    throw fieldError('manifest.record', `records of at most ${maxChunkBytes} bytes`, perRecord);
  }
  manifest.splits.forEach((part, index) => {
    const path = `manifest.splits[${index}]`;
    if (part.name !== (['train', 'test'] as const)[index]) throw fieldError(`${path}.name`, 'train first, then test', part.name);
    const unit = record.target.kind === 'next-token' ? tokenBytes(record.target.vocabulary) : perRecord;
    checkChunks(part.features, unit, isStream ? part.features.bytes : part.records * perRecord, `${path}.features`);
    checkChunks(part.targets, targetBytes(record), part.records * targetBytes(record), `${path}.targets`);
    if (record.target.kind === 'next-token') {
      const records = windowCount(part.features.bytes / unit, record.feature.shape[0] ?? 0, record.target.stride);
      if (part.records !== records)
        throw fieldError(`${path}.records`, `${records}, the windows in ${part.features.bytes} bytes`, part.records);
    }
  });
}

function checkChunks(part: ChunkList, unitBytes: number, bytes: number, path: string): void {
  if (part.bytes !== bytes || (unitBytes > 0 && bytes % unitBytes !== 0)) throw fieldError(`${path}.bytes`, `${bytes}`, part.bytes);
  if (part.chunkBytes !== fullChunkBytes(unitBytes))
    throw fieldError(`${path}.chunkBytes`, `${fullChunkBytes(unitBytes)}`, part.chunkBytes);
  const count = Math.ceil(bytes / part.chunkBytes);
  if (part.chunks.length !== count) throw fieldError(`${path}.chunks`, `${count} chunks`, `${part.chunks.length} chunks`);
  for (const cid of part.chunks) if (codecOf(cid) !== 'raw') throw fieldError(`${path}.chunks`, 'links to raw blocks', cid);
}
