/** What every kind of tokenizer does, and what they share. */
import { MusterError } from '@muster/protocol';

/** What a kind of tokenizer does, without its content id. */
export interface Coder {
  /** Token numbers lie in [0, vocabulary). */
  readonly vocabulary: number;
  /** Token numbers of `text`. Throws DATA_MALFORMED, with the place, for text that the tokenizer cannot say. */
  encode(text: string): Int32Array;
  /** Text of `tokens`; what they say of no whole character is U+FFFD. Throws DATA_MALFORMED for a number outside the vocabulary. */
  decode(tokens: ArrayLike<number>): string;
}

/** The error of a token outside [0, vocabulary). */
export function unknownToken(token: number, index: number, vocabulary: number): MusterError {
  return new MusterError('DATA_MALFORMED', `token ${index} is ${token}, outside the vocabulary of ${vocabulary}`, {
    token,
    index,
    vocabulary,
  });
}
