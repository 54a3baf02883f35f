/** The character tokenizer: a token is a Unicode code point of the data set it was made from, as nanoGPT's character model has it. */
import { MusterError } from '@muster/protocol';
import { type Coder, unknownToken } from './tokenizer-coder.ts';

/** Most characters a vocabulary may have. */
export const maxCharacters = 65_536;

/** The different code points of `texts`, ascending, as one text. Throws DATA_MALFORMED if there are fewer than two or too many. */
export function charactersOf(texts: readonly string[]): string {
  const points = new Set<number>();
  for (const text of texts) for (const character of text) points.add(character.codePointAt(0) ?? 0);
  const ascending = Uint32Array.from(points).sort();
  if (ascending.length < 2 || ascending.length > maxCharacters) {
    throw new MusterError('DATA_MALFORMED', `${ascending.length} different characters, from 2 to ${maxCharacters} make a vocabulary`);
  }
  return Array.from(ascending, (point) => String.fromCodePoint(point)).join('');
}

/** The coder over `characters`. Throws DATA_MALFORMED unless they are well-formed, ascend strictly and are 2 to 65 536. */
export function characterCoder(characters: string): Coder {
  if (!characters.isWellFormed() || charactersOf([characters]) !== characters) {
    throw new MusterError('DATA_MALFORMED', 'the characters of a vocabulary must be well-formed and ascend');
  }
  const known = Array.from(characters);
  const numbers = new Map(known.map((character, index) => [character, index]));
  return {
    vocabulary: known.length,
    encode(text) {
      const tokens = new Int32Array(text.length);
      let count = 0;
      for (const character of text) {
        const token = numbers.get(character);
        if (token === undefined) {
          const place = `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
          throw new MusterError(
            'DATA_MALFORMED',
            `character ${count} is ${place} (${JSON.stringify(character)}), which is not in the vocabulary`,
            {
              index: count,
              character: place,
            },
          );
        }
        tokens[count++] = token;
      }
      return tokens.slice(0, count);
    },
    decode(tokens) {
      return Array.from(tokens, (token, index) => {
        const character = known[token];
        if (character === undefined) throw unknownToken(token, index, known.length);
        return character;
      }).join('');
    },
  };
}
