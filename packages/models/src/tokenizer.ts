/**
 * Tokenizers: text to token numbers and back, each with a content id so that every node tokenises alike.
 *
 * Three kinds: the bytes of UTF-8 (the default), the characters of a data set, and a Hugging Face `tokenizer.json`. A data set is tokenised
 * once, where it is imported; training reads numbers only, so the bits of a job do not depend on the code here. Spec: 21-in-and-out.md.
 */
import {
  type CidText,
  cidOfBytes,
  decodeCanonical,
  encodeObject,
  type Infer,
  integer,
  link,
  linkOf,
  list,
  literal,
  MusterError,
  struct,
  text,
  variant,
  verifyCid,
} from '@muster/protocol';
import { byteCoder } from './tokenizer-bytes.ts';
import { characterCoder, charactersOf, maxCharacters } from './tokenizer-characters.ts';
import type { Coder } from './tokenizer-coder.ts';
import { huggingFaceCoder } from './tokenizer-huggingface.ts';

/** Largest `tokenizer.json`: 128 MiB. */
export const maxTokenizerBytes = 128 * 1024 * 1024;
const chunkBytes = 1024 * 1024;

export interface Tokenizer extends Coder {
  readonly kind: TokenizerObject['kind'];
  readonly cid: CidText;
  /** What to store: raw blocks first, the tokenizer's own object last. */
  readonly blocks: readonly { readonly cid: CidText; readonly codec: 'raw' | 'dag-cbor'; readonly bytes: Uint8Array }[];
}

const version = literal(1);
const objectSchema = variant('kind', {
  bytes: struct({ version, kind: literal('bytes') }),
  /** `characters`: all of them, ascending by code point; a character's number is its place. */
  characters: struct({ version, kind: literal('characters'), characters: text(2 * maxCharacters) }),
  /** The file as it is: `bytes` bytes in raw blocks of 1 MiB, the last shorter. */
  huggingface: struct({
    version,
    kind: literal('huggingface'),
    bytes: integer(2, maxTokenizerBytes),
    chunks: list(link, maxTokenizerBytes / chunkBytes, 1),
  }),
});
/** A tokenizer as stored. */
export type TokenizerObject = Infer<typeof objectSchema>;

function tokenizerOf(object: TokenizerObject, coder: Coder, chunks: readonly Uint8Array[]): Tokenizer {
  const { cid, bytes } = encodeObject(object.kind === 'huggingface' ? { ...object, chunks: object.chunks.map(linkOf) } : object);
  return {
    kind: object.kind,
    cid,
    blocks: [
      ...chunks.map((chunk) => ({ cid: cidOfBytes(chunk, 'raw'), codec: 'raw', bytes: chunk }) as const),
      { cid, codec: 'dag-cbor', bytes },
    ],
    vocabulary: coder.vocabulary,
    encode: (given) => coder.encode(given),
    decode: (tokens) => coder.decode(tokens),
  };
}

/** The tokenizer whose tokens are the bytes of UTF-8: vocabulary 256. */
export function byteTokenizer(): Tokenizer {
  return tokenizerOf({ version: 1, kind: 'bytes' }, byteCoder, []);
}

/** The tokenizer whose tokens are the characters (code points) that occur in `texts`, ascending. Throws DATA_MALFORMED if there are fewer than two or more than 65 536. */
export function characterTokenizer(texts: readonly string[]): Tokenizer {
  const characters = charactersOf(texts);
  return tokenizerOf({ version: 1, kind: 'characters', characters }, characterCoder(characters), []);
}

/** The tokenizer in the bytes of a Hugging Face `tokenizer.json`. Throws DATA_MALFORMED for a file it cannot use, BYTES_TOO_LARGE. */
export function huggingFaceTokenizer(json: Uint8Array): Tokenizer {
  if (json.length > maxTokenizerBytes) {
    throw new MusterError('BYTES_TOO_LARGE', `a tokenizer of ${json.length} bytes, at most ${maxTokenizerBytes}`, { bytes: json.length });
  }
  const coder = huggingFaceCoder(json);
  const chunks: Uint8Array[] = [];
  for (let start = 0; start < json.length; start += chunkBytes) chunks.push(json.slice(start, start + chunkBytes));
  const links = chunks.map((chunk) => cidOfBytes(chunk, 'raw'));
  return tokenizerOf({ version: 1, kind: 'huggingface', bytes: json.length, chunks: links }, coder, chunks);
}

/**
 * The tokenizer stored under `cid`, its blocks read through `getBlock` and verified. Throws what `getBlock` throws, CID_MISMATCH, BYTES_*,
 * FIELD_INVALID, and DATA_MALFORMED for a tokenizer that cannot be used.
 */
export async function loadTokenizer(cid: CidText, getBlock: (cid: CidText) => Promise<Uint8Array>): Promise<Tokenizer> {
  const bytes = await getBlock(cid);
  verifyCid(cid, bytes);
  const object = objectSchema(decodeCanonical(bytes), 'tokenizer');
  switch (object.kind) {
    case 'bytes':
      return byteTokenizer();
    case 'characters':
      return tokenizerOf(object, characterCoder(object.characters), []);
    case 'huggingface': {
      const json = new Uint8Array(object.bytes);
      let at = 0;
      for (const link of object.chunks) {
        const chunk = await getBlock(link);
        const expected = Math.min(chunkBytes, json.length - at);
        if (chunk.length !== expected || expected === 0) {
          throw new MusterError('DATA_MALFORMED', `tokenizer ${cid}: block ${link} has ${chunk.length} bytes instead of ${expected}`, {
            object: link,
          });
        }
        verifyCid(link, chunk);
        json.set(chunk, at);
        at += chunk.length;
      }
      if (at !== json.length) throw new MusterError('DATA_MALFORMED', `tokenizer ${cid}: ${at} of ${json.length} bytes`, { object: cid });
      return huggingFaceTokenizer(json);
    }
    default:
      return object satisfies never;
  }
}
