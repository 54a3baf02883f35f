import { MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Operation, prepareLoop, type Program, referenceExecutor, type Tensor, type TensorType, wasmExecutor } from '../src/index.ts';
import { decodeBase64 } from '../src/wasm/base64.ts';
import { denseStrides, offsetTable, reshapeView, transposeView } from '../src/compiler/view.ts';
import { expectSameBits, randomTensor, seeded } from './wasm-support.ts';

const vector: TensorType = { dtype: 'float32', shape: [3] };
const flags: TensorType = { dtype: 'bool', shape: [3] };
const plain = {} as const;
const type = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });

function floats(...values: number[]): Tensor {
  return { dtype: 'float32', shape: [values.length], data: Float32Array.from(values) };
}

/** Inputs a0, a1 … of three floats; outputs are the last values. */
function program(inputs: number, operations: readonly Operation[], outputs: readonly number[]): Program {
  return {
    version: 1,
    name: 'case',
    inputs: Array.from({ length: inputs }, (_, index) => ({ name: `a${index}`, ...vector })),
    constants: [],
    operations,
    outputs: outputs.map((value, index) => ({ name: `r${index}`, value })),
  };
}

const add = (...inputs: number[]): Operation => ({ primitive: 'add', inputs, params: plain, outputs: [vector] });
const log = (input: number): Operation => ({ primitive: 'log', inputs: [input], params: plain, outputs: [vector] });

function errorOf(run: () => unknown): MusterError {
  try {
    run();
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the WebAssembly executor', () => {
  it('refuses inputs of the wrong number, type, shape, length or with a NaN, as the reference does', () => {
    const subject = program(2, [add(0, 1)], [2]);
    const good = floats(1, 2, 3);
    const wrong: readonly (readonly Tensor[])[] = [
      [good],
      [good, good, good],
      [good, { dtype: 'int32', shape: [3], data: Int32Array.of(1, 2, 3) }],
      [good, { ...good, shape: [1, 3] }],
      [{ ...good, data: Float32Array.of(1, 2) }, good],
      [good, { ...good, data: Int32Array.of(1, 2, 3) }],
      [good, floats(1, Number.NaN, 3)],
    ];
    for (const inputs of wrong) expect(expectSameBits(subject, inputs)).toBe('fault');
    const condition: Program = { ...program(0, [], [0]), inputs: [{ name: 'c', ...flags }] };
    expect(expectSameBits(condition, [{ ...flags, data: Uint8Array.of(0, 1, 2) }])).toBe('fault');
  });

  it('finds a NaN that a later operation hides or that nothing reads', () => {
    const compare: Operation = { primitive: 'compare', inputs: [1, 0], params: { op: 'less' }, outputs: [flags] };
    const choose: Operation = { primitive: 'where', inputs: [2, 0, 1], params: plain, outputs: [vector] };
    for (const operations of [[log(0)], [log(0), compare], [log(0), compare, choose]]) {
      // The output is an input, so nothing but the check reads the logarithm or what follows from it.
      const subject = program(1, operations, [0]);
      expect(expectSameBits(subject, [floats(1, -1, 2)])).toBe('fault');
      expect(expectSameBits(subject, [floats(1, 1, 2)])).toBe('outputs');
      expect(expectSameBits({ ...subject, outputs: [{ name: 'last', value: operations.length }] }, [floats(1, -1, 2)])).toBe('fault');
    }
  });

  it('names the first faulty operation in program order, not the first that its plan meets', () => {
    // The first logarithm stays pending while the second group is computed for the sum.
    const reduce: Operation = {
      primitive: 'reduce',
      inputs: [3],
      params: { op: 'add', axis: [0] },
      outputs: [{ dtype: 'float32', shape: [] }],
    };
    const subject = program(2, [log(0), log(1), reduce], [2, 4]);
    expect(errorOf(() => wasmExecutor.prepare(subject).run([floats(-1, 1, 1), floats(-1, 1, 1)])).details).toEqual({
      operation: 0,
      primitive: 'log',
    });
    expect(errorOf(() => wasmExecutor.prepare(subject).run([floats(1, 1, 1), floats(-1, 1, 1)])).details).toEqual({
      operation: 1,
      primitive: 'log',
    });
  });

  it('works again after a fault, returns fresh arrays and leaves inputs alone', () => {
    const prepared = wasmExecutor.prepare(program(1, [log(0), add(0, 1)], [0, 0, 2, 1]));
    expect(() => prepared.run([floats(-1, 1, 1)])).toThrow('NaN');
    const input = floats(1, 1, 1);
    const first = prepared.run([input]);
    for (const { data } of first) data.fill(9);
    expect(input).toEqual(floats(1, 1, 1));
    expect(prepared.run([input])).toEqual([floats(1, 1, 1), floats(1, 1, 1), floats(1, 1, 1), floats(0, 0, 0)]);
    prepared.dispose();
    expect(errorOf(() => prepared.run([input])).code).toBe('INTERNAL');
  });

  it('refuses a malformed program', () => {
    expect(errorOf(() => wasmExecutor.prepare(program(1, [add(0, 7)], [1]))).code).toBe('PROGRAM_INVALID');
  });

  it('refuses a program that no memory can hold', () => {
    const scalar: TensorType = type();
    const wide: TensorType = type(2 ** 31);
    const spread: Operation = { primitive: 'broadcast', inputs: [0], params: { shape: wide.shape, axis: [0] }, outputs: [wide] };
    const scalarProgram: Program = { ...program(1, [], []), inputs: [{ name: 'a0', ...scalar }] };
    const negated: Operation = { primitive: 'neg', inputs: [1], params: plain, outputs: [wide] };
    const held: Program = { ...scalarProgram, operations: [spread, negated], outputs: [{ name: 'r0', value: 2 }] };
    expect(errorOf(() => wasmExecutor.prepare(held)).code).toBe('PROGRAM_INVALID');
  });

  it('runs groups longer than one kernel call takes', () => {
    const operations = Array.from({ length: 200 }, (_, index) => add(index, Math.max(index - 3, 0)));
    expectSameBits(program(1, operations, [200, 57]), [floats(1e-30, -2e-30, 3e-30)]);
  });
});

describe('a program in a loop', () => {
  const swap = program(3, [add(0, 2), add(1, 2)], [4, 3, 0, 4]);

  it('gives what repeated runs give, with state that swaps places and outputs that are inputs', () => {
    // State (a, b) becomes (b + c, a + c); a third case returns inputs unchanged.
    for (const subject of [swap, program(3, [add(0, 2)], [1, 0, 3]), program(3, [add(0, 2)], [3, 3, 3])]) {
      const loops = [referenceExecutor, wasmExecutor].map((executor) => prepareLoop(executor, subject, 2));
      for (const loop of loops) loop.setState([floats(1, 2, 3), floats(40, 50, 60)]);
      for (let step = 0; step < 5; step++) {
        const [expected, actual] = loops.map((loop) => [...loop.step([floats(step, 1, -1)]), ...loop.readState()]);
        expect(actual).toEqual(expected);
      }
    }
  });

  it('keeps the state from before a step that faults', () => {
    for (const executor of [referenceExecutor, wasmExecutor]) {
      const loop = prepareLoop(executor, program(2, [add(0, 1), log(2)], [2, 3]), 1);
      loop.setState([floats(1, 1, 1)]);
      loop.step([floats(1, 1, 1)]);
      const error = errorOf(() => loop.step([floats(-5, 0, 0)]));
      expect([error.code, error.details]).toEqual(['NUMERIC_FAULT', { operation: 1, primitive: 'log' }]);
      expect(loop.readState()).toEqual([floats(2, 2, 2)]);
      expect(loop.step([floats(1, 1, 1)])).toHaveLength(1);
      expect(loop.readState()).toEqual([floats(3, 3, 3)]);
      loop.dispose();
    }
  });

  it('is refused when outputs cannot become inputs, and when its state does not fit', () => {
    const sum: Operation = {
      primitive: 'reduce',
      inputs: [0],
      params: { op: 'add', axis: [0] },
      outputs: [{ dtype: 'float32', shape: [] }],
    };
    expect(errorOf(() => prepareLoop(wasmExecutor, program(1, [sum], [1]), 1)).code).toBe('PROGRAM_INVALID');
    expect(errorOf(() => prepareLoop(wasmExecutor, program(1, [], [0]), 2)).code).toBe('PROGRAM_INVALID');
    for (const executor of [referenceExecutor, wasmExecutor]) {
      const loop = prepareLoop(executor, swap, 2);
      expect(errorOf(() => loop.setState([floats(1, 2, 3)])).code).toBe('TENSOR_MISMATCH');
      expect(errorOf(() => loop.setState([floats(1, 2, 3), floats(1, Number.NaN, 3)])).code).toBe('NUMERIC_FAULT');
    }
  });
});

describe('views', () => {
  it('that reshape without copying name the same elements in the same order', () => {
    const shapes: readonly (readonly number[])[] = [[24], [4, 6], [2, 3, 4], [2, 2, 6], [1, 8, 3], [3, 1, 2, 4], [12, 1, 2]];
    const permutations = [
      [0, 1, 2],
      [1, 0, 2],
      [2, 0, 1],
      [2, 1, 0],
    ];
    fc.assert(
      fc.property(fc.constantFrom(...permutations), fc.constantFrom(...shapes), (perm, shape) => {
        const dense = {
          dtype: 'float32' as const,
          shape: [2, 3, 4],
          strides: denseStrides([2, 3, 4]),
          offset: 0,
          buffer: { bytes: 96, firstUse: 0, lastUse: 0, address: 0 },
        };
        const view = transposeView(dense, perm);
        const reshaped = reshapeView(view, shape);
        if (reshaped !== null) expect(offsetTable(reshaped.shape, reshaped.strides)).toEqual(offsetTable(view.shape, view.strides));
      }),
    );
  });

  it('of a product’s broadcast operands are read in place, whatever moved them', () => {
    const random = seeded(3);
    const [m, n, k] = [9, 21, 13];
    const subject: Program = {
      version: 1,
      name: 'gradient',
      inputs: [
        { name: 'x', ...type(k, m) },
        { name: 'y', ...type(k, n) },
      ],
      constants: [],
      operations: [
        { primitive: 'broadcast', inputs: [0], params: { shape: [n, k, m], axis: [0] }, outputs: [type(n, k, m)] },
        { primitive: 'transpose', inputs: [2], params: { perm: [2, 0, 1] }, outputs: [type(m, n, k)] },
        { primitive: 'transpose', inputs: [1], params: { perm: [1, 0] }, outputs: [type(n, k)] },
        { primitive: 'flip', inputs: [4], params: { axis: [0, 1] }, outputs: [type(n, k)] },
        { primitive: 'reshape', inputs: [5], params: { shape: [1, n, k] }, outputs: [type(1, n, k)] },
        { primitive: 'dot', inputs: [3, 6], params: plain, outputs: [type(m, n)] },
      ],
      outputs: [{ name: 'product', value: 7 }],
    };
    expectSameBits(subject, [randomTensor('float32', [k, m], random, true), randomTensor('float32', [k, n], random, true)]);
  });
});

it('base64 decodes as the runtime’s own decoder does', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(decodeBase64(Buffer.from(bytes).toString('base64'))).toEqual(Uint8Array.from(bytes));
    }),
  );
});
