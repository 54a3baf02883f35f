import { type Array as JaxArray, numpy as np, random, valueAndGrad } from '@jax-js/jax';
import type { Tensor } from '@muster/engine';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildModel, type BuiltModel, definitionOf, type ModelSpec, uniformLimit } from '@muster/models';
import {
  floats,
  initial,
  key,
  keysFor,
  learnable,
  optimizers,
  relativeError,
  run,
  scalarFloat,
  stepNumber,
  tinySpecs,
  uniforms,
  zerosOf,
} from './fixtures.ts';

const families = ['softmax', 'mlp', 'cnn', 'regression'] as const;

function toJax({ data, shape }: Tensor): JaxArray {
  return np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
}

const specOf = (family: (typeof families)[number], optimizer: keyof typeof optimizers): ModelSpec =>
  tinySpecs(optimizers[optimizer]).find((spec) => spec.family === family) as ModelSpec;

/** Runs `steps` steps on one batch; losses and the final state. */
function train(built: BuiltModel, steps: number): { losses: number[]; state: Tensor[] } {
  const { x, y } = learnable(built);
  let state = [...initial(built), ...zerosOf(built.model.slots)];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const outputs = run(built.programs.trainStep, [...state, x, y, key, stepNumber(step)]);
    losses.push(outputs.at(-1)?.data[0] as number);
    state = outputs.slice(0, -1);
  }
  return { losses, state };
}

describe.each(families)('%s', (family) => {
  let sgd: BuiltModel;
  beforeAll(async () => {
    sgd = await buildModel({ ...specOf(family, 'sgd'), optimizer: { kind: 'sgd', learningRate: 1 } });
  });

  /** Gradients as base − final of one step of rate 1 from `parameters`. */
  function gradients(parameters: readonly Tensor[]): { loss: number; gradients: Float32Array[] } {
    const { x, y } = learnable(sgd);
    const outputs = run(sgd.programs.trainStep, [...parameters, x, y, key, stepNumber(0)]);
    return {
      loss: outputs.at(-1)?.data[0] as number,
      gradients: parameters.map((parameter, i) => Float32Array.from(parameter.data, (value, j) => value - (outputs[i]?.data[j] as number))),
    };
  }

  const lossAt = (parameters: readonly Tensor[]): number => {
    const { x, y } = learnable(sgd);
    const mask: Tensor = { dtype: 'float32', shape: [6], data: new Float32Array(6).fill(1) };
    return (run(sgd.programs.evaluate, [...parameters, x, y, mask])[0]?.data[0] as number) / 6;
  };

  test('starts from values that jax-js draws too, inside the limits of each parameter', () => {
    const definition = definitionOf(specOf(family, 'sgd'));
    const keys = keysFor(definition.parameters.length, 7);
    initial(sgd).forEach((tensor, i) => {
      const parameter = definition.parameters[i] as (typeof definition.parameters)[number];
      if (parameter.initial === 'zeros') {
        expect(tensor.data.every((value) => value === 0)).toBe(true);
        return;
      }
      const limit = uniformLimit(parameter);
      expect(Math.max(...Array.from(tensor.data, Math.abs))).toBeLessThanOrEqual(Math.fround(limit));
      const own = np.array(Uint32Array.from(keys.data.slice(2 * i, 2 * i + 2)), { dtype: np.uint32 });
      const drawn = random
        .uniform(own, [...parameter.shape])
        .sub(0.5)
        .mul(2 * limit);
      expect([...tensor.data]).toEqual([...drawn.dataSync()]);
    });
    expect(initial(sgd, 8)[0]?.data).not.toEqual(initial(sgd, 7)[0]?.data);
  });

  test('has the gradients of jax-js, to 1e-5', () => {
    const definition = definitionOf(specOf(family, 'sgd'));
    const parameters = initial(sgd);
    const { x, y } = learnable(sgd);
    const names = definition.parameters.map((parameter) => parameter.name);
    const meanLoss = (trained: Record<string, JaxArray>): JaxArray =>
      np.mean(definition.loss.perRecord(definition.apply(trained, toJax(x), { key: null }), toJax(y)));
    const [loss, theirs] = valueAndGrad(meanLoss)(Object.fromEntries(names.map((name, i) => [name, toJax(parameters[i] as Tensor)])));
    const ours = gradients(parameters);
    expect(Math.abs(ours.loss - (loss.dataSync()[0] as number)) / ours.loss).toBeLessThan(1e-5);
    names.forEach((name, i) => expect(relativeError(ours.gradients[i] ?? [], (theirs[name] as JaxArray).dataSync())).toBeLessThan(1e-5));
  });

  test('has the gradients of finite differences, to 1 %', () => {
    // Biases away from zero, so that no relu sits at its corner.
    const next = uniforms(11);
    const parameters = initial(sgd).map((tensor) => (tensor.shape.length === 1 ? floats(tensor, next, 0.3) : tensor));
    const { gradients: own } = gradients(parameters);
    const h = 2 ** -9;
    parameters.forEach((parameter, i) => {
      const scale = Math.max(...Array.from(own[i] ?? [], Math.abs));
      for (const at of [0, parameter.data.length >> 1, parameter.data.length - 1]) {
        const moved = (by: number): number => {
          const data = Float32Array.from(parameter.data);
          data[at] = (data[at] as number) + by;
          return lossAt(parameters.with(i, { ...parameter, data }));
        };
        const slope = (moved(h) - moved(-h)) / (2 * h);
        expect(Math.abs(slope - (own[i]?.[at] as number)) / scale).toBeLessThan(0.01);
      }
    });
  });

  test.each(Object.keys(optimizers) as (keyof typeof optimizers)[])('learns a small problem with %s', async (optimizer) => {
    const { losses } = train(await buildModel(specOf(family, optimizer)), 30);
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) * 0.5);
  });

  test('apply agrees with evaluate on who is right', () => {
    const parameters = initial(sgd);
    const { x, y } = learnable(sgd);
    const [output] = run(sgd.programs.apply, [...parameters, x]);
    const mask: Tensor = { dtype: 'float32', shape: [6], data: Float32Array.of(1, 1, 1, 0, 1, 1) };
    const [, correct] = run(sgd.programs.evaluate, [...parameters, x, y, mask]);
    const right = (record: number): boolean => {
      const scores = [...(output?.data.slice(3 * record, 3 * record + 3) ?? [])];
      return mask.data[record] === 1 && scores.indexOf(Math.max(...scores)) === y.data[record];
    };
    const expected = family === 'regression' ? 0 : [0, 1, 2, 3, 4, 5].filter(right).length;
    expect(correct?.data[0]).toBe(expected);
  });
});

test('evaluate leaves masked records out of the loss, whatever they hold', async () => {
  const built = await buildModel(specOf('softmax', 'sgd'));
  const parameters = initial(built);
  const { x, y } = learnable(built);
  const mask: Tensor = { dtype: 'float32', shape: [6], data: Float32Array.of(1, 1, 0, 0, 0, 0) };
  const first = run(built.programs.evaluate, [...parameters, x, y, mask]);
  const other = { ...x, data: (x.data as Float32Array).map((value, i) => (i < 12 ? value : 1e6)) };
  const labels = { ...y, data: (y.data as Int32Array).map((value, i) => (i < 2 ? value : -1)) };
  expect(run(built.programs.evaluate, [...parameters, other, labels, mask])).toEqual(first);
});

test('a model without preference gets the first class right and no other', async () => {
  const built = await buildModel(specOf('softmax', 'sgd'));
  const { x, y } = learnable(built);
  const mask: Tensor = { dtype: 'float32', shape: [6], data: new Float32Array(6).fill(1) };
  const labels = { ...y, data: Int32Array.of(0, 1, 2, 0, 1, 2) };
  const [loss, correct] = run(built.programs.evaluate, [...zerosOf(built.model.parameters), x, labels, mask]);
  expect(correct?.data[0]).toBe(2);
  expect(loss?.data[0]).toBeCloseTo(6 * Math.log(3), 5);
});

test('adam follows its definition in double precision, to 1e-5', async () => {
  const { beta1, beta2, epsilon, learningRate } = optimizers.adam;
  const built = await buildModel(specOf('softmax', 'adam'));
  const plain = await buildModel({ ...specOf('softmax', 'sgd'), optimizer: { kind: 'sgd', learningRate: 1 } });
  const { x, y } = learnable(built);
  let state = [...initial(built), ...zerosOf(built.model.slots)];
  const kernel = Float64Array.from(state[0]?.data ?? []);
  const [m, v] = [new Float64Array(kernel.length), new Float64Array(kernel.length)];
  for (let t = 1; t <= 5; t++) {
    const before = state.slice(0, 2);
    const stepped = run(plain.programs.trainStep, [...before, x, y, key, stepNumber(t)])[0]?.data ?? [];
    kernel.forEach((_, i) => {
      const g = (before[0]?.data[i] as number) - (stepped[i] as number);
      m[i] = beta1 * (m[i] as number) + (1 - beta1) * g;
      v[i] = beta2 * (v[i] as number) + (1 - beta2) * g * g;
      const [mean, square] = [m[i] / (1 - beta1 ** t), v[i] / (1 - beta2 ** t)];
      kernel[i] = (kernel[i] as number) - (learningRate * mean) / (Math.sqrt(square) + epsilon);
    });
    state = run(built.programs.trainStep, [...state, x, y, key, stepNumber(t)]).slice(0, -1);
  }
  expect(relativeError(state[0]?.data ?? [], kernel)).toBeLessThan(1e-5);
});

test('federated averaging moves the base by the weighted mean of the updates', async () => {
  const { programs, model } = await buildModel(specOf('mlp', 'sgd'));
  const next = uniforms(5);
  const draw = (): Tensor[] => model.parameters.map((parameter) => floats(parameter, next));
  const [base, a, b] = [draw(), draw(), draw()];
  const updates = [a, b].map((final) => run(programs.update, [...final, ...base]));
  let acc = zerosOf(model.parameters);
  acc = run(programs.fold, [...acc, ...(updates[0] ?? []), scalarFloat(3)]);
  acc = run(programs.fold, [...acc, ...(updates[1] ?? []), scalarFloat(1)]);
  const moved = run(programs.finish, [...base, ...acc, scalarFloat(4)]);
  moved.forEach((tensor, i) => {
    const mean = Array.from(tensor.data, (_, j) => 0.75 * (a[i]?.data[j] as number) + 0.25 * (b[i]?.data[j] as number));
    expect(relativeError(tensor.data, mean)).toBeLessThan(1e-6);
  });
});
