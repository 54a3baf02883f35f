import { type Executor, type Program, referenceExecutor, type Tensor, wasmExecutor } from '@muster/engine';
import { describe, expect, test } from 'vitest';
import { buildModel, type ModelSpec, type TrainingSpec } from '@muster/models';
import { floats, key, keysFor, learnable, optimizers, scalarFloat, stepNumber, tinySpecs, uniforms, zerosOf } from './fixtures.ts';

const bits = (tensors: readonly Tensor[]): readonly unknown[] =>
  tensors.map(({ dtype, shape, data }) => [dtype, [...shape], [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]]);

/** Everything a recipe can ask for at once. */
const recipe: TrainingSpec = {
  batchSize: 6,
  evaluationBatch: 6,
  optimizer: { kind: 'adamw', learningRate: 0.03125, beta1: 0.875, beta2: 0.9375, epsilon: 1e-8, weightDecay: 0.125 },
  schedule: { kind: 'cosine', warmupSteps: 1, totalSteps: 4, minimumRate: 0.001 },
  clipNorm: 0.5,
  accumulation: 2,
};

const cases = [
  ...Object.values(optimizers).flatMap((optimizer) => tinySpecs(optimizer).map((spec) => [spec.family, optimizer.kind, spec] as const)),
  ...tinySpecs(recipe.optimizer).map((spec): readonly [string, string, ModelSpec] => [
    spec.family,
    'a whole recipe',
    { ...spec, ...recipe, ...(spec.family === 'cnn' ? { augment: { flip: true, shift: 1 } } : {}) },
  ]),
];

describe('every executor gives the same bits', () => {
  test.each(cases)('for all programs of %s with %s, over three steps', async (_, __, spec) => {
    const { programs, model } = await buildModel(spec);
    const { x, y } = learnable({ programs, model } as Parameters<typeof learnable>[0]);
    const mask = { dtype: 'float32', shape: [6], data: Float32Array.of(1, 0, 1, 1, 0, 1) } as const;
    const update = model.parameters.map((parameter) => floats(parameter, uniforms(9)));

    const history = (executor: Executor): readonly unknown[] => {
      const results: Tensor[][] = [];
      const run = (program: Program, inputs: readonly Tensor[]): Tensor[] => {
        const prepared = executor.prepare(program);
        const outputs = prepared.run(inputs);
        prepared.dispose();
        results.push(outputs);
        return outputs;
      };
      const base = run(programs.init, [keysFor(model.parameters.length, 7)]);
      let state = [...base, ...zerosOf(model.slots)];
      for (let step = 0; step < 3; step++) state = run(programs.trainStep, [...state, x, y, key, stepNumber(step)]).slice(0, -1);
      const trained = state.slice(0, base.length);
      run(programs.evaluate, [...trained, x, y, mask]);
      run(programs.apply, [...trained, x]);
      const moved = run(programs.update, [...trained, ...base]);
      const folded = run(programs.fold, [...moved, ...update, scalarFloat(0.3)]);
      run(programs.finish, [...base, ...folded, scalarFloat(1.7)]);
      return results.map(bits);
    };
    expect(history(wasmExecutor)).toEqual(history(referenceExecutor));
  });
});
