/*
 * Sums of products without tiles: integer and bool ones, and float32 ones with so few outputs per batch item that lanes run
 * across the batch. Same descriptor as `product`, with the kind behind it.
 */
#ifndef MUSTER_PRODUCT_DIRECT_H
#define MUSTER_PRODUCT_DIRECT_H
#include "product-pack.h"

/* Integer and bool sums of products: a word of the batch after the other. */
#define DIRECT(T, STEP)                                                                              \
  for (u32 p = items.begin; p < items.end; p++)                                                      \
    for (u32 i = 0; i < m; i++)                                                                      \
      for (u32 j = 0; j < n; j++) {                                                                  \
        const T *x = AT(const T, d + 3) + batch_a[p] + row[i];                                       \
        const T *y = AT(const T, d + 5) + batch_b[p] + column[j];                                    \
        T s = 0;                                                                                     \
        for (u32 k = 0; k < depth; k++) s = STEP(s, x[ka[k]], y[kb[k]]);                             \
        (AT(T, d + 7) + batch_out[p])[out_row[i] + out_column[j]] = s;                               \
      }
#define STEP_SUM(S, X, Y) S + X * Y
#define STEP_ANY(S, X, Y) S | (X & Y)

/* Elements along k packed at a time. */
#define DIRECT_DEPTH 256

/* One output (i, j) of LANES items of the batch. */
NOINLINE u32 direct_lanes(Operand a, Operand b, u32 used, u32 depth, f32 *scratch, f32 *out, const i32 *out_lanes) {
  vf sum = splat(0.0f);
  f32 *x = scratch, *y = scratch + (DIRECT_DEPTH + 1) * LANES;
  for (u32 k = 0; k < depth; k += DIRECT_DEPTH) {
    u32 count = depth - k < DIRECT_DEPTH ? depth - k : DIRECT_DEPTH;
    pack_panel(x, operand_at(a, 0, k), used, count, LANES);
    pack_panel(y, operand_at(b, 0, k), used, count, LANES);
    for (u32 i = 0; i < count; i++) sum = sum + load(x + i * LANES) * load(y + i * LANES);
  }
  if (is_run(out_lanes, used)) {
    store_part(out + out_lanes[0], sum, used);
  } else {
    for (u32 i = 0; i < LANES; i++)
      if (i < used) out[out_lanes[i]] = sum[i];
  }
  return is_found(note_part(nothing(), sum, used));
}

/* `kind`, behind the descriptor of `product`: 0 float32, 1 32-bit integers, 2 bool. Returns 1 if an output is NaN. */
static u32 product_direct(const u32 *d, const Context *context) {
  u32 m = d[0], n = d[1], depth = d[2], batch = d[21], kind = d[28];
  const i32 *row = AT(const i32, d + 9), *ka = AT(const i32, d + 11), *column = AT(const i32, d + 13), *kb = AT(const i32, d + 15);
  const i32 *out_row = AT(const i32, d + 17), *out_column = AT(const i32, d + 19);
  const i32 *batch_a = AT(const i32, d + 22), *batch_b = AT(const i32, d + 24), *batch_out = AT(const i32, d + 26);
  Share items = share_of(context, batch, kind == 0 ? LANES : 1);
  u32 nan = 0;
  if (kind == 1) {
    DIRECT(u32, STEP_SUM)
  } else if (kind == 2) {
    DIRECT(u8, STEP_ANY)
  } else {
    for (u32 p = items.begin; p < items.end; p += LANES) {
      u32 used = items.end - p < LANES ? items.end - p : LANES;
      for (u32 i = 0; i < m; i++)
        for (u32 j = 0; j < n; j++) {
          Operand a = {AT(const f32, d + 3) + row[i], batch_a + p, ka, 0};
          Operand b = {AT(const f32, d + 5) + column[j], batch_b + p, kb, 0};
          f32 *out = AT(f32, d + 7) + out_row[i] + out_column[j];
          nan |= direct_lanes(a, b, used, depth, (f32 *)context->scratch, out, batch_out + p);
        }
    }
  }
  return nan;
}

#endif
