/*
 * Element-wise programs, run block by block: a fused chain keeps its intermediates in cache-sized registers.
 *
 * Descriptor (u32 words): elements, block, setup operations, operations, then 10 words for each operation:
 * opcode, check, then address and byte step per element for destination and operands a, b, c. A register has step 0: its block
 * starts at the same address in every block. Setup operations run once, for one whole block.
 * `check` asks for the NaN flag. Destinations own the bytes up to the next multiple of 64, so vector tails may write there.
 */
#include "types.h"
#include "math.h"
#include "opcodes.h"

#define OPCODE_NAME(NAME) OP_##NAME,
enum { OPCODES(OPCODE_NAME) };

/* View descriptor: address, rank, extents, then strides in elements. Reads `count` elements from flat position `start`. */
#define DEFINE_LOAD(NAME, T)                                                                                   \
  static void NAME(T *out, const u32 *view, u32 start, u32 count) {                                            \
    const T *base = AT(const T, view[0]);                                                                      \
    u32 rank = view[1];                                                                                        \
    const u32 *extents = view + 2;                                                                             \
    const i32 *strides = (const i32 *)(view + 2 + rank);                                                       \
    u32 index[16];                                                                                             \
    i32 offset = 0;                                                                                            \
    u32 rest = start;                                                                                          \
    for (u32 d = rank; d-- > 0;) {                                                                             \
      index[d] = rest % extents[d];                                                                            \
      rest /= extents[d];                                                                                      \
      offset += (i32)index[d] * strides[d];                                                                    \
    }                                                                                                          \
    u32 last = rank - 1;                                                                                       \
    i32 step = strides[last];                                                                                  \
    while (count > 0) {                                                                                        \
      u32 run = extents[last] - index[last];                                                                   \
      if (run > count) run = count;                                                                            \
      const T *in = base + offset;                                                                             \
      if (step == 1) {                                                                                         \
        for (u32 i = 0; i < run; i++) out[i] = in[i];                                                          \
      } else if (step == 0) {                                                                                  \
        T value = in[0];                                                                                       \
        for (u32 i = 0; i < run; i++) out[i] = value;                                                          \
      } else {                                                                                                 \
        for (u32 i = 0; i < run; i++) out[i] = in[(i32)i * step];                                              \
      }                                                                                                        \
      out += run;                                                                                              \
      count -= run;                                                                                            \
      offset += (i32)run * step;                                                                               \
      index[last] += run;                                                                                      \
      for (u32 d = last; d > 0 && index[d] == extents[d]; d--) {                                               \
        offset += strides[d - 1] - (i32)extents[d] * strides[d];                                               \
        index[d] = 0;                                                                                          \
        index[d - 1]++;                                                                                        \
      }                                                                                                        \
    }                                                                                                          \
  }
DEFINE_LOAD(load_view4, u32)
DEFINE_LOAD(load_view1, u8)

static const v4i tail_masks[4] = {{-1, -1, -1, -1}, {-1, 0, 0, 0}, {-1, -1, 0, 0}, {-1, -1, -1, 0}};

#define UNARY_F32(NAME, EXPRESSION)                                       \
  case OP_##NAME: {                                                       \
    v4i nan = {0, 0, 0, 0};                                               \
    v4f r = splat(0);                                                     \
    for (u32 i = 0; i < vectors; i++) {                                   \
      nan |= (r != r);                                                    \
      v4f x = load4(a + 16 * i);                                          \
      r = (EXPRESSION);                                                   \
      store4(out + 16 * i, r);                                            \
    }                                                                     \
    nan |= (r != r) & tail;                                               \
    if (check) nans |= nan;                                               \
    break;                                                                \
  }
#define BINARY_F32(NAME, EXPRESSION)                                      \
  case OP_##NAME: {                                                       \
    v4i nan = {0, 0, 0, 0};                                               \
    v4f r = splat(0);                                                     \
    for (u32 i = 0; i < vectors; i++) {                                   \
      nan |= (r != r);                                                    \
      v4f x = load4(a + 16 * i), y = load4(b + 16 * i);                   \
      r = (EXPRESSION);                                                   \
      store4(out + 16 * i, r);                                            \
    }                                                                     \
    nan |= (r != r) & tail;                                               \
    if (check) nans |= nan;                                               \
    break;                                                                \
  }
#define VECTOR_U32(NAME, EXPRESSION)                                      \
  case OP_##NAME:                                                         \
    for (u32 i = 0; i < vectors; i++) {                                   \
      v4u x = load4u(a + 16 * i), y = load4u(b + 16 * i);                 \
      (void)y;                                                            \
      store4u(out + 16 * i, (v4u)(EXPRESSION));                           \
    }                                                                     \
    break;
#define UNARY_U32(NAME, EXPRESSION)                                       \
  case OP_##NAME:                                                         \
    for (u32 i = 0; i < vectors; i++) {                                   \
      v4u x = load4u(a + 16 * i);                                         \
      store4u(out + 16 * i, (v4u)(EXPRESSION));                           \
    }                                                                     \
    break;
#define SCALAR_U32(NAME, EXPRESSION)                                      \
  case OP_##NAME:                                                         \
    for (u32 i = 0; i < count; i++) {                                     \
      u32 x = ((const u32 *)a)[i], y = ((const u32 *)b)[i];               \
      ((u32 *)out)[i] = (u32)(EXPRESSION);                                \
    }                                                                     \
    break;
/* Four 32-bit lanes to four bytes 0 or 1. */
#define COMPARE4(NAME, V, EXPRESSION)                                     \
  case OP_##NAME:                                                         \
    for (u32 i = 0; i < vectors; i++) {                                   \
      V x = (V)load4u(a + 16 * i), y = (V)load4u(b + 16 * i);             \
      v4i mask = (v4i)(EXPRESSION)&1;                                     \
      *(v4b_at *)(out + 4 * i) = __builtin_convertvector(mask, v4b);      \
    }                                                                     \
    break;
#define BYTES(NAME, EXPRESSION)                                           \
  case OP_##NAME:                                                         \
    for (u32 i = 0; i < count; i += 16) {                                 \
      v16b x = *(const v16b_at *)(a + i), y = *(const v16b_at *)(b + i);  \
      (void)y;                                                            \
      *(v16b_at *)(out + i) = (v16b)(EXPRESSION);                         \
    }                                                                     \
    break;

INLINE u32 idiv_i32(i32 x, i32 y) { return y == 0 ? 0 : y == -1 ? 0u - (u32)x : (u32)(x / y); }
INLINE u32 mod_i32(i32 x, i32 y) { return y == 0 || y == -1 ? 0 : (u32)(x % y); }
INLINE v4u mask_of_bytes(const u8 *p) { return 0u - __builtin_convertvector(*(const v4b_at *)p, v4u); }

INLINE i32 saturate_i32(f32 x) {
  if (x != x) return 0;
  if (x >= 2147483648.0f) return 2147483647;
  if (x <= -2147483648.0f) return (-2147483647 - 1);
  return (i32)x;
}
INLINE u32 saturate_u32(f32 x) {
  if (!(x > 0.0f)) return 0;
  if (x >= 4294967296.0f) return 4294967295u;
  return (u32)x;
}

/* One operation on `count` elements; `tail` keeps the valid lanes of the last vector. Returns the lanes that are NaN. */
static v4i run_operation(const u32 *op, u32 position, u32 count) {
  u32 check = op[1];
  u8 *out = AT(u8, op[2] + position * op[3]);
  const u8 *a = AT(const u8, op[4] + position * op[5]);
  const u8 *b = AT(const u8, op[6] + position * op[7]);
  const u8 *c = AT(const u8, op[8] + position * op[9]);
  u32 vectors = (count + 3) / 4;
  v4i tail = tail_masks[count & 3];
  v4i nans = {0, 0, 0, 0};
  switch (op[0]) {
    case OP_LOAD4: {
      load_view4((u32 *)out, AT(const u32, op[4]), position, count);
      if (check) {
        for (u32 i = 0; i < vectors; i++) {
          v4f x = load4(out + 16 * i);
          nans |= (x != x) & (i + 1 == vectors ? tail : splati(-1));
        }
      }
      break;
    }
    case OP_LOAD1: load_view1(out, AT(const u32, op[4]), position, count); break;
    case OP_SPLAT4: {
      v4u value = splatu(*(const u32 *)a);
      for (u32 i = 0; i < vectors; i++) store4u(out + 16 * i, value);
      break;
    }
    case OP_SPLAT1: {
      u8 value = *a;
      for (u32 i = 0; i < count; i++) out[i] = value;
      break;
    }
      UNARY_F32(COPY4, x)
      BYTES(COPY1, x)
      BINARY_F32(ADD_F32, x + y)
      BINARY_F32(MUL_F32, x *y)
      BINARY_F32(IDIV_F32, trunc4(x / y))
      BINARY_F32(MOD_F32, fmod4(x, y))
      BINARY_F32(MIN_F32, min4(x, y))
      BINARY_F32(MAX_F32, max4(x, y))
      UNARY_F32(NEG_F32, (v4f)((v4u)x ^ 0x80000000u))
      UNARY_F32(RECIPROCAL_F32, 1.0f / x)
      UNARY_F32(FLOOR_F32, floor4(x))
      UNARY_F32(CEIL_F32, ceil4(x))
      UNARY_F32(SQRT_F32, sqrt4(x))
      UNARY_F32(EXP_F32, exp4(x))
      UNARY_F32(LOG_F32, log4(x))
      UNARY_F32(SIN_F32, sin4(x))
      UNARY_F32(COS_F32, cos4(x))
      UNARY_F32(ERF_F32, erf4(x))
      COMPARE4(LESS_F32, v4f, x < y)
      COMPARE4(LESS_EQUAL_F32, v4f, x <= y)
      COMPARE4(EQUAL_F32, v4f, x == y)
      COMPARE4(NOT_EQUAL_F32, v4f, x != y)
    case OP_WHERE4: {
      v4i nan = {0, 0, 0, 0};
      v4f r = splat(0);
      for (u32 i = 0; i < vectors; i++) {
        nan |= (r != r);
        v4u mask = mask_of_bytes(a + 4 * i);
        r = (v4f)((load4u(b + 16 * i) & mask) | (load4u(c + 16 * i) & ~mask));
        store4(out + 16 * i, r);
      }
      nan |= (r != r) & tail;
      if (check) nans |= nan;
      break;
    }
    case OP_WHERE1:
      for (u32 i = 0; i < count; i++) out[i] = a[i] ? b[i] : c[i];
      break;
      VECTOR_U32(ADD_I32, x + y)
      VECTOR_U32(MUL_I32, x *y)
      UNARY_U32(NEG_I32, 0u - x)
      SCALAR_U32(IDIV_I32, idiv_i32((i32)x, (i32)y))
      SCALAR_U32(IDIV_U32, y == 0 ? 0 : x / y)
      SCALAR_U32(MOD_I32, mod_i32((i32)x, (i32)y))
      SCALAR_U32(MOD_U32, y == 0 ? 0 : x % y)
      SCALAR_U32(MIN_I32, (i32)x < (i32)y ? x : y)
      SCALAR_U32(MAX_I32, (i32)x < (i32)y ? y : x)
      SCALAR_U32(MIN_U32, x < y ? x : y)
      SCALAR_U32(MAX_U32, x < y ? y : x)
      COMPARE4(LESS_I32, v4i, x < y)
      COMPARE4(LESS_EQUAL_I32, v4i, x <= y)
      COMPARE4(LESS_U32, v4u, x < y)
      COMPARE4(LESS_EQUAL_U32, v4u, x <= y)
      COMPARE4(EQUAL_I32, v4i, x == y)
      COMPARE4(NOT_EQUAL_I32, v4i, x != y)
      VECTOR_U32(AND_I32, x &y)
      VECTOR_U32(OR_I32, x | y)
      VECTOR_U32(XOR_I32, x ^ y)
      SCALAR_U32(SHL_I32, y > 31 ? 0 : x << y)
      SCALAR_U32(SHR_I32, y > 31 ? 0 : x >> y)
      BYTES(OR_BOOL, x | y)
      BYTES(AND_BOOL, x &y)
      BYTES(XOR_BOOL, x ^ y)
      BYTES(LESS_BOOL, ~x & y & 1)
      BYTES(LESS_EQUAL_BOOL, (~x | y) & 1)
      BYTES(EQUAL_BOOL, ~(x ^ y) & 1)
    case OP_CAST_F32_I32:
      for (u32 i = 0; i < count; i++) ((i32 *)out)[i] = saturate_i32(((const f32 *)a)[i]);
      break;
    case OP_CAST_F32_U32:
      for (u32 i = 0; i < count; i++) ((u32 *)out)[i] = saturate_u32(((const f32 *)a)[i]);
      break;
    case OP_CAST_F32_BOOL:
      for (u32 i = 0; i < count; i++) out[i] = ((const f32 *)a)[i] != 0.0f;
      break;
    case OP_CAST_I32_F32:
      for (u32 i = 0; i < count; i++) ((f32 *)out)[i] = (f32)((const i32 *)a)[i];
      break;
    case OP_CAST_U32_F32:
      for (u32 i = 0; i < count; i++) ((f32 *)out)[i] = (f32)((const u32 *)a)[i];
      break;
    case OP_CAST_I32_BOOL:
      for (u32 i = 0; i < count; i++) out[i] = ((const u32 *)a)[i] != 0;
      break;
    case OP_CAST_BOOL_F32:
      for (u32 i = 0; i < vectors; i++) store4u(out + 16 * i, mask_of_bytes(a + 4 * i) & 0x3f800000u);
      break;
    case OP_CAST_BOOL_I32:
      for (u32 i = 0; i < vectors; i++) store4u(out + 16 * i, mask_of_bytes(a + 4 * i) & 1u);
      break;
    default: break;
  }
  return nans;
}

/* Runs a whole descriptor. Returns 1 if a checked result held a NaN. */
u32 EXPORT(elementwise) elementwise(u32 descriptor) {
  const u32 *words = AT(const u32, descriptor);
  u32 total = words[0], block = words[1], setup = words[2], operations = words[3];
  const u32 *op = words + 4;
  v4i nans = {0, 0, 0, 0};
  for (u32 i = 0; i < setup; i++, op += 10) nans |= run_operation(op, 0, block);
  for (u32 position = 0; position < total; position += block) {
    u32 count = total - position < block ? total - position : block;
    const u32 *next = op;
    for (u32 i = 0; i < operations; i++, next += 10) nans |= run_operation(next, position, count);
  }
  return any4(nans);
}
