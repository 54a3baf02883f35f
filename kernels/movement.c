/*
 * Moving bits: strided copies, fills, gather, scatter, the transpose of pooling, and the search for NaN in a finished tensor.
 * An address in a descriptor is two words. Threads share outputs so that each has one owner.
 */
#include "types.h"

/* `run` elements side by side; both tensors own at least these. */
#define DEFINE_COPY_LINE(NAME, T, VECTOR, WIDTH)                                                         \
  INLINE void NAME(T *out, const T *in, u32 run) {                                                       \
    if (run >= 1024) {                                                                                   \
      __builtin_memcpy(out, in, run * sizeof(T));                                                        \
      return;                                                                                            \
    }                                                                                                    \
    u32 i = 0;                                                                                           \
    for (; i + WIDTH <= run; i += WIDTH) *(VECTOR *)(out + i) = *(const VECTOR *)(in + i);               \
    if (i == run) return;                                                                                \
    if (run >= WIDTH) *(VECTOR *)(out + run - WIDTH) = *(const VECTOR *)(in + run - WIDTH);              \
    else                                                                                                 \
      for (; i < run; i++) out[i] = in[i];                                                               \
  }
DEFINE_COPY_LINE(copy_line4, u32, vu_at, LANES)
DEFINE_COPY_LINE(copy_line1, u8, vbytes_at, VECTOR_BYTES)

/* out[r][c] = in[c][r] for r < rows, c < columns; rows of `in` and of `out` begin `in_step` and `out_step` apart. */
static void transpose4(u32 *out, i64 out_step, const u32 *in, i64 in_step, u32 rows, u32 columns) {
  for (u32 r0 = 0; r0 < rows; r0 += 16) {
    u32 r1 = r0 + 16 < rows ? r0 + 16 : rows;
    for (u32 c0 = 0; c0 < columns; c0 += 16) {
      u32 c1 = c0 + 16 < columns ? c0 + 16 : columns, r = r0;
      for (; r + 4 <= r1; r += 4) {
        u32 *to = out + r * out_step;
        u32 c = c0;
        for (; c + 4 <= c1; c += 4) {
          const u32 *from = in + c * in_step + r;
          v4f a = *(const v4f_at *)from, b = *(const v4f_at *)(from + in_step);
          v4f p = *(const v4f_at *)(from + 2 * in_step), q = *(const v4f_at *)(from + 3 * in_step);
          v4f ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), pq = __builtin_shufflevector(p, q, 0, 4, 1, 5);
          v4f ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(p, q, 2, 6, 3, 7);
          *(v4f_at *)(to + c) = __builtin_shufflevector(ab, pq, 0, 1, 4, 5);
          *(v4f_at *)(to + out_step + c) = __builtin_shufflevector(ab, pq, 2, 3, 6, 7);
          *(v4f_at *)(to + 2 * out_step + c) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
          *(v4f_at *)(to + 3 * out_step + c) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
        }
        for (; c < c1; c++)
          for (u32 k = 0; k < 4; k++) to[k * out_step + c] = in[c * in_step + r + k];
      }
      for (; r < r1; r++)
        for (u32 c = c0; c < c1; c++) out[r * out_step + c] = in[c * in_step + r];
    }
  }
}
static void transpose1(u8 *out, i64 out_step, const u8 *in, i64 in_step, u32 rows, u32 columns) {
  for (u32 r0 = 0; r0 < rows; r0 += 16)
    for (u32 c0 = 0; c0 < columns; c0 += 16)
      for (u32 r = r0; r < r0 + 16 && r < rows; r++)
        for (u32 c = c0; c < c0 + 16 && c < columns; c++) out[r * out_step + c] = in[c * in_step + r];
}

/* Axes of a copy, sources and destinations in elements. */
typedef struct {
  u32 rank, extents[16];
  i32 to[16], from[16];
} Axes;

/* Moves `axis` to the place before the last. */
static void bring_inward(Axes *axes, u32 axis) {
  u32 extent = axes->extents[axis];
  i32 to = axes->to[axis], from = axes->from[axis];
  for (u32 a = axis; a + 2 < axes->rank; a++) {
    axes->extents[a] = axes->extents[a + 1];
    axes->to[a] = axes->to[a + 1];
    axes->from[a] = axes->from[a + 1];
  }
  u32 place = axes->rank - 2;
  axes->extents[place] = extent;
  axes->to[place] = to;
  axes->from[place] = from;
}

/*
 * Copies a strided view onto a strided view. Descriptor: rank (1 to 16), address of destination, address of source, extents,
 * destination strides, source strides (in elements). Threads share the outermost axis that is long enough, else the longest.
 */
#define DEFINE_COPY(NAME, T, COPY_LINE, TRANSPOSE)                                                                        \
  static u32 NAME(const u32 *d, const Context *context) {                                                                 \
    u32 rank = d[0], shared = 0, longest = 0;                                                                             \
    T *out = AT(T, d + 1);                                                                                                \
    const T *in = AT(const T, d + 3);                                                                                     \
    Axes axes = {.rank = rank};                                                                                           \
    for (u32 a = 0; a < rank; a++) {                                                                                      \
      axes.extents[a] = d[5 + a];                                                                                         \
      axes.to[a] = (i32)d[5 + rank + a];                                                                                  \
      axes.from[a] = (i32)d[5 + 2 * rank + a];                                                                            \
      if (axes.extents[a] == 0) return 0;                                                                                 \
      if (longest < 4 * context->threads && axes.extents[a] > longest) longest = axes.extents[a], shared = a;             \
    }                                                                                                                     \
    Share share = share_of(context, longest, 1);                                                                          \
    if (share.begin == share.end) return 0;                                                                               \
    axes.extents[shared] = share.end - share.begin;                                                                       \
    out += (i64)share.begin * axes.to[shared];                                                                            \
    in += (i64)share.begin * axes.from[shared];                                                                           \
    u32 last = rank - 1, square = 0;                                                                                      \
    if (axes.to[last] == 1 && axes.from[last] != 1 && axes.from[last] != 0)                                               \
      for (u32 a = 0; a < last && !square; a++)                                                                           \
        if (axes.from[a] == 1 && axes.extents[a] > 1) {                                                                   \
          square = 1;                                                                                                     \
          bring_inward(&axes, a);                                                                                         \
        }                                                                                                                 \
    u32 run = axes.extents[last], lines = rank > 1 ? axes.extents[last - 1] : 1, index[16] = {0};                         \
    i64 step_to = axes.to[last], step_from = axes.from[last];                                                             \
    i64 line_to = rank > 1 ? axes.to[last - 1] : 0, line_from = rank > 1 ? axes.from[last - 1] : 0;                       \
    for (;;) {                                                                                                            \
      if (square) {                                                                                                       \
        TRANSPOSE(out, line_to, in, step_from, lines, run);                                                               \
      } else if (step_to == 1 && step_from == 1) {                                                                        \
        for (u32 r = 0; r < lines; r++) COPY_LINE(out + r * line_to, in + r * line_from, run);                            \
      } else if (step_to == 1 && step_from == 0) {                                                                        \
        for (u32 r = 0; r < lines; r++) {                                                                                 \
          T value = in[r * line_from], *to = out + r * line_to;                                                           \
          for (u32 i = 0; i < run; i++) to[i] = value;                                                                    \
        }                                                                                                                 \
      } else {                                                                                                            \
        for (u32 r = 0; r < lines; r++) {                                                                                 \
          T *to = out + r * line_to;                                                                                      \
          const T *from = in + r * line_from;                                                                             \
          for (u32 i = 0; i < run; i++) to[i * step_to] = from[i * step_from];                                            \
        }                                                                                                                 \
      }                                                                                                                   \
      u32 axis = last;                                                                                                    \
      for (;;) {                                                                                                          \
        if (axis < 2) return 0;                                                                                           \
        axis--;                                                                                                           \
        u32 a = axis - 1;                                                                                                 \
        out += axes.to[a];                                                                                                \
        in += axes.from[a];                                                                                               \
        if (++index[a] < axes.extents[a]) break;                                                                          \
        out -= (i64)axes.extents[a] * axes.to[a];                                                                         \
        in -= (i64)axes.extents[a] * axes.from[a];                                                                        \
        index[a] = 0;                                                                                                     \
      }                                                                                                                   \
    }                                                                                                                     \
  }
DEFINE_COPY(copy4, u32, copy_line4, transpose4)
DEFINE_COPY(copy1, u8, copy_line1, transpose1)

/* Zeroes bytes. Descriptor: address, number of bytes (two words). */
static u32 fill_zero(const u32 *d, const Context *context) {
  u64 bytes = (u64)d[3] << 32 | d[2], lines = bytes / 64;
  u64 begin = lines * context->thread / context->threads * 64;
  u64 end = context->thread + 1 == context->threads ? bytes : lines * (context->thread + 1) / context->threads * 64;
  __builtin_memset(AT(u8, d) + (__SIZE_TYPE__)begin, 0, (__SIZE_TYPE__)(end - begin));
  return 0;
}

/* 1 if none of `count` float32, given as bits, is an infinity or NaN. */
static u32 all_finite(const u32 *x, u32 count) {
  vu most = splatu(0);
  u32 i = 0, rest = 0;
  for (; i + LANES <= count; i += LANES) {
    vu exponent = loadu(x + i) & 0x7f800000u;
    most |= (vu)(exponent == 0x7f800000u);
  }
  for (; i < count; i++) rest |= (x[i] & 0x7f800000u) == 0x7f800000u;
  return !rest && !any((vi)most);
}

/* Returns 1 if one of the float32 in this thread's share is NaN. Descriptor: address, count. */
static u32 check_nan(const u32 *d, const Context *context) {
  Share share = share_of(context, d[2], 16);
  return has_nan(AT(const f32, d) + share.begin, share.end - share.begin);
}

/* Returns 1 if one of the float32 in this thread's share is an infinity or NaN. Descriptor: address, count. */
static u32 check_finite(const u32 *d, const Context *context) {
  Share share = share_of(context, d[2], 16);
  return !all_finite(AT(const u32, d) + share.begin, share.end - share.begin);
}

/* `extent` > 0. A negative index has the extent added once, then everything is clamped. */
INLINE i32 clamp_index(i32 index, i32 extent) {
  if (index < 0) index += extent;
  return index < 0 ? 0 : index >= extent ? extent - 1 : index;
}

/*
 * Where each index tuple points: offsets[i] = sum over the indexed axes of clamp(index) * stride.
 * Descriptor: positions, indexed axes, address of offsets, then for each axis: address of indices (read as int32), extent, stride.
 */
static u32 index_offsets(const u32 *d, const Context *context) {
  i32 *offsets = AT(i32, d + 2);
  Share share = share_of(context, d[0], 16);
  for (u32 i = share.begin; i < share.end; i++) {
    u32 sum = 0;
    const u32 *axis = d + 4;
    for (u32 a = 0; a < d[1]; a++, axis += 4) sum += (u32)clamp_index(AT(const i32, axis)[i], (i32)axis[2]) * axis[3];
    offsets[i] = (i32)sum;
  }
  return 0;
}

/* True if `count` offsets ascend by one. */
static u32 contiguous_offsets(const i32 *offsets, u32 count) {
  u32 different = 0;
  for (u32 i = 0; i < count; i++) different |= ((u32)offsets[i] - (u32)offsets[0]) ^ i;
  return count > 0 && different == 0;
}

/*
 * gather: out[before, position, after] = x[before, after, at offsets[position]]. Descriptor: size of before, positions, size of
 * after, addresses of out, x, offsets, and of the tables of offsets of before and after in x. Threads share the rows of out, or
 * the places of after where rows are few.
 */
#define DEFINE_GATHER(NAME, T, COPY_LINE)                                                                           \
  static u32 NAME(const u32 *d, const Context *context) {                                                           \
    u32 positions = d[1], width = d[2], rows = d[0] * positions, few = rows < 4 * context->threads;                 \
    T *out = AT(T, d + 3);                                                                                          \
    const T *x = AT(const T, d + 5);                                                                                \
    const i32 *offsets = AT(const i32, d + 7), *before = AT(const i32, d + 9), *after = AT(const i32, d + 11);      \
    Share share = few ? (Share){0, rows} : share_of(context, rows, 1);                                              \
    Share columns = few ? share_of(context, width, 16) : (Share){0, width};                                         \
    if (share.begin == share.end || columns.begin == columns.end) return 0;                                         \
    u32 contiguous = contiguous_offsets(after + columns.begin, columns.end - columns.begin);                        \
    u32 b = share.begin / positions, p = share.begin % positions;                                                   \
    for (u32 row = share.begin; row < share.end; row++) {                                                           \
      T *to = out + (i64)row * width;                                                                               \
      const T *in = x + before[b] + offsets[p];                                                                     \
      if (contiguous) COPY_LINE(to + columns.begin, in + after[columns.begin], columns.end - columns.begin);        \
      else                                                                                                          \
        for (u32 a = columns.begin; a < columns.end; a++) to[a] = in[after[a]];                                     \
      if (++p == positions) p = 0, b++;                                                                             \
    }                                                                                                               \
    return 0;                                                                                                       \
  }
DEFINE_GATHER(gather4, u32, copy_line4)
DEFINE_GATHER(gather1, u8, copy_line1)

/*
 * scatter: the same descriptor with the roles of out (updates, dense) and x (result, already zeroed or copied) exchanged, then
 * how the work may be shared so that each destination has one owner: the number of equal runs of `before` that write to different
 * places (at least 1), and 1 if different places of `after` never meet, whatever before and position are.
 */
#define DEFINE_SCATTER(NAME, T, STEP, LINE)                                                                         \
  static u32 NAME(const u32 *d, const Context *context) {                                                           \
    u32 befores = d[0], positions = d[1], width = d[2], groups = d[13] ? d[13] : 1;                                 \
    const T *updates = AT(const T, d + 3);                                                                          \
    T *x = AT(T, d + 5);                                                                                            \
    const i32 *offsets = AT(const i32, d + 7), *before = AT(const i32, d + 9), *after = AT(const i32, d + 11);      \
    u32 by_column = d[14] && groups < 4 * context->threads && width / 16 > groups;                                  \
    Share runs = by_column ? (Share){0, groups} : share_of(context, groups, 1);                                     \
    Share columns = by_column ? share_of(context, width, 16) : (Share){0, width};                                   \
    if (runs.begin == runs.end || columns.begin == columns.end) return 0;                                           \
    u32 size = befores / groups, used = columns.end - columns.begin;                                                \
    u32 contiguous = used >= LANES && contiguous_offsets(after + columns.begin, used);                              \
    for (u32 b = runs.begin * size; b < runs.end * size; b++)                                                       \
      for (u32 p = 0; p < positions; p++) {                                                                         \
        const T *in = updates + ((i64)b * positions + p) * width;                                                   \
        T *to = x + before[b] + offsets[p];                                                                         \
        if (contiguous) LINE(to + after[columns.begin], in + columns.begin, used);                                  \
        else                                                                                                        \
          for (u32 a = columns.begin; a < columns.end; a++) to[after[a]] = STEP(to[after[a]], in[a]);               \
      }                                                                                                             \
    return 0;                                                                                                       \
  }
#define STEP_ADD(X, Y) (X) + (Y)
#define STEP_OR(X, Y) (X) | (Y)
#define STEP_SET(X, Y) (Y)
#define DEFINE_ADD_LINE(NAME, T, VECTOR, WIDTH, STEP)                                                               \
  INLINE void NAME(T *to, const T *in, u32 count) {                                                                 \
    u32 i = 0;                                                                                                      \
    for (; i + WIDTH <= count; i += WIDTH) *(VECTOR *)(to + i) = STEP(*(VECTOR *)(to + i), *(const VECTOR *)(in + i)); \
    for (; i < count; i++) to[i] = STEP(to[i], in[i]);                                                              \
  }
DEFINE_ADD_LINE(add_line_f32, f32, vf_at, LANES, STEP_ADD)
DEFINE_ADD_LINE(add_line_i32, u32, vu_at, LANES, STEP_ADD)
DEFINE_ADD_LINE(add_line_bool, u8, vbytes_at, VECTOR_BYTES, STEP_OR)
DEFINE_SCATTER(scatter_add_f32, f32, STEP_ADD, add_line_f32)
DEFINE_SCATTER(scatter_add_i32, u32, STEP_ADD, add_line_i32)
DEFINE_SCATTER(scatter_add_bool, u8, STEP_OR, add_line_bool)
DEFINE_SCATTER(scatter_set4, u32, STEP_SET, copy_line4)
DEFINE_SCATTER(scatter_set1, u8, STEP_SET, copy_line1)
