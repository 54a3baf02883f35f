/*
 * Operations of the element-wise interpreter. `build.ts` reads this list and writes the same numbers into the generated
 * TypeScript, so the order here is the only definition.
 *
 * The last line joins frequent pairs, each step still rounded: a - b, a * b + c, (a + b) * c, a * (1 / b).
 */
#define OPCODES(X) \
  X(LOAD4) X(LOAD1) X(SPLAT4) X(SPLAT1) X(COPY4) X(COPY1) \
  X(ADD_F32) X(MUL_F32) X(IDIV_F32) X(MOD_F32) X(MIN_F32) X(MAX_F32) X(NEG_F32) X(RECIPROCAL_F32) \
  X(FLOOR_F32) X(CEIL_F32) X(SQRT_F32) X(EXP_F32) X(LOG_F32) X(SIN_F32) X(COS_F32) X(ERF_F32) \
  X(LESS_F32) X(LESS_EQUAL_F32) X(EQUAL_F32) X(NOT_EQUAL_F32) X(WHERE4) X(WHERE1) \
  X(ADD_I32) X(MUL_I32) X(NEG_I32) X(IDIV_I32) X(IDIV_U32) X(MOD_I32) X(MOD_U32) \
  X(MIN_I32) X(MAX_I32) X(MIN_U32) X(MAX_U32) \
  X(LESS_I32) X(LESS_EQUAL_I32) X(LESS_U32) X(LESS_EQUAL_U32) X(EQUAL_I32) X(NOT_EQUAL_I32) \
  X(AND_I32) X(OR_I32) X(XOR_I32) X(SHL_I32) X(SHR_I32) \
  X(OR_BOOL) X(AND_BOOL) X(XOR_BOOL) X(LESS_BOOL) X(LESS_EQUAL_BOOL) X(EQUAL_BOOL) \
  X(CAST_F32_I32) X(CAST_F32_U32) X(CAST_F32_BOOL) X(CAST_I32_F32) X(CAST_U32_F32) X(CAST_I32_BOOL) \
  X(CAST_BOOL_F32) X(CAST_BOOL_I32) \
  X(SUB_F32) X(MUL_ADD_F32) X(ADD_MUL_F32) X(DIVIDE_F32)
