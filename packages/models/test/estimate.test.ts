import {
  costOf,
  predictSeconds,
  referenceExecutor,
  type Tensor,
  wasmExecutor,
  optimizeProgram,
  plannedMemory,
  rematerialise,
  reorder,
  resizeProgram,
  type MachineSpeed,
} from '@muster/engine';
import { cidOfBytes, MusterError } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import { buildModel, estimateModel, gptOfSize, type ModelSpec, parameterCount, parseParameters } from '@muster/models';
import { optimizers, tinySpecs } from './fixtures.ts';

const gpt: Extract<ModelSpec, { family: 'gpt' }> = {
  family: 'gpt',
  vocabulary: 67,
  context: 16,
  layers: 3,
  heads: 2,
  width: 24,
  norm: 'layer',
  bias: true,
  tied: true,
  hiddenMultiple: 4,
  activation: 'gelu',
  dropout: 0,
  generationBatch: 1,
  batchSize: 12,
  evaluationBatch: 12,
  optimizer: optimizers.adam,
};
const mamba: ModelSpec = {
  family: 'mamba',
  vocabulary: 67,
  context: 32,
  layers: 2,
  width: 16,
  expansion: 2,
  headWidth: 8,
  stateWidth: 8,
  convolutionWidth: 4,
  chunk: 8,
  generationBatch: 1,
  batchSize: 4,
  evaluationBatch: 4,
  optimizer: optimizers.sgd,
};

const sizeOf = (shape: readonly number[]): number => shape.reduce((size, extent) => size * extent, 1);

describe('the number of parameters', () => {
  test.each([...tinySpecs(optimizers.sgd), gpt, mamba].map((spec) => [spec.family, spec] as const))(
    'of %s is what its programs have, without tracing',
    async (_, spec) => {
      const { model } = await buildModel(spec);
      const built = model.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
      expect(parameterCount(spec)).toBe(built);
      expect(estimateModel(spec).parameters).toBe(built);
    },
  );

  test.each([['124M'], ['350M'], ['500M'], ['1B'], ['1.5B'], ['3B'], ['13B']])('of a GPT chosen for %s is within 3 %%', (text) => {
    const wanted = parseParameters(text);
    const spec = gptOfSize(wanted, 1);
    expect(Math.abs(parameterCount(spec) / wanted - 1)).toBeLessThan(0.03);
  });

  test.each([['none'], ['3T'], ['-1B'], ['1e9'], ['5']])('is not "%s"', (text) => {
    expect(() => parseParameters(text)).toThrow(MusterError);
    expect(() => gptOfSize(1e6, 1)).toThrow(MusterError);
  });
});

/** Input tensors that let a step run: small weights, classes below `classes`. */
function inputsOf(
  step: { readonly inputs: readonly { readonly dtype: string; readonly shape: readonly number[] }[] },
  classes: number,
): Tensor[] {
  let state = 1;
  const next = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  return step.inputs.map(({ dtype, shape }): Tensor => {
    const length = sizeOf(shape);
    if (dtype === 'float32') return { dtype, shape, data: Float32Array.from({ length }, () => 0.2 * next()) };
    if (dtype === 'int32') return { dtype, shape, data: Int32Array.from({ length }, () => Math.floor(next() * classes)) };
    return { dtype: 'uint32', shape, data: Uint32Array.from({ length }, (_, i) => i) };
  });
}

describe('an estimate', () => {
  test('splits the memory of a step into what it is for', () => {
    const { memory, cost, rematerialised } = estimateModel(gpt);
    const { parameters, optimizer, nextState, gradients, given, activations, total } = memory;
    const { tables } = memory;
    expect(parameters + optimizer + nextState + gradients + given + activations + tables).toBe(total);
    expect((total - tables) / cost.peakBytes).toBeGreaterThan(0.8);
    expect((total - tables) / cost.peakBytes).toBeLessThan(1.1);
    expect(parameters).toBe(4 * parameterCount(gpt));
    expect(optimizer).toBe(2 * parameters + 8);
    expect(rematerialised.memory.total).toBeLessThan(total);
  });

  test('of a GPT at sizes that were never traced equals the one traced there', async () => {
    const trace = async (spec: typeof gpt) => {
      const { programs } = await buildModel(spec);
      return { program: programs.trainStep, sizes: { batch: spec.batchSize, context: spec.context, vocabulary: spec.vocabulary } };
    };
    const base = { ...gpt, layers: 2, batchSize: 3, context: 7, vocabulary: 101 };
    const target = { ...gpt, layers: 2, batchSize: 20, context: 48, vocabulary: 300 };
    const changed = [
      { ...base, batchSize: 5 },
      { ...base, context: 11 },
      { ...base, vocabulary: 131 },
    ];
    const variants = await Promise.all(changed.map(trace));
    const small = await trace(base);
    const direct = await trace(target);
    const resized = resizeProgram(small, variants, direct.sizes);
    const state = 3 * 40;
    expect(resized.operations.map(({ outputs }) => outputs)).toEqual(direct.program.operations.map(({ outputs }) => outputs));
    expect({ ...costOf(resized, state), constantBytes: 0 }).toEqual({ ...costOf(direct.program, state), constantBytes: 0 });
    const [ours, theirs] = [resized, direct.program].map((program) => plannedMemory(program, null).bufferBytes) as [number, number];
    expect(ours / theirs).toBeCloseTo(1, 1);
    const shallow = await trace({ ...base, batchSize: 5, layers: 1 });
    expect(() => resizeProgram(small, [], direct.sizes)).toThrow(MusterError);
    expect(() => resizeProgram(small, [shallow], direct.sizes)).toThrow(MusterError);
  });

  test('of adapters trains few numbers beside frozen weights', () => {
    const base = cidOfBytes(Uint8Array.of(1), 'raw');
    const adapted = estimateModel({ ...gpt, adapter: { rank: 2, alpha: 4, targets: ['*.kernel'], base } });
    const plain = estimateModel(gpt);
    expect(adapted.parameters).toBeLessThan(plain.parameters / 3);
    expect(adapted.memory.given).toBeGreaterThan(plain.memory.parameters);
    expect(adapted.memory.optimizer).toBe(8 * adapted.parameters + 8);
  });

  test('of a model of three billion parameters takes no memory of that size', () => {
    const spec = gptOfSize(3e9, 1);
    const { parameters, cost, memory, traced } = estimateModel({ ...spec, layers: 2 } as ModelSpec);
    expect(traced).toBe(false);
    const tokens = 1024;
    expect(cost.productFlops / (6 * parameters * tokens)).toBeGreaterThan(0.95);
    expect(cost.productFlops / (6 * parameters * tokens)).toBeLessThan(1.2);
    expect(memory.parameters).toBe(4 * parameters);
  });
});

describe('memory of a deep GPT’s step', () => {
  const deep = { ...gpt, layers: 12, width: 16, batchSize: 24, optimizer: optimizers.momentum } as const;

  test('is halved by computing again, for at most 40 % more arithmetic and with the same bits', () => {
    const { step, state, cost } = estimateModel(deep);
    const again = rematerialise(step, cost.peakBytes / 2, state);
    const lean = costOf(again.program, state);
    expect(lean.peakBytes).toBeLessThanOrEqual(cost.peakBytes / 2);
    expect(lean.flops / cost.flops).toBeLessThanOrEqual(1.4);
    const inputs = inputsOf(step, deep.vocabulary);
    const [expected, actual] = [step, again.program].map((program) => wasmExecutor.prepare(program).run(inputs));
    expect(actual).toEqual(expected);
  });
});

describe('passes over the programs of every family', () => {
  test.each(
    [...tinySpecs(optimizers.momentum), { ...gpt, layers: 1 }, { ...mamba, layers: 1 }].map((spec) => [spec.family, spec] as const),
  )('keep the bits of %s', async (_, spec) => {
    const { programs, generate } = await buildModel(spec);
    for (const program of [...Object.values(programs), ...(generate === null ? [] : [generate])]) {
      const inputs = inputsOf(program, 3);
      const expected = wasmExecutor.prepare(program).run(inputs);
      for (const memoryLimitBytes of [null, 0]) {
        const optimized = optimizeProgram(program, { memoryLimitBytes });
        expect(wasmExecutor.prepare(optimized.program).run(inputs), `${program.name}, ${memoryLimitBytes}`).toEqual(expected);
      }
      expect(costOf(reorder(program).program).peakBytes).toBeLessThanOrEqual(1.001 * costOf(program).peakBytes);
    }
    const small = referenceExecutor.prepare(optimizeProgram(programs.apply, { memoryLimitBytes: 0 }).program);
    const inputs = inputsOf(programs.apply, 3);
    expect(small.run(inputs)).toEqual(referenceExecutor.prepare(programs.apply).run(inputs));
  });
});

const speed = (factor: number): MachineSpeed => ({
  products: [
    { extent: 32, flopsPerSecond: 1e9 * factor },
    { extent: 256, flopsPerSecond: 2e10 * factor },
  ],
  convolutionFlopsPerSecond: 1e10 * factor,
  simpleElementsPerSecond: 1e9 * factor,
  functionElementsPerSecond: 1e8 * factor,
  reducedElementsPerSecond: 1e9 * factor,
  bytesPerSecond: 1e10 * factor,
  secondsPerCall: 1e-6 / factor,
});

test('predicted time is in proportion to the speed of the machine', () => {
  const { step } = estimateModel(gpt);
  const seconds = predictSeconds(step, speed(1));
  expect(seconds).toBeGreaterThan(0);
  expect(predictSeconds(step, speed(4)) / seconds).toBeCloseTo(0.25, 6);
});
