/*
 * Packing: lanes (rows of A, columns of B) of an operand addressed by offset tables, copied so that they stand side by side.
 *
 * Not here: which part is packed when (product.c).
 */
#ifndef MUSTER_PRODUCT_PACK_H
#define MUSTER_PRODUCT_PACK_H
#include "product-tile.h"

/* An operand: element (lane, k) at from[lanes[lane] + ks[k]]. `along` is 1 if `ks` are known to be a run. */
typedef struct {
  const f32 *from;
  const i32 *lanes, *ks;
  u32 along;
} Operand;
/* The same from a lane and a k on. */
INLINE Operand operand_at(Operand x, u32 lane, u32 k) { return (Operand){x.from, x.lanes + lane, x.ks + k, x.along}; }

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

/* Packs the neighbouring lanes of one piece. What is stored too much lies in the lanes of pieces that are packed later. */
INLINE void pack_piece(f32 *to, const f32 *from, const i32 *ks, u32 count, u32 depth, u32 width, u32 room) {
  if (count == LANES) {
    for (u32 k = 0; k < depth; k++) store(to + k * width, load(from + ks[k]));
  } else if (room >= LANES) {
    for (u32 k = 0; k < depth; k++) store(to + k * width, load_part(from + ks[k], count));
  } else {
    for (u32 k = 0; k < depth; k++) store_part(to + k * width, load_part(from + ks[k], count), count);
  }
}

/* Packs LANES lanes of `length` neighbours along k, at most LANES of them, as a transposed square. */
INLINE void pack_square(f32 *to, const f32 *from, const i32 *lanes, u32 length, u32 width) {
  vf square[LANES];
  if (length == LANES) {
    UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load(from + lanes[i]);
    transpose(square);
    UNROLL for (u32 i = 0; i < LANES; i++) store(to + i * width, square[i]);
  } else {
    UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load_part(from + lanes[i], length);
    transpose(square);
    UNROLL for (u32 i = 0; i < LANES; i++)
      if (i < length) store(to + i * width, square[i]);
  }
}

/*
 * Packs a panel of `used` lanes: lane l of the k-th element goes to to[k * width + l]. Lanes from `used` to `width` and fewer
 * than LANES elements behind the panel may then hold anything.
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
  if (count == TILE_VECTORS && used == TILE_COLUMNS) {
    for (u32 k = 0; k < depth; k++) {
      const f32 *in = from + ks[k];
      UNROLL for (u32 v = 0; v < TILE_VECTORS; v++) store(to + v * LANES, load(in + pieces[v].offset));
      to += width;
    }
    return;
  }
  /* In pieces if they are few; else, if neighbours along k are, in squares, whose cost does not depend on how many are used. */
  u32 most = depth < LANES ? depth : LANES, run = x.along ? most : run_length(ks, most);
  if (run > LANES / 4 ? 2 * count * run <= 3 * groups * LANES : 3 * count <= 2 * used) {
    for (u32 p = 0; p < count; p++)
      pack_piece(to + pieces[p].first, from + pieces[p].offset, ks, pieces[p].count, depth, width, width - pieces[p].first);
    return;
  }
  i32 offsets[PANEL_LANES + LANES];
  for (u32 i = 0; i < groups * LANES; i++) offsets[i] = lanes[i < used ? i : used - 1];
  u32 k = 0;
  if (x.along) {
    k = depth / LANES * LANES;
    for (u32 g = groups; g-- > 0;) {
      f32 *square_to = to + g * LANES;
      const f32 *line[LANES];
      UNROLL for (u32 i = 0; i < LANES; i++) line[i] = from + ks[0] + offsets[g * LANES + i];
      for (u32 at = 0; at < k; at += LANES) {
        vf square[LANES];
        UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load(line[i] + at);
        transpose(square);
        UNROLL for (u32 i = 0; i < LANES; i++) {
          store(square_to, square[i]);
          square_to += width;
        }
      }
    }
  }
  while (k < depth) {
    u32 length = run_length(ks + k, depth - k < LANES ? depth - k : LANES);
    if (length > LANES / 4) {
      /* The last group first: what it stores too much belongs to the first lanes of the next element. */
      for (u32 g = groups; g-- > 0;) pack_square(to + k * width + g * LANES, from + ks[k], offsets + g * LANES, length, width);
    } else {
      for (u32 i = k; i < k + length; i++) {
        const f32 *in = from + ks[i];
        for (u32 lane = 0; lane < used; lane++) to[i * width + lane] = in[offsets[lane]];
      }
    }
    k += length;
  }
}

/* `count` items in as many equal chunks as hold at most `most` each: chunk i has whole or whole + 1 of them. */
typedef struct {
  u32 count, whole, longer;
} Chunks;
INLINE Chunks chunks_of(u32 items, u32 most) {
  u32 count = (items + most - 1) / most;
  return (Chunks){count, items / count, items % count};
}
INLINE u32 chunk_begin(Chunks x, u32 i) { return i * x.whole + (i < x.longer ? i : x.longer); }
INLINE u32 chunk_size(Chunks x, u32 i) { return x.whole + (i < x.longer); }

/* Rows of an operand that lie ahead of the one being copied by this many are fetched into the cache. */
#define ROWS_AHEAD 8

/* Packs `used` neighbouring lanes into panels of so many vectors, in the order they have in memory. */
NOINLINE void pack_rows(f32 *to, Operand x, u32 used, u32 depth, Chunks panels) {
  const f32 *from = x.from + x.lanes[0];
  for (u32 k = 0; k < depth; k++) {
    const f32 *in = from + x.ks[k];
    if (k + ROWS_AHEAD < depth)
      for (u32 i = 0; i < used; i += 16) __builtin_prefetch(from + x.ks[k + ROWS_AHEAD] + i);
    f32 *panel = to;
    for (u32 i = 0, lane = 0; i < panels.count; i++) {
      u32 width = chunk_size(panels, i) * LANES;
      f32 *line = panel + k * width;
      for (u32 j = 0; j < width; j += LANES, lane += LANES)
        store(line + j, used - lane < LANES ? load_part(in + lane, used - lane) : load(in + lane));
      panel += width * depth;
    }
  }
}

#endif
