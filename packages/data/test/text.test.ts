/** Texts that a tokenizer turns into tokens. Texts as bytes are in `reader.test.ts`. */
import { encodeObject, MusterError } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import {
  BatchReader,
  decodeManifest,
  defaultTextOptions,
  importText,
  indexRange,
  maxTokenisedBytes,
  noHeldOut,
  packDataset,
  type RawDataset,
  type TextTokenizer,
  tokenBytes,
} from '../src/index.ts';
import { errorOf, storeOf } from './support.ts';

/** One token per character: its code point times `factor`. */
function tokenizerOf(vocabulary: number, factor = 1): TextTokenizer {
  const { cid, bytes } = encodeObject({ a: 'tokenizer', vocabulary });
  return {
    cid,
    blocks: [{ cid, codec: 'dag-cbor', bytes }],
    vocabulary,
    encode: (text) => Int32Array.from(text, (character) => factor * (character.codePointAt(0) ?? 0)),
  };
}

const file = (name: string, text: string) => ({ name, bytes: new TextEncoder().encode(text) });
const options = (tokenizer: TextTokenizer) => ({ ...defaultTextOptions, context: 3, stride: 2, tokenizer: () => tokenizer });

async function opened(dataset: RawDataset): Promise<BatchReader> {
  const { manifest, blocks } = packDataset(dataset);
  return await BatchReader.open(manifest, 'train', storeOf(blocks));
}

describe('a tokenised text', () => {
  test.each([
    [200, 1, 1],
    [60_000, 300, 2],
    [2 ** 24, 70_000, 4],
  ])('with a vocabulary of %i comes back as its tokens, %i per character, in %i bytes each', async (vocabulary, factor, width) => {
    const tokenizer = tokenizerOf(vocabulary, factor);
    const dataset = importText('t', file('a.txt', 'abcdefgh'), null, options(tokenizer), noHeldOut, 1000);
    expect(tokenBytes(vocabulary)).toBe(width);
    expect(dataset.record.target).toEqual({ kind: 'next-token', vocabulary, tokenizer: tokenizer.cid, stride: 2 });
    expect(dataset.splits[0]?.features).toHaveLength(8 * width);
    const { x, y } = (await opened(dataset)).read(indexRange(3));
    const codes = (text: string) => Array.from(text, (character) => factor * character.charCodeAt(0));
    expect([...x.data]).toEqual(codes('abccdeefg'));
    expect([...(y?.data ?? [])]).toEqual(codes('bcddeffgh'));
  });

  test('stores the tokenizer with the data, and names it in the manifest', () => {
    const tokenizer = tokenizerOf(256);
    const packed = packDataset(importText('t', file('a.txt', 'abcdefgh'), null, options(tokenizer), noHeldOut, 1000));
    expect(packed.blocks.map(({ cid }) => cid)).toContain(tokenizer.cid);
    expect(packed.blocks.at(-1)?.cid).toBe(packed.cid);
    const { manifest } = packed;
    expect(decodeManifest(packed.blocks.at(-1)?.bytes ?? new Uint8Array())).toEqual(manifest);
  });

  test('is held out by tokens from its end, and the tokenizer sees all files', () => {
    const seen: string[] = [];
    const wide = tokenizerOf(60_000);
    const tokenizer = (texts: readonly string[]) => {
      seen.push(...texts);
      return wide;
    };
    const made = importText('t', file('a', 'aßcdefghij'), null, { ...options(wide), tokenizer }, { fraction: 0.4, seed: 0 }, 1000);
    expect(made.splits.map(({ features }) => features.length)).toEqual([12, 8]);
    importText('t', file('a', 'abcdef'), file('b', 'ghijkl'), { ...options(wide), tokenizer }, noHeldOut, 1000);
    expect(seen).toEqual(['aßcdefghij', 'abcdef', 'ghijkl']);
  });

  test('must be UTF-8; as bytes it need not be', () => {
    const broken = { name: 'broken.txt', bytes: Uint8Array.of(65, 66, 0xff, 67, 68) };
    const { code, message } = errorOf(() => importText('t', broken, null, options(tokenizerOf(256)), noHeldOut, 1000));
    expect({ code, message }).toEqual({ code: 'DATA_MALFORMED', message: 'broken.txt: not UTF-8 at byte 2' });
    expect(importText('t', broken, null, { ...defaultTextOptions, context: 3, stride: 1 }, noHeldOut, 1000).splits[0]?.records).toBe(2);
  });

  test('that no string could hold is refused by its length', () => {
    const large = { name: 'large.txt', bytes: new Uint8Array(maxTokenisedBytes + 1) };
    const { code, message } = errorOf(() => importText('t', large, null, options(tokenizerOf(256)), noHeldOut, 2 ** 30));
    expect(code).toBe('BYTES_TOO_LARGE');
    expect(message).toMatch(/^large\.txt: 268435457 bytes for a tokenizer/);
  });

  test('that is too short for a record is refused in tokens', () => {
    const { message } = errorOf(() => importText('t', file('a.txt', 'abc'), null, options(tokenizerOf(60_000)), noHeldOut, 1000));
    expect(message).toBe('a.txt: 3 tokens of train text, a record needs 4');
  });

  test('with a token beyond its vocabulary is refused when it is read, by the token', async () => {
    for (const [vocabulary, factor] of [
      [60, 1],
      [30_000, 310],
      [70_000, 1000],
    ] as const) {
      const dataset = importText('t', file('a.txt', 'abcdefgh'), null, options(tokenizerOf(vocabulary, factor)), noHeldOut, 1000);
      const error = await opened(dataset).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(MusterError);
      expect((error as MusterError).code).toBe('DATA_MALFORMED');
      expect((error as MusterError).message).toMatch(/^t train, token 0: \d+ of a vocabulary of/);
    }
  });

  test('without a tokenizer has the vocabulary of bytes, whatever a manifest says', () => {
    const { manifest } = packDataset(importText('t', file('a.txt', 'abcdefgh'), null, options(tokenizerOf(200)), noHeldOut, 1000));
    const target = { kind: 'next-token', vocabulary: 200, tokenizer: null, stride: 2 } as const;
    const dataset = { ...manifest, record: { ...manifest.record, target } };
    const split = { name: 'train', records: 3, features: new Uint8Array(8), targets: new Uint8Array(0) } as const;
    expect(errorOf(() => packDataset({ name: 't', record: dataset.record, splits: [split] })).message).toMatch(/vocabulary: expected 256/);
  });
});
