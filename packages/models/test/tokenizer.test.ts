/** Tokenizers: what they say of a text, what they refuse, and that a content id is enough to have them again. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CidText, encodeObject, MusterError } from '@muster/protocol';
import { byteTokenizer, characterTokenizer, huggingFaceTokenizer, loadTokenizer, type Tokenizer } from '@muster/models';

const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));

function problemOf(attempt: () => unknown): { readonly code: string; readonly message: string } {
  try {
    attempt();
  } catch (error) {
    if (error instanceof MusterError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  return await attempt.then(
    () => 'nothing was refused',
    (error: unknown) => (error instanceof MusterError ? error.code : String(error)),
  );
}

/** GPT-2's way from bytes to printable characters. */
const byteCharacters = Array.from({ length: 256 }, (_, byte) => byte);
const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
let spare = 256;
const alphabet = byteCharacters.map((byte) => String.fromCharCode(printable(byte) ? byte : spare++));

/** A byte-level BPE tokenizer in the layout of GPT-2's file, with `merges` and one special token. */
function bytePairs(merges: readonly (readonly [string, string])[]): object {
  const tokens = [...alphabet, ...merges.map(([left, right]) => left + right)];
  const added = {
    id: tokens.length,
    content: '<|end|>',
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}
const gpt = bytePairs([
  ['t', 'h'],
  ['th', 'e'],
  ['Ġ', 'the'],
]);

const words = {
  version: '1.0',
  added_tokens: [],
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'Whitespace' },
  post_processor: null,
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    vocab: { '?': 0, hello: 1, world: 2, '##s': 3 },
    unk_token: '?',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
  },
};

describe('the byte tokenizer', () => {
  it('gives the bytes of UTF-8, and any text back', () => {
    const tokenizer = byteTokenizer();
    expect(tokenizer.vocabulary).toBe(256);
    expect([...tokenizer.encode('aß€😀')]).toEqual([0x61, 0xc3, 0x9f, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect([...tokenizer.encode(text)]).toEqual([...new TextEncoder().encode(text)]);
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('shows bytes that are no characters as U+FFFD, and reads no half characters', () => {
    expect(byteTokenizer().decode([0x61, 0xff, 0xe2, 0x82, 0x62])).toBe('a\ufffd\ufffd\ufffdb');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
        const shown = byteTokenizer().decode(bytes);
        const strict = (() => {
          try {
            return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
          } catch {
            return null;
          }
        })();
        if (strict === null) expect(shown).toContain('\ufffd');
        else expect(shown).toBe(strict);
      }),
      { numRuns: 1000 },
    );
    expect(problemOf(() => byteTokenizer().encode('ab\ud800')).message).toMatch(/well-formed at 2/);
    expect(problemOf(() => byteTokenizer().decode([0, 256])).message).toMatch(/token 1 is 256/);
  });
});

describe('the character tokenizer', () => {
  it('numbers the characters that occur, ascending, as the character model of nanoGPT does', () => {
    const tokenizer = characterTokenizer(['hello\n', 'wörld😀']);
    expect(tokenizer.vocabulary).toBe(10);
    expect([...tokenizer.encode('\nh😀')]).toEqual([0, 3, 9]);
    expect(tokenizer.decode([9, 4, 0])).toBe('😀l\n');
    expect(tokenizer.cid).toBe(characterTokenizer(['😀wörld\nhello']).cid);
    expect(tokenizer.cid).not.toBe(characterTokenizer(['hello']).cid);
  });

  it('names the character it does not know, and the number', () => {
    const tokenizer = characterTokenizer(['abc']);
    expect(problemOf(() => tokenizer.encode('ab€')).message).toBe('character 2 is U+20AC ("€"), which is not in the vocabulary');
    expect(problemOf(() => tokenizer.decode([0, 3])).message).toMatch(/token 1 is 3, outside the vocabulary of 3/);
    expect(problemOf(() => tokenizer.decode([-1])).code).toBe('DATA_MALFORMED');
    expect(problemOf(() => characterTokenizer(['aaa'])).code).toBe('DATA_MALFORMED');
  });
});

describe('a tokenizer.json', () => {
  it('of byte pairs merges what its rules say, and gives any text back', () => {
    const tokenizer = huggingFaceTokenizer(bytesOf(gpt));
    expect(tokenizer.vocabulary).toBe(260);
    expect([...tokenizer.encode('the then')]).toEqual([257, 258, alphabet.indexOf('n')]);
    expect([...tokenizer.encode('t<|end|>')]).toEqual([alphabet.indexOf('t'), 259]);
    expect(tokenizer.decode([257, 259])).toBe('the<|end|>');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 300 },
    );
    expect(tokenizer.decode(tokenizer.encode("it 's , spaced ."))).toBe("it 's , spaced .");
  });

  it('of pieces of words maps what it does not know to its unknown token', () => {
    const tokenizer = huggingFaceTokenizer(bytesOf(words));
    expect([...tokenizer.encode('Hello big worlds')]).toEqual([1, 0, 2, 3]);
    expect(tokenizer.decode([1, 2, 3])).toBe('hello worlds');
    expect(problemOf(() => tokenizer.decode([4])).code).toBe('DATA_MALFORMED');
  });

  it.each<[string, unknown]>([
    ['that is not JSON', '{'],
    ['that is not an object', '"model"'],
    ['without a model', { added_tokens: [] }],
    ['without a list of added tokens', { ...words, added_tokens: {} }],
    ['with an added token without a number', { ...words, added_tokens: [{ content: 'x' }] }],
    ['with a model of an unknown kind', { ...words, model: { type: 'Oracle', vocab: { a: 0, b: 1 } } }],
    ['whose model has no kind', { ...words, model: { vocab: { a: 0, b: 1 } } }],
    ['whose model is made of whole words, which the package does not run', { ...words, model: { ...words.model, type: 'WordLevel' } }],
    ['with a model that is nothing', { ...words, model: null }],
    ['with an unknown step', { ...words, normalizer: { type: 'Guess' } }],
    ['with numbers that are none', { ...words, model: { ...words.model, vocab: { '?': 0, a: 1.5 } } }],
    ['with a number beyond the limit', { ...words, model: { ...words.model, vocab: { '?': 0, a: 2 ** 24 } } }],
    ['with a vocabulary of one', { ...words, model: { ...words.model, vocab: { '?': 0 } } }],
  ])('%s is refused', (_, json) => {
    expect(problemOf(() => huggingFaceTokenizer(bytesOf(json))).code).toBe('DATA_MALFORMED');
  });

  it('that is not UTF-8 is refused with the place', () => {
    expect(problemOf(() => huggingFaceTokenizer(Uint8Array.of(0x7b, 0xff))).message).toBe('tokenizer.json: not UTF-8 at byte 1');
  });
});

describe('a content id', () => {
  const large = bytePairs(Array.from({ length: 60_000 }, (_, i) => [alphabet[i % 256] ?? '', (alphabet[i >> 8] ?? '').repeat(8)]));
  const made: readonly [string, () => Tokenizer][] = [
    ['bytes', byteTokenizer],
    ['characters', () => characterTokenizer(['Some text, ünïcode'])],
    ['huggingface', () => huggingFaceTokenizer(bytesOf(gpt))],
    ['huggingface in several blocks', () => huggingFaceTokenizer(bytesOf(large))],
  ];

  it.each(made)('gives the same tokenizer again: %s', async (_, make) => {
    const tokenizer = make();
    const store = new Map(tokenizer.blocks.map(({ cid, bytes }) => [cid, bytes]));
    const again = await loadTokenizer(tokenizer.cid, async (cid) => store.get(cid) ?? new Uint8Array());
    expect(again.kind).toBe(tokenizer.kind);
    expect(again.cid).toBe(tokenizer.cid);
    expect(again.vocabulary).toBe(tokenizer.vocabulary);
    expect(again.encode('Some text')).toEqual(tokenizer.encode('Some text'));
  });

  it('of several blocks names them all', () => {
    const { blocks } = huggingFaceTokenizer(bytesOf(large));
    expect(blocks.length).toBeGreaterThan(2);
    for (const { codec, bytes } of blocks.slice(0, -1)) expect([codec, bytes.length <= 2 ** 20]).toEqual(['raw', true]);
  });

  it('of anything else, or of damaged blocks, is refused', async () => {
    const { cid, blocks } = huggingFaceTokenizer(bytesOf(gpt));
    const chunk = blocks[0]?.bytes ?? new Uint8Array();
    const serve = (change: (bytes: Uint8Array) => Uint8Array) => async (asked: CidText) =>
      asked === cid ? (blocks.at(-1)?.bytes ?? new Uint8Array()) : change(chunk);
    expect(
      await codeOf(
        loadTokenizer(
          cid,
          serve((bytes) => bytes.slice(1)),
        ),
      ),
    ).toBe('DATA_MALFORMED');
    expect(
      await codeOf(
        loadTokenizer(
          cid,
          serve((bytes) => bytes.with(5, 1)),
        ),
      ),
    ).toBe('CID_MISMATCH');
    expect(await codeOf(loadTokenizer(cid, async () => chunk))).toBe('CID_MISMATCH');
    for (const object of [
      { version: 1, kind: 'guess' },
      { version: 1, kind: 'characters', characters: 'ba' },
      { version: 1, kind: 'characters', characters: 'a' },
      { version: 1, kind: 'huggingface', bytes: 9, chunks: [] },
    ]) {
      const stored = encodeObject(object);
      expect(['FIELD_INVALID', 'DATA_MALFORMED']).toContain(await codeOf(loadTokenizer(stored.cid, async () => stored.bytes)));
    }
  });
});
