/*
 * Reductions. A sum keeps sixteen partial sums, element i going to partial i mod 16, then folds 8, 4, 2, 1: the order is the
 * same for every layout. Descriptor: outputs, reduced count, input address, output address, addresses of two offset tables in
 * elements (per output, per reduced element), then flags: 1 = reduced offsets run contiguously in rows (may hold gaps between
 * rows, never a negative or zero stride), 2 = outputs have runs of neighbouring offsets.
 */
#include "types.h"

#define LANES 16

/* One output at a time; four vectors are the sixteen partials. */
#define REDUCE_ONE(NAME, COMBINE4, COMBINE, START)                                                                   \
  static f32 NAME(const f32 *x, const i32 *offsets, u32 count, u32 rows) {                                           \
    v4f s[4] = {splat(START), splat(START), splat(START), splat(START)};                                             \
    u32 i = 0;                                                                                                       \
    for (; i + LANES <= count; i += LANES) {                                                                         \
      if (rows && offsets[i + LANES - 1] - offsets[i] == LANES - 1) {                                                \
        const f32 *in = x + offsets[i];                                                                              \
        for (u32 l = 0; l < 4; l++) s[l] = COMBINE4(s[l], load4(in + 4 * l));                                        \
      } else {                                                                                                       \
        for (u32 l = 0; l < 4; l++) {                                                                                \
          const i32 *o = offsets + i + 4 * l;                                                                        \
          v4f in = {x[o[0]], x[o[1]], x[o[2]], x[o[3]]};                                                             \
          s[l] = COMBINE4(s[l], in);                                                                                 \
        }                                                                                                            \
      }                                                                                                              \
    }                                                                                                                \
    f32 p[LANES];                                                                                                    \
    for (u32 l = 0; l < 4; l++) store4(p + 4 * l, s[l]);                                                             \
    for (u32 l = 0; i < count; i++, l++) p[l] = COMBINE(p[l], x[offsets[i]]);                                        \
    for (u32 half = LANES / 2; half > 0; half /= 2)                                                                  \
      for (u32 l = 0; l < half; l++) p[l] = COMBINE(p[l], p[l + half]);                                              \
    return p[0];                                                                                                     \
  }

/* Sixteen neighbouring outputs at a time; partials of all of them stay in the cache. */
#define REDUCE_MANY(NAME, COMBINE4, START)                                                                           \
  static void NAME(f32 *out, const f32 *x, const i32 *offsets, u32 count) {                                          \
    v4f s[LANES][4];                                                                                                 \
    for (u32 l = 0; l < LANES; l++)                                                                                  \
      for (u32 v = 0; v < 4; v++) s[l][v] = splat(START);                                                            \
    for (u32 i = 0; i < count; i++) {                                                                                \
      const f32 *in = x + offsets[i];                                                                                \
      v4f *sum = s[i & (LANES - 1)];                                                                                 \
      for (u32 v = 0; v < 4; v++) sum[v] = COMBINE4(sum[v], load4(in + 4 * v));                                      \
    }                                                                                                                \
    for (u32 half = LANES / 2; half > 0; half /= 2)                                                                  \
      for (u32 l = 0; l < half; l++)                                                                                 \
        for (u32 v = 0; v < 4; v++) s[l][v] = COMBINE4(s[l][v], s[l + half][v]);                                     \
    for (u32 v = 0; v < 4; v++) store4(out + 4 * v, s[0][v]);                                                        \
  }

INLINE v4f add4(v4f x, v4f y) { return x + y; }
INLINE v4f mul4(v4f x, v4f y) { return x * y; }
INLINE f32 add1(f32 x, f32 y) { return x + y; }
INLINE f32 mul1(f32 x, f32 y) { return x * y; }
INLINE f32 min1(f32 x, f32 y) { return min4(splat(x), splat(y))[0]; }
INLINE f32 max1(f32 x, f32 y) { return max4(splat(x), splat(y))[0]; }

/* The neutral start of min and max is an infinity: it never wins over a value and NaN still wins over it. */
REDUCE_ONE(add_one, add4, add1, 0.0f)
REDUCE_ONE(mul_one, mul4, mul1, 1.0f)
REDUCE_ONE(min_one, min4, min1, __builtin_inff())
REDUCE_ONE(max_one, max4, max1, -__builtin_inff())
REDUCE_MANY(add_many, add4, 0.0f)
REDUCE_MANY(mul_many, mul4, 1.0f)
REDUCE_MANY(min_many, min4, __builtin_inff())
REDUCE_MANY(max_many, max4, -__builtin_inff())

static f32 reduce_one(u32 operation, const f32 *x, const i32 *offsets, u32 count, u32 rows) {
  switch (operation) {
    case 0: return add_one(x, offsets, count, rows);
    case 1: return mul_one(x, offsets, count, rows);
    case 2: return min_one(x, offsets, count, rows);
    default: return max_one(x, offsets, count, rows);
  }
}
static void reduce_many(u32 operation, f32 *out, const f32 *x, const i32 *offsets, u32 count) {
  switch (operation) {
    case 0: add_many(out, x, offsets, count); break;
    case 1: mul_many(out, x, offsets, count); break;
    case 2: min_many(out, x, offsets, count); break;
    default: max_many(out, x, offsets, count); break;
  }
}

/* `operation`: 0 add, 1 mul, 2 min, 3 max. Returns 1 if an output is NaN. */
u32 EXPORT(reduce_f32) reduce_f32(u32 descriptor, u32 operation) {
  const u32 *d = AT(const u32, descriptor);
  u32 outputs = d[0], count = d[1], flags = d[6];
  const f32 *x = AT(const f32, d[2]);
  f32 *out = AT(f32, d[3]);
  const i32 *kept = AT(const i32, d[4]), *reduced = AT(const i32, d[5]);
  u32 nan = 0;
  for (u32 o = 0; o < outputs;) {
    if ((flags & 2) && o + 16 <= outputs && kept[o + 15] - kept[o] == 15) {
      reduce_many(operation, out + o, x + kept[o], reduced, count);
      for (u32 l = 0; l < 16; l++) nan |= out[o + l] != out[o + l];
      o += 16;
    } else {
      out[o] = reduce_one(operation, x + kept[o], reduced, count, flags & 1);
      nan |= out[o] != out[o];
      o++;
    }
  }
  return nan;
}

/* Integers and bool: any order gives the same bits. `operation` as above plus 4 · (0 int32, 1 uint32, 2 bool). */
#define REDUCE_INTEGER(T, START, EXPRESSION)                             \
  for (u32 o = 0; o < outputs; o++) {                                    \
    const T *x = AT(const T, d[2]) + kept[o];                            \
    T s = START;                                                         \
    for (u32 i = 0; i < count; i++) {                                    \
      T y = x[reduced[i]];                                               \
      s = EXPRESSION;                                                    \
    }                                                                    \
    AT(T, d[3])[o] = s;                                                  \
  }                                                                      \
  break;

void EXPORT(reduce_integer) reduce_integer(u32 descriptor, u32 operation) {
  const u32 *d = AT(const u32, descriptor);
  u32 outputs = d[0], count = d[1];
  const i32 *kept = AT(const i32, d[4]), *reduced = AT(const i32, d[5]);
  switch (operation) {
    case 0:
    case 4: REDUCE_INTEGER(u32, 0, s + y)
    case 1:
    case 5: REDUCE_INTEGER(u32, 1, s *y)
    case 2: REDUCE_INTEGER(i32, 2147483647, y < s ? y : s)
    case 3: REDUCE_INTEGER(i32, -2147483647 - 1, y > s ? y : s)
    case 6: REDUCE_INTEGER(u32, 4294967295u, y < s ? y : s)
    case 7: REDUCE_INTEGER(u32, 0, y > s ? y : s)
    case 8:
    case 11: REDUCE_INTEGER(u8, 0, s | y)
    default: REDUCE_INTEGER(u8, 1, s &y)
  }
}
