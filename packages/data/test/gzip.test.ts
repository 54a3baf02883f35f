import * as fc from 'fast-check';
import { gzipSync, zlibSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { gunzipFile, unzlibFile } from '../src/index.ts';
import { errorOf, onlyCoded } from './support.ts';

const content = Uint8Array.from({ length: 50_000 }, (_, i) => (i * i) >> 7);
const file = (bytes: Uint8Array) => ({ name: 'a.gz', bytes });

test('gzip is opened, several members are joined, and what is not gzip is left alone', () => {
  expect(gunzipFile(file(gzipSync(content)), 50_000).bytes).toEqual(content);
  const joined = new Uint8Array([...gzipSync(content.subarray(0, 100)), ...gzipSync(content.subarray(100, 300))]);
  expect(gunzipFile(file(joined), 1000).bytes).toEqual(content.subarray(0, 300));
  expect(gunzipFile(file(content), 10).bytes).toBe(content);
  expect(gunzipFile(file(gzipSync(new Uint8Array(0))), 10).bytes).toHaveLength(0);
});

describe('refused is', () => {
  test('a bomb: a thousandfold expansion stops at the limit', () => {
    const bomb = gzipSync(new Uint8Array(64 * 1024 * 1024), { level: 9 });
    expect(bomb.length).toBeLessThan(100_000);
    expect(errorOf(() => gunzipFile(file(bomb), 1_000_000)).message).toContain('more than 1000000 bytes');
    expect(errorOf(() => unzlibFile(file(zlibSync(new Uint8Array(1_000_001))), 1_000_000)).code).toBe('DATA_MALFORMED');
  });

  test('one byte more than the limit', () => {
    expect(errorOf(() => gunzipFile(file(gzipSync(content)), 49_999)).code).toBe('DATA_MALFORMED');
  });

  test('a file cut short anywhere', () => {
    const whole = gzipSync(content.subarray(0, 500));
    for (let length = 2; length < whole.length; length++) {
      expect(errorOf(() => gunzipFile(file(whole.subarray(0, length)), 1000)).details).toMatchObject({ file: 'a.gz', row: null });
    }
  });

  test('a wrong checksum', () => {
    const damaged = gzipSync(content);
    damaged[damaged.length - 6]! ^= 1;
    expect(errorOf(() => gunzipFile(file(damaged), 50_000)).message).toContain('checksum');
  });
});

test('damaged gzip and zlib data give coded errors only', () => {
  const whole = gzipSync(content.subarray(0, 300));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), fc.nat(255), (random, at, byte) => {
      const changed = whole.slice();
      changed[at % changed.length] = byte;
      for (const bytes of [changed, Uint8Array.of(0x1f, 0x8b, ...random), Uint8Array.of(0x1f, 0x8b, 8, 0, ...random)]) {
        onlyCoded(() => gunzipFile(file(bytes), 10_000), ['DATA_MALFORMED']);
      }
      onlyCoded(() => unzlibFile(file(random), 10_000), ['DATA_MALFORMED']);
    }),
    { numRuns: 2000 },
  );
});
