/*
 * Types, vectors, memory access and the calling convention shared by all kernels.
 *
 * Freestanding C on the vector extensions of clang and gcc (12 or later): no libc, no libm. One source for WebAssembly and for
 * native builds of several instruction sets; `LANES` is the number of float32 in a vector there: 4 (WebAssembly, SSE2, NEON),
 * 8 (AVX2) or 16 (AVX-512). Lanes run across outputs only, so the width changes no bit. Every float operation rounds once; build
 * with -ffp-contract=off and never with -ffast-math. Rules: docs/spec/01-exact-arithmetic.md.
 */
#ifndef MUSTER_TYPES_H
#define MUSTER_TYPES_H

#ifdef __wasm__
#define LANES 4
#elif defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
/* Bytes of one vector of 32-bit elements. */
#define VECTOR_BYTES (4 * LANES)

typedef float f32;
typedef double f64;
typedef int i32;
typedef unsigned u32;
typedef unsigned char u8;
typedef long long i64;
typedef unsigned long long u64;
typedef f32 vf __attribute__((vector_size(VECTOR_BYTES)));
typedef i32 vi __attribute__((vector_size(VECTOR_BYTES)));
typedef u32 vu __attribute__((vector_size(VECTOR_BYTES)));
/* One byte for each lane of a vector, and a full vector of bytes. */
typedef u8 vb __attribute__((vector_size(LANES)));
typedef u8 vbytes __attribute__((vector_size(VECTOR_BYTES)));
/* The same vectors at any address that is a multiple of the element. */
typedef f32 vf_at __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef u32 vu_at __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef u8 vb_at __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef u8 vbytes_at __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
/* Four lanes, for transposes of small squares. */
typedef f32 v4f __attribute__((vector_size(16)));
typedef f32 v4f_at __attribute__((vector_size(16), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/*
 * Addresses. A descriptor is a list of 32-bit words; an address in it is two words, low then high, of a byte offset into the
 * program's memory. WebAssembly reads the low word, which is the address itself; natively offsets count from the memory's start.
 */
#ifdef __wasm__
#define EXPORT(NAME) __attribute__((export_name(#NAME)))
#else
#define EXPORT(NAME)
#endif

/* What every kernel is given besides its descriptor. */
typedef struct {
  /* Start of the program's memory; 0 in WebAssembly. */
  u8 *memory;
  /* SCRATCH_BYTES of this thread alone, aligned to 64 bytes; nothing in it lives longer than one kernel call. */
  u8 *scratch;
  /* This thread and how many run the same kernel on the same descriptor, each its own share of the outputs. */
  u32 thread, threads;
} Context;
#define SCRATCH_BYTES (2u << 20)

/* The pointer in the two words at `WORDS`. */
#ifdef __wasm__
#define AT(T, WORDS) ((T *)(__UINTPTR_TYPE__)((WORDS)[0]))
#else
#define AT(T, WORDS) ((T *)(context->memory + ((u64)(WORDS)[1] << 32 | (WORDS)[0])))
#endif

/* [begin, end) of `count` items for the thread at hand, in shares that are multiples of `unit` but for the last. */
typedef struct {
  u32 begin, end;
} Share;
INLINE Share share_of(const Context *context, u32 count, u32 unit) {
  u32 units = count / unit + (count % unit != 0);
  u64 begin = (u64)units * context->thread / context->threads * unit;
  u64 end = (u64)units * (context->thread + 1) / context->threads * unit;
  return (Share){begin < count ? (u32)begin : count, end < count ? (u32)end : count};
}

INLINE vf load(const void *p) { return *(const vf_at *)p; }
INLINE void store(void *p, vf x) { *(vf_at *)p = x; }
INLINE vu loadu(const void *p) { return *(const vu_at *)p; }
INLINE void storeu(void *p, vu x) { *(vu_at *)p = x; }
INLINE vf splat(f32 x) { return x - (vf){0}; }
INLINE vu splatu(u32 x) { return x - (vu){0}; }
INLINE vi splati(i32 x) { return (vi)splatu((u32)x); }
INLINE vf select(vi mask, vf x, vf y) { return (vf)(((vi)x & mask) | ((vi)y & ~mask)); }
INLINE f32 as_f32(u32 x) {
  union {
    u32 u;
    f32 f;
  } bits = {.u = x};
  return bits.f;
}
INLINE u32 as_u32(f32 x) {
  union {
    f32 f;
    u32 u;
  } bits = {.f = x};
  return bits.u;
}
/* The vector of equal bit patterns. */
INLINE vf bits(u32 x) { return (vf)splatu(x); }
/* 1 if a lane of `mask` is not 0. */
INLINE u32 any(vi mask) {
  i32 found = 0;
  for (u32 i = 0; i < LANES; i++) found |= mask[i];
  return found != 0;
}
/* {0, 1, 2, …}. */
INLINE vi lane_numbers(void) {
  vi lanes;
  for (u32 i = 0; i < LANES; i++) lanes[i] = (i32)i;
  return lanes;
}

#ifdef __wasm__
INLINE vf vmin(vf a, vf b) { return __builtin_wasm_min_f32x4(a, b); }
INLINE vf vmax(vf a, vf b) { return __builtin_wasm_max_f32x4(a, b); }
INLINE vf vfloor(vf a) { return __builtin_wasm_floor_f32x4(a); }
INLINE vf vceil(vf a) { return __builtin_wasm_ceil_f32x4(a); }
INLINE vf vtrunc(vf a) { return __builtin_wasm_trunc_f32x4(a); }
INLINE vf vsqrt(vf a) { return __builtin_wasm_sqrt_f32x4(a); }
#else
/* IEEE-754-2019 minimum and maximum: a NaN wins, -0 < +0. */
INLINE vf vmin(vf a, vf b) {
  vf least = select(a < b, a, select(b < a, b, (vf)((vi)a | (vi)b)));
  return select(a != a, a, select(b != b, b, least));
}
INLINE vf vmax(vf a, vf b) {
  vf most = select(a > b, a, select(b > a, b, (vf)((vi)a & (vi)b)));
  return select(a != a, a, select(b != b, b, most));
}
#if defined(__AVX512F__)
#include <immintrin.h>
INLINE vf vfloor(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf vceil(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
INLINE vf vtrunc(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
INLINE vf vsqrt(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
#elif defined(__AVX2__)
#include <immintrin.h>
INLINE vf vfloor(vf a) { return (vf)_mm256_floor_ps((__m256)a); }
INLINE vf vceil(vf a) { return (vf)_mm256_ceil_ps((__m256)a); }
INLINE vf vtrunc(vf a) { return (vf)_mm256_round_ps((__m256)a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
INLINE vf vsqrt(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
#else
/* Without rounding instructions: through int32 where that is exact, the sign kept; from 2^23 on every float is whole. */
INLINE vf vtrunc(vf a) {
  vf magnitude = (vf)((vi)a & 0x7fffffff);
  vi small = magnitude < 8388608.0f;
  vf whole = __builtin_convertvector(__builtin_convertvector(select(small, magnitude, splat(0.0f)), vi), vf);
  return select(small, (vf)((vi)whole | ((vi)a & (i32)0x80000000)), a);
}
INLINE vf vfloor(vf a) {
  vf whole = vtrunc(a);
  return select(whole > a, whole - 1.0f, whole);
}
INLINE vf vceil(vf a) {
  vf whole = vtrunc(a), next = whole + 1.0f;
  return select(whole < a, (vf)((vi)next | ((vi)a & (i32)0x80000000)), whole);
}
#if defined(__SSE2__)
#include <emmintrin.h>
INLINE vf vsqrt(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
#elif defined(__ARM_NEON)
#include <arm_neon.h>
INLINE vf vsqrt(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
#else
INLINE vf vsqrt(vf a) {
  for (u32 i = 0; i < LANES; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
#endif
#endif
#endif

#endif
