/*
 * Masks, minimum and maximum, exp, log, sin, cos, erf and the exact float remainder, a vector at a time.
 *
 * The functions are a port of packages/engine/src/reference/math.ts, operation for operation in the same order, hence the same
 * bits at every width. There the algorithms are explained and their errors held; here nothing may be reordered or contracted.
 * Constants are bit patterns. What an instruction set does in one instruction with the same result it may do so.
 */
#ifndef MUSTER_MATH_H
#define MUSTER_MATH_H
#include "types.h"

/* A truth value for each lane: bits of a mask register where there are such, else lanes of all ones or zeros. */
#if defined(__AVX512F__) && !defined(__wasm__)
typedef __mmask16 vm;
#define COMPARISON(NAME, PREDICATE, PREDICATE_I32) \
  INLINE vm NAME(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, PREDICATE); } \
  INLINE vm NAME##_i32(vi a, vi b) { return _mm512_cmp_epi32_mask((__m512i)a, (__m512i)b, PREDICATE_I32); } \
  INLINE vm NAME##_u32(vu a, vu b) { return _mm512_cmp_epu32_mask((__m512i)a, (__m512i)b, PREDICATE_I32); }
COMPARISON(less, _CMP_LT_OQ, _MM_CMPINT_LT)
COMPARISON(less_equal, _CMP_LE_OQ, _MM_CMPINT_LE)
COMPARISON(equal, _CMP_EQ_OQ, _MM_CMPINT_EQ)
COMPARISON(not_equal, _CMP_NEQ_UQ, _MM_CMPINT_NE)
/* Lanes where `a` or `b` is NaN. */
INLINE vm unordered(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q); }
INLINE vf pick(vm mask, vf x, vf y) { return (vf)_mm512_mask_blend_ps(mask, (__m512)y, (__m512)x); }
INLINE u32 any_of(vm mask) { return mask != 0; }
INLINE u32 all_of(vm mask) { return mask == 0xffff; }
/* Bytes 0 or 1 for the lanes, and back. */
INLINE void store_bytes(u8 *to, vm mask) { _mm_storeu_si128((__m128i *)to, _mm_maskz_set1_epi8(mask, 1)); }
INLINE vm load_bytes(const u8 *from) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)from);
  return _mm_test_epi8_mask(bytes, bytes);
}
#else
typedef vi vm;
#define COMPARISON(NAME, OPERATOR) \
  INLINE vm NAME(vf a, vf b) { return a OPERATOR b; } \
  INLINE vm NAME##_i32(vi a, vi b) { return a OPERATOR b; } \
  INLINE vm NAME##_u32(vu a, vu b) { return (vm)(a OPERATOR b); }
COMPARISON(less, <)
COMPARISON(less_equal, <=)
COMPARISON(equal, ==)
COMPARISON(not_equal, !=)
#if defined(__AVX2__) && !defined(__wasm__)
INLINE vm unordered(vf a, vf b) { return (vm)_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_UNORD_Q); }
INLINE vf pick(vm mask, vf x, vf y) { return (vf)_mm256_blendv_ps((__m256)y, (__m256)x, (__m256)mask); }
INLINE u32 any_of(vm mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
INLINE u32 all_of(vm mask) { return _mm256_movemask_ps((__m256)mask) == 0xff; }
INLINE void store_bytes(u8 *to, vm mask) {
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)mask), _mm256_extracti128_si256((__m256i)mask, 1));
  _mm_storel_epi64((__m128i *)to, _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1)));
}
INLINE vm load_bytes(const u8 *from) {
  return (vm)_mm256_cmpgt_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)), _mm256_setzero_si256());
}
#else
INLINE vm unordered(vf a, vf b) { return (a != a) | (b != b); }
INLINE vf pick(vm mask, vf x, vf y) { return select(mask, x, y); }
#if defined(__SSE2__) && !defined(__wasm__)
INLINE u32 any_of(vm mask) { return _mm_movemask_ps((__m128)mask) != 0; }
INLINE u32 all_of(vm mask) { return _mm_movemask_ps((__m128)mask) == 0xf; }
INLINE void store_bytes(u8 *to, vm mask) {
  __m128i words = _mm_packs_epi32((__m128i)mask, (__m128i)mask);
  vb_at *bytes = (vb_at *)to;
  i32 four = _mm_cvtsi128_si32(_mm_packs_epi16(words, words)) & 0x01010101;
  *bytes = (vb)four;
}
INLINE vm load_bytes(const u8 *from) {
  vb four = *(const vb_at *)from;
  __m128i bytes = _mm_cvtsi32_si128((i32)four), zero = _mm_setzero_si128();
  return (vm)_mm_cmpgt_epi32(_mm_unpacklo_epi16(_mm_unpacklo_epi8(bytes, zero), zero), zero);
}
#else
#ifdef __wasm__
INLINE u32 any_of(vm mask) { return (u32)__builtin_wasm_any_true_v128((__attribute__((vector_size(16))) signed char)mask); }
INLINE u32 all_of(vm mask) { return (u32)__builtin_wasm_all_true_i32x4(mask); }
#else
INLINE u32 any_of(vm mask) { return any(mask); }
INLINE u32 all_of(vm mask) { return !any(~mask); }
#endif
INLINE void store_bytes(u8 *to, vm mask) { *(vb_at *)to = __builtin_convertvector(mask & 1, vb); }
INLINE vm load_bytes(const u8 *from) { return (vm)(0u - __builtin_convertvector(*(const vb_at *)from, vu)); }
#endif
#endif
#endif
INLINE vu pick_u32(vm mask, vu x, vu y) { return (vu)pick(mask, (vf)x, (vf)y); }

/*
 * IEEE-754-2019 minimum and maximum, and one-sided limits: at_least(x, c) is c where x < c, else x, so a NaN stays.
 * The processor's minimum gives its second operand for a NaN and for two zeros, so both orders together show either.
 */
#if defined(__wasm__)
INLINE vf minimum(vf a, vf b) { return vmin(a, b); }
INLINE vf maximum(vf a, vf b) { return vmax(a, b); }
INLINE vf at_least(vf x, vf limit) { return __builtin_wasm_pmax_f32x4(x, limit); }
INLINE vf at_most(vf x, vf limit) { return __builtin_wasm_pmin_f32x4(x, limit); }
#elif defined(__SSE2__)
#if LANES == 16
#define HARDWARE(NAME, A, B) ((vf)_mm512_##NAME##_ps((__m512)(A), (__m512)(B)))
#elif LANES == 8
#define HARDWARE(NAME, A, B) ((vf)_mm256_##NAME##_ps((__m256)(A), (__m256)(B)))
#else
#define HARDWARE(NAME, A, B) ((vf)_mm_##NAME##_ps((__m128)(A), (__m128)(B)))
#endif
#if LANES == 16
/* Range with the sign of the result of the comparison orders the zeros. */
#define ORDERED_RANGE(A, B, KIND) \
  ((vf)_mm512_mask_range_ps((__m512)bits(0x7fc00000u), _mm512_cmp_ps_mask((__m512)(A), (__m512)(B), _CMP_ORD_Q), (__m512)(A), (__m512)(B), KIND))
INLINE vf minimum(vf a, vf b) { return ORDERED_RANGE(a, b, 4); }
INLINE vf maximum(vf a, vf b) { return ORDERED_RANGE(a, b, 5); }
#else
INLINE vf minimum(vf a, vf b) { return (vf)((vi)HARDWARE(min, a, b) | (vi)HARDWARE(min, b, a)); }
INLINE vf maximum(vf a, vf b) {
  vf most = (vf)((vi)HARDWARE(max, a, b) & (vi)HARDWARE(max, b, a));
  return pick(unordered(a, b), bits(0x7fc00000u), most);
}
#endif
INLINE vf at_least(vf x, vf limit) { return HARDWARE(max, limit, x); }
INLINE vf at_most(vf x, vf limit) { return HARDWARE(min, limit, x); }
#elif defined(__aarch64__)
INLINE vf minimum(vf a, vf b) { return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b); }
INLINE vf maximum(vf a, vf b) { return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
INLINE vf at_least(vf x, vf limit) { return select(x < limit, limit, x); }
INLINE vf at_most(vf x, vf limit) { return select(x > limit, limit, x); }
#else
INLINE vf minimum(vf a, vf b) { return vmin(a, b); }
INLINE vf maximum(vf a, vf b) { return vmax(a, b); }
INLINE vf at_least(vf x, vf limit) { return select(x < limit, limit, x); }
INLINE vf at_most(vf x, vf limit) { return select(x > limit, limit, x); }
#endif

#define HORNER(p, z, c) p = p * z + bits(c)
#define ROUND_MAGIC 0x4b400000u
#define NOT_A_NUMBER bits(0x7fc00000u)

/* A NaN goes through to the result. */
INLINE vf vexp(vf x) {
  vf v = at_most(at_least(x, splat(-104.0f)), splat(89.0f));
  vf shifted = v * bits(0x3fb8aa3b) + bits(ROUND_MAGIC);
  vf t = shifted - bits(ROUND_MAGIC);
  vf r = v - t * bits(0x3f318000);
  r = r - t * bits(0xb95e8083);
  vf z = r * r;
  vf p = bits(0x395127ce);
  HORNER(p, r, 0x3ab6a7cf);
  HORNER(p, r, 0x3c0887ff);
  HORNER(p, r, 0x3d2aaa73);
  HORNER(p, r, 0x3e2aaaab);
  HORNER(p, r, 0x3f000000);
  p = p * z + r;
  p = p + 1.0f;
#if defined(__AVX512F__) && !defined(__wasm__)
  /* p * 2^t, rounded once: below, the first product is exact. */
  return (vf)_mm512_maskz_scalef_ps((__mmask16)-1, (__m512)p, (__m512)t);
#else
  vi n = (vi)((vu)shifted - ROUND_MAGIC);
  vi half = n >> 1;
  vi rest = (vi)((vu)n - (vu)half);
  return (p * (vf)(((vu)half + 127u) << 23)) * (vf)(((vu)rest + 127u) << 23);
#endif
}

INLINE vf vlog(vf x) {
  vm tiny = less(x, bits(0x00800000));
  vf scaled = x * pick(tiny, splat(8388608.0f), splat(1.0f));
  vu shifted = (vu)scaled - 0x3f3504f3u;
  vi e = (vi)((vu)((vi)shifted >> 23) - pick_u32(tiny, splatu(23), splatu(0)));
  vf m = (vf)((shifted & 0x007fffffu) + 0x3f3504f3u);
  vf d = m - 1.0f;
  vf z = d * d;
  vf p = bits(0x3d8da1ba);
  HORNER(p, d, 0xbdf17241);
  HORNER(p, d, 0x3df326b8);
  HORNER(p, d, 0xbdfda1ef);
  HORNER(p, d, 0x3e119983);
  HORNER(p, d, 0xbe2ab170);
  HORNER(p, d, 0x3e4cd2a1);
  HORNER(p, d, 0xbe7ffff7);
  HORNER(p, d, 0x3eaaaaa3);
  vf t = __builtin_convertvector(e, vf);
  vf y = (d * z) * p;
  y = y + t * bits(0xb95e8083);
  y = y - z * 0.5f;
  y = d + y;
  y = y + t * bits(0x3f318000);
  y = pick(equal(x, bits(0x7f800000)), x, y);
  y = pick(equal(x, splat(0.0f)), bits(0xff800000), y);
  return pick(less(x, splat(0.0f)) | unordered(x, x), NOT_A_NUMBER, y);
}

/* What rounding lost in `difference = a - b`. */
INLINE vf difference_error(vf a, vf b, vf difference) {
  vf t = difference - a;
  return (a - (difference - t)) - (b + t);
}

INLINE vf sine_of_quadrant(vf x, u32 quarter_turns) {
  vm inside = less_equal(x, splat(50000.0f)) & less_equal(splat(-50000.0f), x);
  vf v = pick(inside, x, splat(0.0f));
  vf shifted = v * bits(0x3f22f983) + bits(ROUND_MAGIC);
  vu n = (vu)shifted - ROUND_MAGIC;
  vf t = shifted - bits(ROUND_MAGIC);
  vf r2 = (v - t * bits(0x3fc90000)) - t * bits(0x39fe0000);
  vf h3 = t * bits(0xb52c0000);
  vf r3 = r2 - h3;
  vf h4 = t * bits(0x30880000);
  vf r4 = r3 - h4;
  vf tail = t * bits(0x2c34611a) - (difference_error(r2, h3, r3) + difference_error(r3, h4, r4));
  vf r = r4 - tail;
  vf low = (r4 - r) - tail;
  vf z = r * r;
  vf s = bits(0xb94caad8);
  HORNER(s, z, 0x3c0883be);
  HORNER(s, z, 0xbe2aaaa3);
  s = ((r * z) * s + low) + r;
  vf c = bits(0x37ccf072);
  HORNER(c, z, 0xbab6060d);
  HORNER(c, z, 0x3d2aaaa5);
  vf half = z * 0.5f;
  vf w = 1.0f - half;
  c = w + (((1.0f - w) - half) + (c * (z * z) - r * low));
  vu quadrant = (n + quarter_turns) & 3u;
  vf y = pick(equal_u32(quadrant & 1u, splatu(0)), s, c);
  vf turned = (vf)((vu)y ^ ((quadrant & 2u) << 30));
  return pick(inside, turned, NOT_A_NUMBER);
}

INLINE vf vsin(vf x) { return pick(equal(x, splat(0.0f)), x, sine_of_quadrant(x, 0)); }
INLINE vf vcos(vf x) { return sine_of_quadrant(x, 1); }

/* A NaN goes through both branches. */
INLINE vf verf(vf x) {
  vu sign = (vu)x & 0x80000000u;
  vf magnitude = (vf)((vu)x & 0x7fffffffu);
  vf z = magnitude * magnitude;
  vf s = bits(0x38a6fd4f);
  HORNER(s, z, 0xba52d5a1);
  HORNER(s, z, 0x3baa20b9);
  HORNER(s, z, 0xbcdc003b);
  HORNER(s, z, 0x3de716b0);
  HORNER(s, z, 0xbec093a0);
  HORNER(s, z, 0x3e0375d4);
  s = magnitude * s + magnitude;
  vf a = at_most(magnitude, splat(4.0f));
  vf l = bits(0x373da0d0);
  HORNER(l, a, 0xb9a99ecd);
  HORNER(l, a, 0x3b6ee7e7);
  HORNER(l, a, 0xbcc2b5da);
  HORNER(l, a, 0x3dd99692);
  HORNER(l, a, 0x3f2298fc);
  HORNER(l, a, 0x3f907797);
  l = 1.0f - vexp((vf)((vu)(l * a) ^ 0x80000000u));
  vf y = pick(less(magnitude, bits(0x3f6c0000)), s, l);
  return (vf)((vu)y | sign);
}

/* Exact remainder with the sign of x, as C's fmod: long division on the significands, up to 39 bits at a time. */
static f32 fmod1(f32 x, f32 y) {
  u32 ux = as_u32(x), uy = as_u32(y), sign = ux & 0x80000000u;
  ux &= 0x7fffffffu;
  uy &= 0x7fffffffu;
  if (ux >= 0x7f800000u || uy > 0x7f800000u || uy == 0) return as_f32(0x7fc00000u);
  if (ux < uy) return x;
  i32 ex = (i32)(ux >> 23), ey = (i32)(uy >> 23);
  u32 mx = ux & 0x7fffffu, my = uy & 0x7fffffu;
  if (ex > 0) mx |= 0x800000u;
  else ex = 1;
  if (ey > 0) my |= 0x800000u;
  else ey = 1;
  while (ex > ey) {
    i32 shift = ex - ey < 39 ? ex - ey : 39;
    mx = (u32)(((u64)mx << shift) % my); /* mx is below 2^24, so the shifted value is below 2^63 */
    ex -= shift;
  }
  mx %= my;
  if (mx == 0) return as_f32(sign);
  while (mx < 0x800000u && ex > 1) {
    mx <<= 1;
    ex--;
  }
  if (mx < 0x800000u) return as_f32(sign | mx);
  return as_f32(sign | ((u32)ex << 23) | (mx & 0x7fffffu));
}

INLINE vf vfmod(vf x, vf y) {
  for (u32 i = 0; i < LANES; i++) x[i] = fmod1(x[i], y[i]);
  return x;
}

#endif
