import { afterEach, expect, it } from 'vitest';
import { bytesRoot, createTreeHasher, installTreeHasher, wasmExecutor } from '../src/index.ts';

const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => Math.imul(index + 1, 2_654_435_761) >>> 24);
const hasher = createTreeHasher(wasmExecutor.backend);

afterEach(() => installTreeHasher(null));

it('the kernels’ tree hasher gives the roots of the plain one, whatever the length', () => {
  const all = bytesOf(9 * 1024 * 1024 + 77);
  const leaf = 1024;
  const chunk = 4 * 1024 * leaf;
  const lengths = [
    0,
    1,
    leaf - 1,
    leaf,
    leaf + 1,
    3 * leaf,
    16 * leaf,
    64 * leaf,
    64 * leaf + 1,
    65 * leaf,
    100 * leaf + 5,
    1000 * leaf - 1,
  ];
  for (const length of [...lengths, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + leaf, all.length]) {
    const bytes = all.subarray(0, length);
    expect(hasher(bytes), `${length} bytes`).toBe(bytesRoot(bytes));
  }
});

it('an installed hasher takes over from sixteen leaves on', () => {
  const asked: number[] = [];
  installTreeHasher((bytes) => {
    asked.push(bytes.length);
    return hasher(bytes);
  });
  const [short, long] = [bytesOf(16 * 1024 - 1), bytesOf(16 * 1024)];
  const roots = [bytesRoot(short), bytesRoot(long)];
  installTreeHasher(null);
  expect(asked).toEqual([long.length]);
  expect(roots).toEqual([bytesRoot(short), bytesRoot(long)]);
});
