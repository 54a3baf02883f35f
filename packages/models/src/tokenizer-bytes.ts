/** The byte tokenizer: a token is a byte of UTF-8. Any text can be said; any tokens can be shown. */
import { MusterError } from '@muster/protocol';
import { type Coder, unknownToken } from './tokenizer-coder.ts';
import { decodeUtf8Leniently, encodeUtf8 } from './utf8.ts';

export const byteCoder: Coder = {
  vocabulary: 256,
  encode(text) {
    const bytes = encodeUtf8(text);
    if (bytes instanceof Uint8Array) return Int32Array.from(bytes);
    throw new MusterError('DATA_MALFORMED', `the text is not well-formed at ${bytes.malformedAt}`, { index: bytes.malformedAt });
  },
  decode(tokens) {
    const bytes = Uint8Array.from(tokens, (token, index) => {
      if (!(token >= 0 && token < 256)) throw unknownToken(token, index, 256);
      return token;
    });
    return decodeUtf8Leniently(bytes);
  },
};
