/** The reference executor against jax-js's own execution: the same bits where nothing rounds, a tolerance where sums and functions differ. */
import { type Array as JaxArray, grad, init, lax, nn, numpy as np, random, vmap } from '@jax-js/jax';
import { beforeAll, describe, expect, it } from 'vitest';
import { type DType, referenceExecutor, type Tensor, type TensorData, traceProgram } from '../src/index.ts';

function values(length: number, seed: number): number[] {
  let s = seed;
  return Array.from({ length }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    return (s >> 8) / 2 ** 22;
  });
}

function tensor(dtype: DType, shape: readonly number[], seed: number, scale = 1): Tensor {
  const source = values(
    shape.reduce((size, extent) => size * extent, 1),
    seed,
  );
  const integers = source.map((x) => Math.round(x * 100 * scale));
  const data: TensorData =
    dtype === 'float32'
      ? Float32Array.from(source, (x) => x * scale)
      : dtype === 'int32'
        ? Int32Array.from(integers)
        : dtype === 'uint32'
          ? Uint32Array.from(integers)
          : Uint8Array.from(source, (x) => Number(x > 0));
  return { dtype, shape, data };
}

const f = (...shape: number[]) => tensor('float32', shape, 1 + shape.length);
const i = (...shape: number[]) => tensor('int32', shape, 5 + shape.length);
const u = (...shape: number[]) => tensor('uint32', shape, 9 + shape.length);
const b = (...shape: number[]) => tensor('bool', shape, 13 + shape.length);
const index = (extent: number, dtype: 'int32' | 'uint32', ...shape: number[]): Tensor => {
  const source = values(
    shape.reduce((size, e) => size * e, 1),
    3,
  ).map((x) => Math.floor(((x + 2) / 4) * extent));
  return { dtype, shape, data: dtype === 'int32' ? Int32Array.from(source) : Uint32Array.from(source) };
};

type Fn = (...inputs: JaxArray[]) => JaxArray;

/** jax-js moves its arguments; this reads `fn`'s inputs any number of times. */
function fromTensor({ dtype, shape, data }: Tensor): JaxArray {
  const flat = dtype === 'bool' ? np.array([...data].map(Boolean)) : np.array(data as Float32Array<ArrayBuffer>);
  return flat.reshape([...shape]);
}

/** Results of `fn` by jax-js and by the reference executor on the traced program. */
async function both(fn: Fn, inputs: readonly Tensor[]): Promise<{ ours: number[]; theirs: number[]; primitives: string[] }> {
  const named = inputs.map(({ dtype, shape }, n) => ({ name: `x${n}`, dtype, shape }));
  const program = traceProgram('case', (...args) => [fn(...args)], named, ['y']);
  const [out] = referenceExecutor.prepare(program).run(inputs);
  const result = fn(...inputs.map(fromTensor));
  const theirs = [...(await result.data())].map(Number);
  return { ours: [...(out as Tensor).data], theirs, primitives: program.operations.map((operation) => operation.primitive) };
}

beforeAll(async () => {
  await init('cpu', 'wasm');
});

const exact: Record<string, { readonly uses: string; readonly fn: Fn; readonly inputs: readonly Tensor[] }> = {
  'transpose of three axes': { uses: 'transpose', fn: (x) => x.transpose([2, 0, 1]), inputs: [f(3, 4, 5)] },
  'broadcast of a missing and a unit axis': { uses: 'broadcast', fn: (x) => np.broadcastTo(x, [4, 3, 5]), inputs: [f(3, 1)] },
  'flip of two axes': { uses: 'flip', fn: (x) => np.flip(x, [0, 2]), inputs: [i(3, 4, 5)] },
  'shrink of a box': { uses: 'shrink', fn: (x) => x.slice([1, 3], [], [2, 5]), inputs: [f(4, 3, 7)] },
  'pad on every side': { uses: 'pad', fn: (x) => np.pad(x, [[1, 2] as [number, number], [0, 3] as [number, number]]), inputs: [u(3, 4)] },
  'concatenate along the middle axis': {
    uses: 'concatenate',
    fn: (x, y, z) => np.concatenate([x, y, z], 1),
    inputs: [f(2, 3, 2), f(2, 1, 2), f(2, 4, 2)],
  },
  'a split in three': { uses: 'split', fn: (x) => np.split(x, [2, 5], 1)[1] as JaxArray, inputs: [i(2, 9)] },
  'where with a broadcast condition': { uses: 'where', fn: (c, x, y) => np.where(c, x, y), inputs: [b(4, 1), f(4, 5), f(5)] },
  'integer sums wrap': {
    uses: 'add',
    fn: (x, y) => x.add(y),
    inputs: [tensor('int32', [40], 3, 2 ** 23), tensor('int32', [40], 4, 2 ** 23)],
  },
  'integer products wrap': {
    uses: 'mul',
    fn: (x, y) => x.mul(y),
    inputs: [tensor('int32', [40], 3, 2 ** 20), tensor('int32', [40], 4, 2 ** 20)],
  },
  'unsigned products wrap': {
    uses: 'mul',
    fn: (x, y) => x.mul(y),
    inputs: [tensor('uint32', [40], 3, 2 ** 20), tensor('uint32', [40], 4, 2 ** 20)],
  },
  'float sums': { uses: 'add', fn: (x, y) => x.add(y), inputs: [f(5, 7), f(7)] },
  'float products': { uses: 'mul', fn: (x, y) => x.mul(y), inputs: [f(5, 7), f(5, 1)] },
  reciprocal: { uses: 'reciprocal', fn: (x) => np.reciprocal(x), inputs: [f(50)] },
  'square root': { uses: 'sqrt', fn: (x) => np.sqrt(x.mul(x.ref)), inputs: [f(50)] },
  'negated integers': { uses: 'neg', fn: (x) => x.neg(), inputs: [u(20)] },
  floor: { uses: 'floor', fn: (x) => np.floor(x), inputs: [f(50)] },
  ceil: { uses: 'ceil', fn: (x) => np.ceil(x), inputs: [f(50)] },
  minimum: { uses: 'min', fn: (x, y) => np.minimum(x, y), inputs: [f(50), f(2, 50)] },
  'maximum of unsigned': {
    uses: 'max',
    fn: (x, y) => np.maximum(x, y),
    inputs: [tensor('uint32', [40], 3, 2 ** 20), tensor('uint32', [40], 4, 2 ** 20)],
  },
  less: { uses: 'compare', fn: (x, y) => np.less(x, y), inputs: [i(50), i(2, 50)] },
  'less or equal': { uses: 'compare', fn: (x, y) => np.lessEqual(x, y), inputs: [f(50), f(50)] },
  'and of bits': { uses: 'bit_combine', fn: (x, y) => np.bitwiseAnd(x, y), inputs: [i(50), i(2, 50)] },
  'xor of bits': { uses: 'bit_combine', fn: (x, y) => np.bitwiseXor(x, y), inputs: [u(50), u(2, 50)] },
  'or of bools': { uses: 'bit_combine', fn: (x, y) => np.bitwiseOr(x, y), inputs: [b(50), b(2, 50)] },
  'left shift': { uses: 'bit_shift', fn: (x, y) => np.leftShift(x, y), inputs: [i(30), index(32, 'int32', 30)] },
  'right shift of signed integers': { uses: 'bit_shift', fn: (x, y) => np.rightShift(x, y), inputs: [i(30), index(32, 'int32', 30)] },
  'integer remainder': {
    uses: 'mod',
    fn: (x, y) => np.remainder(x, y),
    inputs: [i(30), tensor('int32', [30], 2, 0.1)].map((t) => ({ ...t, data: t.data.map((x) => x || 7) as TensorData })),
  },
  'bits of a float': { uses: 'bitcast', fn: (x) => lax.bitcastConvertType(x, np.int32), inputs: [f(20)] },
  'float to integer': { uses: 'cast', fn: (x) => x.astype(np.int32), inputs: [tensor('float32', [60], 8, 2 ** 31)] },
  'float to unsigned': { uses: 'cast', fn: (x) => x.astype(np.uint32), inputs: [tensor('float32', [60], 8, 2 ** 31)] },
  'integer to float': { uses: 'cast', fn: (x) => x.astype(np.float32), inputs: [tensor('int32', [60], 8, 2 ** 23)] },
  'unsigned to float': { uses: 'cast', fn: (x) => x.astype(np.float32), inputs: [tensor('uint32', [60], 8, 2 ** 23)] },
  'float to bool': { uses: 'cast', fn: (x) => x.astype(np.bool), inputs: [tensor('float32', [9], 8, 0)] },
  'sum of integers': { uses: 'reduce', fn: (x) => np.sum(x, [0, 2]), inputs: [i(3, 4, 19)] },
  'maximum over an axis': { uses: 'reduce', fn: (x) => np.max(x, 1), inputs: [f(3, 40)] },
  'integer product of rows': { uses: 'dot', fn: (x, y) => np.matmul(x, y), inputs: [i(3, 18), i(18, 4)] },
  'take along the middle axis': { uses: 'gather', fn: (x, n) => np.take(x, n, 1), inputs: [f(3, 5, 2), index(5, 'int32', 2, 4)] },
  'two index arrays with an axis between': {
    uses: 'gather',
    fn: (x, n, m) => x.slice(n, [], m),
    inputs: [f(4, 3, 5), index(4, 'int32', 6), index(5, 'uint32', 2, 1)],
  },
  'gradient of take: repeated rows add up': {
    uses: 'scatter',
    fn: (x, n) => grad((y: JaxArray) => np.sum(np.take(y, n.ref, 0).mul(np.array([1, 2, 4, 8, 16, 32, 64, 128]).reshape([8, 1]))))(x),
    inputs: [f(5, 3), index(5, 'int32', 8)],
  },
  'windows of a pool that overlap': { uses: 'pool', fn: (x) => lax.reduceWindow(x, np.max, [2, 3], [1, 2]), inputs: [f(2, 7, 9)] },
  'windows of a pool that leave gaps': { uses: 'pool', fn: (x) => lax.reduceWindow(x, np.max, [2, 2], [3, 3]), inputs: [f(8, 9)] },
  'random bits of one key': { uses: 'random_bits', fn: (k) => random.bits(k, [37]), inputs: [tensor('uint32', [2], 3, 2 ** 24)] },
  'random bits of many keys': {
    uses: 'random_bits',
    fn: (k) => vmap((key: JaxArray) => random.bits(key, [3, 5]))(k),
    inputs: [tensor('uint32', [4, 2], 3, 2 ** 24)],
  },
  'split keys': { uses: 'random_bits', fn: (k) => random.split(k, 5), inputs: [tensor('uint32', [2], 3, 2 ** 24)] },
  'uniform numbers': { uses: 'random_bits', fn: (k) => random.uniform(k, [100]), inputs: [tensor('uint32', [2], 3, 2 ** 24)] },
  sort: { uses: 'sort', fn: (x) => np.sort(x), inputs: [f(4, 33)] },
  argsort: { uses: 'argsort', fn: (x) => np.argsort(x), inputs: [f(4, 33)] },
  'argsort with ties is stable': { uses: 'argsort', fn: (x) => np.argsort(x), inputs: [index(5, 'int32', 40)] },
};

const close: Record<string, { readonly uses: string; readonly fn: Fn; readonly inputs: readonly Tensor[] }> = {
  exp: { uses: 'exp', fn: (x) => np.exp(x), inputs: [f(200)] },
  log: { uses: 'log', fn: (x) => np.log(x.mul(x.ref)), inputs: [f(200)] },
  sin: { uses: 'sin', fn: (x) => np.sin(x), inputs: [tensor('float32', [200], 2, 10)] },
  cos: { uses: 'cos', fn: (x) => np.cos(x), inputs: [tensor('float32', [200], 2, 10)] },
  erf: { uses: 'erf', fn: (x) => lax.erf(x), inputs: [f(200)] },
  sum: { uses: 'reduce', fn: (x) => np.sum(x, [1]), inputs: [f(3, 100)] },
  product: { uses: 'reduce', fn: (x) => np.prod(x, 0), inputs: [f(18, 3)] },
  'matrix product': { uses: 'dot', fn: (x, y) => np.matmul(x, y), inputs: [f(5, 33), f(33, 7)] },
  'batched matrix product': { uses: 'dot', fn: (x, y) => np.matmul(x, y), inputs: [f(2, 5, 17), f(2, 17, 3)] },
  'convolution with stride and padding': {
    uses: 'conv',
    fn: (x, w) =>
      lax.convGeneralDilated(
        x,
        w,
        [2, 1],
        [
          [1, 2],
          [0, 1],
        ],
      ),
    inputs: [f(2, 3, 7, 6), f(4, 3, 3, 2)],
  },
  'convolution with both dilations and cropping': {
    uses: 'conv',
    fn: (x, w) =>
      lax.convGeneralDilated(
        x,
        w,
        [1, 2],
        [
          [-1, 2],
          [3, -2],
        ],
        { lhsDilation: [2, 3], rhsDilation: [2, 1] },
      ),
    inputs: [f(1, 2, 6, 5), f(3, 2, 3, 2)],
  },
  'grouped convolution, a batch axis in front': {
    uses: 'conv',
    fn: (x, w) => lax.convGeneralDilated(x, w, [1], 'SAME', { featureGroupCount: 2 }),
    inputs: [f(3, 4, 9), f(6, 2, 3)],
  },
  'gradient of a convolution for its input': {
    uses: 'conv',
    fn: (x, w) => grad((y: JaxArray) => np.sum(np.square(lax.conv(y, w.ref, [2, 2], 'SAME'))))(x),
    inputs: [f(1, 2, 7, 7), f(3, 2, 3, 3)],
  },
  'gradient of a convolution for its kernel': {
    uses: 'conv',
    fn: (x, w) => grad((v: JaxArray) => np.sum(np.square(lax.conv(x.ref, v, [2, 1], 'VALID'))))(w),
    inputs: [f(2, 2, 7, 5), f(3, 2, 3, 2)],
  },
  'gradient of overlapping windows adds up': {
    uses: 'pool_transpose',
    fn: (x) => grad((y: JaxArray) => np.sum(np.square(lax.reduceWindow(y, np.sum, [3, 2], [2, 1]))))(x),
    inputs: [f(2, 8, 5)],
  },
  'gradient of windows with gaps': {
    uses: 'pool_transpose',
    fn: (x) => grad((y: JaxArray) => np.sum(np.square(lax.reduceWindow(y, np.sum, [2, 2], [3, 2]))))(x),
    inputs: [f(9, 8)],
  },
  softmax: { uses: 'exp', fn: (x) => nn.softmax(x, -1), inputs: [f(4, 21)] },
  'normal numbers': { uses: 'random_bits', fn: (k) => random.normal(k, [101]), inputs: [tensor('uint32', [2], 3, 2 ** 24)] },
};

describe('reference executor and jax-js', () => {
  for (const [name, { uses, fn, inputs }] of Object.entries(exact)) {
    it(`${name}: the same values`, async () => {
      const { ours, theirs, primitives } = await both(fn, inputs);
      expect(primitives).toContain(uses);
      expect(ours.length).toBeGreaterThan(0);
      expect(ours).toEqual(theirs);
    });
  }

  for (const [name, { uses, fn, inputs }] of Object.entries(close)) {
    it(`${name}: within 4e-6 of the largest value`, async () => {
      const { ours, theirs, primitives } = await both(fn, inputs);
      expect(primitives).toContain(uses);
      expect(ours).toHaveLength(theirs.length);
      const scale = Math.max(1, ...theirs.map(Math.abs));
      ours.forEach((value, n) => expect(Math.abs(value - (theirs[n] as number)) / scale).toBeLessThan(4e-6));
    });
  }
});
