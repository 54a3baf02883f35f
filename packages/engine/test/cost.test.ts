import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import { checkCost, estimateProgram, type Operation, type Program, ProgramBuilder, type TensorType } from '../src/index.ts';
import { deepStep } from './optimize-support.ts';

const scalar: TensorType = { dtype: 'float32', shape: [] };

function errorOf(run: () => unknown): MusterError {
  try {
    run();
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function withOperations(operations: readonly Operation[], output: number): Program {
  return {
    version: 1,
    name: 'case',
    inputs: [{ name: 'x', ...scalar }],
    constants: [],
    operations,
    outputs: [{ name: 'y', value: output }],
  };
}

describe('the cost of a program', () => {
  it('counts arithmetic, bytes and the memory held at a time', () => {
    const builder = new ProgramBuilder('case');
    const a = builder.input({ name: 'a', dtype: 'float32', shape: [10, 1, 30] });
    const b = builder.input({ name: 'b', dtype: 'float32', shape: [1, 20, 30] });
    const product = builder.apply('dot', {}, a, b);
    const sum = builder.apply('reduce', { op: 'add', axis: [0] }, builder.apply('exp', {}, builder.apply('neg', {}, product)));
    const cost = estimateProgram(builder.finish([{ name: 'y', value: sum }]));
    expect(cost).toEqual({
      operations: 4,
      calls: 3,
      flops: 2 * 10 * 20 * 30 + 200 + 200 + 200,
      productFlops: 2 * 10 * 20 * 30,
      bytesMoved: 4 * (300 + 600 + 200) + 4 * 400 + 4 * 220,
      largestTensorBytes: 4 * 600,
      inputBytes: 4 * 900,
      constantBytes: 0,
      outputBytes: 80,
      peakBytes: 4 * (300 + 600 + 200),
    });
  });

  it('holds state and its successor all the time in a loop', () => {
    const program = deepStep(3, 8, 4);
    expect(estimateProgram(program, 3).peakBytes).toBeGreaterThanOrEqual(2 * 3 * 64 * 4);
    expect(estimateProgram(program, 3).peakBytes).toBeGreaterThan(estimateProgram(program).peakBytes);
  });

  it('is refused before anything is allocated when no machine should try', () => {
    const wide: TensorType = { dtype: 'float32', shape: [2 ** 31] };
    const spread: Operation = { primitive: 'broadcast', inputs: [0], params: { shape: wide.shape, axis: [0] }, outputs: [wide] };
    const error = errorOf(() => checkCost(withOperations([spread, { primitive: 'neg', inputs: [1], params: {}, outputs: [wide] }], 2)));
    expect([error.code, error.details]).toEqual(['PROGRAM_INVALID', { field: 'largestTensorBytes', value: 2 ** 33, limit: 2 ** 32 }]);
    const large: TensorType = { dtype: 'float32', shape: [2 ** 29] };
    const many: Operation[] = [{ ...spread, params: { shape: large.shape, axis: [0] }, outputs: [large] }];
    for (let i = 0; i < 90; i++) many.push({ primitive: 'sort', inputs: [i === 0 ? 1 : 1 + i], params: {}, outputs: [large] });
    const held = { ...withOperations(many, 1), outputs: many.map((_, i) => ({ name: `y${i}`, value: i + 1 })) };
    expect(errorOf(() => checkCost(held)).details).toMatchObject({ field: 'peakBytes' });
    const long: Operation[] = [
      {
        primitive: 'broadcast',
        inputs: [0],
        params: { shape: [2 ** 14, 1, 2 ** 15], axis: [0, 1, 2] },
        outputs: [{ dtype: 'float32', shape: [2 ** 14, 1, 2 ** 15] }],
      },
      {
        primitive: 'broadcast',
        inputs: [0],
        params: { shape: [1, 2 ** 14, 2 ** 15], axis: [0, 1, 2] },
        outputs: [{ dtype: 'float32', shape: [1, 2 ** 14, 2 ** 15] }],
      },
    ];
    for (let i = 0; i < 600; i++)
      long.push({ primitive: 'dot', inputs: [1, 2], params: {}, outputs: [{ dtype: 'float32', shape: [2 ** 14, 2 ** 14] }] });
    expect(errorOf(() => checkCost(withOperations(long, 3))).details).toMatchObject({ field: 'flops' });
    expect(errorOf(() => checkCost(withOperations([spread], 5))).code).toBe('PROGRAM_INVALID');
  });

  it('takes time linear in the operations of a program', () => {
    const vector: TensorType = { dtype: 'float32', shape: [3] };
    const chainOf = (count: number): Program => ({
      ...withOperations(
        Array.from({ length: count }, (_, i): Operation => ({
          primitive: 'add',
          inputs: [i, Math.max(0, i - 60)],
          params: {},
          outputs: [vector],
        })),
        count,
      ),
      inputs: [{ name: 'x', ...vector }],
    });
    const cost = checkCost(chainOf(100_000));
    expect(cost.flops).toBe(300_000);
    expect(cost.calls).toBeGreaterThan(2000);
  });
});
