import { describe, expect, it } from 'vitest';
import { type DType, primitives, type PrimitiveName, type Tensor } from '../src/index.ts';
import { expectSameBits, randomTensor, seeded, single } from './wasm-support.ts';

const covered = new Set<PrimitiveName>();

function check<P extends PrimitiveName>(primitive: P, params: Parameters<typeof single<P>>[1], inputs: readonly Tensor[]): void {
  covered.add(primitive);
  const types = inputs.map(({ dtype, shape }) => `${dtype}[${shape.join(',')}]`).join(' ');
  expectSameBits(single(primitive, params, inputs), inputs, `${primitive} ${JSON.stringify(params)} ${types}`);
}

const all: readonly DType[] = ['float32', 'int32', 'uint32', 'bool'];
const numeric: readonly DType[] = ['float32', 'int32', 'uint32'];
const shapePairs: readonly (readonly [number[], number[]])[] = [
  [[], []],
  [[1037], [1037]],
  [[5, 7], [7]],
  [
    [5, 1],
    [1, 9],
  ],
  [
    [3, 1, 5],
    [4, 1],
  ],
  [[2, 600], []],
  [[0, 3], [3]],
];

describe('the WebAssembly executor gives the reference’s bits', () => {
  it('for element-wise operations of two inputs', () => {
    const random = seeded(1);
    for (const [left, right] of shapePairs) {
      for (const dtype of all) {
        const pair = [randomTensor(dtype, left, random), randomTensor(dtype, right, random)];
        for (const primitive of ['add', 'mul', 'min', 'max'] as const) check(primitive, {}, pair);
        for (const op of ['less', 'equal', 'not_equal', 'less_equal'] as const) check('compare', { op }, pair);
        if (dtype !== 'float32') for (const op of ['and', 'or', 'xor'] as const) check('bit_combine', { op }, pair);
        if (dtype !== 'bool') for (const primitive of ['idiv', 'mod'] as const) check(primitive, {}, pair);
        if (dtype === 'int32' || dtype === 'uint32') for (const op of ['shl', 'shr'] as const) check('bit_shift', { op }, pair);
        check('where', {}, [randomTensor('bool', right, random), ...pair]);
      }
    }
  });

  it('for the remainder of floats whose quotient has no NaN', () => {
    const random = seeded(2);
    const x = randomTensor('float32', [4000], random);
    const y = randomTensor('float32', [4000], random);
    for (let i = 0; i < 4000; i++) {
      if (y.data[i] === 0) y.data[i] = 1e-45;
      if (i % 3 === 0) y.data[i] = Math.fround((y.data[i] as number) * 1e-39) || 7e-45;
    }
    check('mod', {}, [x, y]);
  });

  it('for element-wise operations of one input', () => {
    const random = seeded(3);
    for (const shape of [[], [1037], [3, 5], [0]]) {
      for (const dtype of all) {
        const x = randomTensor(dtype, shape, random);
        for (const to of all) check('cast', { dtype: to }, [x]);
        if (dtype !== 'bool') {
          check('neg', {}, [x]);
          for (const to of numeric) check('bitcast', { dtype: to }, [x]);
        }
      }
      const x = randomTensor('float32', shape, random);
      for (const primitive of ['sin', 'cos', 'exp', 'erf', 'floor', 'ceil', 'reciprocal'] as const) check(primitive, {}, [x]);
      const positive: Tensor = { ...x, data: Float32Array.from(x.data, Math.abs) };
      for (const primitive of ['log', 'sqrt'] as const) check(primitive, {}, [positive]);
    }
  });

  it('for transcendental functions of bit patterns over the whole range', () => {
    const random = seeded(4);
    const bits = Int32Array.from({ length: 20_000 }, () => Math.floor(random() * 4294967296) | 0);
    const wide = Float32Array.from(new Float32Array(bits.buffer), (x) => (Number.isNaN(x) ? 1 : x));
    const angles = Float32Array.from({ length: 20_000 }, () => (random() - 0.5) * 10 ** (random() * 10 - 5));
    const x: Tensor = { dtype: 'float32', shape: [20_000], data: wide };
    for (const primitive of ['exp', 'erf', 'floor', 'ceil', 'reciprocal'] as const) check(primitive, {}, [x]);
    for (const primitive of ['sin', 'cos'] as const) check(primitive, {}, [{ ...x, data: angles }]);
    for (const primitive of ['log', 'sqrt'] as const) check(primitive, {}, [{ ...x, data: wide.map(Math.abs) }]);
    for (const dtype of all) check('cast', { dtype }, [x]);
  });

  it('for reductions over inner, outer, all and no axes', () => {
    const random = seeded(5);
    const cases: readonly (readonly [number[], number[]])[] = [
      [[5, 37], [1]],
      [[37, 50], [0]],
      [[3, 40, 5], [1]],
      [
        [4, 5, 6],
        [0, 2],
      ],
      [
        [7, 16, 33],
        [0, 1, 2],
      ],
      [[5], []],
      [[], []],
    ];
    for (const [shape, axis] of cases) {
      for (const dtype of all)
        for (const op of ['add', 'mul', 'min', 'max'] as const) check('reduce', { op, axis }, [randomTensor(dtype, shape, random)]);
      for (const op of ['add', 'mul'] as const) check('reduce', { op, axis }, [randomTensor('float32', shape, random, true)]);
    }
    for (const op of ['add', 'mul'] as const)
      for (const dtype of all) check('reduce', { op, axis: [0] }, [randomTensor(dtype, [0, 3], random)]);
  });

  it('for dot in every arrangement of rows, columns and batches', () => {
    const random = seeded(6);
    const cases: readonly (readonly [number[], number[]])[] = [
      [[7], [7]],
      [
        [5, 1, 9],
        [1, 4, 9],
      ],
      [
        [1, 4, 9],
        [5, 1, 9],
      ],
      [
        [13, 1, 700],
        [1, 21, 700],
      ],
      [
        [3, 5, 1, 8],
        [3, 1, 6, 8],
      ],
      [
        [2, 1, 3, 1, 8],
        [4, 1, 5, 8],
      ],
      [
        [30, 11],
        [30, 11],
      ],
      [[30, 11], [11]],
      [
        [100, 1, 1],
        [1, 90, 1],
      ],
      [
        [4, 1, 0],
        [1, 3, 0],
      ],
      [
        [0, 1, 3],
        [1, 3, 3],
      ],
    ];
    for (const [left, right] of cases) {
      for (const dtype of numeric) check('dot', {}, [randomTensor(dtype, left, random, true), randomTensor(dtype, right, random, true)]);
      check('dot', {}, [randomTensor('float32', left, random), randomTensor('float32', right, random)]);
    }
  });

  it('for convolutions with strides, padding, cropping and dilation', () => {
    const random = seeded(7);
    const convolve = (
      x: number[],
      w: number[],
      vmapDims: number,
      strides: number[],
      padding: [number, number][],
      lhsDilation: number[],
      rhsDilation: number[],
    ) =>
      check('conv', { vmapDims, strides, padding, lhsDilation, rhsDilation }, [
        randomTensor('float32', x, random, true),
        randomTensor('float32', w, random, true),
      ]);
    convolve([2, 3, 8, 9], [4, 3, 3, 3], 0, [1, 1], [[0, 0], [0, 0]], [1, 1], [1, 1]); // prettier-ignore
    convolve([2, 3, 8, 9], [9, 3, 3, 2], 0, [2, 1], [[1, 1], [0, 2]], [1, 1], [1, 2]); // prettier-ignore
    convolve([1, 2, 5, 6], [3, 2, 2, 2], 0, [1, 1], [[2, 1], [1, 1]], [2, 3], [1, 1]); // prettier-ignore
    convolve([1, 2, 7, 7], [3, 2, 2, 2], 0, [1, 1], [[-1, 2], [2, -2]], [2, 1], [1, 1]); // prettier-ignore
    convolve([2, 2, 10], [3, 2, 4], 0, [3], [[1, 0]], [1], [2]);
    convolve([3, 2, 2, 6], [3, 4, 2, 3], 1, [1], [[0, 0]], [1], [1]);
    convolve([1, 2, 2, 6], [3, 4, 2, 3], 1, [1], [[1, 1]], [1], [1]);
    convolve([2, 3], [4, 3], 0, [], [], [], []);
    // Unit strides over a dilated input: the gradients of strided convolutions.
    for (const [lhs, rhs, kernel, low, high] of [
      [2, 1, 3, 2, 1],
      [3, 1, 2, 0, 0],
      [2, 2, 3, 1, 3],
      [4, 6, 3, 2, 5],
      [2, 3, 2, -1, -2],
      [5, 1, 3, 3, -4],
    ] as const) {
      convolve([2, 3, 5, 6], [4, 3, kernel, 2], 0, [1, 1], [[low, high], [1, 0]], [lhs, 2], [rhs, 1]); // prettier-ignore
      convolve([1, 2, 7], [9, 2, kernel], 0, [1], [[low, high]], [lhs], [rhs]);
      convolve([3, 2, 2, 7], [1, 4, 2, kernel], 1, [1], [[low, high]], [lhs], [rhs]);
    }
    convolve([1, 1, 4], [2, 1, 1], 0, [1], [[0, 2]], [3], [1]);
  });

  it('for infinite weights that meet holes and padding', () => {
    const random = seeded(17);
    for (const infinite of [0, 4]) {
      const x = randomTensor('float32', [1, 1, 6], random, true);
      const w = randomTensor('float32', [2, 1, 3], random, true);
      w.data[infinite] = Infinity;
      for (const padding of [
        [0, 0],
        [1, 1],
      ] as const) {
        for (const lhsDilation of [1, 2]) check('conv', { vmapDims: 0, strides: [1], padding: [padding], lhsDilation: [lhsDilation], rhsDilation: [1] }, [x, w]); // prettier-ignore
      }
    }
  });

  it('for pooling and its transpose', () => {
    const random = seeded(8);
    for (const dtype of numeric) {
      const x = randomTensor(dtype, [2, 3, 8, 7], random, true);
      for (const [window, strides] of [
        [
          [2, 2],
          [2, 2],
        ],
        [
          [3, 2],
          [1, 2],
        ],
        [
          [3, 3],
          [2, 1],
        ],
      ] as const) {
        // prettier-ignore
        check('pool', { window, strides }, [x]);
        const pooled = single('pool', { window, strides }, [x]).operations[0]?.outputs[0];
        if (pooled === undefined) throw new Error('pool has no output');
        check('pool_transpose', { inShape: x.shape, window, strides }, [randomTensor(dtype, pooled.shape, random)]);
      }
    }
  });

  it('for primitives that move bits', () => {
    const random = seeded(9);
    for (const dtype of all) {
      const x = randomTensor(dtype, [3, 20, 17], random);
      for (const perm of [
        [0, 1, 2],
        [2, 1, 0],
        [0, 2, 1],
        [1, 2, 0],
      ])
        check('transpose', { perm }, [x]);
      check('broadcast', { shape: [4, 3, 20, 2, 17], axis: [0, 3] }, [x]);
      check('broadcast', { shape: [3, 20, 5], axis: [] }, [randomTensor(dtype, [3, 20, 1], random)]);
      check('reshape', { shape: [60, 17] }, [x]);
      check('flip', { axis: [0, 2] }, [x]);
      check('shrink', { slice: [[1, 3], [0, 20], [5, 9]] }, [x]); // prettier-ignore
      check('pad', { width: [[1, 0], [0, 2], [3, 1]] }, [x]); // prettier-ignore
      check('concatenate', { axis: 1 }, [x, randomTensor(dtype, [3, 2, 17], random), x]);
      check('split', { axis: 2, sizes: [4, 0, 13] }, [x]);
      if (dtype !== 'bool') for (const primitive of ['sort', 'argsort'] as const) check(primitive, {}, [x]);
    }
  });

  it('for gather and scatter with negative, doubled and distant indices', () => {
    const random = seeded(10);
    for (const dtype of all) {
      for (const kind of ['int32', 'uint32'] as const) {
        const x = randomTensor(dtype, [6, 5, 4], random);
        const index = randomTensor(kind, [7, 2], random);
        const other = randomTensor(kind, [2], random);
        for (const [axis, outDim, indices] of [
          [[1], 1, [index]],
          [[0], 2, [index]],
          [[2, 0], 0, [index, other]],
        ] as const) {
          // prettier-ignore
          const params = { axis, outDim };
          check('gather', params, [x, ...indices]);
          const gathered = single('gather', params, [x, ...indices]).operations[0]?.outputs[0];
          if (gathered === undefined) throw new Error('gather has no output');
          const updates = randomTensor(dtype, gathered.shape, random);
          for (const mode of ['add', 'set'] as const) check('scatter', { ...params, shape: x.shape, mode }, [updates, ...indices]);
        }
      }
      check('gather', { axis: [0], outDim: 0 }, [randomTensor(dtype, [0, 3], random), randomTensor('int32', [4], random)]);
    }
  });

  it('for random bits', () => {
    const random = seeded(11);
    for (const mode of ['xor', 0, 1] as const) {
      check('random_bits', { shape: [37], mode }, [randomTensor('uint32', [], random), randomTensor('uint32', [], random)]);
      check('random_bits', { shape: [3, 2, 5], mode }, [randomTensor('uint32', [3], random), randomTensor('uint32', [3], random)]);
    }
  });

  it('and every primitive of the closed list was among them', () => {
    expect(primitives.filter((primitive) => !covered.has(primitive))).toEqual([]);
  });
});
