/*
 * Packed, register-tiled, cache-blocked sums of products.
 *
 * out[m, n] = sum over k ascending of fl(A[m, k] * B[k, n]), added one by one from +0: vector lanes run across outputs, and a
 * block along k stores and reloads the float32 accumulator, so the order per output never changes.
 * Operands are addressed by offset tables (in elements): A at row[m] + kA[k], B at column[n] + kB[k], out at outRow[m] + outColumn[n].
 * That covers transposed and broadcast views, and convolution without building its patches.
 */
#include "types.h"

/* Eight accumulators, two columns and one row value fit WebAssembly engines' 16 registers; 12 accumulators spill and halve the speed. */
#define MR 4
#define NR 8
#define KC 320
#define MC 96
#define NC 512

static f32 packed_a[MC * KC] __attribute__((aligned(64)));
static f32 packed_b[NC * KC] __attribute__((aligned(64)));
static f32 tile[MR * NR] __attribute__((aligned(64)));

/* Copies `count` rows of one operand into panels of `width` rows: panel[k][lane]. Missing lanes are 0. */
INLINE void pack(f32 *to, const f32 *from, const i32 *lanes, const i32 *ks, u32 count, u32 depth, const u32 width) {
  for (u32 first = 0; first < count; first += width) {
    u32 used = count - first < width ? count - first : width;
    const i32 *lane = lanes + first;
    if (used == width && lane[width - 1] - lane[0] == (i32)width - 1 && lane[1] - lane[0] == 1) {
      for (u32 k = 0; k < depth; k++) {
        const f32 *in = from + lane[0] + ks[k];
#pragma clang loop unroll(full)
        for (u32 i = 0; i < width; i++) to[i] = in[i];
        to += width;
      }
    } else if (used == width && depth >= 4 && ks[1] - ks[0] == 1 && ks[depth - 1] - ks[0] == (i32)depth - 1) {
      const f32 *in = from + ks[0];
      u32 k = 0;
      for (; k + 4 <= depth; k += 4) {
#pragma clang loop unroll(full)
        for (u32 i = 0; i + 4 <= width; i += 4) {
          v4f a = load4(in + lane[i] + k), b = load4(in + lane[i + 1] + k);
          v4f c = load4(in + lane[i + 2] + k), d = load4(in + lane[i + 3] + k);
          v4f ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
          v4f ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
          store4(to + i, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
          store4(to + width + i, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
          store4(to + 2 * width + i, __builtin_shufflevector(ef, gh, 0, 1, 4, 5));
          store4(to + 3 * width + i, __builtin_shufflevector(ef, gh, 2, 3, 6, 7));
        }
#pragma clang loop unroll(full)
        for (u32 i = width & ~3u; i < width; i++) {
          v4f a = load4(in + lane[i] + k);
          to[i] = a[0];
          to[width + i] = a[1];
          to[2 * width + i] = a[2];
          to[3 * width + i] = a[3];
        }
        to += 4 * width;
      }
      for (; k < depth; k++) {
        for (u32 i = 0; i < width; i++) to[i] = in[lane[i] + (i32)k];
        to += width;
      }
    } else {
      for (u32 k = 0; k < depth; k++) {
        const f32 *in = from + ks[k];
        for (u32 i = 0; i < used; i++) to[i] = in[lane[i]];
        for (u32 i = used; i < width; i++) to[i] = 0.0f;
        to += width;
      }
    }
  }
}

/* MR x NR outputs held in registers while k runs. */
#define VECTORS (NR / 4)
#define UNROLL _Pragma("clang loop unroll(full)")

INLINE u32 micro(f32 *out, i32 stride, const f32 *a, const f32 *b, u32 depth, u32 resume) {
  v4f c[MR][VECTORS];
  UNROLL for (u32 i = 0; i < MR; i++) {
    UNROLL for (u32 v = 0; v < VECTORS; v++) c[i][v] = resume ? load4(out + (i32)i * stride + 4 * v) : splat(0);
  }
  for (u32 k = 0; k < depth; k++) {
    v4f row[VECTORS];
    UNROLL for (u32 v = 0; v < VECTORS; v++) row[v] = load4(b + 4 * v);
    UNROLL for (u32 i = 0; i < MR; i++) {
      v4f x = splat(a[i]);
      UNROLL for (u32 v = 0; v < VECTORS; v++) c[i][v] = c[i][v] + x * row[v];
    }
    a += MR;
    b += NR;
  }
  v4i nan = splati(0);
  UNROLL for (u32 i = 0; i < MR; i++) {
    UNROLL for (u32 v = 0; v < VECTORS; v++) {
      store4(out + (i32)i * stride + 4 * v, c[i][v]);
      nan |= c[i][v] != c[i][v];
    }
  }
  return any4(nan);
}

/*
 * Descriptor: m, n, k, address of A, B, out, then addresses of the tables row, kA, column, kB, outRow, outColumn.
 * Returns 1 if an output is NaN.
 */
static u32 product_one(const u32 *d, const f32 *A, const f32 *B, f32 *out) {
  u32 m = d[0], n = d[1], depth = d[2];
  const i32 *row = AT(const i32, d[6]), *ka = AT(const i32, d[7]), *column = AT(const i32, d[8]), *kb = AT(const i32, d[9]);
  const i32 *out_row = AT(const i32, d[10]), *out_column = AT(const i32, d[11]);
  u32 nan = 0;
  if (depth == 0) {
    for (u32 i = 0; i < m; i++)
      for (u32 j = 0; j < n; j++) out[out_row[i] + out_column[j]] = 0.0f;
    return 0;
  }
  u32 k_blocks = (depth + KC - 1) / KC, k_block = (depth + k_blocks - 1) / k_blocks;
  for (u32 j0 = 0; j0 < n; j0 += NC) {
    u32 nc = n - j0 < NC ? n - j0 : NC;
    for (u32 k0 = 0; k0 < depth; k0 += k_block) {
      u32 kc = depth - k0 < k_block ? depth - k0 : k_block;
      u32 final = k0 + kc == depth;
      pack(packed_b, B, column + j0, kb + k0, nc, kc, NR);
      for (u32 i0 = 0; i0 < m; i0 += MC) {
        u32 mc = m - i0 < MC ? m - i0 : MC;
        pack(packed_a, A, row + i0, ka + k0, mc, kc, MR);
        for (u32 j = 0; j < nc; j += NR) {
          const i32 *columns = out_column + j0 + j;
          u32 cols = nc - j < NR ? nc - j : NR;
          u32 dense_columns = cols == NR && columns[NR - 1] - columns[0] == NR - 1 && columns[1] - columns[0] == 1;
          const f32 *b = packed_b + j * kc;
          for (u32 i = 0; i < mc; i += MR) {
            const i32 *rows = out_row + i0 + i;
            const f32 *a = packed_a + i * kc;
            u32 lines = mc - i < MR ? mc - i : MR;
            if (dense_columns && lines == MR && rows[MR - 1] - rows[0] == (rows[1] - rows[0]) * (MR - 1) &&
                rows[2] - rows[1] == rows[1] - rows[0]) {
              u32 bad = micro(out + rows[0] + columns[0], rows[1] - rows[0], a, b, kc, k0 > 0);
              if (final) nan |= bad;
            } else {
              if (k0 > 0)
                for (u32 p = 0; p < lines; p++)
                  for (u32 q = 0; q < cols; q++) tile[p * NR + q] = out[rows[p] + columns[q]];
              micro(tile, NR, a, b, kc, k0 > 0);
              for (u32 p = 0; p < lines; p++)
                for (u32 q = 0; q < cols; q++) {
                  f32 value = tile[p * NR + q];
                  if (final) nan |= value != value;
                  out[rows[p] + columns[q]] = value;
                }
            }
          }
        }
      }
    }
  }
  return nan;
}

/* Batch of products: after the descriptor's 12 words, the batch count and the addresses of three tables of offsets into A, B, out. */
u32 EXPORT(product) product(u32 descriptor) {
  const u32 *d = AT(const u32, descriptor);
  const i32 *batch_a = AT(const i32, d[13]), *batch_b = AT(const i32, d[14]), *batch_out = AT(const i32, d[15]);
  u32 nan = 0;
  for (u32 i = 0; i < d[12]; i++) {
    nan |= product_one(d, AT(const f32, d[3]) + batch_a[i], AT(const f32, d[4]) + batch_b[i], AT(f32, d[5]) + batch_out[i]);
  }
  return nan;
}

/* Integer and bool sums of products and narrow float ones; same descriptor, batch innermost. `kind`: 0 float32, 1 32-bit integers, 2 bool. */
#define DIRECT(T, START, STEP)                                                                                   \
  for (u32 i = 0; i < m; i++)                                                                                    \
    for (u32 j = 0; j < n; j++) {                                                                                \
      u32 p = 0;                                                                                                 \
      for (; p + 4 <= batch; p += 4) {                                                                           \
        const T *x0 = AT(const T, d[3]) + batch_a[p] + row[i], *y0 = AT(const T, d[4]) + batch_b[p] + column[j]; \
        const T *x1 = AT(const T, d[3]) + batch_a[p + 1] + row[i], *y1 = AT(const T, d[4]) + batch_b[p + 1] + column[j]; \
        const T *x2 = AT(const T, d[3]) + batch_a[p + 2] + row[i], *y2 = AT(const T, d[4]) + batch_b[p + 2] + column[j]; \
        const T *x3 = AT(const T, d[3]) + batch_a[p + 3] + row[i], *y3 = AT(const T, d[4]) + batch_b[p + 3] + column[j]; \
        T s0 = START, s1 = START, s2 = START, s3 = START;                                                        \
        for (u32 k = 0; k < depth; k++) {                                                                        \
          i32 u = ka[k], v = kb[k];                                                                              \
          STEP(s0, x0[u], y0[v]) STEP(s1, x1[u], y1[v]) STEP(s2, x2[u], y2[v]) STEP(s3, x3[u], y3[v])            \
        }                                                                                                        \
        T *out = AT(T, d[5]) + out_row[i] + out_column[j];                                                       \
        out[batch_out[p]] = s0, out[batch_out[p + 1]] = s1, out[batch_out[p + 2]] = s2, out[batch_out[p + 3]] = s3; \
        nan |= (s0 != s0) | (s1 != s1) | (s2 != s2) | (s3 != s3);                                                \
      }                                                                                                          \
      for (; p < batch; p++) {                                                                                   \
        const T *x = AT(const T, d[3]) + batch_a[p] + row[i], *y = AT(const T, d[4]) + batch_b[p] + column[j];   \
        T s = START;                                                                                             \
        for (u32 k = 0; k < depth; k++) STEP(s, x[ka[k]], y[kb[k]])                                              \
        (AT(T, d[5]) + out_row[i] + out_column[j])[batch_out[p]] = s;                                            \
        nan |= s != s;                                                                                           \
      }                                                                                                          \
    }
#define STEP_SUM(S, X, Y) S = S + X * Y;
#define STEP_ANY(S, X, Y) S = S | (X & Y);

u32 EXPORT(product_direct) product_direct(u32 descriptor, u32 kind) {
  const u32 *d = AT(const u32, descriptor);
  u32 m = d[0], n = d[1], depth = d[2], batch = d[12];
  const i32 *row = AT(const i32, d[6]), *ka = AT(const i32, d[7]), *column = AT(const i32, d[8]), *kb = AT(const i32, d[9]);
  const i32 *out_row = AT(const i32, d[10]), *out_column = AT(const i32, d[11]);
  const i32 *batch_a = AT(const i32, d[13]), *batch_b = AT(const i32, d[14]), *batch_out = AT(const i32, d[15]);
  u32 nan = 0;
  if (kind == 0) {
    DIRECT(f32, 0.0f, STEP_SUM)
  } else if (kind == 1) {
    DIRECT(u32, 0, STEP_SUM)
  } else {
    DIRECT(u8, 0, STEP_ANY)
  }
  return nan;
}
