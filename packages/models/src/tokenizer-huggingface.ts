/**
 * Hugging Face's `tokenizer.json`, run by `@huggingface/tokenizers`. This file is the boundary: it turns what that package throws, or
 * silently returns, into coded errors. No special tokens are added to a text; those that stand in it are recognised.
 *
 * A file's rules may hold regular expressions, which run where a text is tokenised: take files from where you would take code from.
 */
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { MusterError } from '@muster/protocol';
import { type Coder, unknownToken } from './tokenizer-coder.ts';
import { decodeUtf8 } from './utf8.ts';

/** Largest token number. */
const maxToken = 2 ** 24 - 1;
/** Kinds of model that the package runs; it takes others, and old files without a kind, for something they are not. */
const models = ['BPE', 'WordPiece', 'Unigram'];

function unusable(problem: string, cause?: unknown): MusterError {
  return new MusterError('DATA_MALFORMED', `tokenizer.json: ${problem}`, {}, cause === undefined ? undefined : { cause });
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message.slice(0, 200) : String(cause));

function parse(bytes: Uint8Array): object {
  const source = decodeUtf8(bytes);
  if (typeof source !== 'string') throw unusable(`not UTF-8 at byte ${source.malformedAt}`);
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw unusable('not JSON', cause);
  }
  const { model } = fields(value, 'the file');
  const { type, vocab } = fields(model, '"model"');
  if (typeof type !== 'string' || !models.includes(type)) {
    throw unusable(`a model of the type ${JSON.stringify(type)?.slice(0, 80)}, known are ${models.join(', ')}`);
  }
  if (type !== 'Unigram') for (const id of Object.values(fields(vocab, '"model.vocab"'))) checkNumber(id);
  const { added_tokens: added } = fields(value, 'the file');
  if (!Array.isArray(added)) throw unusable('"added_tokens" is not a list');
  for (const token of added) checkNumber(fields(token, 'an added token')['id']);
  return fields(value, 'the file');
}

function fields(value: unknown, what: string): Record<string, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw unusable(`${what} is not an object`);
  return value as Record<string, unknown>;
}

function checkNumber(id: unknown): void {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > maxToken) {
    throw unusable(`a token has the number ${JSON.stringify(id)?.slice(0, 40)}, not one from 0 to ${maxToken}`);
  }
}

/** The coder that the bytes of a `tokenizer.json` describe. Throws DATA_MALFORMED. */
export function huggingFaceCoder(bytes: Uint8Array): Coder {
  const json = parse(bytes);
  let tokenizer: HuggingFace;
  let vocabulary = 0;
  try {
    // Clean-up of spaces would make decoding lose what encoding kept.
    tokenizer = new HuggingFace(json, { clean_up_tokenization_spaces: false });
    for (const id of tokenizer.get_vocab(true).values()) vocabulary = Math.max(vocabulary, id + 1);
  } catch (cause) {
    throw unusable(reasonOf(cause), cause);
  }
  if (vocabulary < 2 || vocabulary > maxToken + 1) throw unusable(`a vocabulary of ${vocabulary}`);
  return {
    vocabulary,
    encode(text) {
      let ids: readonly number[];
      try {
        ({ ids } = tokenizer.encode(text, { add_special_tokens: false }));
      } catch (cause) {
        throw unusable(`cannot encode: ${reasonOf(cause)}`, cause);
      }
      // An unknown piece comes back as undefined where the file names no token for it.
      return Int32Array.from(ids, (id, index) => {
        if (!Number.isInteger(id) || id < 0 || id >= vocabulary) throw unusable(`no token for piece ${index} of the text`);
        return id;
      });
    },
    decode(tokens) {
      const ids = Array.from(tokens, (token, index) => {
        if (!Number.isInteger(token) || token < 0 || token >= vocabulary) throw unknownToken(token, index, vocabulary);
        return token;
      });
      try {
        return ids.length === 0 ? '' : tokenizer.decode(ids, { skip_special_tokens: false });
      } catch (cause) {
        throw unusable(`cannot decode: ${reasonOf(cause)}`, cause);
      }
    },
  };
}
