import { describe, expect, it } from 'vitest';
import { bitsOf, cosf, erff, expf, floatOf, logf, reciprocalf, sinf, sqrtf } from '../src/reference/math.ts';

/** erf in float64: Maclaurin series below 3, continued fraction of erfc above. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 120; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (sum * 2) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  const complement = Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
  return Math.sign(x) * (1 - complement);
}

/** |got − exact| in units in the last place of the float32 nearest to `exact`. */
function ulpError(got: number, exact: number): number {
  const nearest = Math.fround(exact);
  if (Object.is(got, nearest)) return 0;
  if (!Number.isFinite(nearest) || !Number.isFinite(got)) return Infinity;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(nearest))));
  return Math.abs(got - exact) / 2 ** (exponent - 23);
}

/** Every `stride`-th float32 bit pattern of [low, high], both signs if `signed`. */
function* floats(low: number, high: number, count: number, signed: boolean): Generator<number> {
  const first = bitsOf(low);
  const last = bitsOf(high);
  const stride = Math.max(1, Math.floor((last - first) / count));
  for (let bits = first; bits <= last; bits += stride) {
    yield floatOf(bits);
    if (signed) yield -floatOf(bits);
  }
}

function worst(ours: (x: number) => number, exact: (x: number) => number, samples: Iterable<number>): number {
  let error = 0;
  let place = 0;
  for (const x of samples) {
    const here = ulpError(ours(x), exact(x));
    if (!(here <= error)) {
      error = here;
      place = x;
    }
  }
  if (error > 2) throw new Error(`${error} ulp at ${place}: ${ours(place)} for ${exact(place)}`);
  return error;
}

const tiny = floatOf(1);
const big = floatOf(0x7f7fffff);

describe('float32 functions', () => {
  it('exp is within 1 ulp everywhere, subnormal results and the overflow edge included', () => {
    expect(worst(expf, Math.exp, floats(tiny, big, 150_000, true))).toBeLessThanOrEqual(1);
    expect(worst(expf, Math.exp, floats(0.001, 104.5, 300_000, true))).toBeLessThanOrEqual(1);
    for (let bits = bitsOf(88.7); bits < bitsOf(88.75); bits++)
      expect(ulpError(expf(floatOf(bits)), Math.exp(floatOf(bits)))).toBeLessThanOrEqual(1);
  });

  it('log is within 1 ulp everywhere, subnormal arguments included', () => {
    expect(worst(logf, Math.log, floats(tiny, big, 400_000, false))).toBeLessThanOrEqual(1);
    expect(worst(logf, Math.log, floats(0.5, 2, 300_000, false))).toBeLessThanOrEqual(1);
  });

  it('sin and cos are within 1 ulp up to 50 000', () => {
    for (const [ours, exact] of [
      [sinf, Math.sin],
      [cosf, Math.cos],
    ] as const) {
      expect(worst(ours, exact, floats(tiny, 50_000, 300_000, true))).toBeLessThanOrEqual(1);
      expect(worst(ours, exact, floats(0.1, 10, 200_000, true))).toBeLessThanOrEqual(1);
    }
  });

  it('sin and cos are within 1 ulp beside every multiple of π/2', () => {
    let error = 0;
    for (let n = 1; n <= 31_830; n++) {
      const near = bitsOf((n * Math.PI) / 2);
      for (let bits = near - 1; bits <= near + 1; bits++) {
        const x = floatOf(bits);
        error = Math.max(error, ulpError(sinf(x), Math.sin(x)), ulpError(cosf(x), Math.cos(x)));
      }
    }
    expect(error).toBeLessThanOrEqual(1);
  });

  it('erf is within 2 ulp everywhere', () => {
    worst(erff, erf, floats(tiny, big, 50_000, true));
    worst(erff, erf, floats(0.25, 4.5, 100_000, true));
  });

  it('special values follow their written rules', () => {
    expect([expf(-Infinity), expf(Infinity), expf(0), expf(-0), expf(NaN)]).toEqual([0, Infinity, 1, 1, NaN]);
    expect([logf(0), logf(-0), logf(Infinity), logf(1), logf(-1), logf(-tiny), logf(-Infinity), logf(NaN)]).toEqual([
      -Infinity,
      -Infinity,
      Infinity,
      0,
      NaN,
      NaN,
      NaN,
      NaN,
    ]);
    expect([sinf(0), sinf(-0), cosf(0), cosf(-0)]).toEqual([0, -0, 1, 1]);
    for (const x of [Infinity, -Infinity, NaN, 50_001, -big]) expect([sinf(x), cosf(x)]).toEqual([NaN, NaN]);
    expect([erff(0), erff(-0), erff(Infinity), erff(-Infinity), erff(NaN)]).toEqual([0, -0, 1, -1, NaN]);
    expect([erff(tiny), erff(-tiny), expf(tiny), sinf(tiny), sinf(-tiny)]).toEqual([tiny, -tiny, 1, tiny, -tiny]);
    expect([sqrtf(4), sqrtf(-0), sqrtf(-1), reciprocalf(-0), reciprocalf(4)]).toEqual([2, -0, NaN, -Infinity, 0.25]);
  });

  it('odd functions are odd bit for bit', () => {
    for (const x of floats(tiny, 49_999, 20_000, false)) {
      expect(Object.is(sinf(-x), -sinf(x))).toBe(true);
      expect(Object.is(erff(-x), -erff(x))).toBe(true);
      expect(Object.is(cosf(-x), cosf(x))).toBe(true);
    }
  });
});
