/*
 * Types, vectors and memory access shared by all kernels.
 *
 * Freestanding C on clang's vector extensions: no libc, no libm. One source for WebAssembly (memory offsets are addresses) and
 * for native builds (offsets are relative to `memory_base`). Every float operation rounds once; build with
 * -ffp-contract=off and never with -ffast-math. Rules: docs/spec/01-exact-arithmetic.md.
 */
#ifndef MUSTER_TYPES_H
#define MUSTER_TYPES_H

typedef float f32;
typedef double f64;
typedef int i32;
typedef unsigned u32;
typedef unsigned char u8;
typedef unsigned long long u64;
typedef f32 v4f __attribute__((vector_size(16)));
typedef i32 v4i __attribute__((vector_size(16)));
typedef u32 v4u __attribute__((vector_size(16)));
typedef u8 v4b __attribute__((vector_size(4)));
typedef u8 v16b __attribute__((vector_size(16)));
/* The same vectors at any address that is a multiple of the element. */
typedef f32 v4f_at __attribute__((vector_size(16), aligned(4), may_alias));
typedef u32 v4u_at __attribute__((vector_size(16), aligned(4), may_alias));
typedef u8 v4b_at __attribute__((vector_size(4), aligned(1), may_alias));
typedef u8 v16b_at __attribute__((vector_size(16), aligned(1), may_alias));

#ifdef __wasm__
#define EXPORT(NAME) __attribute__((export_name(#NAME)))
#define AT(T, OFFSET) ((T *)(__UINTPTR_TYPE__)(OFFSET))
#else
#define EXPORT(NAME)
extern u8 *memory_base;
#define AT(T, OFFSET) ((T *)(memory_base + (u32)(OFFSET)))
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE v4f load4(const void *p) { return *(const v4f_at *)p; }
INLINE void store4(void *p, v4f x) { *(v4f_at *)p = x; }
INLINE v4u load4u(const void *p) { return *(const v4u_at *)p; }
INLINE void store4u(void *p, v4u x) { *(v4u_at *)p = x; }
INLINE v4f splat(f32 x) { return (v4f){x, x, x, x}; }
INLINE v4u splatu(u32 x) { return (v4u){x, x, x, x}; }
INLINE v4i splati(i32 x) { return (v4i){x, x, x, x}; }
INLINE v4f select4(v4i mask, v4f x, v4f y) { return (v4f)(((v4i)x & mask) | ((v4i)y & ~mask)); }
INLINE u32 any4(v4i mask) { return (u32)((mask[0] | mask[1] | mask[2] | mask[3]) != 0); }
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

#ifdef __wasm__
INLINE v4f min4(v4f a, v4f b) { return __builtin_wasm_min_f32x4(a, b); }
INLINE v4f max4(v4f a, v4f b) { return __builtin_wasm_max_f32x4(a, b); }
INLINE v4f floor4(v4f a) { return __builtin_wasm_floor_f32x4(a); }
INLINE v4f ceil4(v4f a) { return __builtin_wasm_ceil_f32x4(a); }
INLINE v4f trunc4(v4f a) { return __builtin_wasm_trunc_f32x4(a); }
INLINE v4f nearest4(v4f a) { return __builtin_wasm_nearest_f32x4(a); }
INLINE v4f sqrt4(v4f a) { return __builtin_wasm_sqrt_f32x4(a); }
#else
/* IEEE-754-2019 minimum and maximum: a NaN wins, -0 < +0. */
INLINE v4f min4(v4f a, v4f b) {
  v4f least = select4(a < b, a, select4(b < a, b, (v4f)((v4i)a | (v4i)b)));
  return select4(a != a, a, select4(b != b, b, least));
}
INLINE v4f max4(v4f a, v4f b) {
  v4f most = select4(a > b, a, select4(b > a, b, (v4f)((v4i)a & (v4i)b)));
  return select4(a != a, a, select4(b != b, b, most));
}
INLINE v4f floor4(v4f a) { return __builtin_elementwise_floor(a); }
INLINE v4f ceil4(v4f a) { return __builtin_elementwise_ceil(a); }
INLINE v4f trunc4(v4f a) { return __builtin_elementwise_trunc(a); }
INLINE v4f nearest4(v4f a) { return __builtin_elementwise_roundeven(a); }
INLINE v4f sqrt4(v4f a) { return __builtin_elementwise_sqrt(a); }
#endif

#endif
