/**
 * Programs as canonical bytes and back. Constants travel as raw little-endian bytes; everything else as integers and text, so a
 * program has one encoding and one content id. `decodeProgram` is the only door for programs from outside.
 */
import {
  byteString,
  decodeCanonical,
  encodeCanonical,
  integer,
  list,
  literal,
  MusterError,
  oneOf,
  type Schema,
  struct,
  text,
  variant,
} from '@muster/protocol';
import { checkProgram, maxConstantBytes, maxConstants, maxNamedValues, maxOperations, namePattern } from './check.ts';
import {
  type DType,
  dtypes,
  type NamedType,
  type Operation,
  primitives,
  type PrimitiveName,
  type Program,
  type Tensor,
  type TensorData,
  type TensorType,
} from './program.ts';
import { dataOver } from './digest.ts';
import { elementCount, maxArity, maxElements, maxRank } from './shapes.ts';

/** Largest encoded program. */
export const maxProgramBytes = 64 * 1024 * 1024;
/** Most CBOR items of an encoded program. Decoding costs memory per item, so it is the items that are limited, not only the bytes. */
export const maxProgramItems = 4_000_000;

const wordBytes = { float32: 4, int32: 4, uint32: 4, bool: 1 } as const satisfies Record<DType, number>;

const hostIsLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Swaps the bytes of every 4-byte word on a big-endian host; the copy is fresh either way. */
function littleEndianCopy(bytes: Uint8Array, width: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  if (!hostIsLittleEndian && width === 4) for (let i = 0; i < copy.length; i += 4) copy.subarray(i, i + 4).reverse();
  return copy;
}

function dataToBytes(tensor: Tensor): Uint8Array {
  const { data } = tensor;
  return littleEndianCopy(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), wordBytes[tensor.dtype]);
}

function dataFromBytes(dtype: DType, bytes: Uint8Array): TensorData {
  return dataOver(dtype, littleEndianCopy(bytes, wordBytes[dtype]).buffer);
}

/**
 * Refuses `bytes` with more than `maxProgramItems` CBOR items before anything is allocated. Walks the heads in one pass without
 * nesting; bytes that are not CBOR are left for the decoder to refuse.
 */
function limitItems(bytes: Uint8Array): void {
  let at = 0;
  for (let items = 1; at < bytes.length; items++) {
    if (items > maxProgramItems) {
      throw new MusterError('BYTES_TOO_LARGE', `the program has more than ${maxProgramItems} items`, { maxItems: maxProgramItems });
    }
    const head = bytes[at++] as number;
    const extra = head & 0x1f;
    let argument = extra;
    if (extra >= 24) {
      if (extra > 27) return;
      argument = 0;
      for (let left = 1 << (extra - 24); left > 0; left--) argument = argument * 256 + (bytes[at++] ?? 0);
    }
    const major = head >> 5;
    if (major === 2 || major === 3) at += argument;
  }
}

const nonNegative = integer(0, maxElements);
const axes = list(nonNegative, maxRank);
const extents = list(nonNegative, maxRank);
const dtype = oneOf(...dtypes);
const nothing = struct({});

/** A list of exactly two integers of which the first field says the smallest allowed. */
function pairs(minimum: number): Schema<readonly (readonly [number, number])[]> {
  const pair = list(integer(minimum, maxElements), 2, 2);
  const readPair: Schema<readonly [number, number]> = (value, path) => {
    const [low, high] = pair(value, path);
    return [low as number, high as number];
  };
  return list(readPair, maxRank);
}

const mode: Schema<'xor' | 0 | 1> = (value, path) => {
  if (value === 0 || value === 1) return value;
  return literal('xor')(value, path);
};

/** Schema of the params of each primitive that takes any. */
const paramSchemas: { readonly [P in PrimitiveName]?: Schema<object> } = {
  bit_combine: struct({ op: oneOf('and', 'or', 'xor') }),
  bit_shift: struct({ op: oneOf('shl', 'shr') }),
  cast: struct({ dtype }),
  bitcast: struct({ dtype }),
  reduce: struct({ op: oneOf('add', 'mul', 'min', 'max'), axis: axes }),
  conv: struct({ vmapDims: nonNegative, strides: extents, padding: pairs(-maxElements), lhsDilation: extents, rhsDilation: extents }),
  pool: struct({ window: extents, strides: extents }),
  pool_transpose: struct({ inShape: extents, window: extents, strides: extents }),
  compare: struct({ op: oneOf('less', 'equal', 'not_equal', 'less_equal') }),
  concatenate: struct({ axis: nonNegative }),
  split: struct({ axis: nonNegative, sizes: list(nonNegative, maxArity, 1) }),
  random_bits: struct({ shape: extents, mode }),
  gather: struct({ axis: axes, outDim: nonNegative }),
  scatter: struct({ axis: axes, outDim: nonNegative, shape: extents, mode: oneOf('add', 'set') }),
  transpose: struct({ perm: axes }),
  broadcast: struct({ shape: extents, axis: axes }),
  reshape: struct({ shape: extents }),
  flip: struct({ axis: axes }),
  shrink: struct({ slice: pairs(0) }),
  pad: struct({ width: pairs(0) }),
};

/** Decoder of a tensor type: `{dtype, shape}`. */
export const tensorTypeSchema: Schema<TensorType> = struct({ dtype, shape: extents });
const name = text(64, namePattern);
/** Decoder of a named tensor type: `{name, dtype, shape}`. */
export const namedTypeSchema: Schema<NamedType> = struct({ name, dtype, shape: extents });

const valueIndex = integer(0);
const operationShapes = Object.fromEntries(
  primitives.map((primitive) => [
    primitive,
    struct({
      primitive: literal(primitive),
      inputs: list(valueIndex, maxArity),
      params: paramSchemas[primitive] ?? nothing,
      outputs: list(tensorTypeSchema, maxArity),
    }),
  ]),
);
// The table above pairs each name with its own params, which `Object.fromEntries` cannot carry in a type.
const operationSchema = variant('primitive', operationShapes) as Schema<object> as Schema<Operation>;

const constantShape = struct({ dtype, shape: extents, data: byteString(maxConstantBytes) });
const constantSchema: Schema<Tensor> = (value, path) => {
  const constant = constantShape(value, path);
  if (constant.data.length !== elementCount(constant.shape, `${path}.shape`) * wordBytes[constant.dtype]) {
    throw new MusterError('PROGRAM_INVALID', `${path}.data: ${constant.data.length} bytes do not fill the shape`, {
      field: `${path}.data`,
    });
  }
  return { dtype: constant.dtype, shape: constant.shape, data: dataFromBytes(constant.dtype, constant.data) };
};

const programSchema: Schema<Program> = struct({
  version: literal(1),
  name,
  inputs: list(namedTypeSchema, maxNamedValues),
  constants: list(constantSchema, maxConstants),
  operations: list(operationSchema, maxOperations),
  outputs: list(struct({ name, value: valueIndex }), maxNamedValues),
});

/** Canonical bytes of `program`. Throws PROGRAM_INVALID if it is not well formed, BYTES_TOO_LARGE above `maxProgramBytes`. */
export function encodeProgram(program: Program): Uint8Array {
  checkProgram(program);
  const bytes = encodeCanonical({
    ...program,
    constants: program.constants.map((constant) => ({ dtype: constant.dtype, shape: constant.shape, data: dataToBytes(constant) })),
  });
  if (bytes.length > maxProgramBytes) {
    throw new MusterError('BYTES_TOO_LARGE', `the program has ${bytes.length} bytes, at most ${maxProgramBytes}`, {
      bytes: bytes.length,
      maxBytes: maxProgramBytes,
    });
  }
  limitItems(bytes);
  return bytes;
}

/**
 * The program in `bytes`, checked. Throws BYTES_TOO_LARGE, BYTES_MALFORMED, BYTES_NOT_CANONICAL, FIELD_INVALID or
 * PROGRAM_INVALID; nothing else, whatever the bytes.
 */
export function decodeProgram(bytes: Uint8Array): Program {
  if (bytes.length <= maxProgramBytes) limitItems(bytes);
  const program = programSchema(decodeCanonical(bytes, maxProgramBytes), 'program');
  checkProgram(program);
  return program;
}
