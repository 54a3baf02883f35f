/*
 * Packed, register-tiled, cache-blocked sums of products.
 *
 * out[m, n] = sum over k ascending of fl(A[m, k] * B[k, n]), added one by one from +0: vector lanes run across outputs, and a
 * block along k stores and reloads the float32 accumulator, so the order per output never changes.
 * Operands are addressed by offset tables (in elements): A at row[m] + kA[k], B at column[n] + kB[k], out at outRow[m] + outColumn[n].
 * That covers transposed and broadcast views, and convolution without building its patches.
 *
 * Not here: tiles (product-tile.h), packing (product-pack.h), integer and very small sums of products (product-direct.h).
 */
#include "types.h"

#include "product-pack.h"
#include "product-direct.h"

/*
 * Blocks: rows of A (BLOCK_ROWS x BLOCK_DEPTH) and a block of B stay in the second cache, a panel of B near the first.
 * Packed rows of A are padded to a multiple of ROW_UNIT, which keeps vector stores within cache lines.
 */
#if LANES == 16
#define BLOCK_DEPTH 512
#define BLOCK_ROWS 516
#define BLOCK_VECTORS 16
#define ROW_UNIT 2
#elif LANES == 8
#define BLOCK_DEPTH 320
#define BLOCK_ROWS 768
#define BLOCK_VECTORS 32
#define ROW_UNIT 2
#else
#define BLOCK_DEPTH 256
#define BLOCK_ROWS 768
#define BLOCK_VECTORS 64
#define ROW_UNIT 1
#endif
#define ROW_WIDTH(ROWS) (((ROWS) + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT)
/*
 * Tiles are at least half as high as they may be where there are several, so padding adds at most a third. Packing writes up to
 * one vector behind a panel; a tile in the scratch is read as squares of lanes.
 */
#define PACKED_A ((4 * (BLOCK_ROWS / 3 * 4) * BLOCK_DEPTH + VECTOR_BYTES + 63) / 64 * 64)
#define PACKED_B ((BLOCK_VECTORS * BLOCK_DEPTH + 1) * VECTOR_BYTES)
#define TILE_BYTES ((TILE_ROWS + LANES) * TILE_VECTORS * VECTOR_BYTES)
_Static_assert(PACKED_A + PACKED_B + TILE_BYTES <= SCRATCH_BYTES, "blocks must fit the scratch");

/*
 * An operand that is used so little that packing would cost more is read in place: A for few columns (fewer if it runs along k:
 * packing is what makes its rows small in the cache), B for few rows.
 */
#define IN_PLACE_COLUMNS 1024
#define IN_PLACE_COLUMNS_ALONG 512
#define IN_PLACE_ROWS 128
/* Outputs beyond this many are not in the cache when their tile begins. */
#define FAR_OUTPUTS (1 << 18)

/* Rows of a packed panel of A, and of a tile whose outputs go through the scratch. */
static const i32 packed_rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
#define ROW(I) ((I) * TILE_COLUMNS)
static const i32 scratch_rows[] = {ROW(0), ROW(1), ROW(2), ROW(3),  ROW(4),  ROW(5),  ROW(6),
                                   ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13)};
_Static_assert(TILE_ROWS <= 14, "rows of a tile");

/* One thread's part of one product: rows and columns are the lanes of `a` and `b`. */
typedef struct {
  Operand a, b;
  u32 rows, columns, depth;
  f32 *out;
  const i32 *out_rows, *out_columns;
  /* Whether A, or B where its lanes are neighbours, is read in place. The k-th elements of B then lie at equal distances. */
  u32 a_direct, b_direct;
  /* Whether those of A do, and whether the outputs exceed FAR_OUTPUTS. */
  u32 a_even, far;
  Step a_step, b_step;
  /* Vectors of a tile at most. */
  u32 tile_vectors;
  f32 *packed_a, *packed_b, *tile;
} Part;

/* The outputs of a tile to the scratch (`put` 0) or back to where they belong: `height` rows, `used` columns. */
NOINLINE void move_tile(const Part *p, const i32 *rows, u32 height, const i32 *columns, u32 used, u32 put) {
  f32 *tile = p->tile, *out = p->out;
  if (height > LANES / 4 && is_run(rows, height)) {
    /* Columns of the tile are neighbours in memory. */
    for (u32 r = 0; r < height; r += LANES) {
      u32 filled = height - r < LANES ? height - r : LANES;
      for (u32 c = 0; c < used; c += LANES) {
        u32 width = used - c < LANES ? used - c : LANES;
        vf square[LANES];
        if (put) {
          UNROLL for (u32 i = 0; i < LANES; i++) square[i] = load(tile + (r + i) * TILE_COLUMNS + c);
          transpose(square);
          UNROLL for (u32 i = 0; i < LANES; i++)
            if (i < width) store_part(out + rows[r] + columns[c + i], square[i], filled);
        } else {
          UNROLL for (u32 i = 0; i < LANES; i++)
            square[i] = i < width ? load_part(out + rows[r] + columns[c + i], filled) : splat(0.0f);
          transpose(square);
          UNROLL for (u32 i = 0; i < LANES; i++) store(tile + (r + i) * TILE_COLUMNS + c, square[i]);
        }
      }
    }
    return;
  }
  for (u32 i = 0; i < height; i++) {
    f32 *line = out + rows[i], *held = tile + i * TILE_COLUMNS;
    for (u32 j = 0; j < used; j++)
      if (put) {
        line[columns[j]] = held[j];
      } else {
        held[j] = line[columns[j]];
      }
  }
}

/* All rows of a block of A against one panel of B. */
INLINE u32 run_panel(const Part *p, Tile t, u32 row, Chunks heights, u32 column, u32 used) {
  const i32 *columns = p->out_columns + column;
  u32 vectors = (used + LANES - 1) / LANES, nan = 0;
  u32 dense = is_run(columns, used);
  t.last = used - (vectors - 1) * LANES;
  for (u32 i = 0; i < heights.count; i++) {
    u32 height = chunk_size(heights, i), first = row + chunk_begin(heights, i);
    const i32 *rows = p->out_rows + first;
    if (p->a_direct) {
      t.a_rows = p->a.lanes + first;
    } else {
      t.a_step = ROW_WIDTH(height);
    }
    if (dense) {
      t.out = p->out + columns[0];
      t.out_rows = rows;
      t.ahead = p->far && i + 1 < heights.count && chunk_size(heights, i + 1) == height;
      nan |= run_tile(&t, height, vectors);
    } else {
      t.out = p->tile;
      t.out_rows = scratch_rows;
      t.ahead = 0;
      if (t.resume) move_tile(p, rows, height, columns, used, 0);
      nan |= run_tile(&t, height, vectors);
      move_tile(p, rows, height, columns, used, 1);
    }
    if (!p->a_direct) t.a += ROW_WIDTH(height) * t.depth;
  }
  return nan;
}

/* A block of rows against all columns for `depth` elements from `k` on. */
static u32 run_block(const Part *p, u32 row, u32 rows, u32 k, u32 depth) {
  u32 nan = 0;
  u32 vectors = (p->columns + LANES - 1) / LANES;
  Chunks blocks = chunks_of(vectors, BLOCK_VECTORS);
  u32 widest = vectors < p->tile_vectors ? vectors : p->tile_vectors;
  Chunks heights = chunks_of(rows, rows_of(widest));
  Tile t = {.depth = depth, .resume = k > 0, .final = k + depth == p->depth};
  if (p->a_direct) {
    t.a = p->a.from;
    if (p->a_even) {
      t.a += p->a.ks[k];
      t.a_step = p->a_step;
    } else {
      t.a_ks = p->a.ks + k;
    }
  } else {
    t.a = p->packed_a;
    t.a_rows = packed_rows;
    f32 *packed = p->packed_a;
    for (u32 i = 0; i < heights.count; i++) {
      u32 height = chunk_size(heights, i), width = ROW_WIDTH(height);
      pack_panel(packed, operand_at(p->a, row + chunk_begin(heights, i), k), height, depth, width);
      packed += width * depth;
    }
  }
  for (u32 i = 0; i < blocks.count; i++) {
    u32 block = chunk_begin(blocks, i), count = chunk_size(blocks, i);
    Chunks panels = chunks_of(count, widest);
    u32 columns = p->columns - block * LANES < count * LANES ? p->columns - block * LANES : count * LANES;
    const Operand b = operand_at(p->b, block * LANES, k);
    /* Many uses of a wide block: it is read as it lies in memory. */
    u32 in_order = IN_PLACE && panels.count > 1 && heights.count >= 8 && is_run(b.lanes, columns);
    if (in_order) pack_rows(p->packed_b, b, columns, depth, panels);
    for (u32 j = 0; j < panels.count; j++) {
      u32 column = chunk_begin(panels, j) * LANES, width = chunk_size(panels, j) * LANES;
      u32 used = columns - column < width ? columns - column : width;
      t.b = p->packed_b;
      t.b_step = width;
      if (in_order) {
        t.b += column * depth;
      } else if (p->b_direct && used == width && is_run(b.lanes + column, used)) {
        t.b = b.from + b.lanes[column] + b.ks[0];
        t.b_step = p->b_step;
      } else {
        pack_panel(p->packed_b, operand_at(b, column, 0), used, depth, width);
      }
      nan |= run_panel(p, t, row, heights, block * LANES + column, used);
    }
  }
  return nan;
}

/* The product of a part; nothing may be empty. */
static u32 multiply(const Part *p) {
  u32 nan = 0;
  Chunks row_blocks = chunks_of(p->rows, BLOCK_ROWS), depth_blocks = chunks_of(p->depth, BLOCK_DEPTH);
  for (u32 r = 0; r < row_blocks.count; r++) {
    u32 row = chunk_begin(row_blocks, r), rows = chunk_size(row_blocks, r);
    for (u32 q = 0; q < depth_blocks.count; q++)
      nan |= run_block(p, row, rows, chunk_begin(depth_blocks, q), chunk_size(depth_blocks, q));
  }
  return nan;
}

/* Cost of `rows` x `columns` outputs with lanes across the columns, in vector operations. */
INLINE u64 cost_of(u32 rows, u32 columns, u32 depth, const i32 *out_rows, const i32 *out_columns) {
  u64 vectors = (columns + LANES - 1) / LANES;
  u64 outputs = columns < 2 || out_columns[1] - out_columns[0] == 1 ? rows * vectors * 2
                : rows < 2 || out_rows[1] - out_rows[0] == 1        ? rows * vectors * 8
                                                                    : (u64)rows * columns * 3;
  return rows * vectors * depth + outputs;
}

/* 1 if the offsets are at equal distances. */
INLINE u32 is_even(const i32 *offsets, u32 count) {
  if (count < 2) return 1;
  i32 step = offsets[1] - offsets[0];
  vi wrong = splati(0), first = lane_numbers() * step + offsets[0];
  u32 i = 0;
  for (; i + LANES <= count; i += LANES) wrong |= (vi)loadu(offsets + i) - splati((i32)i * step) != first;
  for (; i < count; i++)
    if (offsets[i] != offsets[0] + (i32)i * step) return 0;
  return !any(wrong);
}

/* How the threads share the outputs: a grid of batch x rows x columns. */
typedef struct {
  u32 batch, rows, columns;
} Grid;
INLINE u64 share_cost(u32 items, u32 parts, u32 unit) {
  u32 units = (items + unit - 1) / unit, most = (units + parts - 1) / parts * unit;
  return most < items ? most : items;
}
static Grid grid_of(u32 threads, u32 batch, u32 rows, u32 columns) {
  Grid best = {threads, 1, 1};
  u64 least = ~0ull;
  for (u32 b = 1; b <= threads; b++) {
    if (threads % b) continue;
    for (u32 r = 1; r <= threads / b; r++) {
      if (threads / b % r) continue;
      u64 height = share_cost(rows, r, 1), width = share_cost(columns, threads / b / r, LANES);
      u64 cost = share_cost(batch, b, 1) * (height * width + 8 * (height + width));
      if (cost <= least) least = cost, best = (Grid){b, r, threads / b / r};
    }
  }
  return best;
}
INLINE Share part_of(u32 thread, u32 parts, u32 items, u32 unit) {
  Context context = {.thread = thread, .threads = parts};
  return share_of(&context, items, unit);
}

/*
 * Descriptor: m, n, k, then the addresses of A, B, out and of the tables row, kA, column, kB, outRow, outColumn; the batch count
 * and the addresses of three tables of offsets into A, B and out. Returns 1 if an output is NaN.
 */
static u32 product(const u32 *d, const Context *context) {
  u32 rows = d[0], columns = d[1], depth = d[2], batch = d[21];
  const i32 *batch_a = AT(const i32, d + 22), *batch_b = AT(const i32, d + 24), *batch_out = AT(const i32, d + 26);
  if (rows == 0 || columns == 0 || batch == 0) return 0;
  Operand a = {AT(const f32, d + 3), AT(const i32, d + 9), AT(const i32, d + 11), 0};
  Operand b = {AT(const f32, d + 5), AT(const i32, d + 13), AT(const i32, d + 15), 0};
  a.along = depth > 0 && is_run(a.ks, depth);
  b.along = depth > 0 && is_run(b.ks, depth);
  f32 *out = AT(f32, d + 7);
  const i32 *out_rows = AT(const i32, d + 17), *out_columns = AT(const i32, d + 19);
  /* Products commute bit for bit, so either operand may be the one that lanes run across. */
  if (cost_of(columns, rows, depth, out_columns, out_rows) < cost_of(rows, columns, depth, out_rows, out_columns)) {
    Operand x = a;
    const i32 *y = out_rows, *z = batch_a;
    u32 count = rows;
    a = b, out_rows = out_columns, batch_a = batch_b, rows = columns;
    b = x, out_columns = y, batch_b = z, columns = count;
  }
  Share items = {0, batch}, row_share = {0, rows}, column_share = {0, columns};
  if (context->threads > 1) {
    Grid grid = grid_of(context->threads, batch, rows, columns);
    u32 thread = context->thread;
    items = part_of(thread % grid.batch, grid.batch, batch, 1);
    row_share = part_of(thread / grid.batch % grid.rows, grid.rows, rows, 1);
    column_share = part_of(thread / grid.batch / grid.rows, grid.columns, columns, LANES);
  }
  Part p = {
      .rows = row_share.end - row_share.begin,
      .columns = column_share.end - column_share.begin,
      .depth = depth,
      .out_rows = out_rows + row_share.begin,
      .out_columns = out_columns + column_share.begin,
      .packed_a = (f32 *)context->scratch,
      .packed_b = (f32 *)(context->scratch + PACKED_A),
      .tile = (f32 *)(context->scratch + PACKED_A + PACKED_B),
  };
  if (p.rows == 0 || p.columns == 0) return 0;
  /* Outputs that lie side by side along the rows are transposed on their way: in high tiles, whole squares of them. */
  u32 across = p.columns > 1 && p.rows > 1 && p.out_columns[1] - p.out_columns[0] != 1 && p.out_rows[1] - p.out_rows[0] == 1;
  p.tile_vectors = across ? 2 : TILE_VECTORS;
  p.far = (u64)p.rows * p.columns > FAR_OUTPUTS;
  if (depth > 0) {
    p.a_even = is_even(a.ks, depth);
    p.a_step = depth > 1 ? a.ks[1] - a.ks[0] : 0;
    p.a_direct = IN_PLACE && p.columns <= (a.along ? IN_PLACE_COLUMNS_ALONG : IN_PLACE_COLUMNS);
    p.b_direct = p.rows <= IN_PLACE_ROWS && is_even(b.ks, depth);
    p.b_step = depth > 1 ? b.ks[1] - b.ks[0] : 0;
  }
  u32 nan = 0;
  for (u32 i = items.begin; i < items.end; i++) {
    p.a = operand_at(a, row_share.begin, 0);
    p.a.from += batch_a[i];
    p.b = operand_at(b, column_share.begin, 0);
    p.b.from += batch_b[i];
    p.out = out + batch_out[i];
    if (depth > 0) {
      nan |= multiply(&p);
    } else {
      for (u32 r = 0; r < p.rows; r++)
        for (u32 c = 0; c < p.columns; c++) p.out[p.out_rows[r] + p.out_columns[c]] = 0.0f;
    }
  }
  return nan;
}
