/*
 * The innermost part of a sum of products: a tile of outputs held in registers while k runs, and squares of lanes transposed.
 *
 * Per output acc = fl(acc + fl(a * b)), k ascending, from +0 or from what `out` already holds. Rows of a tile take one value of
 * A each, its columns are lanes of B. Not here: packing (product-pack.h) and blocking (product.c).
 */
#ifndef MUSTER_PRODUCT_TILE_H
#define MUSTER_PRODUCT_TILE_H
#include "types.h"

/*
 * The largest tiles: ROWS_OF_v rows of v vectors, as many as accumulators, columns, one value of A and one product fill the
 * registers. Wide ones for wide products, so that few rows still keep the adders busy; high ones for narrow products.
 * WebAssembly engines have 16 registers and lose half the speed when they spill, hence 8 accumulators there.
 */
#if LANES == 16 || defined(__ARM_NEON)
#define TILE_VECTORS 4
#define ROWS_OF_1 14
#define ROWS_OF_2 12
#define ROWS_OF_3 8
#define ROWS_OF_4 6
#elif defined(__wasm__)
#define TILE_VECTORS 2
#define ROWS_OF_1 8
#define ROWS_OF_2 4
#else
#define TILE_VECTORS 2
#define ROWS_OF_1 12
#define ROWS_OF_2 6
#endif
#define TILE_ROWS ROWS_OF_1
#define TILE_COLUMNS (TILE_VECTORS * LANES)
/* Rows of the largest tile of so many vectors. */
INLINE u32 rows_of(u32 vectors) {
#if TILE_VECTORS == 4
  if (vectors == 4) return ROWS_OF_4;
  if (vectors == 3) return ROWS_OF_3;
#endif
  return vectors == 2 ? ROWS_OF_2 : ROWS_OF_1;
}

/*
 * Whether A may be read where it lies: a pointer for each row. WebAssembly engines are slower with that many; there A is packed,
 * the rows of a tile side by side.
 */
#ifdef __wasm__
#define IN_PLACE 0
#else
#define IN_PLACE 1
#endif

/* Elements between two addresses. */
typedef __PTRDIFF_TYPE__ Step;

/* The first `count` lanes from memory, nothing behind them read; the others are 0. */
INLINE vf load_part(const f32 *p, u32 count) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps(p, (__m256i)((vi)lane_numbers() < splati((i32)count)));
#else
  vf x = splat(0.0f);
  for (u32 i = 0; i < LANES; i++)
    if (i < count) x[i] = p[i];
  return x;
#endif
}
/* Stores the first `count` lanes. */
INLINE void store_part(f32 *p, vf x, u32 count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)x);
#else
  for (u32 i = 0; i < LANES; i++)
    if (i < count) p[i] = x[i];
#endif
}

/* Collects NaNs: `note(found, x, y)` adds those of two vectors. With AVX-512 the mask of lanes that have met none. */
#if defined(__AVX512F__)
typedef __mmask16 Found;
INLINE Found nothing(void) { return 0xffff; }
INLINE Found note(Found found, vf x, vf y) { return _mm512_mask_cmp_ps_mask(found, (__m512)x, (__m512)y, _CMP_ORD_Q); }
INLINE Found note_part(Found found, vf x, u32 count) {
  return found & (_mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_ORD_Q) | (Found)(0xffffu << count));
}
INLINE u32 is_found(Found found) { return found != 0xffff; }
#else
typedef vi Found;
INLINE Found nothing(void) { return splati(0); }
INLINE Found note(Found found, vf x, vf y) { return found | (x != x) | (y != y); }
INLINE Found note_part(Found found, vf x, u32 count) { return found | ((x != x) & (lane_numbers() < splati((i32)count))); }
INLINE u32 is_found(Found found) { return any(found); }
#endif

/* One tile. Its columns are TILE_COLUMNS or fewer neighbours in memory. */
typedef struct {
  /*
   * A at a[a_rows[row] + k * a_step], or a[a_rows[row] + a_ks[k]] if there is such a table; B at b[column + k * b_step], of which
   * whole vectors are read.
   */
  const f32 *a, *b;
  const i32 *a_rows, *a_ks;
  Step a_step, b_step;
  /* Output at out[out_rows[row] + column]. */
  f32 *out;
  const i32 *out_rows;
  u32 depth;
  /* Whether this goes on from the accumulators in `out`, and whether it is the last along k. */
  u32 resume, final;
  /* Whether as many rows behind these in `out_rows` are next, and far enough away to be fetched into the cache meanwhile. */
  u32 ahead;
  /* Columns in the last vector, 1 … LANES. */
  u32 last;
} Tile;

/* Returns 1 if an output of a final tile is NaN. `height` and `vectors` are constants where this is used. */
INLINE u32 run_tile_of(const Tile *t, const u32 height, const u32 vectors) {
  vf c[TILE_ROWS][TILE_VECTORS];
  const u32 last = t->last, whole = last == LANES, final = t->final;
  f32 *const out = t->out;
  const i32 *const out_rows = t->out_rows;
  if (t->resume) {
    UNROLL for (u32 i = 0; i < height; i++) {
      const f32 *from = out + out_rows[i];
      UNROLL for (u32 v = 0; v < vectors; v++)
        c[i][v] = v + 1 < vectors || whole ? load(from + v * LANES) : load_part(from + v * LANES, last);
    }
  } else {
    UNROLL for (u32 i = 0; i < height; i++) {
      UNROLL for (u32 v = 0; v < vectors; v++) c[i][v] = splat(0.0f);
    }
  }
  if (t->ahead) {
    UNROLL for (u32 i = 0; i < height; i++) {
      const f32 *next = out + out_rows[height + i];
      UNROLL for (u32 v = 0; v < vectors * LANES; v += 16) __builtin_prefetch(next + v, 1);
    }
  }
  const f32 *b = t->b;
  const Step b_step = t->b_step;
#define ADD_PRODUCTS(A_OF_ROW, B_STEP)                                          \
  vf column[TILE_VECTORS];                                                      \
  UNROLL for (u32 v = 0; v < vectors; v++) column[v] = load(b + v * LANES);     \
  UNROLL for (u32 i = 0; i < height; i++) {                                     \
    vf x = splat(A_OF_ROW);                                                     \
    UNROLL for (u32 v = 0; v < vectors; v++) c[i][v] = c[i][v] + x * column[v]; \
  }                                                                             \
  b += B_STEP;
#if IN_PLACE
  const f32 *a[TILE_ROWS];
  UNROLL for (u32 i = 0; i < height; i++) a[i] = t->a + t->a_rows[i];
  const i32 *ks = t->a_ks;
  const Step a_step = t->a_step;
  if (ks) {
    for (u32 k = 0, depth = t->depth; k < depth; k++) {
      const Step at = ks[k];
      ADD_PRODUCTS(a[i][at], b_step)
    }
  } else {
    Step at = 0;
    for (u32 k = t->depth; k != 0; k--) {
      ADD_PRODUCTS(a[i][at], b_step)
      at += a_step;
    }
  }
#else
  /* Constant steps, so that the compiler unrolls; a packed panel of B has them too. */
  const f32 *a = t->a;
  const u32 depth = t->depth;
  if (b_step == (Step)(vectors * LANES)) {
    for (u32 k = 0; k < depth; k++) {
      ADD_PRODUCTS(a[i], vectors * LANES)
      a += height;
    }
  } else {
    for (u32 k = 0; k < depth; k++) {
      ADD_PRODUCTS(a[i], b_step)
      a += height;
    }
  }
#endif
  UNROLL for (u32 i = 0; i < height; i++) {
    f32 *to = out + out_rows[i];
    UNROLL for (u32 v = 0; v < vectors; v++) {
      if (v + 1 < vectors || whole) {
        store(to + v * LANES, c[i][v]);
      } else {
        store_part(to + v * LANES, c[i][v], last);
      }
    }
  }
  if (!final) return 0;
  Found found = nothing();
  UNROLL for (u32 i = 0; i < height; i++) {
    UNROLL for (u32 v = 0; v + 2 < vectors; v += 2) found = note(found, c[i][v], c[i][v + 1]);
    if (whole) {
      found = note(found, c[i][vectors - 1], c[i][vectors - (vectors % 2 ? 1 : 2)]);
    } else {
      if (vectors % 2 == 0) found = note(found, c[i][vectors - 2], c[i][vectors - 2]);
      found = note_part(found, c[i][vectors - 1], last);
    }
  }
  return is_found(found);
}

/* X(height, vectors) for every tile: EACH_v(first, …) lists the heights of v vectors. */
#define UP_TO_4(X, V) X(1, V) X(2, V) X(3, V) X(4, V)
#define UP_TO_6(X, V) UP_TO_4(X, V) X(5, V) X(6, V)
#define UP_TO_8(X, V) UP_TO_6(X, V) X(7, V) X(8, V)
#define UP_TO_12(X, V) UP_TO_8(X, V) X(9, V) X(10, V) X(11, V) X(12, V)
#define UP_TO_14(X, V) UP_TO_12(X, V) X(13, V) X(14, V)
#define UP_TO(COUNT, X, V) UP_TO_(COUNT, X, V)
#define UP_TO_(COUNT, X, V) UP_TO_##COUNT(X, V)
#if TILE_VECTORS == 4
#define EACH_TILE(X) UP_TO(ROWS_OF_1, X, 1) UP_TO(ROWS_OF_2, X, 2) UP_TO(ROWS_OF_3, X, 3) UP_TO(ROWS_OF_4, X, 4)
#else
#define EACH_TILE(X) UP_TO(ROWS_OF_1, X, 1) UP_TO(ROWS_OF_2, X, 2)
#endif
#define TILE(HEIGHT, VECTORS) \
  NOINLINE u32 run_tile_##HEIGHT##_##VECTORS(const Tile *t) { return run_tile_of(t, HEIGHT, VECTORS); }
EACH_TILE(TILE)

/* A tile of 1 … rows_of(vectors) rows and 1 … TILE_VECTORS vectors. */
INLINE u32 run_tile(const Tile *t, u32 height, u32 vectors) {
#define TILE_CASE(HEIGHT, VECTORS) \
  case VECTORS * 16 + HEIGHT: return run_tile_##HEIGHT##_##VECTORS(t);
  switch (vectors * 16 + height) { EACH_TILE(TILE_CASE) }
  return 0;
}

/* Rows of a square of LANES x LANES become its columns. */
#if LANES == 16
#define LOW_WORDS 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_WORDS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_PAIRS 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_PAIRS 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#elif LANES == 8
#define LOW_WORDS 0, 8, 1, 9, 4, 12, 5, 13
#define HIGH_WORDS 2, 10, 3, 11, 6, 14, 7, 15
#define LOW_PAIRS 0, 1, 8, 9, 4, 5, 12, 13
#define HIGH_PAIRS 2, 3, 10, 11, 6, 7, 14, 15
#else
#define LOW_WORDS 0, 4, 1, 5
#define HIGH_WORDS 2, 6, 3, 7
#define LOW_PAIRS 0, 1, 4, 5
#define HIGH_PAIRS 2, 3, 6, 7
#endif
#define MIX(X, Y, ...) __builtin_shufflevector(X, Y, __VA_ARGS__)
INLINE void transpose(vf x[LANES]) {
  /* Each quarter of four lanes first: afterwards x[4 g + c] holds column c of every quarter, rows 4 g … 4 g + 3. */
  UNROLL for (u32 g = 0; g < LANES; g += 4) {
    vf a = MIX(x[g], x[g + 1], LOW_WORDS), b = MIX(x[g], x[g + 1], HIGH_WORDS);
    vf c = MIX(x[g + 2], x[g + 3], LOW_WORDS), d = MIX(x[g + 2], x[g + 3], HIGH_WORDS);
    x[g] = MIX(a, c, LOW_PAIRS);
    x[g + 1] = MIX(a, c, HIGH_PAIRS);
    x[g + 2] = MIX(b, d, LOW_PAIRS);
    x[g + 3] = MIX(b, d, HIGH_PAIRS);
  }
#if LANES == 8
  UNROLL for (u32 c = 0; c < 4; c++) {
    vf a = x[c], b = x[4 + c];
    x[c] = MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
    x[4 + c] = MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
  }
#elif LANES == 16
  UNROLL for (u32 c = 0; c < 4; c++) {
    vf a = MIX(x[c], x[4 + c], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    vf b = MIX(x[c], x[4 + c], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    vf d = MIX(x[8 + c], x[12 + c], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    vf e = MIX(x[8 + c], x[12 + c], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    x[c] = MIX(a, d, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    x[4 + c] = MIX(a, d, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    x[8 + c] = MIX(b, e, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    x[12 + c] = MIX(b, e, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
#endif
}

#endif
