/** Base64 without the platform's decoder, which the language's own library lacks. */

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Bytes of standard base64 with padding. */
export function decodeBase64(text: string): Uint8Array {
  const values = new Map(Array.from(alphabet, (character, index) => [character, index]));
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let word = 0;
  let bits = 0;
  let position = 0;
  for (const character of text) {
    word = ((word << 6) | (values.get(character) ?? 0)) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      if (position < bytes.length) bytes[position++] = word >> bits;
    }
  }
  return bytes;
}
