import { type Executor, type Program, referenceExecutor, type Tensor, wasmExecutor } from '@muster/engine';
import { describe, expect, test } from 'vitest';
import { buildModel } from '@muster/models';
import {
  floats,
  key,
  keysFor,
  learnable,
  optimizers,
  scalarFloat,
  stepNumber,
  tinySpecs,
  uniforms,
  withRecipe,
  zerosOf,
} from './fixtures.ts';

const bits = (tensors: readonly Tensor[]): readonly unknown[] =>
  tensors.map(({ dtype, shape, data }) => [dtype, [...shape], [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]]);

const cases = [
  ...Object.values(optimizers).flatMap((optimizer) => tinySpecs(optimizer).map((spec) => [spec.family, optimizer.kind, spec] as const)),
  ...tinySpecs(optimizers.sgd).map((spec) => [spec.family, 'a whole recipe', withRecipe(spec)] as const),
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
