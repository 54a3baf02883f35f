/*
 * Element-wise programs, run block by block: a fused chain keeps its intermediates in cache-sized registers.
 *
 * Descriptor (u32 words): elements, block, setup operations, operations, then 14 words for each operation: opcode, check, then for
 * destination and operands a, b, c the address (two words) and the byte step per element. An address whose high word is
 * REGISTER is a byte offset into the thread's scratch: a register, whose block starts there in every block. Setup operations run
 * once, for one whole block. `check` asks for the NaN flag. A block has at most 512 elements.
 * Destinations own the bytes up to the next multiple of 64, so vector tails may write there; reads may go as far.
 * Threads take whole blocks; each runs the setup for itself.
 */
#include "types.h"
#include "math.h"
#include "opcodes.h"

#define OPCODE_NAME(NAME) OP_##NAME,
enum { OPCODES(OPCODE_NAME) };

#define REGISTER 0xffffffffu
#define RECORD_WORDS 14

#ifdef __clang__
#define UNROLL_FEW _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL_FEW _Pragma("GCC unroll 4")
#endif
#ifdef __wasm__
#undef UNROLL_FEW
#define UNROLL_FEW _Pragma("clang loop unroll_count(2)")
#endif

/* Copies `run` elements; `room` elements may be written and as many read. */
#define DEFINE_COPY_RUN(NAME, T, VECTOR, LOAD, STORE)                                                          \
  INLINE void NAME(T *out, const T *in, u32 run, u32 room) {                                                   \
    u32 i = 0, width = sizeof(VECTOR) / sizeof(T);                                                             \
    if (((run + width - 1) & ~(width - 1)) <= room) {                                                          \
      for (; i < run; i += width) STORE(out + i, LOAD(in + i));                                                \
      return;                                                                                                  \
    }                                                                                                          \
    for (; i + width <= run; i += width) STORE(out + i, LOAD(in + i));                                         \
    for (; i < run; i++) out[i] = in[i];                                                                       \
  }
INLINE vb load_vb(const u8 *p) { return *(const vb_at *)p; }
INLINE void store_vb(u8 *p, vb x) { *(vb_at *)p = x; }
DEFINE_COPY_RUN(copy_run4, u32, vu, loadu, storeu)
DEFINE_COPY_RUN(copy_run1, u8, vb, load_vb, store_vb)

/* Four rows of a transposed view, `columns` elements each, which lie side by side: row r, column c at in[r + c * step]. */
static void load_four_rows(u32 *out, const u32 *in, i64 step, u32 columns) {
  u32 c = 0;
  for (; c + 4 <= columns; c += 4, in += 4 * step) {
    v4f a = *(const v4f_at *)in, b = *(const v4f_at *)(in + step);
    v4f p = *(const v4f_at *)(in + 2 * step), q = *(const v4f_at *)(in + 3 * step);
    v4f ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), pq = __builtin_shufflevector(p, q, 0, 4, 1, 5);
    v4f ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(p, q, 2, 6, 3, 7);
    *(v4f_at *)(out + c) = __builtin_shufflevector(ab, pq, 0, 1, 4, 5);
    *(v4f_at *)(out + columns + c) = __builtin_shufflevector(ab, pq, 2, 3, 6, 7);
    *(v4f_at *)(out + 2 * columns + c) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
    *(v4f_at *)(out + 3 * columns + c) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
  }
  for (; c < columns; c++, in += step)
    for (u32 r = 0; r < 4; r++) out[r * columns + c] = in[r];
}
static void load_four_rows1(u8 *out, const u8 *in, i64 step, u32 columns) {
  for (u32 c = 0; c < columns; c++, in += step)
    for (u32 r = 0; r < 4; r++) out[r * columns + c] = in[r];
}

/* View descriptor: address (two words), rank, extents, then strides in elements. Reads `count` elements from position `start`. */
#define DEFINE_LOAD(NAME, T, COPY_RUN, FOUR_ROWS)                                                              \
  static void NAME(T *out, const u32 *view, u32 start, u32 count, const Context *context) {                    \
    (void)context;                                                                                             \
    const T *in = AT(const T, view);                                                                           \
    u32 last = view[2] - 1;                                                                                    \
    const u32 *extents = view + 3;                                                                             \
    const i32 *strides = (const i32 *)(view + 4 + last);                                                       \
    u32 index[16], rest = start;                                                                               \
    for (u32 a = last; a > 0; a--) {                                                                           \
      u32 next = rest / extents[a];                                                                            \
      index[a] = rest - next * extents[a];                                                                     \
      rest = next;                                                                                             \
      in += (i64)index[a] * strides[a];                                                                        \
    }                                                                                                          \
    index[0] = rest;                                                                                           \
    in += (i64)rest * strides[0];                                                                              \
    u32 width = extents[last];                                                                                 \
    i64 step = strides[last];                                                                                  \
    u32 sides = last > 0 && strides[last - 1] == 1 && step != 0 && step != 1;                                  \
    while (count > 0) {                                                                                        \
      if (sides && index[last] == 0 && count / 4 >= width && index[last - 1] + 4 < extents[last - 1]) {        \
        FOUR_ROWS(out, in, step, width);                                                                       \
        out += 4 * width;                                                                                      \
        count -= 4 * width;                                                                                    \
        in += 4;                                                                                               \
        index[last - 1] += 4;                                                                                  \
        continue;                                                                                              \
      }                                                                                                        \
      u32 run = width - index[last];                                                                           \
      if (run > count) run = count;                                                                            \
      if (step == 1) {                                                                                         \
        COPY_RUN(out, in, run, count);                                                                         \
      } else if (step == 0) {                                                                                  \
        T value = in[0];                                                                                       \
        for (u32 i = 0; i < run; i++) out[i] = value;                                                          \
      } else {                                                                                                 \
        for (u32 i = 0; i < run; i++) out[i] = in[i * step];                                                   \
      }                                                                                                        \
      out += run;                                                                                              \
      count -= run;                                                                                            \
      in += run * step;                                                                                        \
      index[last] += run;                                                                                      \
      for (u32 a = last; a > 0 && index[a] == extents[a]; a--) {                                               \
        in += strides[a - 1] - (i64)extents[a] * strides[a];                                                   \
        index[a] = 0;                                                                                          \
        index[a - 1]++;                                                                                        \
      }                                                                                                        \
    }                                                                                                          \
  }
DEFINE_LOAD(load_view4, u32, copy_run4, load_four_rows)
DEFINE_LOAD(load_view1, u8, copy_run1, load_four_rows1)

/* 1 if one of `count` float32 is NaN. Comparing two values tells whether either is. */
static u32 has_nan(const f32 *x, u32 count) {
  vm nan = unordered(splat(0.0f), splat(0.0f)), other = nan;
  u32 i = 0;
  for (; i + 8 * LANES <= count; i += 8 * LANES) {
    const f32 *p = x + i;
    nan |= unordered(load(p), load(p + LANES)) | unordered(load(p + 2 * LANES), load(p + 3 * LANES));
    other |= unordered(load(p + 4 * LANES), load(p + 5 * LANES)) | unordered(load(p + 6 * LANES), load(p + 7 * LANES));
  }
  for (; i + LANES <= count; i += LANES) nan |= unordered(load(x + i), load(x + i));
  u32 found = any_of(nan | other);
  for (; i < count; i++) found |= x[i] != x[i];
  return found;
}

INLINE u32 idiv_i32(i32 x, i32 y) { return y == 0 ? 0 : y == -1 ? 0u - (u32)x : (u32)(x / y); }
INLINE u32 mod_i32(i32 x, i32 y) { return y == 0 || y == -1 ? 0 : (u32)(x % y); }

/* Conversions toward zero that saturate; a NaN gives 0. What an instruction would not fit is 0 when it is converted. */
INLINE vu saturate_i32(vf x) {
  vm big = less_equal(splat(2147483648.0f), x);
  vf fits = pick(big | unordered(x, x), splat(0.0f), at_least(x, splat(-2147483648.0f)));
  return pick_u32(big, splatu(0x7fffffffu), (vu)__builtin_convertvector(fits, vi));
}
INLINE vu saturate_u32(vf x) {
  vm big = less_equal(splat(4294967296.0f), x), upper = less_equal(splat(2147483648.0f), x);
  vm none = ~less(splat(0.0f), x);
  vf fits = pick(big | none, splat(0.0f), pick(upper, x - 2147483648.0f, x));
  vu whole = (vu)__builtin_convertvector(fits, vi) + pick_u32(upper, splatu(0x80000000u), splatu(0));
  return pick_u32(big, splatu(0xffffffffu), whole);
}

#define VF(P) load((P) + i)
#define VU(P) loadu((P) + i)
#define VI(P) ((vi)loadu((P) + i))
#define LANES_OF(P) load_bytes((P) + i / 4)
#define FOR_VECTORS UNROLL_FEW for (u32 i = 0; i < bytes; i += VECTOR_BYTES)

#define OP_F32(NAME, EXPRESSION) \
  case OP_##NAME:                \
    FOR_VECTORS {                \
      vf x = VF(a);              \
      store(out + i, EXPRESSION); \
    }                            \
    break;
#define OP_F32_2(NAME, EXPRESSION)  \
  case OP_##NAME:                   \
    FOR_VECTORS {                   \
      vf x = VF(a), y = VF(b);      \
      store(out + i, EXPRESSION);   \
    }                               \
    break;
#define OP_F32_3(NAME, EXPRESSION)          \
  case OP_##NAME:                           \
    FOR_VECTORS {                           \
      vf x = VF(a), y = VF(b), z = VF(c);   \
      store(out + i, EXPRESSION);           \
    }                                       \
    break;
#define OP_U32(NAME, EXPRESSION)    \
  case OP_##NAME:                   \
    FOR_VECTORS {                   \
      vu x = VU(a);                 \
      storeu(out + i, EXPRESSION);  \
    }                               \
    break;
#define OP_U32_2(NAME, EXPRESSION)  \
  case OP_##NAME:                   \
    FOR_VECTORS {                   \
      vu x = VU(a), y = VU(b);      \
      storeu(out + i, EXPRESSION);  \
    }                               \
    break;
#define OP_EACH(NAME, EXPRESSION)                           \
  case OP_##NAME:                                           \
    for (u32 i = 0; i < count; i++) {                       \
      u32 x = ((const u32 *)a)[i], y = ((const u32 *)b)[i]; \
      ((u32 *)out)[i] = (u32)(EXPRESSION);                  \
    }                                                       \
    break;
#define OP_COMPARE(NAME, COMPARE, READ)                                     \
  case OP_##NAME:                                                           \
    FOR_VECTORS store_bytes(out + i / 4, COMPARE(READ(a), READ(b)));        \
    break;
#define OP_BYTES(NAME, EXPRESSION)                                                  \
  case OP_##NAME:                                                                   \
    for (u32 i = 0; i < count; i += VECTOR_BYTES) {                                 \
      vbytes x = *(const vbytes_at *)(a + i), y = *(const vbytes_at *)(b + i);      \
      *(vbytes_at *)(out + i) = (vbytes)(EXPRESSION);                               \
    }                                                                               \
    break;

/* Where the block at `position` of an operand begins; `words`: address, step. */
INLINE u8 *place_of(const u32 *words, u32 position, const Context *context) {
  if (words[1] == REGISTER) return context->scratch + words[0];
  return AT(u8, words) + (__SIZE_TYPE__)position * words[2];
}

/* One operation on `count` elements. Returns 1 if a checked result holds a NaN. */
static u32 run_operation(const u32 *op, u32 position, u32 count, const Context *context) {
  u8 *out = place_of(op + 2, position, context);
  const u8 *a = place_of(op + 5, position, context);
  const u8 *b = place_of(op + 8, position, context);
  const u8 *c = place_of(op + 11, position, context);
  u32 bytes = 4 * count;
  switch (op[0]) {
    case OP_LOAD4: load_view4((u32 *)out, (const u32 *)a, position, count, context); break;
    case OP_LOAD1: load_view1(out, (const u32 *)a, position, count, context); break;
    case OP_SPLAT4: {
      vu value = splatu(*(const u32 *)a);
      FOR_VECTORS storeu(out + i, value);
      break;
    }
    case OP_SPLAT1: __builtin_memset(out, *a, count); break;
      OP_U32(COPY4, x)
      OP_BYTES(COPY1, ((void)y, x))
      OP_F32_2(ADD_F32, x + y)
      OP_F32_2(MUL_F32, x * y)
      OP_F32_2(IDIV_F32, vtrunc(x / y))
      OP_F32_2(MOD_F32, vfmod(x, y))
      OP_F32_2(MIN_F32, minimum(x, y))
      OP_F32_2(MAX_F32, maximum(x, y))
      OP_F32(NEG_F32, (vf)((vu)x ^ 0x80000000u))
      OP_F32(RECIPROCAL_F32, 1.0f / x)
      OP_F32(FLOOR_F32, vfloor(x))
      OP_F32(CEIL_F32, vceil(x))
      OP_F32(SQRT_F32, vsqrt(x))
      OP_F32(EXP_F32, vexp(x))
      OP_F32(LOG_F32, vlog(x))
      OP_F32(SIN_F32, vsin(x))
      OP_F32(COS_F32, vcos(x))
      OP_F32(ERF_F32, verf(x))
      OP_COMPARE(LESS_F32, less, VF)
      OP_COMPARE(LESS_EQUAL_F32, less_equal, VF)
      OP_COMPARE(EQUAL_F32, equal, VF)
      OP_COMPARE(NOT_EQUAL_F32, not_equal, VF)
    case OP_WHERE4: FOR_VECTORS store(out + i, pick(LANES_OF(a), VF(b), VF(c))); break;
    case OP_WHERE1:
      for (u32 i = 0; i < count; i += VECTOR_BYTES) {
        vbytes mask = 0 - *(const vbytes_at *)(a + i);
        *(vbytes_at *)(out + i) = (*(const vbytes_at *)(b + i) & mask) | (*(const vbytes_at *)(c + i) & ~mask);
      }
      break;
      OP_U32_2(ADD_I32, x + y)
      OP_U32_2(MUL_I32, x * y)
      OP_U32(NEG_I32, 0u - x)
      OP_EACH(IDIV_I32, idiv_i32((i32)x, (i32)y))
      OP_EACH(IDIV_U32, y == 0 ? 0 : x / y)
      OP_EACH(MOD_I32, mod_i32((i32)x, (i32)y))
      OP_EACH(MOD_U32, y == 0 ? 0 : x % y)
      OP_U32_2(MIN_I32, pick_u32(less_i32((vi)x, (vi)y), x, y))
      OP_U32_2(MAX_I32, pick_u32(less_i32((vi)x, (vi)y), y, x))
      OP_U32_2(MIN_U32, pick_u32(less_u32(x, y), x, y))
      OP_U32_2(MAX_U32, pick_u32(less_u32(x, y), y, x))
      OP_COMPARE(LESS_I32, less_i32, VI)
      OP_COMPARE(LESS_EQUAL_I32, less_equal_i32, VI)
      OP_COMPARE(LESS_U32, less_u32, VU)
      OP_COMPARE(LESS_EQUAL_U32, less_equal_u32, VU)
      OP_COMPARE(EQUAL_I32, equal_u32, VU)
      OP_COMPARE(NOT_EQUAL_I32, not_equal_u32, VU)
      OP_U32_2(AND_I32, x & y)
      OP_U32_2(OR_I32, x | y)
      OP_U32_2(XOR_I32, x ^ y)
      OP_U32_2(SHL_I32, pick_u32(less_u32(y, splatu(32)), x << (y & 31), splatu(0)))
      OP_U32_2(SHR_I32, pick_u32(less_u32(y, splatu(32)), x >> (y & 31), splatu(0)))
      OP_BYTES(OR_BOOL, x | y)
      OP_BYTES(AND_BOOL, x & y)
      OP_BYTES(XOR_BOOL, x ^ y)
      OP_BYTES(LESS_BOOL, ~x & y & 1)
      OP_BYTES(LESS_EQUAL_BOOL, (~x | y) & 1)
      OP_BYTES(EQUAL_BOOL, ~(x ^ y) & 1)
      OP_U32(CAST_F32_I32, saturate_i32((vf)x))
      OP_U32(CAST_F32_U32, saturate_u32((vf)x))
    case OP_CAST_F32_BOOL: FOR_VECTORS store_bytes(out + i / 4, not_equal(VF(a), splat(0.0f))); break;
      OP_F32(CAST_I32_F32, __builtin_convertvector((vi)x, vf))
      OP_F32(CAST_U32_F32, __builtin_convertvector((vu)x, vf))
    case OP_CAST_I32_BOOL: FOR_VECTORS store_bytes(out + i / 4, not_equal_u32(VU(a), splatu(0))); break;
    case OP_CAST_BOOL_F32: FOR_VECTORS store(out + i, pick(LANES_OF(a), splat(1.0f), splat(0.0f))); break;
    case OP_CAST_BOOL_I32: FOR_VECTORS storeu(out + i, pick_u32(LANES_OF(a), splatu(1), splatu(0))); break;
      OP_F32_2(SUB_F32, x - y)
      OP_F32_3(MUL_ADD_F32, x * y + z)
      OP_F32_3(ADD_MUL_F32, (x + y) * z)
      OP_F32_2(DIVIDE_F32, x * (1.0f / y))
    default: break;
  }
  return op[1] ? has_nan((const f32 *)out, count) : 0;
}

static u32 elementwise(const u32 *d, const Context *context) {
  u32 total = d[0], block = d[1], setup = d[2], operations = d[3];
  Share share = share_of(context, total, block);
  if (share.begin == share.end) return 0;
  const u32 *op = d + 4;
  u32 nan = 0;
  for (u32 i = 0; i < setup; i++, op += RECORD_WORDS) nan |= run_operation(op, 0, block, context);
  for (u32 position = share.begin; position < share.end; position += block) {
    u32 count = share.end - position < block ? share.end - position : block;
    const u32 *next = op;
    for (u32 i = 0; i < operations; i++, next += RECORD_WORDS) nan |= run_operation(next, position, count, context);
  }
  return nan;
}
