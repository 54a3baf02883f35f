/** Random well-formed programs and inputs for property tests. Not a test itself. */
import { MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { type DType, elementCount, type Program, ProgramBuilder, type Tensor, type TensorType, type Value } from '@muster/engine';

type Pick = (bound: number) => number;

const shapes: readonly (readonly number[])[] = [[], [1], [3], [4], [2, 3], [3, 1], [1, 4], [2, 1, 3], [3, 4], [2, 3, 4]];
const kinds: readonly DType[] = ['float32', 'float32', 'float32', 'int32', 'uint32', 'bool'];

function axesOf(pick: Pick, rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter(() => pick(2) === 0);
}

function permutation(pick: Pick, rank: number): number[] {
  const left = Array.from({ length: rank }, (_, axis) => axis);
  return Array.from({ length: rank }, () => left.splice(pick(left.length), 1)[0] as number);
}

/** One random operation over `values`; its results, or throws PROGRAM_INVALID if the draw does not fit. */
function step(builder: ProgramBuilder, values: readonly Value[], pick: Pick): readonly Value[] {
  const any = (): Value => values[pick(values.length)] as Value;
  const x = any();
  const rank = x.shape.length;
  const choices: readonly (() => readonly Value[])[] = [
    () => builder.operation('add', {}, x, any()),
    () => builder.operation('mul', {}, x, any()),
    () => builder.operation('min', {}, x, any()),
    () => builder.operation('max', {}, x, any()),
    () => builder.operation('neg', {}, x),
    () => builder.operation('cast', { dtype: kinds[pick(kinds.length)] as DType }, x),
    () => builder.operation('compare', { op: 'less' }, x, any()),
    () => builder.operation('where', {}, any(), x, any()),
    () => builder.operation('dot', {}, x, any()),
    () => builder.operation('dot', {}, builder.apply('broadcast', { shape: [2, ...x.shape], axis: [0] }, x), any()),
    () => builder.operation('reduce', { op: 'add', axis: axesOf(pick, rank) }, x),
    () => builder.operation('reduce', { op: 'max', axis: axesOf(pick, rank) }, x),
    () => builder.operation('transpose', { perm: permutation(pick, rank) }, x),
    () => builder.operation('transpose', { perm: permutation(pick, rank) }, x),
    () => builder.operation('reshape', { shape: x.shape.filter((extent) => extent !== 1) }, x),
    () => builder.operation('reshape', { shape: x.shape.toSpliced(pick(rank + 1), 0, 1) }, x),
    () => builder.operation('reshape', { shape: [elementCount(x.shape)] }, x),
    () => {
      const axis = pick(rank + 1);
      return builder.operation('broadcast', { shape: x.shape.toSpliced(axis, 0, 1 + pick(3)), axis: [axis] }, x);
    },
    () => builder.operation('broadcast', { shape: x.shape.map((extent) => (extent === 1 ? 1 + pick(3) : extent)), axis: [] }, x),
    () => builder.operation('flip', { axis: axesOf(pick, rank) }, x),
    () => builder.operation('pad', { width: x.shape.map(() => [pick(2), pick(2)] as const) }, x),
    () => builder.operation('shrink', { slice: x.shape.map((extent) => [pick(extent), extent] as const) }, x),
    () => builder.operation('concatenate', { axis: pick(rank) }, x, x),
    () => builder.operation('split', { axis: 0, sizes: [1, (x.shape[0] ?? 0) - 1] }, x),
    () => builder.operation('argsort', {}, x),
    () => builder.operation('bit_combine', { op: 'xor' }, x, any()),
  ];
  return (choices[pick(choices.length)] as () => readonly Value[])();
}

/** A program of up to 24 operations on small tensors, in primitives that do not make a NaN out of finite numbers. */
export const programs: fc.Arbitrary<Program> = fc.array(fc.nat(1_000_000), { minLength: 20, maxLength: 200 }).map((numbers) => {
  let position = 0;
  const pick: Pick = (bound) => (bound === 0 ? 0 : (numbers[position++ % numbers.length] as number) % bound);
  const builder = new ProgramBuilder('random');
  const values: Value[] = Array.from({ length: 1 + pick(4) }, (_, i) =>
    builder.input({ name: `in${i}`, dtype: kinds[pick(kinds.length)] as DType, shape: shapes[pick(shapes.length)] as readonly number[] }),
  );
  values.push(builder.scalar('float32', pick(7) - 3), builder.scalar('int32', pick(7) - 3));
  for (let i = 0; i < 24; i++) {
    try {
      for (const value of step(builder, values, pick)) if (value.shape.length <= 6 && elementCount(value.shape) <= 512) values.push(value);
    } catch (error) {
      if (!(error instanceof MusterError) || error.code !== 'PROGRAM_INVALID') throw error;
    }
  }
  const outputs = [values.at(-1), values.at(-2), values[pick(values.length)]] as Value[];
  return builder.finish(outputs.map((value, i) => ({ name: `out${i}`, value })));
});

/** Values for `type` from a small generator seeded by `seed`: float32 in [−2, 2], small integers. */
export function tensorFor(type: TensorType, seed: number): Tensor {
  let state = (seed >>> 0) + 1;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const numbers = Array.from({ length: elementCount(type.shape) }, next);
  switch (type.dtype) {
    case 'float32':
      return { ...type, data: Float32Array.from(numbers, (u) => 4 * u - 2) };
    case 'int32':
      return { ...type, data: Int32Array.from(numbers, (u) => Math.floor(11 * u) - 5) };
    case 'uint32':
      return { ...type, data: Uint32Array.from(numbers, (u) => Math.floor(u * 2 ** 32)) };
    case 'bool':
      return { ...type, data: Uint8Array.from(numbers, (u) => (u < 0.5 ? 0 : 1)) };
    default:
      throw new Error(`no values for ${String(type.dtype satisfies never)}`);
  }
}

/** The bytes of every tensor, for comparison bit by bit. */
export function bitsOfAll(tensors: readonly Tensor[]): readonly unknown[] {
  return tensors.map(({ dtype, shape, data }) => [dtype, [...shape], [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]]);
}
