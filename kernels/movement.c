/*
 * Moving bits: strided copies, fills, gather, scatter, the transpose of pooling, and the search for NaN in a finished tensor.
 */
#include "types.h"

/*
 * Copies a strided view onto a strided view. Descriptor: rank >= 1, address of destination, address of source, extents,
 * destination strides, source strides (in elements).
 */
#define DEFINE_COPY(NAME, T)                                                                                     \
  void EXPORT(NAME) NAME(u32 descriptor) {                                                                       \
    const u32 *d = AT(const u32, descriptor);                                                                    \
    u32 rank = d[0], last = rank - 1;                                                                            \
    T *out = AT(T, d[1]);                                                                                        \
    const T *in = AT(const T, d[2]);                                                                             \
    const u32 *extents = d + 3;                                                                                  \
    const i32 *to = (const i32 *)(d + 3 + rank), *from = (const i32 *)(d + 3 + 2 * rank);                        \
    for (u32 i = 0; i < rank; i++)                                                                               \
      if (extents[i] == 0) return;                                                                               \
    u32 index[16] = {0};                                                                                         \
    u32 run = extents[last];                                                                                     \
    i32 step_to = to[last], step_from = from[last];                                                              \
    u32 square = rank >= 2 && from[last - 1] == 1 && step_from != 1 && step_to == 1;                             \
    u32 lines = square ? extents[last - 1] : 1;                                                                  \
    u32 outer = square ? last - 1 : last;                                                                        \
    for (;;) {                                                                                                   \
      if (square) {                                                                                              \
        i32 stride = to[last - 1];                                                                               \
        for (u32 r0 = 0; r0 < lines; r0 += 16)                                                                   \
          for (u32 c0 = 0; c0 < run; c0 += 16)                                                                   \
            for (u32 r = r0; r < r0 + 16 && r < lines; r++)                                                      \
              for (u32 c = c0; c < c0 + 16 && c < run; c++) out[(i32)r * stride + (i32)c] = in[(i32)r + (i32)c * step_from]; \
      } else if (step_to == 1 && step_from == 1) {                                                               \
        if (run >= 256) __builtin_memcpy(out, in, run * sizeof(T));                                              \
        else                                                                                                     \
          for (u32 i = 0; i < run; i++) out[i] = in[i];                                                          \
      } else if (step_to == 1 && step_from == 0) {                                                               \
        T value = in[0];                                                                                         \
        for (u32 i = 0; i < run; i++) out[i] = value;                                                            \
      } else {                                                                                                   \
        for (u32 i = 0; i < run; i++) out[(i32)i * step_to] = in[(i32)i * step_from];                            \
      }                                                                                                          \
      u32 axis = outer;                                                                                          \
      for (;;) {                                                                                                 \
        if (axis == 0) return;                                                                                   \
        axis--;                                                                                                  \
        out += to[axis];                                                                                         \
        in += from[axis];                                                                                        \
        if (++index[axis] < extents[axis]) break;                                                                \
        out -= (i32)extents[axis] * to[axis];                                                                    \
        in -= (i32)extents[axis] * from[axis];                                                                   \
        index[axis] = 0;                                                                                         \
      }                                                                                                          \
    }                                                                                                            \
  }
DEFINE_COPY(copy4, u32)
DEFINE_COPY(copy1, u8)

/* Zeroes `bytes` at `address`. */
void EXPORT(fill_zero) fill_zero(u32 address, u32 bytes) { __builtin_memset(AT(u8, address), 0, bytes); }

/* 1 if one of `count` float32 at `address` is NaN. */
u32 EXPORT(has_nan) has_nan(u32 address, u32 count) {
  const f32 *x = AT(const f32, address);
  v4i nan = {0, 0, 0, 0};
  u32 i = 0;
  for (; i + 4 <= count; i += 4) {
    v4f value = load4(x + i);
    nan |= value != value;
  }
  u32 found = any4(nan);
  for (; i < count; i++) found |= x[i] != x[i];
  return found;
}

/* 1 if none of `count` float32 at `address` is an infinity or NaN. */
u32 EXPORT(all_finite) all_finite(u32 address, u32 count) {
  const u32 *x = AT(const u32, address);
  u32 finite = 1;
  for (u32 i = 0; i < count; i++) finite &= (x[i] & 0x7f800000u) != 0x7f800000u;
  return finite;
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
void EXPORT(index_offsets) index_offsets(u32 descriptor) {
  const u32 *d = AT(const u32, descriptor);
  i32 *offsets = AT(i32, d[2]);
  for (u32 i = 0; i < d[0]; i++) {
    i32 sum = 0;
    const u32 *axis = d + 3;
    for (u32 a = 0; a < d[1]; a++, axis += 3) sum += clamp_index(AT(const i32, axis[0])[i], (i32)axis[1]) * (i32)axis[2];
    offsets[i] = sum;
  }
}

/*
 * gather: out[before, position, after] = x[before, after, at offsets[position]]. Descriptor: size of before, positions, size of
 * after, addresses of out, x, offsets, and of the tables of offsets of before and after in x.
 */
#define DEFINE_GATHER(NAME, T)                                                                                      \
  void EXPORT(NAME) NAME(u32 descriptor) {                                                                          \
    const u32 *d = AT(const u32, descriptor);                                                                       \
    T *out = AT(T, d[3]);                                                                                           \
    const T *x = AT(const T, d[4]);                                                                                 \
    const i32 *offsets = AT(const i32, d[5]), *before = AT(const i32, d[6]), *after = AT(const i32, d[7]);          \
    u32 width = d[2];                                                                                               \
    for (u32 b = 0; b < d[0]; b++)                                                                                  \
      for (u32 p = 0; p < d[1]; p++, out += width) {                                                                \
        const T *in = x + before[b] + offsets[p];                                                                   \
        for (u32 a = 0; a < width; a++) out[a] = in[after[a]];                                                      \
      }                                                                                                             \
  }
DEFINE_GATHER(gather4, u32)
DEFINE_GATHER(gather1, u8)

/* scatter: the same descriptor with the roles of out (updates, dense) and x (result, already zeroed or copied) exchanged. */
#define DEFINE_SCATTER(NAME, T, STEP)                                                                               \
  void EXPORT(NAME) NAME(u32 descriptor) {                                                                          \
    const u32 *d = AT(const u32, descriptor);                                                                       \
    const T *in = AT(const T, d[3]);                                                                                \
    T *x = AT(T, d[4]);                                                                                             \
    const i32 *offsets = AT(const i32, d[5]), *before = AT(const i32, d[6]), *after = AT(const i32, d[7]);          \
    u32 width = d[2];                                                                                               \
    for (u32 b = 0; b < d[0]; b++)                                                                                  \
      for (u32 p = 0; p < d[1]; p++, in += width) {                                                                 \
        T *to = x + before[b] + offsets[p];                                                                         \
        for (u32 a = 0; a < width; a++) to[after[a]] = STEP(to[after[a]], in[a]);                                   \
      }                                                                                                             \
  }
#define STEP_ADD(X, Y) (X) + (Y)
#define STEP_OR(X, Y) (X) | (Y)
#define STEP_SET(X, Y) (Y)
DEFINE_SCATTER(scatter_add_f32, f32, STEP_ADD)
DEFINE_SCATTER(scatter_add_i32, u32, STEP_ADD)
DEFINE_SCATTER(scatter_add_bool, u8, STEP_OR)
DEFINE_SCATTER(scatter_set4, u32, STEP_SET)
DEFINE_SCATTER(scatter_set1, u8, STEP_SET)
