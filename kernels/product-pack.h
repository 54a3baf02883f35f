/*
 * Packing: lanes (rows of A, columns of B) of an operand addressed by offset tables, copied so that they stand side by side.
 *
 * Not here: which part is packed when (product.c).
 */
#ifndef MUSTER_PRODUCT_PACK_H
#define MUSTER_PRODUCT_PACK_H
#include "product-tile.h"

/* An operand: element (lane, k) at from[lanes[lane] + ks[k]]. */
typedef struct {
  const f32 *from;
  const i32 *lanes, *ks;
} Operand;

/* 1 if `count` offsets each exceed the one before by 1. */
INLINE u32 is_run(const i32 *offsets, u32 count) {
  u32 i = 0;
  vi wrong = splati(0);
  for (; i + LANES <= count; i += LANES) wrong |= (vi)loadu(offsets + i) - lane_numbers() != splati(offsets[0] + (i32)i);
  if (any(wrong)) return 0;
  for (; i < count; i++)
    if (offsets[i] != offsets[0] + (i32)i) return 0;
  return 1;
}

/* How many of the first `count` offsets each exceed the one before by 1. */
INLINE u32 run_length(const i32 *offsets, u32 count) {
  u32 length = 1;
  while (length < count && offsets[length] == offsets[0] + (i32)length) length++;
  return length;
}

/* More lanes than this are no panel, of A or of B. */
#define PANEL_LANES (TILE_ROWS > TILE_COLUMNS ? TILE_ROWS : TILE_COLUMNS)

/* Lanes first … first + count - 1 of a panel, neighbours in memory, at most one vector of them. */
typedef struct {
  u32 first, count;
  i32 offset;
} Piece;

/*
 * Packs a panel of `used` lanes: lane l of the k-th element goes to to[k * width + l]. Whole vectors are written in ascending
 * order, so that fewer than LANES elements behind the panel's last hold anything, and lanes from `used` to `width` do.
 */
NOINLINE void pack_panel(f32 *to, Operand x, u32 used, u32 depth, u32 width) {
  const f32 *from = x.from;
  const i32 *lanes = x.lanes, *ks = x.ks;
  Piece pieces[PANEL_LANES];
  u32 count = 0, groups = (used + LANES - 1) / LANES;
  for (u32 i = 0; i < used;) {
    u32 length = run_length(lanes + i, used - i < LANES ? used - i : LANES);
    pieces[count++] = (Piece){i, length, lanes[i]};
    i += length;
  }
  /* Vectors of neighbouring lanes are copied. */
  if (count == 1 && used == LANES) {
    for (u32 k = 0; k < depth; k++) store(to + k * width, load(from + lanes[0] + ks[k]));
    return;
  }
  if (count == 2 && used == 2 * LANES) {
    for (u32 k = 0; k < depth; k++) {
      const f32 *in = from + ks[k];
      store(to + k * width, load(in + lanes[0]));
      store(to + k * width + LANES, load(in + lanes[LANES]));
    }
    return;
  }
  if (count == 1 && used > 1) {
    for (u32 k = 0; k < depth; k++) store(to + k * width, load_part(from + lanes[0] + ks[k], used));
    return;
  }
  i32 offsets[PANEL_LANES + LANES];
  for (u32 i = 0; i < groups * LANES; i++) offsets[i] = lanes[i < used ? i : used - 1];
  u32 few = count <= groups * (LANES / 8 + 1), some = 3 * count <= 2 * used;
  for (u32 k = 0; k < depth;) {
    u32 length = few ? depth - k : run_length(ks + k, depth - k < LANES ? depth - k : LANES);
    if (!few && (length == LANES || (!some && length > LANES / 4))) {
      /* Neighbours along k: squares are transposed. */
      const f32 *in = from + ks[k];
      for (u32 g = groups; g-- > 0;) {
        const i32 *offset = offsets + g * LANES;
        f32 *square_to = to + k * width + g * LANES;
        vf square[LANES];
        if (length == LANES) {
          UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load(in + offset[i]);
          transpose(square);
          UNROLL for (u32 i = 0; i < LANES; i++) store(square_to + i * width, square[i]);
        } else {
          UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load_part(in + offset[i], length);
          transpose(square);
          UNROLL for (u32 i = 0; i < LANES; i++)
            if (i < length) store(square_to + i * width, square[i]);
        }
      }
    } else if (some) {
      for (u32 i = k; i < k + length; i++) {
        const f32 *in = from + ks[i];
        for (u32 p = 0; p < count; p++) {
          f32 *piece_to = to + i * width + pieces[p].first;
          store(piece_to, load_part(in + pieces[p].offset, pieces[p].count));
        }
      }
    } else {
      for (u32 i = k; i < k + length; i++) {
        const f32 *in = from + ks[i];
        for (u32 lane = 0; lane < used; lane++) to[i * width + lane] = in[offsets[lane]];
      }
    }
    k += length;
  }
}

/* Packs neighbouring lanes into panels of TILE_COLUMNS, the last rounded up to whole vectors, in the order they have in memory. */
NOINLINE void pack_rows(f32 *to, Operand x, u32 used, u32 depth) {
  u32 whole = used / TILE_COLUMNS, rest = used % TILE_COLUMNS;
  u32 width = (rest + LANES - 1) / LANES * LANES;
  for (u32 k = 0; k < depth; k++) {
    const f32 *in = x.from + x.lanes[0] + x.ks[k];
#ifdef AHEAD
    if (k + AHEAD < depth)
      for (u32 i = 0; i < used; i += 16) __builtin_prefetch(x.from + x.lanes[0] + x.ks[k + AHEAD] + i, 0, 1);
#endif
    for (u32 i = 0; i < whole; i++) {
      f32 *at = to + i * TILE_COLUMNS * depth + k * TILE_COLUMNS;
      UNROLL for (u32 v = 0; v < TILE_VECTORS; v++) store(at + v * LANES, load(in + i * TILE_COLUMNS + v * LANES));
    }
    f32 *at = to + whole * TILE_COLUMNS * depth + k * width;
    for (u32 i = 0; i < rest; i += LANES) {
      const f32 *from = in + whole * TILE_COLUMNS + i;
      store(at + i, rest - i < LANES ? load_part(from, rest - i) : load(from));
    }
  }
}

#endif
