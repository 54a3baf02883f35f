import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import {
  checkProgram,
  estimateProgram,
  type Operation,
  optimizeProgram,
  type Program,
  ProgramBuilder,
  randomProgram,
  referenceExecutor,
  rematerialise,
  reorder,
  scalarTensor,
  type Tensor,
  type TensorType,
  traceStep,
  wasmExecutor,
} from '../src/index.ts';
import { deepStep } from './optimize-support.ts';
import { randomTensor, seeded } from './wasm-support.ts';

type Outcome = { readonly bits: unknown } | { readonly fault: number };

function outcome(program: Program, inputs: readonly Tensor[], executor = referenceExecutor): Outcome {
  try {
    const outputs = executor.prepare(program).run(inputs);
    return {
      bits: outputs.map(({ dtype, shape, data }) => [
        dtype,
        [...shape],
        [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
      ]),
    };
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'NUMERIC_FAULT') throw error;
    return { fault: error.details['operation'] as number };
  }
}

/** Fewer inputs: the chosen ones become constants. */
function withConstants(program: Program, inputs: readonly Tensor[], chosen: (index: number) => boolean): readonly [Program, Tensor[]] {
  const order = [...inputs.keys()];
  const left = order.filter((index) => !chosen(index));
  const moved = order.filter(chosen);
  const number = new Map([...left, ...moved].map((old, index) => [old, index]));
  const renumbered = (value: number): number => number.get(value) ?? value;
  return [
    {
      ...program,
      inputs: left.map((index) => program.inputs[index] as Program['inputs'][number]),
      constants: [...moved.map((index) => inputs[index] as Tensor), ...program.constants],
      operations: program.operations.map((operation) => ({ ...operation, inputs: operation.inputs.map(renumbered) })),
      outputs: program.outputs.map(({ name, value }) => ({ name, value: renumbered(value) })),
    },
    left.map((index) => inputs[index] as Tensor),
  ];
}

function expectSame(program: Program, inputs: readonly Tensor[], limit: number | null, label: string): Program {
  const optimized = optimizeProgram(program, { memoryLimitBytes: limit });
  checkProgram(optimized.program);
  expect(optimized.origin).toHaveLength(optimized.program.operations.length);
  const expected = outcome(program, inputs);
  const actual = outcome(optimized.program, inputs);
  if ('fault' in expected) {
    expect('fault' in actual, label).toBe(true);
    const named = optimized.origin[(actual as { readonly fault: number }).fault] as number;
    expect(named, label).toBeGreaterThanOrEqual(expected.fault);
    const { primitive } = optimized.program.operations[(actual as { readonly fault: number }).fault] as Operation;
    if (primitive !== 'broadcast') expect(program.operations[named]?.primitive).toBe(primitive);
  } else expect(actual, label).toEqual(expected);
  return optimized.program;
}

describe('constant folding', () => {
  it('keeps the bits and the faults of random programs, whatever is constant', () => {
    let removed = 0;
    for (let seed = 0; seed < 400; seed++) {
      const { program, inputs } = randomProgram(seed);
      const [changed, left] = withConstants(program, inputs, (index) => seed % 3 === 0 || (index * 7 + seed) % 3 !== 0);
      removed += changed.operations.length - expectSame(changed, left, null, `seed ${seed}`).operations.length;
    }
    expect(removed).toBeGreaterThan(200);
  });

  it('leaves views of literals, large results and operations that would fault', () => {
    const builder = new ProgramBuilder('case');
    const x = builder.input({ name: 'x', dtype: 'float32', shape: [4, 3] });
    const wide = builder.apply('broadcast', { shape: [4, 3], axis: [0, 1] }, builder.scalar('float32', 2));
    const half = builder.apply('reciprocal', {}, wide);
    const range = builder.constant({ dtype: 'float32', shape: [3], data: Float32Array.of(1, 2, 3) });
    const rooted = builder.apply('sqrt', {}, range);
    const large = builder.apply('broadcast', { shape: [100, 1000], axis: [0, 1] }, builder.scalar('float32', 3));
    const cube = builder.apply('mul', {}, large, large);
    const sum = builder.apply('reduce', { op: 'add', axis: [0, 1] }, cube);
    const scaled = builder.apply('mul', {}, builder.apply('add', {}, builder.apply('mul', {}, x, half), rooted), sum);
    const program = builder.finish([{ name: 'y', value: scaled }]);
    const { program: folded, origin } = optimizeProgram(program, { memoryLimitBytes: null });
    expect(folded.operations.map(({ primitive }) => primitive)).toEqual(['broadcast', 'broadcast', 'mul', 'reduce', 'mul', 'add', 'mul']);
    expect(origin.map((index) => program.operations[index]?.primitive)).toEqual([
      'reciprocal',
      'broadcast',
      'mul',
      'reduce',
      'mul',
      'add',
      'mul',
    ]);
    expect(folded.constants.map(({ shape }) => shape)).toContainEqual([3]);
    const input = randomTensor('float32', [4, 3], seeded(1), true);
    expect(outcome(folded, [input])).toEqual(outcome(program, [input]));

    const bad = new ProgramBuilder('bad');
    const y = bad.input({ name: 'y', dtype: 'float32', shape: [] });
    const log = bad.apply('log', {}, bad.constant(scalarTensor('float32', -1)));
    const faulty = bad.finish([{ name: 'z', value: bad.apply('add', {}, y, log) }]);
    const optimized = optimizeProgram(faulty, { memoryLimitBytes: null });
    expect(optimized.program.operations).toHaveLength(2);
    expect(outcome(optimized.program, [scalarTensor('float32', 1)])).toEqual({ fault: 0 });
  });

  it('folds nothing of a program of a hundred thousand operations beyond its bound of work', () => {
    const vector: TensorType = { dtype: 'float32', shape: [4096] };
    const operations: Operation[] = Array.from({ length: 20_000 }, (_, index) => ({
      primitive: 'add',
      inputs: [index, index],
      params: {},
      outputs: [vector],
    }));
    const program: Program = {
      version: 1,
      name: 'long',
      inputs: [],
      constants: [{ ...vector, data: new Float32Array(4096).fill(0).fill(1, 1) }],
      operations,
      outputs: [{ name: 'y', value: 20_000 }],
    };
    const { program: folded } = optimizeProgram(program, { memoryLimitBytes: null });
    expect(folded.operations.length).toBeGreaterThan(15_000);
    expect(folded.operations.length).toBeLessThan(20_000);
  });
});

describe('the order of operations', () => {
  it('lets weight gradients follow the layer that they belong to', () => {
    // x · w for each of many layers, then the gradients, all of which are products made at the end.
    const builder = new ProgramBuilder('late');
    const x = builder.input({ name: 'x', dtype: 'float32', shape: [100, 1, 4] });
    const rows = Array.from({ length: 20 }, (_, i) => {
      const weight = builder.input({ name: `w${i}`, dtype: 'float32', shape: [1, 4, 4] });
      return builder.apply('dot', {}, x, weight);
    });
    const columns = rows.map((row) => builder.apply('reshape', { shape: [4, 1, 100] }, row));
    const gradients = columns.map((column) => builder.apply('dot', {}, column, builder.apply('reshape', { shape: [1, 4, 100] }, column)));
    const program = builder.finish(gradients.map((value, i) => ({ name: `g${i}`, value })));
    const ordered = reorder(program);
    checkProgram(ordered.program);
    expect(estimateProgram(ordered.program).peakBytes).toBeLessThan(estimateProgram(program).peakBytes / 3);
    expect([...ordered.origin].sort((a, b) => a - b)).toEqual(program.operations.map((_, index) => index));
    const random = seeded(8);
    const inputs = program.inputs.map(({ dtype, shape }) => randomTensor(dtype, shape, random, true));
    expect(outcome(ordered.program, inputs)).toEqual(outcome(program, inputs));
  });
});

describe('rematerialisation', () => {
  it('keeps the bits and the faults of random programs', () => {
    for (let seed = 0; seed < 400; seed++) {
      const { program, inputs } = randomProgram(seed);
      expectSame(program, inputs, 0, `seed ${seed}`);
    }
  });

  it('halves the memory of a deep network’s step for at most 40 % more arithmetic, with the same bits', () => {
    const program = deepStep(24, 16, 256);
    const before = estimateProgram(program, 24);
    const optimized = rematerialise(program, before.peakBytes / 2, 24);
    const after = estimateProgram(optimized.program, 24);
    expect(after.peakBytes).toBeLessThanOrEqual(before.peakBytes / 2);
    expect(after.flops).toBeLessThanOrEqual(1.4 * before.flops);
    const random = seeded(3);
    const inputs = program.inputs.map(({ dtype, shape }): Tensor => {
      const { data } = randomTensor(dtype, shape, random, true);
      return { dtype, shape, data: Float32Array.from(data, (value) => value / 4) };
    });
    expect(outcome(program, inputs, wasmExecutor)).toHaveProperty('bits');
    expect(outcome(optimized.program, inputs, wasmExecutor)).toEqual(outcome(program, inputs, wasmExecutor));
    // A dispute is about the program itself; what ran in its place gave the same values.
    const roots = traceStep(program, inputs).operationRoots;
    const again = traceStep(optimized.program, inputs).operationRoots;
    expect(again).toEqual(optimized.origin.map((index) => roots[index]));
  });

  it('changes nothing where memory suffices, and never raises the peak', () => {
    const program = deepStep(6, 8, 32);
    const { peakBytes } = estimateProgram(program, 6);
    expect(rematerialise(program, peakBytes, 6).program).toBe(program);
    for (const share of [0.9, 0.5, 0.1, 0])
      expect(estimateProgram(rematerialise(program, share * peakBytes, 6).program, 6).peakBytes).toBeLessThanOrEqual(peakBytes);
  });
});
