import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeUtf8 } from '../src/utf8.ts';

test('text and refusals are those of the platform decoder', () => {
  const platform = new TextDecoder('utf-8', { fatal: true });
  const expected = (bytes: Uint8Array): string | null => {
    try {
      return platform.decode(bytes);
    } catch {
      return null;
    }
  };
  const check = (bytes: Uint8Array) => {
    const text = decodeUtf8(bytes);
    expect(typeof text === 'string' ? text : null).toBe(expected(bytes));
  };
  const byte = fc.constantFrom(0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xa0, 0xef, 0xbb, 0xf0, 0x90, 0xf4, 0xf5, 0xff);
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 8 }), (bytes) => check(Uint8Array.from(bytes))),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => check(new TextEncoder().encode(text))));
  check(new TextEncoder().encode('aé😀'.repeat(5000)));
});
