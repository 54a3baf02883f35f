/** The rules of `docs/spec/01-exact-arithmetic.md` on the cases where an implementation is most likely to differ. */
import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import {
  type DType,
  inferOutputs,
  type Operation,
  type ParamsOf,
  type PrimitiveName,
  type Program,
  referenceExecutor,
  type Tensor,
  type TensorData,
} from '../src/index.ts';

function tensor(dtype: DType, shape: readonly number[], values: readonly number[]): Tensor {
  const data: TensorData =
    dtype === 'float32'
      ? Float32Array.from(values)
      : dtype === 'int32'
        ? Int32Array.from(values)
        : dtype === 'uint32'
          ? Uint32Array.from(values)
          : Uint8Array.from(values);
  return { dtype, shape, data };
}

const f = (...values: number[]) => tensor('float32', [values.length], values);
const i = (...values: number[]) => tensor('int32', [values.length], values);
const u = (...values: number[]) => tensor('uint32', [values.length], values);
const b = (...values: number[]) => tensor('bool', [values.length], values);

function programOf<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, inputs: readonly Tensor[]): Program {
  const outputs = inferOutputs(primitive, params, inputs);
  return {
    version: 1,
    name: 'one',
    inputs: inputs.map(({ dtype, shape }, n) => ({ name: `x${n}`, dtype, shape })),
    constants: [],
    operations: [{ primitive, inputs: inputs.map((_, n) => n), params, outputs } as unknown as Operation],
    outputs: outputs.map((_, n) => ({ name: `y${n}`, value: inputs.length + n })),
  };
}

function run<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, ...inputs: Tensor[]): number[] {
  const [first] = referenceExecutor.prepare(programOf(primitive, params, inputs)).run(inputs);
  return [...(first as Tensor).data];
}

function faultOf(action: () => unknown): MusterError {
  try {
    action();
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('no fault');
}

const none = {};
const least = 2 ** -149;
const lowest = -(2 ** 31);

describe('element-wise rules', () => {
  it('sums and products round once and keep subnormals', () => {
    expect(run('add', none, f(16777216, least, 1e38), f(1, least, 3e38))).toEqual([16777216, 2 * least, Infinity]);
    expect(run('mul', none, f(2 ** -75, 2 ** -75, -0), f(2 ** -75, 2 ** -74, 3))).toEqual([0, least, -0]);
  });

  it('bool sums are or and products are and', () => {
    expect(run('add', none, b(0, 0, 1, 1), b(0, 1, 0, 1))).toEqual([0, 1, 1, 1]);
    expect(run('mul', none, b(0, 0, 1, 1), b(0, 1, 0, 1))).toEqual([0, 0, 0, 1]);
  });

  it('integer division goes toward zero and gives 0 for a zero divisor', () => {
    expect(run('idiv', none, i(7, -7, 7, 5, lowest, -1), i(2, 2, -2, 0, -1, 3))).toEqual([3, -3, -3, 0, lowest, 0]);
    expect(run('idiv', none, u(4294967295, 5), u(2, 0))).toEqual([2147483647, 0]);
    expect(run('idiv', none, f(7, -7, -1, 1), f(2, 2, 3, 0))).toEqual([3, -3, -0, Infinity]);
  });

  it('a remainder has the sign of the dividend', () => {
    expect(run('mod', none, i(7, -7, 7, 5, lowest), i(3, 3, -3, 0, -1))).toEqual([1, -1, 1, 0, 0]);
    expect(run('mod', none, f(5.5, -5.5, -4, 3, 1e38), f(2, 2, 2, Infinity, 3))).toEqual([
      1.5,
      -1.5,
      -0,
      3,
      Number(BigInt(Math.fround(1e38)) % 3n),
    ]);
    expect(run('mod', none, u(4294967295), u(10))).toEqual([5]);
  });

  it('minimum and maximum tell −0 from +0', () => {
    expect(run('min', none, f(0, -0, 1), f(-0, 0, -Infinity))).toEqual([-0, -0, -Infinity]);
    expect(run('max', none, f(0, -0, 1), f(-0, 0, -Infinity))).toEqual([0, 0, 1]);
  });

  it('comparison takes −0 and +0 as equal and unsigned integers as unsigned', () => {
    expect(run('compare', { op: 'equal' }, f(-0, 1), f(0, 2))).toEqual([1, 0]);
    expect(run('compare', { op: 'less' }, u(1, 4294967295), u(4294967295, 1))).toEqual([1, 0]);
    expect(run('compare', { op: 'less' }, i(1, -1), i(-1, 1))).toEqual([0, 1]);
    expect(run('compare', { op: 'less_equal' }, b(0, 1, 1), b(1, 1, 0))).toEqual([1, 1, 0]);
  });

  it('shift counts from 32 on give 0 and negative counts are large ones', () => {
    expect(run('bit_shift', { op: 'shl' }, i(1, 1, 1, -1), i(31, 32, -1, 4))).toEqual([lowest, 0, 0, -16]);
    expect(run('bit_shift', { op: 'shr' }, i(-1, -1, -1), i(31, 33, 0))).toEqual([1, 0, -1]);
    expect(run('bit_shift', { op: 'shr' }, u(4294967295), u(28))).toEqual([15]);
  });

  it('negation flips the sign of zero and wraps for integers', () => {
    expect(run('neg', none, f(0, -0, Infinity))).toEqual([-0, 0, -Infinity]);
    expect(run('neg', none, i(lowest, 5))).toEqual([lowest, -5]);
    expect(run('neg', none, u(1, 0))).toEqual([4294967295, 0]);
  });

  it('casts saturate, round to nearest even or keep bits', () => {
    expect(run('cast', { dtype: 'int32' }, f(2.9, -2.9, 3e9, -3e9, Infinity, -0.5))).toEqual([2, -2, 2147483647, lowest, 2147483647, 0]);
    expect(run('cast', { dtype: 'uint32' }, f(2.9, -2.9, 3e9, 5e9))).toEqual([2, 0, 3e9, 4294967295]);
    expect(run('cast', { dtype: 'float32' }, i(16777217, 16777219))).toEqual([16777216, 16777220]);
    expect(run('cast', { dtype: 'float32' }, u(4294967295))).toEqual([4294967296]);
    expect(run('cast', { dtype: 'bool' }, f(-0, least, Infinity))).toEqual([0, 1, 1]);
    expect(run('cast', { dtype: 'uint32' }, i(-1))).toEqual([4294967295]);
    expect(run('cast', { dtype: 'float32' }, b(0, 1))).toEqual([0, 1]);
  });

  it('rounding up or down keeps the sign of zero', () => {
    expect(run('ceil', none, f(-0.5, -0, 1.2))).toEqual([-0, -0, 2]);
    expect(run('floor', none, f(0.5, -0, -1.2))).toEqual([0, -0, -2]);
  });
});

describe('sums', () => {
  it('a reduction adds in sixteen lanes and a fixed tree', () => {
    const values = Array.from({ length: 37 }, (_, n) => Math.fround(1 / (n + 1)));
    const lanes = Array.from({ length: 16 }, (_, l) => values.filter((_v, n) => n % 16 === l).reduce((s, v) => Math.fround(s + v), 0));
    let expected = lanes;
    while (expected.length > 1) {
      const half = expected.length / 2;
      expected = Array.from({ length: half }, (_, l) => Math.fround((expected[l] as number) + (expected[l + half] as number)));
    }
    expect(run('reduce', { op: 'add', axis: [0] }, f(...values))).toEqual(expected);
  });

  it('a reduction of nothing gives +0 or 1, and of −0 gives +0', () => {
    expect(run('reduce', { op: 'add', axis: [1] }, tensor('float32', [2, 0], []))).toEqual([0, 0]);
    expect(run('reduce', { op: 'mul', axis: [1] }, tensor('float32', [2, 0], []))).toEqual([1, 1]);
    expect(run('reduce', { op: 'add', axis: [] }, f(-0, 2))).toEqual([0, 2]);
  });

  it('a reduction takes its elements in row-major order of the reduced axes', () => {
    const x = tensor(
      'float32',
      [20, 2, 20],
      Array.from({ length: 800 }, (_, n) => Math.fround(Math.sqrt(n) - 14)),
    );
    const [whole] = run('reduce', { op: 'add', axis: [0, 2] }, x);
    const picked = Array.from({ length: 20 }, (_, r) => Array.from(x.data.subarray(r * 40, r * 40 + 20))).flat();
    expect(whole).toBe(run('reduce', { op: 'add', axis: [0] }, f(...picked))[0]);
  });

  it('a product of rows adds in ascending order', () => {
    expect(run('dot', none, f(1e8, 1, -1e8), f(1, 1, 1))).toEqual([0]);
    expect(run('dot', none, f(1e8, -1e8, 1), f(1, 1, 1))).toEqual([1]);
    expect(run('dot', none, tensor('float32', [2, 0], []), tensor('float32', [0], []))).toEqual([0, 0]);
    expect(run('dot', none, i(65536, 1), i(65536, 7))).toEqual([7]);
  });

  it('padding contributes zero times the weight, a NaN for an infinite one', () => {
    const x = tensor('float32', [1, 1, 2], [1, 2]);
    const params = { vmapDims: 0, strides: [1], padding: [[1, 0]], lhsDilation: [1], rhsDilation: [1] } as const;
    expect(run('conv', params, x, tensor('float32', [1, 1, 2], [10, 1]))).toEqual([1, 12]);
    const fault = faultOf(() => run('conv', params, x, tensor('float32', [1, 1, 2], [Infinity, 1])));
    expect(fault.details).toEqual({ operation: 0, primitive: 'conv' });
  });

  it('scattered values add up in ascending order, or the last one stays', () => {
    const updates = f(1e8, 1, -1e8, 5);
    const params = { axis: [0], outDim: 0, shape: [3] };
    expect(run('scatter', { ...params, mode: 'add' }, updates, i(1, 1, 1, 2))).toEqual([0, 0, 5]);
    expect(run('scatter', { ...params, mode: 'set' }, updates, i(1, 1, 1, 2))).toEqual([0, -1e8, 5]);
    expect(run('scatter', { ...params, mode: 'add' }, b(1, 1, 0, 1), i(0, 0, 1, 2))).toEqual([1, 0, 1]);
  });

  it('indices count from the end when negative and are clamped', () => {
    const params = { axis: [0], outDim: 0 };
    expect(run('gather', params, f(1, 2, 3), i(0, 2, 3, 99, -1, -3, -4, lowest))).toEqual([1, 3, 3, 3, 3, 1, 1, 1]);
    expect(run('gather', params, f(1, 2, 3), u(1, 4294967295, 2147483647, 2147483648))).toEqual([2, 3, 3, 1]);
    expect(run('scatter', { ...params, shape: [2], mode: 'add' }, f(1, 2, 4), i(-1, 7, -9))).toEqual([4, 3]);
  });

  it('a gather from an axis without elements gives zeros', () => {
    expect(run('gather', { axis: [0], outDim: 0 }, tensor('float32', [0, 2], []), i(0, 1))).toEqual([0, 0, 0, 0]);
  });
});

describe('order', () => {
  it('sorts −0 before +0 and infinities at the ends', () => {
    expect(run('sort', none, f(0, Infinity, -0, -1, -Infinity, least, 0, -0))).toEqual([-Infinity, -1, -0, -0, 0, 0, least, Infinity]);
    expect(run('sort', none, u(4294967295, 0, 7))).toEqual([0, 7, 4294967295]);
  });

  it('argsort gives values and stable positions', () => {
    const x = tensor('float32', [2, 4], [2, 1, 2, 1, 0, -0, 0, -0]);
    const [values, places] = referenceExecutor.prepare(programOf('argsort', none, [x])).run([x]) as [Tensor, Tensor];
    expect([...values.data]).toEqual([1, 1, 2, 2, -0, -0, 0, 0]);
    expect([...places.data]).toEqual([1, 3, 0, 2, 1, 3, 0, 2]);
    expect(places.dtype).toBe('int32');
  });
});

describe('faults', () => {
  const twoSteps: Program = {
    version: 1,
    name: 'two_steps',
    inputs: [{ name: 'x', dtype: 'float32', shape: [2] }],
    constants: [],
    operations: [
      { primitive: 'exp', inputs: [0], params: {}, outputs: [{ dtype: 'float32', shape: [2] }] },
      { primitive: 'log', inputs: [0], params: {}, outputs: [{ dtype: 'float32', shape: [2] }] },
    ],
    outputs: [{ name: 'y', value: 1 }],
  };

  it('a NaN is a fault with its operation, even if nothing uses the result', () => {
    const fault = faultOf(() => referenceExecutor.prepare(twoSteps).run([f(1, -1)]));
    expect([fault.code, fault.details]).toEqual(['NUMERIC_FAULT', { operation: 1, primitive: 'log' }]);
  });

  it('an infinity inside a program is no fault', () => {
    expect([...(referenceExecutor.prepare(twoSteps).run([f(0, 1000)])[0] as Tensor).data]).toEqual([1, Infinity]);
  });

  it('a NaN in an input is a fault before any operation', () => {
    const fault = faultOf(() => referenceExecutor.prepare(twoSteps).run([f(0, NaN)]));
    expect([fault.code, fault.details]).toEqual(['NUMERIC_FAULT', { operation: -1, primitive: 'input', input: 'x' }]);
  });

  it('bits that are a NaN cannot become a float', () => {
    expect(faultOf(() => run('bitcast', { dtype: 'float32' }, u(0x7fc00000))).code).toBe('NUMERIC_FAULT');
    expect(run('bitcast', { dtype: 'int32' }, f(-0, 1))).toEqual([lowest, 0x3f800000]);
  });

  it('inputs that do not fit are refused by name', () => {
    const prepared = referenceExecutor.prepare(twoSteps);
    for (const wrong of [
      [],
      [f(1)],
      [i(1, 2)],
      [{ ...f(1, 2), shape: [1, 2] }],
      [{ ...f(1, 2), data: new Float64Array(2) as unknown as Float32Array }],
      [f(1, 2), f(1, 2)],
    ]) {
      expect(faultOf(() => prepared.run(wrong)).code).toBe('TENSOR_MISMATCH');
    }
    const onBools = referenceExecutor.prepare(programOf('add', none, [b(0), b(1)]));
    expect(faultOf(() => onBools.run([b(0), b(2)])).details).toEqual({ input: 'x1' });
  });

  it('a program that is not well formed is refused when it is prepared', () => {
    expect(faultOf(() => referenceExecutor.prepare({ ...twoSteps, outputs: [{ name: 'y', value: 9 }] })).code).toBe('PROGRAM_INVALID');
  });

  it('outputs are fresh and inputs are left alone', () => {
    const echo: Program = { ...twoSteps, operations: [], outputs: [{ name: 'y', value: 0 }] };
    const x = f(1, 2);
    const [y] = referenceExecutor.prepare(echo).run([x]) as [Tensor];
    expect(y.data).toEqual(x.data);
    y.data[0] = 9;
    expect(x.data[0]).toBe(1);
  });
});
