import { MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkProgram, inferOutputs, type Operation, type Program, type TensorType } from '@muster/engine';
import { programs } from './trace-arbitrary.ts';

const float = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });
const int = (...shape: number[]): TensorType => ({ dtype: 'int32', shape });

const base: Program = {
  version: 1,
  name: 'base',
  inputs: [
    { name: 'x', dtype: 'float32', shape: [2, 3] },
    { name: 'i', dtype: 'int32', shape: [2] },
  ],
  constants: [{ dtype: 'float32', shape: [], data: Float32Array.of(2) }],
  operations: [
    { primitive: 'mul', inputs: [0, 2], params: {}, outputs: [float(2, 3)] },
    { primitive: 'reduce', inputs: [3], params: { op: 'add', axis: [1] }, outputs: [float(2)] },
  ],
  outputs: [{ name: 'sum', value: 4 }],
};

function faultOf(program: Program): { code: string; details: Readonly<Record<string, unknown>>; message: string } {
  try {
    checkProgram(program);
  } catch (error) {
    if (error instanceof MusterError) return { code: error.code, details: error.details, message: error.message };
    throw error;
  }
  throw new Error('the program was accepted');
}

const withOperation = (operation: Operation): Program => ({ ...base, operations: [operation, ...base.operations.slice(1)] });

describe('checkProgram', () => {
  test('accepts what the builder makes', () => {
    fc.assert(
      fc.property(programs, (program) => {
        checkProgram(program);
      }),
      { numRuns: 100 },
    );
    checkProgram(base);
  });

  test('names the operation, its primitive and the field that is wrong', () => {
    const fault = faultOf({
      ...base,
      operations: [
        base.operations[0] as Operation,
        { primitive: 'reduce', inputs: [3], params: { op: 'add', axis: [2] }, outputs: [float(2)] },
      ],
    });
    expect(fault.code).toBe('PROGRAM_INVALID');
    expect(fault.details).toMatchObject({ operation: 1, primitive: 'reduce', field: 'params.axis' });
    expect(fault.message).toContain('operation 1 (reduce)');
  });

  const broken: readonly (readonly [string, Program, string])[] = [
    ['a bad name', { ...base, name: 'a b' }, 'name'],
    ['two inputs of one name', { ...base, inputs: [...base.inputs, { name: 'x', ...float(1) }] }, 'inputs[2].name'],
    ['a negative extent', { ...base, inputs: [{ name: 'x', ...float(-2, 3) }] }, 'inputs[0].shape'],
    ['a fractional extent', { ...base, inputs: [{ name: 'x', ...float(1.5) }] }, 'inputs[0].shape'],
    ['too many elements', { ...base, inputs: [{ name: 'x', ...float(65_536, 65_536) }] }, 'inputs[0].shape'],
    ['a rank of 11', { ...base, inputs: [{ name: 'x', ...float(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) }] }, 'inputs[0].shape'],
    ['a constant of the wrong length', { ...base, constants: [{ ...float(2), data: Float32Array.of(1) }] }, 'constants[0].data'],
    ['a constant of the wrong array', { ...base, constants: [{ ...float(1), data: Int32Array.of(1) }] }, 'constants[0].data'],
    ['a NaN constant', { ...base, constants: [{ ...float(1), data: Float32Array.of(NaN) }] }, 'constants[0].data'],
    ['a bool of 2', { ...base, constants: [{ dtype: 'bool', shape: [1], data: Uint8Array.of(2) }] }, 'constants[0].data'],
    ['a reference to itself', withOperation({ primitive: 'mul', inputs: [0, 3], params: {}, outputs: [float(2, 3)] }), 'inputs'],
    ['a negative reference', withOperation({ primitive: 'mul', inputs: [0, -1], params: {}, outputs: [float(2, 3)] }), 'inputs'],
    ['a missing operand', withOperation({ primitive: 'mul', inputs: [0], params: {}, outputs: [float(2, 3)] }), 'inputs'],
    ['mixed types', withOperation({ primitive: 'mul', inputs: [0, 1], params: {}, outputs: [float(2, 3)] }), 'inputs'],
    ['a wrong output type', withOperation({ primitive: 'mul', inputs: [0, 2], params: {}, outputs: [float(3, 2)] }), 'outputs[0]'],
    ['an output too many', withOperation({ primitive: 'mul', inputs: [0, 2], params: {}, outputs: [float(2, 3), float(1)] }), 'outputs'],
    ['an output of no value', { ...base, outputs: [{ name: 'sum', value: 5 }] }, 'outputs[0].value'],
    ['two outputs of one name', { ...base, outputs: [...base.outputs, ...base.outputs] }, 'outputs[1].name'],
  ];
  test.each(broken)('refuses %s', (_, program, field) => {
    expect(faultOf(program)).toMatchObject({ code: 'PROGRAM_INVALID', details: { field } });
  });

  test('refuses a primitive outside the closed list', () => {
    const foreign = { primitive: 'toString', inputs: [0], params: {}, outputs: [float(2, 3)] } as unknown as Operation;
    expect(faultOf(withOperation(foreign)).details).toMatchObject({ field: 'primitive', operation: 0 });
  });
});

const infer = (operation: Omit<Operation, 'outputs' | 'inputs'>, ...inputs: TensorType[]): TensorType[] =>
  inferOutputs(operation.primitive, operation.params, inputs);

describe('shape inference', () => {
  test('broadcasts element-wise operands as NumPy does', () => {
    expect(infer({ primitive: 'add', params: {} }, float(3, 1), float(4))).toEqual([float(3, 4)]);
    expect(() => infer({ primitive: 'add', params: {} }, float(3), float(4))).toThrow(/broadcast/);
    expect(infer({ primitive: 'compare', params: { op: 'less' } }, int(2), int())).toEqual([{ dtype: 'bool', shape: [2] }]);
  });

  test('sums dot over a common last axis', () => {
    expect(infer({ primitive: 'dot', params: {} }, float(5, 1, 7), float(1, 6, 7))).toEqual([float(5, 6)]);
    expect(() => infer({ primitive: 'dot', params: {} }, float(7), float(1))).toThrow(/last axis/);
    expect(() => infer({ primitive: 'dot', params: {} }, float(), float(1))).toThrow(/last axis/);
  });

  test('gives convolutions their strided, dilated and cropped extents', () => {
    const params = { vmapDims: 0, strides: [2, 2], padding: [[1, 2] as const, [-1, 0] as const], lhsDilation: [1, 2], rhsDilation: [2, 1] };
    // height (28 + 3 − 9) / 2 + 1 = 12; width (2 · 28 − 1 − 1 − 5) / 2 + 1 = 25
    expect(infer({ primitive: 'conv', params }, float(4, 3, 28, 28), float(8, 3, 5, 5))).toEqual([float(4, 8, 12, 25)]);
    expect(() => infer({ primitive: 'conv', params: { ...params, strides: [0, 1] } }, float(4, 3, 28, 28), float(8, 3, 5, 5))).toThrow(
      /strides/,
    );
    expect(() => infer({ primitive: 'conv', params }, float(4, 2, 28, 28), float(8, 3, 5, 5))).toThrow(/channels/);
    expect(() => infer({ primitive: 'conv', params }, float(4, 3, 2, 2), float(8, 3, 5, 5))).toThrow(/window/);
  });

  test('appends windows to pooled extents, and takes them back', () => {
    const params = { window: [2, 2], strides: [2, 2] };
    expect(infer({ primitive: 'pool', params }, float(3, 7, 6))).toEqual([float(3, 3, 3, 2, 2)]);
    expect(infer({ primitive: 'pool_transpose', params: { ...params, inShape: [3, 7, 6] } }, float(3, 3, 3, 2, 2))).toEqual([
      float(3, 7, 6),
    ]);
    expect(() => infer({ primitive: 'pool', params: { window: [8], strides: [1] } }, float(7))).toThrow(/window/);
  });

  test('places gathered axes where outDim says', () => {
    expect(infer({ primitive: 'gather', params: { axis: [1], outDim: 1 } }, float(4, 5, 6), int(2, 3))).toEqual([float(4, 2, 3, 6)]);
    expect(
      infer({ primitive: 'scatter', params: { axis: [1], outDim: 1, shape: [4, 5, 6], mode: 'add' } }, float(4, 2, 3, 6), int(2, 3)),
    ).toEqual([float(4, 5, 6)]);
    expect(() => infer({ primitive: 'gather', params: { axis: [1], outDim: 1 } }, float(4, 5), float(2))).toThrow(/float32/);
    expect(() => infer({ primitive: 'gather', params: { axis: [0, 0], outDim: 0 } }, float(4, 5), int(2), int(2))).toThrow(/distinct/);
  });

  test('lets broadcast insert axes and stretch axes of extent 1 only', () => {
    expect(infer({ primitive: 'broadcast', params: { shape: [2, 3, 4], axis: [0] } }, float(3, 1))).toEqual([float(2, 3, 4)]);
    expect(() => infer({ primitive: 'broadcast', params: { shape: [2, 3], axis: [0] } }, float(2))).toThrow(/broadcast/);
  });

  test('knows the types of random bits, sorts, splits and casts', () => {
    const key: TensorType = { dtype: 'uint32', shape: [2] };
    expect(infer({ primitive: 'random_bits', params: { shape: [2, 5], mode: 'xor' } }, key, key)).toEqual([
      { dtype: 'uint32', shape: [2, 5] },
    ]);
    expect(() => infer({ primitive: 'random_bits', params: { shape: [3, 5], mode: 'xor' } }, key, key)).toThrow(/keys/);
    expect(infer({ primitive: 'argsort', params: {} }, float(3, 4))).toEqual([float(3, 4), int(3, 4)]);
    expect(infer({ primitive: 'split', params: { axis: 1, sizes: [1, 0, 3] } }, float(2, 4))).toEqual([
      float(2, 1),
      float(2, 0),
      float(2, 3),
    ]);
    expect(() => infer({ primitive: 'split', params: { axis: 1, sizes: [1, 1] } }, float(2, 4))).toThrow(/sum/);
    expect(infer({ primitive: 'bitcast', params: { dtype: 'float32' } }, key)).toEqual([float(2)]);
    expect(() => infer({ primitive: 'bitcast', params: { dtype: 'bool' } }, key)).toThrow(/32-bit/);
  });

  test('refuses extremes of nothing and sums of nothing it accepts', () => {
    expect(infer({ primitive: 'reduce', params: { op: 'add', axis: [0] } }, float(0, 2))).toEqual([float(2)]);
    expect(() => infer({ primitive: 'reduce', params: { op: 'max', axis: [0] } }, float(0, 2))).toThrow(/no elements/);
  });

  test('refuses results beyond the element limit', () => {
    expect(() => infer({ primitive: 'add', params: {} }, float(65_536, 1), float(65_536))).toThrow(/elements/);
    expect(() => infer({ primitive: 'concatenate', params: { axis: 0 } }, float(2 ** 31), float(2 ** 31))).toThrow(/extent/);
  });
});
