/**
 * exp, log, sin, cos and erf as written float32 algorithms: the definition, not an approximation of one.
 *
 * Every step is one IEEE-754 float32 addition, subtraction or multiplication rounded to nearest even (`f`), a comparison, a select,
 * or integer arithmetic on bit patterns, in the order written; a port that keeps the order gives the same bits. There is no
 * loop, no table and no branch on data, so each function vectorises at any width. Comments give constants as float32 bit
 * patterns. Polynomials are our own near-minimax fits. Errors, in units in the last place of the correctly rounded result, are
 * held by `test/math.test.ts`.
 *
 * Rules of notation: Horner steps `p = f(f(p * z) + c)` round twice. A NaN result is a fault of the operation (the executor
 * looks for it), so its bit pattern is not part of the definition.
 */
const f = Math.fround;

const floatView = new Float32Array(1);
const intView = new Int32Array(floatView.buffer);

/** The 32 bits of `x` as a signed integer. */
export function bitsOf(x: number): number {
  floatView[0] = x;
  return intView[0] as number;
}

/** The float32 whose bits are the low 32 of `bits`. */
export function floatOf(bits: number): number {
  intView[0] = bits;
  return floatView[0] as number;
}

const roundMagic = 12582912; // 0x4b400000 = 1.5 · 2²³: adding it rounds |v| < 2²² to an integer, ties to even
const roundMagicBits = 0x4b400000;

// exp
const log2e = floatOf(0x3fb8aa3b); // 1.4426950216293335
const ln2High = floatOf(0x3f318000); // 0.693359375: 10 significant bits, so n · ln2High is exact for |n| < 2¹⁴
const ln2Low = floatOf(0xb95e8083 | 0); // −0.00021219444170128554 = ln 2 − ln2High
const exp0 = floatOf(0x3f000000); // 0.5
const exp1 = floatOf(0x3e2aaaab); // 0.1666666716337204
const exp2 = floatOf(0x3d2aaa73); // 0.041666459292173386
const exp3 = floatOf(0x3c0887ff); // 0.008333205245435238
const exp4 = floatOf(0x3ab6a7cf); // 0.0013935508904978633
const exp5 = floatOf(0x395127ce); // 0.0001994662161450833

/**
 * eˣ of a float32, at most 1 ulp off, subnormal results included. exp(−∞) = +0, exp(+∞) = +∞, exp(NaN) = NaN.
 *
 * x = n · ln 2 + r, |r| ≤ ½ ln 2 (a little more); eʳ by polynomial; scaled by 2ⁿ in two exact-power factors of which only
 * the second can round or overflow.
 */
export function expf(x: number): number {
  let v = x < -104 ? -104 : x; // select(x < −104, −104, x); a NaN passes through
  v = v > 89 ? 89 : v;
  const shifted = f(f(v * log2e) + roundMagic);
  const n = (bitsOf(shifted) - roundMagicBits) | 0; // −150 … 128
  const t = f(shifted - roundMagic); // n as a float32
  let r = f(v - f(t * ln2High));
  r = f(r - f(t * ln2Low));
  const z = f(r * r);
  let p = exp5;
  p = f(f(p * r) + exp4);
  p = f(f(p * r) + exp3);
  p = f(f(p * r) + exp2);
  p = f(f(p * r) + exp1);
  p = f(f(p * r) + exp0);
  p = f(f(p * z) + r);
  p = f(p + 1);
  const half = n >> 1; // arithmetic shift: −75 … 64
  const rest = (n - half) | 0;
  const y = f(f(p * floatOf((half + 127) << 23)) * floatOf((rest + 127) << 23));
  return x !== x ? x : y;
}

// log
const log0 = floatOf(0x3eaaaaa3); // 0.3333331048488617
const log1 = floatOf(0xbe7ffff7 | 0); // −0.24999986588954926
const log2 = floatOf(0x3e4cd2a1); // 0.20002223551273346
const log3 = floatOf(0xbe2ab170 | 0); // −0.16669249534606934
const log4 = floatOf(0x3e119983); // 0.14218716323375702
const log5 = floatOf(0xbdfda1ef | 0); // −0.12384402006864548
const log6 = floatOf(0x3df326b8); // 0.11872619390487671
const log7 = floatOf(0xbdf17241 | 0); // −0.1178937032818794
const log8 = floatOf(0x3d8da1ba); // 0.06915612518787384
const smallestNormal = floatOf(0x00800000); // 2⁻¹²⁶
const twoTo23 = 8388608; // 0x4b000000
const rootHalfBits = 0x3f3504f3; // √½

/**
 * Natural logarithm of a float32, at most 1 ulp off. log(±0) = −∞, log(+∞) = +∞, log of a negative or of NaN = NaN.
 *
 * x = 2ᵉ · m, √½ ≤ m < √2; log m = d − d²/2 + d³ P(d) with d = m − 1 exact.
 */
export function logf(x: number): number {
  const tiny = x < smallestNormal;
  const scaled = f(x * (tiny ? twoTo23 : 1)); // exact for every x in [0, 2⁻¹²⁶)
  const bits = (bitsOf(scaled) - rootHalfBits) | 0; // wraps; lanes that do are selected away below
  const e = ((bits >> 23) - (tiny ? 23 : 0)) | 0; // arithmetic shift
  const m = floatOf(((bits & 0x007fffff) + rootHalfBits) | 0);
  const d = f(m - 1);
  const z = f(d * d);
  let p = log8;
  p = f(f(p * d) + log7);
  p = f(f(p * d) + log6);
  p = f(f(p * d) + log5);
  p = f(f(p * d) + log4);
  p = f(f(p * d) + log3);
  p = f(f(p * d) + log2);
  p = f(f(p * d) + log1);
  p = f(f(p * d) + log0);
  const t = f(e); // exact
  let y = f(f(d * z) * p);
  y = f(y + f(t * ln2Low));
  y = f(y - f(z * 0.5));
  y = f(d + y);
  y = f(y + f(t * ln2High));
  y = x === Infinity ? Infinity : y;
  y = x === 0 ? -Infinity : y;
  return x < 0 || x !== x ? NaN : y;
}

// sin, cos
const twoOverPi = floatOf(0x3f22f983); // 0.6366197466850281
// π/2 in five parts; the first four have 8 significant bits, so n · part is exact for |n| ≤ 2¹⁶.
const halfPi1 = floatOf(0x3fc90000); // 1.5703125
const halfPi2 = floatOf(0x39fe0000); // 0.000484466552734375
const halfPi3 = floatOf(0xb52c0000 | 0); // −6.407499313354492e-7
const halfPi4 = floatOf(0x30880000); // 9.89530235528946e-10
const halfPi5 = floatOf(0x2c34611a); // 2.5633440682570896e-12
const sin0 = floatOf(0xbe2aaaa3 | 0); // −0.16666655242443085
const sin1 = floatOf(0x3c0883be); // 0.008332191035151482
const sin2 = floatOf(0xb94caad8 | 0); // −0.00019518600311130285
const cos0 = floatOf(0x3d2aaaa5); // 0.04166664555668831
const cos1 = floatOf(0xbab6060d | 0); // −0.00138873013202101
const cos2 = floatOf(0x37ccf072); // 2.4430661142105237e-5

/** Largest magnitude `sinf` and `cosf` accept; beyond it their result is NaN, which is a fault. */
export const largestAngle = 50000; // 0x47435000

/** What rounding lost in `difference = f(a − b)`, exactly (Knuth's two-sum): a − b = difference + the result. */
function differenceError(a: number, b: number, difference: number): number {
  const t = f(difference - a);
  return f(f(a - f(difference - t)) - f(b + t));
}

/** sin(x + quarterTurns · π/2), shared by `sinf` (0) and `cosf` (1). */
function sineOfQuadrant(x: number, quarterTurns: number): number {
  const inside = x <= largestAngle && x >= -largestAngle;
  const v = inside ? x : 0;
  const shifted = f(f(v * twoOverPi) + roundMagic);
  const n = (bitsOf(shifted) - roundMagicBits) | 0;
  const t = f(shifted - roundMagic);
  const r2 = f(f(v - f(t * halfPi1)) - f(t * halfPi2)); // exact
  const h3 = f(t * halfPi3);
  const r3 = f(r2 - h3);
  const h4 = f(t * halfPi4);
  const r4 = f(r3 - h4);
  const tail = f(f(t * halfPi5) - f(differenceError(r2, h3, r3) + differenceError(r3, h4, r4)));
  const r = f(r4 - tail);
  const low = f(f(r4 - r) - tail); // the reduced angle is r + low
  const z = f(r * r);
  let s = sin2;
  s = f(f(s * z) + sin1);
  s = f(f(s * z) + sin0);
  s = f(f(f(f(r * z) * s) + low) + r);
  let c = cos2;
  c = f(f(c * z) + cos1);
  c = f(f(c * z) + cos0);
  const halfZ = f(z * 0.5);
  const w = f(1 - halfZ);
  c = f(w + f(f(f(1 - w) - halfZ) + f(f(c * f(z * z)) - f(r * low))));
  const quadrant = (n + quarterTurns) & 3;
  const y = (quadrant & 1) === 0 ? s : c;
  const signed = floatOf(bitsOf(y) ^ ((quadrant & 2) << 30)); // quadrants 2 and 3 flip the sign bit
  return inside ? signed : NaN;
}

/** sin x of a float32, at most 1 ulp off for |x| ≤ 50 000; NaN beyond, for infinities and NaN. sin(−0) = −0. */
export function sinf(x: number): number {
  const y = sineOfQuadrant(x, 0);
  return x === 0 ? x : y; // the reduction would give sin(−0) = +0
}

/** cos x of a float32, at most 1 ulp off for |x| ≤ 50 000; NaN beyond, for infinities and NaN. */
export function cosf(x: number): number {
  return sineOfQuadrant(x, 1);
}

// erf
const erfSplit = floatOf(0x3f6c0000); // 0.921875
const small0 = floatOf(0x3e0375d4); // 0.12837916612625122
const small1 = floatOf(0xbec093a0 | 0); // −0.3761262893676758
const small2 = floatOf(0x3de716b0); // 0.11283624172210693
const small3 = floatOf(0xbcdc003b | 0); // −0.026855578646063805
const small4 = floatOf(0x3baa20b9); // 0.005191889125853777
const small5 = floatOf(0xba52d5a1 | 0); // −0.0008042697445489466
const small6 = floatOf(0x38a6fd4f); // 7.96267922851257e-5
const large0 = floatOf(0x3f907797); // 1.1286495923995972
const large1 = floatOf(0x3f2298fc); // 0.6351468563079834
const large2 = floatOf(0x3dd99692); // 0.10624422132968903
const large3 = floatOf(0xbcc2b5da | 0); // −0.023768354207277298
const large4 = floatOf(0x3b6ee7e7); // 0.0036454142536967993
const large5 = floatOf(0xb9a99ecd | 0); // −0.0003235250769648701
const large6 = floatOf(0x373da0d0); // 1.1302719940431416e-5
const signBit = 0x80000000 | 0;

/**
 * The error function of a float32, at most 2 ulp off. erf(±0) = ±0, erf(±∞) = ±1, erf(NaN) = NaN.
 *
 * |x| < 0.921875: x + x · S(x²). Else 1 − exp(−a · L(a)) with a = min(|x|, 4) and `expf` as above; the sign is that of x.
 */
export function erff(x: number): number {
  const bits = bitsOf(x);
  const magnitude = floatOf(bits & 0x7fffffff);
  const isSmall = magnitude < erfSplit;
  const z = f(magnitude * magnitude);
  let s = small6;
  s = f(f(s * z) + small5);
  s = f(f(s * z) + small4);
  s = f(f(s * z) + small3);
  s = f(f(s * z) + small2);
  s = f(f(s * z) + small1);
  s = f(f(s * z) + small0);
  s = f(f(magnitude * s) + magnitude);
  const a = magnitude > 4 ? 4 : magnitude;
  let l = large6;
  l = f(f(l * a) + large5);
  l = f(f(l * a) + large4);
  l = f(f(l * a) + large3);
  l = f(f(l * a) + large2);
  l = f(f(l * a) + large1);
  l = f(f(l * a) + large0);
  l = f(1 - expf(f(-f(l * a))));
  const y = isSmall ? s : l;
  const signed = floatOf(bitsOf(y) | (bits & signBit));
  return x !== x ? x : signed;
}

/** Correctly rounded square root: IEEE-754 squareRoot. √−0 = −0, √ of a negative is NaN. */
export function sqrtf(x: number): number {
  return f(Math.sqrt(x)); // binary64 has more than 2 · 24 + 2 bits, so rounding twice equals rounding once
}

/** fl(1 / x). 1 / ±0 = ±∞. */
export function reciprocalf(x: number): number {
  return f(1 / x); // as for sqrtf
}
