/**
 * Which operation of the element-wise interpreter stands for a primitive on given element types.
 */
import type { DType, Operation } from '../program.ts';
import { opcodes } from '../wasm/generated/kernels.ts';

type Table = Readonly<Partial<Record<string, Readonly<Record<DType, number | null>>>>>;

const o = opcodes;

/** Primitives by the dtype of their first input. A primitive that is missing is not element-wise. */
const plain: Table = {
  add: { float32: o.ADD_F32, int32: o.ADD_I32, uint32: o.ADD_I32, bool: o.OR_BOOL },
  mul: { float32: o.MUL_F32, int32: o.MUL_I32, uint32: o.MUL_I32, bool: o.AND_BOOL },
  min: { float32: o.MIN_F32, int32: o.MIN_I32, uint32: o.MIN_U32, bool: o.AND_BOOL },
  max: { float32: o.MAX_F32, int32: o.MAX_I32, uint32: o.MAX_U32, bool: o.OR_BOOL },
  idiv: { float32: o.IDIV_F32, int32: o.IDIV_I32, uint32: o.IDIV_U32, bool: null },
  mod: { float32: o.MOD_F32, int32: o.MOD_I32, uint32: o.MOD_U32, bool: null },
  neg: { float32: o.NEG_F32, int32: o.NEG_I32, uint32: o.NEG_I32, bool: null },
  reciprocal: { float32: o.RECIPROCAL_F32, int32: null, uint32: null, bool: null },
  floor: { float32: o.FLOOR_F32, int32: null, uint32: null, bool: null },
  ceil: { float32: o.CEIL_F32, int32: null, uint32: null, bool: null },
  sqrt: { float32: o.SQRT_F32, int32: null, uint32: null, bool: null },
  exp: { float32: o.EXP_F32, int32: null, uint32: null, bool: null },
  log: { float32: o.LOG_F32, int32: null, uint32: null, bool: null },
  sin: { float32: o.SIN_F32, int32: null, uint32: null, bool: null },
  cos: { float32: o.COS_F32, int32: null, uint32: null, bool: null },
  erf: { float32: o.ERF_F32, int32: null, uint32: null, bool: null },
};

const comparisons: Table = {
  less: { float32: o.LESS_F32, int32: o.LESS_I32, uint32: o.LESS_U32, bool: o.LESS_BOOL },
  less_equal: { float32: o.LESS_EQUAL_F32, int32: o.LESS_EQUAL_I32, uint32: o.LESS_EQUAL_U32, bool: o.LESS_EQUAL_BOOL },
  equal: { float32: o.EQUAL_F32, int32: o.EQUAL_I32, uint32: o.EQUAL_I32, bool: o.EQUAL_BOOL },
  not_equal: { float32: o.NOT_EQUAL_F32, int32: o.NOT_EQUAL_I32, uint32: o.NOT_EQUAL_I32, bool: o.XOR_BOOL },
};

const bitwise: Table = {
  and: { float32: null, int32: o.AND_I32, uint32: o.AND_I32, bool: o.AND_BOOL },
  or: { float32: null, int32: o.OR_I32, uint32: o.OR_I32, bool: o.OR_BOOL },
  xor: { float32: null, int32: o.XOR_I32, uint32: o.XOR_I32, bool: o.XOR_BOOL },
};

/** From the outer to the inner dtype; null where the bits stay as they are. */
const casts: Readonly<Record<DType, Readonly<Record<DType, number | null>>>> = {
  float32: { float32: null, int32: o.CAST_F32_I32, uint32: o.CAST_F32_U32, bool: o.CAST_F32_BOOL },
  int32: { float32: o.CAST_I32_F32, int32: null, uint32: null, bool: o.CAST_I32_BOOL },
  uint32: { float32: o.CAST_U32_F32, int32: null, uint32: null, bool: o.CAST_I32_BOOL },
  bool: { float32: o.CAST_BOOL_F32, int32: o.CAST_BOOL_I32, uint32: o.CAST_BOOL_I32, bool: null },
};

/** The opcode of an element-wise `operation` whose first input is `from` and whose result is `to`; null if it is none. */
export function opcodeOf(operation: Operation, from: DType, to: DType): number | null {
  const { primitive, params } = operation;
  if (primitive === 'compare') return comparisons[params.op]?.[from] ?? null;
  if (primitive === 'bit_combine') return bitwise[params.op]?.[from] ?? null;
  if (primitive === 'bit_shift') return params.op === 'shl' ? o.SHL_I32 : o.SHR_I32;
  if (primitive === 'where') return to === 'bool' ? o.WHERE1 : o.WHERE4;
  if (primitive === 'cast') return casts[from][to];
  // Bits that become a float32 may be a NaN, so that they are looked at.
  if (primitive === 'bitcast') return to === 'float32' && from !== 'float32' ? o.COPY4 : null;
  return plain[primitive]?.[from] ?? null;
}

const keepsNaN = new Set<number>([
  o.ADD_F32,
  o.MUL_F32,
  o.IDIV_F32,
  o.MIN_F32,
  o.MAX_F32,
  o.NEG_F32,
  o.RECIPROCAL_F32,
  o.FLOOR_F32,
  o.CEIL_F32,
  o.SQRT_F32,
  o.EXP_F32,
  o.LOG_F32,
  o.ERF_F32,
  o.SUB_F32,
  o.MUL_ADD_F32,
  o.ADD_MUL_F32,
  o.DIVIDE_F32,
]);

/** True if a NaN in any operand makes the result NaN, so that looking at the result is enough. */
export function propagatesNaN(opcode: number): boolean {
  return keepsNaN.has(opcode);
}
