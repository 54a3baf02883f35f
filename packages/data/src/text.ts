/**
 * Importer of plain text: bytes as tokens, one stream per split, records as windows over it.
 *
 * Record i is bytes [i · stride, i · stride + context]: the first `context` are the feature, the last `context` the target. The stream
 * is stored once. A held-out part is the end of the text, not drawn: windows overlap, a drawn test record would have been seen.
 */
import { integer } from '@muster/protocol';
import { type RawDataset, type SourceFile, textSplit } from './dataset.ts';
import { gunzipFile } from './gzip.ts';
import { type HeldOut, heldOutCount } from './heldout.ts';
import { maxChunkBytes } from './manifest.ts';

export interface TextOptions {
  /** Tokens a record shows. */
  readonly context: number;
  /** Bytes from one record's start to the next; equal to `context` for records that meet but do not overlap. */
  readonly stride: number;
}

export const defaultTextOptions: TextOptions = { context: 64, stride: 64 };

/** The dataset of a text: token features [context], next-token targets. Throws FIELD_INVALID, DATA_MALFORMED (too short). */
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
  const stream = gunzipFile(train, maxBytes).bytes;
  const kept = test === null ? stream.length - heldOutCount(stream.length, heldOut, train.name) : stream.length;
  const splits = [textSplit('train', stream.subarray(0, kept), context, stride, train.name)];
  if (test !== null) splits.push(textSplit('test', gunzipFile(test, maxBytes).bytes, context, stride, test.name));
  else if (kept < stream.length) splits.push(textSplit('test', stream.subarray(kept), context, stride, train.name));
  return {
    name,
    record: { feature: { dtype: 'token', shape: [context] }, target: { kind: 'next-token', vocabulary: 256, stride } },
    splits,
  };
}
