/*
 * Reductions. A sum keeps sixteen partial sums, element i going to partial i mod 16, then folds 8, 4, 2, 1: the order is the
 * same for every layout and every vector width. A partial nothing went to holds the neutral start and may be left out: a partial
 * sum is never -0.
 *
 * Descriptor: outputs, reduced count, then the addresses (two words each) of the input, the output and two tables of offsets in
 * elements (per output, per reduced element), then flags: 1 = reduced offsets ascend strictly, 2 = offsets of the outputs do,
 * then the operation: 0 add, 1 mul, 2 min, 3 max; for integers plus 4 * (0 int32, 1 uint32, 2 bool). Threads share the outputs.
 */
#include "types.h"
#include "math.h"

#define PARTIALS 16
#define PARTIAL_VECTORS (PARTIALS / LANES)
/* Neighbouring outputs that are summed at a time, their partials in the thread's scratch. */
#define MANY_WIDTH 256

/* `used` < LANES elements from `p`, the other lanes `fill`; nothing else is read. */
INLINE vf load_some(const f32 *p, u32 used, f32 fill) {
#if defined(__AVX512F__) && !defined(__wasm__)
  return (vf)_mm512_mask_loadu_ps((__m512)splat(fill), (__mmask16)((1u << used) - 1), p);
#elif LANES == 8
  vm mask = less_i32(lane_numbers(), splati((i32)used));
  return pick(mask, (vf)_mm256_maskload_ps(p, (__m256i)mask), splat(fill));
#else
  return (vf){used > 0 ? p[0] : fill, used > 1 ? p[1] : fill, used > 2 ? p[2] : fill, fill};
#endif
}

/* LANES elements of `x` at ascending or any offsets. One gap between two runs costs a second load. */
INLINE vf load_at(const f32 *x, const i32 *offsets, u32 ascending) {
  i32 first = offsets[0], last = offsets[LANES - 1];
  if (ascending) {
    if (LANES < PARTIALS && last - first == LANES - 1) return load(x + first);
    vi places = (vi)loadu(offsets) - lane_numbers();
    vm before = equal_i32(places, splati(first)), after = equal_i32(places, splati(last - (LANES - 1)));
    if (all_of(before | after)) return pick(before, load(x + first), load(x + last - (LANES - 1)));
  }
  vf values;
  for (u32 i = 0; i < LANES; i++) values[i] = x[offsets[i]];
  return values;
}

#if LANES == 16
#define SHUFFLE_HALF(X) __builtin_shufflevector(X, X, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SHUFFLE_4(X) __builtin_shufflevector(X, X, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SHUFFLE_2(X) __builtin_shufflevector(X, X, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SHUFFLE_1(X) __builtin_shufflevector(X, X, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif LANES == 8
#define SHUFFLE_4(X) __builtin_shufflevector(X, X, 4, 5, 6, 7, 0, 1, 2, 3)
#define SHUFFLE_2(X) __builtin_shufflevector(X, X, 2, 3, 0, 1, 6, 7, 4, 5)
#define SHUFFLE_1(X) __builtin_shufflevector(X, X, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define SHUFFLE_2(X) __builtin_shufflevector(X, X, 2, 3, 0, 1)
#define SHUFFLE_1(X) __builtin_shufflevector(X, X, 1, 0, 3, 2)
#endif
#if LANES == 16
#define FOLD(S, COMBINE) \
  S[0] = COMBINE(S[0], SHUFFLE_HALF(S[0])), S[0] = COMBINE(S[0], SHUFFLE_4(S[0])), S[0] = COMBINE(S[0], SHUFFLE_2(S[0])), \
  S[0] = COMBINE(S[0], SHUFFLE_1(S[0]))
#elif LANES == 8
#define FOLD(S, COMBINE) \
  S[0] = COMBINE(S[0], S[1]), S[0] = COMBINE(S[0], SHUFFLE_4(S[0])), S[0] = COMBINE(S[0], SHUFFLE_2(S[0])), \
  S[0] = COMBINE(S[0], SHUFFLE_1(S[0]))
#else
#define FOLD(S, COMBINE) \
  S[0] = COMBINE(S[0], S[2]), S[1] = COMBINE(S[1], S[3]), S[0] = COMBINE(S[0], S[1]), S[0] = COMBINE(S[0], SHUFFLE_2(S[0])), \
  S[0] = COMBINE(S[0], SHUFFLE_1(S[0]))
#endif

/*
 * One output; the lanes are the partials. `contiguous`: the elements lie side by side; then WIDE vectors may each take a part where
 * any order gives the same bits.
 */
#define REDUCE_ONE(NAME, COMBINE, START, WIDE)                                                                          \
  static f32 NAME(const f32 *x, const i32 *offsets, u32 count, u32 ascending, u32 contiguous) {                   \
    vf s[PARTIAL_VECTORS];                                                                                        \
    UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++) s[v] = splat(START);                                         \
    u32 i = 0;                                                                                                    \
    if (contiguous) {                                                                                             \
      x += offsets[0];                                                                                            \
      if (WIDE > PARTIAL_VECTORS && count >= WIDE * LANES) {                                                      \
        vf wide[WIDE];                                                                                            \
        UNROLL for (u32 v = 0; v < WIDE; v++) wide[v] = splat(START);                                             \
        for (; i + WIDE * LANES <= count; i += WIDE * LANES)                                                      \
          UNROLL for (u32 v = 0; v < WIDE; v++) wide[v] = COMBINE(wide[v], load(x + i + v * LANES));              \
        UNROLL for (u32 v = 0; v < WIDE; v++) s[v % PARTIAL_VECTORS] = COMBINE(s[v % PARTIAL_VECTORS], wide[v]);  \
      }                                                                                                           \
      for (; i + PARTIALS <= count; i += PARTIALS)                                                                \
        UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++) s[v] = COMBINE(s[v], load(x + i + v * LANES));           \
      UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++) {                                                          \
        u32 from = i + v * LANES;                                                                                 \
        if (from + LANES <= count) s[v] = COMBINE(s[v], load(x + from));                                          \
        else if (from < count) s[v] = COMBINE(s[v], load_some(x + from, count - from, START));                    \
      }                                                                                                           \
    } else {                                                                                                      \
      for (; i + PARTIALS <= count; i += PARTIALS) {                                                              \
        const f32 *run = x + offsets[i];                                                                          \
        if (ascending && offsets[i + PARTIALS - 1] - offsets[i] == PARTIALS - 1) {                                \
          UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++) s[v] = COMBINE(s[v], load(run + v * LANES));           \
        } else {                                                                                                  \
          UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++)                                                        \
            s[v] = COMBINE(s[v], load_at(x, offsets + i + v * LANES, ascending));                                 \
        }                                                                                                         \
      }                                                                                                           \
      UNROLL for (u32 v = 0; v < PARTIAL_VECTORS; v++) {                                                          \
        vf rest = splat(START);                                                                                   \
        for (u32 l = 0; l < LANES; l++)                                                                           \
          if (i + v * LANES + l < count) rest[l] = x[offsets[i + v * LANES + l]];                                 \
        s[v] = COMBINE(s[v], rest);                                                                               \
      }                                                                                                           \
    }                                                                                                             \
    FOLD(s, COMBINE);                                                                                             \
    return s[0][0];                                                                                               \
  }

/*
 * `width` <= MANY_WIDTH outputs whose elements lie side by side; the lanes are outputs. `s` has room for all partials. The last
 * vector overlaps its neighbour, or is read in part if there is no whole one.
 */
#define REDUCE_MANY(NAME, COMBINE, START)                                                                         \
  static void NAME(f32 *out, const f32 *x, const i32 *offsets, u32 count, u32 width, vf *s) {                     \
    u32 whole = width / LANES, rest = width % LANES, vectors = whole + (rest != 0);                               \
    for (u32 v = 0; v < PARTIALS * vectors; v++) s[v] = splat(START);                                             \
    for (u32 i = 0; i < count; i++) {                                                                             \
      const f32 *in = x + offsets[i];                                                                             \
      vf *sum = s + (i % PARTIALS) * vectors;                                                                     \
      for (u32 v = 0; v < whole; v++) sum[v] = COMBINE(sum[v], load(in + v * LANES));                             \
      if (rest) sum[whole] = COMBINE(sum[whole], whole ? load(in + width - LANES) : load_some(in, rest, START));  \
    }                                                                                                             \
    for (u32 half = PARTIALS / 2; half > 0; half /= 2)                                                            \
      for (u32 v = 0; v < half * vectors; v++) s[v] = COMBINE(s[v], s[half * vectors + v]);                       \
    for (u32 v = 0; v < whole; v++) store(out + v * LANES, s[v]);                                                 \
    if (rest && whole) store(out + width - LANES, s[whole]);                                                      \
    else                                                                                                          \
      for (u32 l = 0; l < rest; l++) out[l] = s[0][l];                                                            \
  }

/* LANES outputs at offsets `kept`, at most 16 elements each: every partial has one element or none. `step`: 1, 2 or 0 for any. */
#define REDUCE_FEW(NAME, COMBINE, START)                                                                          \
  static vf NAME(const f32 *x, const i32 *kept, u32 step, const i32 *offsets, u32 count) {                        \
    vf s[PARTIALS];                                                                                               \
    for (u32 i = 0; i < count; i++) s[i] = COMBINE(splat(START), load_stepped(x + offsets[i], kept, step));       \
    for (u32 half = PARTIALS / 2; half > 0; half /= 2)                                                            \
      for (u32 l = 0; l < half && l + half < count; l++) s[l] = COMBINE(s[l], s[l + half]);                       \
    return count ? s[0] : splat(START);                                                                           \
  }

#if LANES == 16
#define SHUFFLE_EVEN(X, Y) __builtin_shufflevector(X, Y, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)
#elif LANES == 8
#define SHUFFLE_EVEN(X, Y) __builtin_shufflevector(X, Y, 0, 2, 4, 6, 9, 11, 13, 15)
#else
#define SHUFFLE_EVEN(X, Y) __builtin_shufflevector(X, Y, 0, 2, 5, 7)
#endif
INLINE vf load_stepped(const f32 *x, const i32 *kept, u32 step) {
  const f32 *in = x + kept[0];
  if (step == 1) return load(in);
  if (step == 2) {
    vf low = load(in), high = load(in + LANES - 1);
    return SHUFFLE_EVEN(low, high);
  }
  vf values;
  for (u32 i = 0; i < LANES; i++) values[i] = x[kept[i]];
  return values;
}

INLINE vf vadd(vf x, vf y) { return x + y; }
INLINE vf vmul(vf x, vf y) { return x * y; }

/* The neutral start of min and max is an infinity: it never wins over a value and NaN still wins over it. */
REDUCE_ONE(add_one, vadd, 0.0f, PARTIAL_VECTORS)
REDUCE_ONE(mul_one, vmul, 1.0f, PARTIAL_VECTORS)
REDUCE_ONE(min_one, minimum, __builtin_inff(), 4)
REDUCE_ONE(max_one, maximum, -__builtin_inff(), 4)
REDUCE_MANY(add_many, vadd, 0.0f)
REDUCE_MANY(mul_many, vmul, 1.0f)
REDUCE_MANY(min_many, minimum, __builtin_inff())
REDUCE_MANY(max_many, maximum, -__builtin_inff())
REDUCE_FEW(add_few, vadd, 0.0f)
REDUCE_FEW(mul_few, vmul, 1.0f)
REDUCE_FEW(min_few, minimum, __builtin_inff())
REDUCE_FEW(max_few, maximum, -__builtin_inff())

static f32 reduce_one(u32 operation, const f32 *x, const i32 *offsets, u32 count, u32 ascending, u32 contiguous) {
  switch (operation) {
    case 0: return add_one(x, offsets, count, ascending, contiguous);
    case 1: return mul_one(x, offsets, count, ascending, contiguous);
    case 2: return min_one(x, offsets, count, ascending, contiguous);
    default: return max_one(x, offsets, count, ascending, contiguous);
  }
}
static void reduce_many(u32 operation, f32 *out, const f32 *x, const i32 *offsets, u32 count, u32 width, vf *s) {
  switch (operation) {
    case 0: add_many(out, x, offsets, count, width, s); break;
    case 1: mul_many(out, x, offsets, count, width, s); break;
    case 2: min_many(out, x, offsets, count, width, s); break;
    default: max_many(out, x, offsets, count, width, s); break;
  }
}
static vf reduce_few(u32 operation, const f32 *x, const i32 *kept, u32 step, const i32 *offsets, u32 count) {
  switch (operation) {
    case 0: return add_few(x, kept, step, offsets, count);
    case 1: return mul_few(x, kept, step, offsets, count);
    case 2: return min_few(x, kept, step, offsets, count);
    default: return max_few(x, kept, step, offsets, count);
  }
}

/* Outputs [begin, end) by vectors of neighbours. */
static void reduce_each_few(u32 operation, f32 *out, const f32 *x, const i32 *kept, u32 begin, u32 end, const i32 *offsets, u32 count) {
  u32 o = begin;
  for (; o + LANES <= end; o += LANES) {
    vi places = (vi)loadu(kept + o) - splati(kept[o]);
    u32 step = all_of(equal_i32(places, lane_numbers())) ? 1 : all_of(equal_i32(places, lane_numbers() * 2)) ? 2 : 0;
    store(out + o, reduce_few(operation, x, kept + o, step, offsets, count));
  }
  if (o == end) return;
  i32 places[LANES];
  for (u32 l = 0; l < LANES; l++) places[l] = kept[o + l < end ? o + l : o];
  vf values = reduce_few(operation, x, places, 0, offsets, count);
  for (u32 l = 0; o + l < end; l++) out[o + l] = values[l];
}

/* How many offsets from the first on, at most `most`, are neighbours; they ascend strictly. */
INLINE u32 run_of(const i32 *offsets, u32 most) {
  if (offsets[most - 1] - offsets[0] == (i32)most - 1) return most;
  u32 run = 1;
  while (run < most && offsets[run] - offsets[0] == (i32)run) run++;
  return run;
}

/* Returns 1 if an output is NaN. */
static u32 reduce_f32(const u32 *d, const Context *context) {
  u32 count = d[1], ascending = d[10] & 1, neighbours = d[10] & 2, operation = d[11];
  const f32 *x = AT(const f32, d + 2);
  f32 *out = AT(f32, d + 4);
  const i32 *kept = AT(const i32, d + 6), *reduced = AT(const i32, d + 8);
  Share share = share_of(context, d[0], d[0] < 16 * context->threads && !neighbours ? 1 : 16);
  u32 contiguous = ascending && count > 4 && reduced[count - 1] - reduced[0] == (i32)count - 1;
  if (count <= PARTIALS && !contiguous) {
    reduce_each_few(operation, out, x, kept, share.begin, share.end, reduced, count);
  } else {
    for (u32 o = share.begin; o < share.end;) {
      u32 left = share.end - o;
      u32 run = neighbours && !contiguous ? run_of(kept + o, left < MANY_WIDTH ? left : MANY_WIDTH) : 1;
      if (run > 2) {
        reduce_many(operation, out + o, x + kept[o], reduced, count, run, (vf *)context->scratch);
        o += run;
      } else {
        out[o] = reduce_one(operation, x + kept[o], reduced, count, ascending, contiguous);
        o++;
      }
    }
  }
  return has_nan(out + share.begin, share.end - share.begin);
}

/* Integers and bool: any order gives the same bits. */
#define REDUCE_INTEGER(T, START, EXPRESSION)                             \
  for (u32 o = share.begin; o < share.end; o++) {                        \
    const T *x = AT(const T, d + 2) + kept[o];                           \
    T s = START;                                                         \
    if (contiguous) {                                                    \
      x += reduced[0];                                                   \
      for (u32 i = 0; i < count; i++) {                                  \
        T y = x[i];                                                      \
        s = EXPRESSION;                                                  \
      }                                                                  \
    } else {                                                             \
      for (u32 i = 0; i < count; i++) {                                  \
        T y = x[reduced[i]];                                             \
        s = EXPRESSION;                                                  \
      }                                                                  \
    }                                                                    \
    AT(T, d + 4)[o] = s;                                                 \
  }                                                                      \
  break;

static u32 reduce_integer(const u32 *d, const Context *context) {
  u32 count = d[1];
  const i32 *kept = AT(const i32, d + 6), *reduced = AT(const i32, d + 8);
  u32 contiguous = (d[10] & 1) && count > 0 && reduced[count - 1] - reduced[0] == (i32)count - 1;
  Share share = share_of(context, d[0], 64);
  switch (d[11]) {
    case 0:
    case 4: REDUCE_INTEGER(u32, 0, s + y)
    case 1:
    case 5: REDUCE_INTEGER(u32, 1, s * y)
    case 2: REDUCE_INTEGER(i32, 2147483647, y < s ? y : s)
    case 3: REDUCE_INTEGER(i32, -2147483647 - 1, y > s ? y : s)
    case 6: REDUCE_INTEGER(u32, 4294967295u, y < s ? y : s)
    case 7: REDUCE_INTEGER(u32, 0, y > s ? y : s)
    case 8:
    case 11: REDUCE_INTEGER(u8, 0, s | y)
    default: REDUCE_INTEGER(u8, 1, s & y)
  }
  return 0;
}
