/** What training draws from the step's key: dropout and augmentation. */
import { type Array as JaxArray, grad, numpy as np } from '@jax-js/jax';
import { type NamedType, referenceExecutor, type Tensor, traceProgram, wasmExecutor } from '@muster/engine';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dropout } from '@muster/models';
import { augment, type AugmentSpec, checkAugment } from '../src/augment.ts';

const key: NamedType = { name: 'key', dtype: 'uint32', shape: [2] };
const keyOf = (a: number, b: number): Tensor => ({ dtype: 'uint32', shape: [2], data: Uint32Array.of(a, b) });
const codeOf = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
};

/** `fn` over x and key, by both executors, which must agree. */
function both(fn: (x: JaxArray, key: JaxArray) => JaxArray, x: Tensor, keys: Tensor): Tensor {
  const program = traceProgram('drawn', (a, b) => [fn(a, b)], [{ ...x, name: 'x' }, key], ['y']);
  const [reference, wasm] = [referenceExecutor, wasmExecutor].map((executor) => executor.prepare(program).run([x, keys])[0]);
  expect(wasm).toEqual(reference);
  return reference as Tensor;
}

const ones = (...shape: number[]): Tensor => ({
  dtype: 'float32',
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1),
});

const dropped = (rate: number, site: number, keys = keyOf(1, 2)): Tensor =>
  both((x, drawn) => dropout({ key: drawn }, rate, x, site), ones(50, 80), keys);

describe('dropout', () => {
  test.each([0.1, 0.5, 0.9])('at rate %d loses that share of the elements and scales up the others', (rate) => {
    const { data } = dropped(rate, 0);
    const kept = Array.from(data).filter((value) => value !== 0);
    expect(new Set(kept)).toEqual(new Set([Math.fround(1 / (1 - rate))]));
    // Four standard deviations of a binomial share of 4000.
    expect(Math.abs(1 - kept.length / 4000 - rate)).toBeLessThan(4 * Math.sqrt((rate * (1 - rate)) / 4000));
  });

  test('loses the same elements for the same key and site, others for other keys and sites', () => {
    expect(dropped(0.5, 3)).toEqual(dropped(0.5, 3));
    const patterns = [dropped(0.5, 0), dropped(0.5, 1), dropped(0.5, 3), dropped(0.5, 0, keyOf(1, 3)), dropped(0.5, 0, keyOf(0, 2))];
    expect(new Set(patterns.map(({ data }) => data.join())).size).toBe(5);
    const agreeing = Array.from(patterns[0]?.data ?? []).filter((value, index) => value === patterns[1]?.data[index]).length;
    expect(Math.abs(agreeing - 2000)).toBeLessThan(4 * Math.sqrt(1000));
  });

  test('passes gradients only where it kept the element', () => {
    const rate = 0.25;
    const loss = (x: JaxArray, drawn: JaxArray): JaxArray => dropout({ key: drawn }, rate, x, 2).sum();
    const slopes = both((x, drawn) => grad((value: JaxArray) => loss(value, drawn))(x), ones(10, 10), keyOf(5, 6));
    expect(slopes.data).toEqual(both((x, drawn) => dropout({ key: drawn }, rate, x, 2), ones(10, 10), keyOf(5, 6)).data);
  });

  test('changes nothing without a key or at rate 0, and refuses a rate that leaves nothing', () => {
    const x = np.ones([2]);
    expect(dropout({ key: null }, 0.5, x, 0)).toBe(x);
    expect(dropout({ key: x }, 0, x, 0)).toBe(x);
    for (const rate of [1, -0.1, Number.NaN]) expect(codeOf(() => dropout({ key: null }, rate, x, 0))).toBe('MODEL_INVALID');
    x.dispose();
  });
});

/** Distinct numbers above 0, so that a pixel says where it came from. */
const numbered = (batch: number, height: number, width: number, channels: number): Tensor => ({
  dtype: 'float32',
  shape: [batch, height, width, channels],
  data: Float32Array.from({ length: batch * height * width * channels }, (_, index) => index + 1),
});

/** Image `n` of `x` as the augmentation with these choices makes it. */
function moved({ data, shape }: Tensor, n: number, mirrored: boolean, down: number, right: number): number[] {
  const [, height, width, channels] = shape as [number, number, number, number];
  const at = (y: number, x: number, c: number): number =>
    y < 0 || x < 0 || y >= height || x >= width
      ? 0
      : (data[((n * height + y) * width + (mirrored ? width - 1 - x : x)) * channels + c] as number);
  return Array.from({ length: height * width * channels }, (_, index) => {
    const [y, x, c] = [Math.floor(index / (width * channels)), Math.floor(index / channels) % width, index % channels];
    return at(y + down, x + right, c);
  });
}

const augmented = (spec: AugmentSpec, x: Tensor, keys: Tensor): number[][] => {
  const size = x.data.length / (x.shape[0] as number);
  const { data, shape } = both((images, drawn) => augment(spec, images, drawn), x, keys);
  expect(shape).toEqual(x.shape);
  return Array.from({ length: x.shape[0] as number }, (_, n) => Array.from(data.slice(n * size, (n + 1) * size)));
};

describe('augmentation', () => {
  test('gives every image mirrored or not, shifted by at most its bound, with zeros from outside', () => {
    const x = numbered(3, 4, 5, 2);
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), fc.boolean(), fc.integer({ min: 0, max: 2 }), (word, flip, shift) => {
        const offsets = Array.from({ length: 2 * shift + 1 }, (_, index) => index - shift);
        augmented({ flip, shift }, x, keyOf(word, 7)).forEach((image, n) => {
          const choices = (flip ? [false, true] : [false]).flatMap((mirrored) =>
            offsets.flatMap((down) => offsets.map((right) => moved(x, n, mirrored, down, right).join())),
          );
          expect(choices).toContain(image.join());
        });
      }),
      { numRuns: 60 },
    );
  });

  test('reaches every combination, each about as often', () => {
    const x = numbered(900, 3, 3, 1);
    const counts = new Map<string, number>();
    augmented({ flip: true, shift: 1 }, x, keyOf(11, 12)).forEach((image, n) => {
      for (const mirrored of [false, true])
        for (const down of [-1, 0, 1])
          for (const right of [-1, 0, 1])
            if (moved(x, n, mirrored, down, right).join() === image.join()) {
              const label = `${mirrored}/${down}/${right}`;
              counts.set(label, (counts.get(label) ?? 0) + 1);
            }
    });
    expect(counts.size).toBe(18);
    // 900 images, 18 combinations: 50 each, four standard deviations 28.
    for (const [label, count] of counts) expect(Math.abs(count - 50), label).toBeLessThan(28);
  });

  test('that does nothing gives the images themselves', () => {
    const x = numbered(2, 3, 3, 1);
    expect(augmented({ flip: false, shift: 0 }, x, keyOf(1, 2)).flat()).toEqual([...x.data]);
  });

  test('is refused for records that are no images or smaller than the shift', () => {
    const spec = { flip: true, shift: 2 };
    expect(codeOf(() => checkAugment(spec, { dtype: 'float32', shape: [3, 3, 1] }))).toBeUndefined();
    const wrong = [
      { dtype: 'float32', shape: [9] },
      { dtype: 'float32', shape: [2, 8, 1] },
      { dtype: 'float32', shape: [8, 2, 1] },
      { dtype: 'int32', shape: [8, 8, 1] },
    ] as const;
    for (const input of wrong) expect(codeOf(() => checkAugment(spec, input))).toBe('MODEL_INVALID');
  });
});
