import { type Array as JaxArray, grad, jit, lax, nn, numpy as np, random, vmap } from '@jax-js/jax';
import { MusterError } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import { encodeProgram, type NamedType, type Program, referenceExecutor, type Tensor, traceProgram } from '@muster/engine';
import { tensorFor } from './trace-arbitrary.ts';

type Fn = (...inputs: JaxArray[]) => JaxArray[];

const float = (name: string, ...shape: number[]): NamedType => ({ name, dtype: 'float32', shape });
const int = (name: string, ...shape: number[]): NamedType => ({ name, dtype: 'int32', shape });
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `out${i}`);
const kinds = (program: Program): string[] => program.operations.map((operation) => operation.primitive);

function runBoth(fn: Fn, inputs: readonly NamedType[], outputs: number): { ours: Tensor[]; theirs: number[][] } {
  const program = traceProgram('traced', fn, inputs, names(outputs));
  const tensors = inputs.map((input, i) => tensorFor(input, 100 + i));
  const ours = referenceExecutor.prepare(program).run(tensors);
  const arrays = tensors.map(({ data, shape, dtype }) =>
    np.array(dtype === 'bool' ? Int32Array.from(data) : (data as Float32Array<ArrayBuffer>), {
      shape: [...shape],
      dtype: np[dtype === 'bool' ? 'bool' : dtype],
    }),
  );
  return { ours, theirs: fn(...arrays).map((array) => [...array.dataSync()]) };
}

function expectAgreement(fn: Fn, inputs: readonly NamedType[], outputs: number): void {
  const { ours, theirs } = runBoth(fn, inputs, outputs);
  theirs.forEach((values, output) => {
    const own = [...(ours[output] as Tensor).data];
    expect(own.length).toBe(values.length);
    const scale = Math.max(...values.map(Math.abs), 1e-6);
    own.forEach((value, i) => expect(Math.abs(value - (values[i] as number)) / scale).toBeLessThan(1e-5));
  });
}

function refusalOf(fn: Fn, ...inputs: NamedType[]): MusterError {
  try {
    traceProgram('refused', fn, inputs, names(1));
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('the function was accepted');
}

const mixed: Fn = (x, i) => [x.add(i), np.where(np.greater(i.ref, 0), 1, i.ref), i.mul(2)];

const layerGradient: Fn = (x, w) => [grad((k: JaxArray) => np.sum(nn.relu(np.dot(x.ref, k))))(w)];

const networkGradients: Fn = (x, w, v) => {
  const loss = (k: JaxArray, l: JaxArray): JaxArray => np.sum(np.exp(np.dot(np.tanh(np.dot(x.ref, k)), l)));
  return [...(grad(loss, { argnums: [0, 1] })(w, v) as unknown as JaxArray[])];
};

const crossEntropyGradient: Fn = (z) => [
  grad((s: JaxArray) => np.mean(nn.logsumexp(s.ref, 1).sub(np.sum(s.mul(nn.oneHot(np.array([1, 0, 2]).astype(np.int32), 4)), 1))))(z),
];

const convolutionLoss = (a: JaxArray, b: JaxArray): JaxArray =>
  np.sum(
    np.square(
      lax.convGeneralDilated(
        a,
        b,
        [2, 1],
        [
          [2, 1],
          [0, 2],
        ],
        { rhsDilation: [1, 2] },
      ),
    ),
  );

const convolutionGradients: Fn = (x, w) => {
  return [lax.conv(x.ref, w.ref, [2, 2], 'SAME'), ...(grad(convolutionLoss, { argnums: [0, 1] })(x, w) as unknown as JaxArray[])];
};

const pooled = (x: JaxArray): JaxArray => lax.reduceWindow(x, vmap(np.max), [2, 2], [2, 2]);

describe('traceProgram', () => {
  test('inlines jit, drops stop_gradient and dead operations, and keeps unused inputs', () => {
    const inner = jit((x: JaxArray) => lax.stopGradient(np.exp(x)).mul(2));
    const program = traceProgram(
      'nested',
      (x, unused) => {
        void np.sin(unused);
        return [inner(x).add(1)];
      },
      [float('x', 3), float('unused', 4)],
      ['y'],
    );
    expect(kinds(program)).toEqual(['exp', 'mul', 'add']);
    expect(program.inputs.map((input) => input.name)).toEqual(['x', 'unused']);
    expect(program.constants.map((constant) => [...constant.data])).toEqual([[2], [1]]);
  });

  test('shares equal constants and equal operations', () => {
    const program = traceProgram(
      'shared',
      (x) => [
        x.ref
          .mul(3)
          .add(x.ref.mul(3))
          .add(np.array([3, 4]))
          .mul(np.array([3, 4])),
      ],
      [float('x', 2)],
      ['y'],
    );
    expect(kinds(program)).toEqual(['mul', 'add', 'add', 'mul']);
    expect(program.constants.length).toBe(2);
  });

  test('stores a captured array of one repeated element as a scalar', () => {
    const program = traceProgram('ones', (x) => [x.ref.add(np.ones([64, 64])), np.zeros([1000])], [float('x', 64, 64)], ['y', 'z']);
    expect(program.constants.every((constant) => constant.data.length === 1)).toBe(true);
    const [y, z] = referenceExecutor.prepare(program).run([tensorFor(float('x', 64, 64), 1)]);
    expect(y?.data[5]).toBe(Math.fround((tensorFor(float('x', 64, 64), 1).data[5] as number) + 1));
    expect(z?.data.length).toBe(1000);
  });

  test('keeps the sign of a zero literal and infinity', () => {
    const program = traceProgram('signs', (x) => [np.minimum(x.ref, -0), np.maximum(x, -Infinity)], [float('x', 2)], ['a', 'b']);
    expect(program.constants.some((constant) => Object.is(constant.data[0], -0))).toBe(true);
    expect(program.constants.some((constant) => constant.data[0] === -Infinity)).toBe(true);
  });

  test('writes implicit promotion out as casts', () => {
    const { ours } = runBoth((x, i) => mixed(x, i.ref), [float('x', 3), int('i', 3)], 3);
    expect(ours.map((tensor) => tensor.dtype)).toEqual(['float32', 'int32', 'int32']);
    expectAgreement((x, i) => [x.add(i)], [float('x', 3), int('i', 3)], 1);
  });

  test('refuses a primitive outside the closed list by name', () => {
    expect(refusalOf((x) => [np.arcsin(x)], float('x', 2))).toMatchObject({
      code: 'PRIMITIVE_UNKNOWN',
      details: { program: 'refused', primitive: 'asin' },
    });
    expect(refusalOf((x) => [jit((z: JaxArray) => np.arctan(z))(x)], float('x', 2)).message).toContain('atan');
  });

  test('refuses half and double precision by name', () => {
    expect(refusalOf((x) => [x.astype(np.float16).astype(np.float32)], float('x', 2))).toMatchObject({
      code: 'PRIMITIVE_UNKNOWN',
      details: { primitive: 'float16' },
    });
    expect(refusalOf((x) => [x.astype(np.float64)], float('x', 2))).toMatchObject({
      code: 'PRIMITIVE_UNKNOWN',
      details: { primitive: 'float64' },
    });
  });

  test('refuses a NaN literal and a wrong number of outputs', () => {
    expect(refusalOf((x) => [x.add(NaN)], float('x', 2)).code).toBe('PROGRAM_INVALID');
    expect(refusalOf((x) => [x.ref, x], float('x', 2)).code).toBe('PROGRAM_INVALID');
  });

  test('is deterministic', () => {
    const [first, second] = [1, 2].map(() =>
      encodeProgram(traceProgram('same', layerGradient, [float('x', 4, 3), float('w', 3, 5)], ['g'])),
    );
    expect(first).toEqual(second);
  });

  test('turns a differentiated matrix product into products of [m, 1, k] with [1, n, k] and no broadcast', () => {
    const inputs = [float('x', 4, 3), float('w', 3, 5), float('v', 5, 2)];
    const program = traceProgram('products', networkGradients, inputs, ['gw', 'gv']);
    const types = [...program.inputs, ...program.constants, ...program.operations.flatMap((operation) => operation.outputs)];
    const products = program.operations.filter((operation) => operation.primitive === 'dot');
    expect(products.length).toBe(5);
    for (const { inputs: operands } of products) {
      const units = operands.map((value) => types[value]?.shape.findIndex((extent) => extent === 1));
      expect(new Set(units)).toEqual(new Set([0, 1]));
    }
    expect(Math.max(...types.map((type) => type.shape.length))).toBe(3);
    expect(kinds(program).filter((primitive) => primitive === 'broadcast')).toEqual([]);
  });
});

describe('traced programs give what jax-js gives', () => {
  test('element-wise functions, to 1e-5', () => {
    expectAgreement(
      (x) => [np.exp(x.ref), np.sin(x.ref), np.cos(x.ref), np.tanh(x.ref), nn.gelu(x.ref), nn.sigmoid(x.ref), nn.softplus(x)],
      [float('x', 5, 7)],
      7,
    );
  });

  test('softmax cross-entropy and its gradient', () => {
    expectAgreement(crossEntropyGradient, [float('z', 3, 4)], 1);
  });

  test('strided, padded and dilated convolution with both gradients', () => {
    expectAgreement(convolutionGradients, [float('x', 2, 3, 7, 8), float('w', 4, 3, 3, 2)], 3);
  });

  test('max pooling with its gradient', () => {
    expectAgreement((x) => [pooled(x.ref), grad((a: JaxArray) => np.sum(np.square(pooled(a))))(x)], [float('x', 2, 6, 6)], 2);
  });

  test('sorting, gathering and scattering by gradient', () => {
    expectAgreement(
      (x) => [np.sort(x.ref, 1), np.argsort(x.ref, 1).astype(np.float32), np.concatenate([x.ref, np.flip(x, [0])], 0)],
      [float('x', 3, 5)],
      3,
    );
    expectAgreement(
      (x) => [grad((a: JaxArray) => np.sum(np.square(a.slice(np.array([2, 0, 2]).astype(np.int32)))))(x)],
      [float('x', 4, 3)],
      1,
    );
  });

  test('random bits, bit for bit', () => {
    const key: NamedType = { name: 'key', dtype: 'uint32', shape: [2] };
    const { ours, theirs } = runBoth((k) => [random.bits(k.ref, [5, 3]), random.uniform(k.ref, [7]), random.split(k, 3)], [key], 3);
    expect(ours.map((tensor) => [...tensor.data])).toEqual(theirs);
  });
});
