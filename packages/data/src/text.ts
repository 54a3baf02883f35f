/**
 * Importer of plain text: one stream of tokens per split, records as windows over it.
 *
 * Tokens are the bytes as they are, or what a tokenizer makes of the text. Record i is tokens [i · stride, i · stride + context]: the first
 * `context` are the feature, the last `context` the target. The stream is stored once. A held-out part is the end of the text, not drawn:
 * windows overlap, a drawn test record would have been seen.
 */
import { type CidText, integer, MusterError } from '@muster/protocol';
import { dataError, type DatasetBlock, type RawDataset, type SourceFile, storeTokens, textSplit } from './dataset.ts';
import { gunzipFile } from './gzip.ts';
import { type HeldOut, heldOutCount } from './heldout.ts';
import { maxChunkBytes, maxVocabulary, tokenBytes } from './manifest.ts';
import { decodeUtf8 } from './utf8.ts';

/** What an importer asks of a tokenizer; those of `@muster/models` have it. */
export interface TextTokenizer {
  /** Content id of the object from which the tokenizer can be had again. */
  readonly cid: CidText;
  /** That object and what it links to. */
  readonly blocks: readonly DatasetBlock[];
  readonly vocabulary: number;
  /** Numbers in [0, vocabulary). */
  encode(text: string): Int32Array;
}

export interface TextOptions {
  /** Tokens a record shows. */
  readonly context: number;
  /** Tokens from one record's start to the next; equal to `context` for records that meet but do not overlap. */
  readonly stride: number;
  /** The tokenizer for `texts`, all texts of the data set; null: tokens are bytes. */
  readonly tokenizer: ((texts: readonly string[]) => TextTokenizer) | null;
}

/** Longest text that a tokenizer is given, bytes: 256 MiB, so that it fits a string. Bytes as tokens have no such limit. */
export const maxTokenisedBytes = 256 * 1024 * 1024;

export const defaultTextOptions: TextOptions = { context: 64, stride: 64, tokenizer: null };

/** The dataset of a text: token features [context], next-token targets. Throws FIELD_INVALID, DATA_MALFORMED (too short, not UTF-8 where there is a tokenizer), BYTES_TOO_LARGE. */
export function importText(
  name: string,
  train: SourceFile,
  test: SourceFile | null,
  options: TextOptions,
  heldOut: HeldOut,
  maxBytes: number,
): RawDataset {
  const context = integer(1, maxChunkBytes - 1)(options.context, 'context');
  const stride = integer(1, maxChunkBytes)(options.stride, 'stride');
  const files = [gunzipFile(train, maxBytes), ...(test === null ? [] : [gunzipFile(test, maxBytes)])];
  const tokenizer = options.tokenizer;
  const { vocabulary, cid, blocks, streams } = tokenizer === null ? bytesOf(files) : tokensOf(files, tokenizer);
  const width = tokenBytes(vocabulary);
  const [stream, testStream] = streams as [Uint8Array, Uint8Array | undefined];
  const tokens = stream.length / width;
  const kept = (testStream === undefined ? tokens - heldOutCount(tokens, heldOut, train.name) : tokens) * width;
  const splits = [textSplit('train', stream.subarray(0, kept), context, stride, train.name, width)];
  if (testStream !== undefined) splits.push(textSplit('test', testStream, context, stride, test?.name ?? train.name, width));
  else if (kept < stream.length) splits.push(textSplit('test', stream.subarray(kept), context, stride, train.name, width));
  return {
    name,
    record: { feature: { dtype: 'token', shape: [context] }, target: { kind: 'next-token', vocabulary, tokenizer: cid, stride } },
    splits,
    linked: blocks,
  };
}

interface Tokenised {
  readonly vocabulary: number;
  readonly cid: CidText | null;
  readonly blocks: readonly DatasetBlock[];
  /** Stored tokens of each file. */
  readonly streams: readonly Uint8Array[];
}

function bytesOf(files: readonly SourceFile[]): Tokenised {
  return { vocabulary: 256, cid: null, blocks: [], streams: files.map(({ bytes }) => bytes) };
}

function tokensOf(files: readonly SourceFile[], tokenizerFor: NonNullable<TextOptions['tokenizer']>): Tokenised {
  const texts = files.map(({ name, bytes }) => {
    if (bytes.length > maxTokenisedBytes) {
      throw new MusterError('BYTES_TOO_LARGE', `${name}: ${bytes.length} bytes for a tokenizer, at most ${maxTokenisedBytes}`, {
        file: name,
        bytes: bytes.length,
        maxBytes: maxTokenisedBytes,
      });
    }
    const text = decodeUtf8(bytes);
    if (typeof text !== 'string') throw dataError('DATA_MALFORMED', name, null, `not UTF-8 at byte ${text.malformedAt}`);
    return text;
  });
  const tokenizer = tokenizerFor(texts);
  const vocabulary = integer(2, maxVocabulary)(tokenizer.vocabulary, 'vocabulary');
  const streams = texts.map((text) => storeTokens(tokenizer.encode(text), vocabulary));
  return { vocabulary, cid: tokenizer.cid, blocks: tokenizer.blocks, streams };
}
