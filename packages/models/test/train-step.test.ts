/** The training step's options: micro-batches, clipping, schedules, dropout, augmentation, frozen tensors, generation. */
import { type Array as JaxArray, nn, numpy as np } from '@jax-js/jax';
import { referenceExecutor, type Tensor, wasmExecutor } from '@muster/engine';
import { cidOfBytes, encodeCanonical } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import {
  buildModel,
  buildModelFromDefinition,
  type BuiltModel,
  checkModelPrograms,
  crossEntropy,
  decodeModel,
  dropout,
  encodeModel,
  type Initial,
  type ModelDefinition,
  type ModelSpec,
  type ParameterDefinition,
  type TrainingSpec,
} from '@muster/models';
import { floats, initial, key, keysFor, learnable, relativeError, run, stepNumber, uniforms, zerosOf } from './fixtures.ts';

const mlp = (training: Partial<TrainingSpec> = {}): ModelSpec => ({
  family: 'mlp',
  input: [5],
  classes: 3,
  hidden: [7],
  batchSize: 6,
  evaluationBatch: 6,
  optimizer: { kind: 'sgd', learningRate: 1 },
  ...training,
});

/** State and loss after one step; both executors must agree. */
function stepped(built: BuiltModel, parameters: readonly Tensor[], step = 0, frozen: readonly Tensor[] = []): Tensor[] {
  const { x, y } = learnable(built);
  const inputs = [...parameters, ...zerosOf(built.model.slots), ...frozen, x, y, key, stepNumber(step)];
  const outputs = run(built.programs.trainStep, inputs);
  expect(wasmExecutor.prepare(built.programs.trainStep).run(inputs)).toEqual(outputs);
  return outputs;
}

/** What one step of rate 1 took away: the gradients, where nothing else acts. */
function movedBy(built: BuiltModel, step = 0): Float32Array[] {
  const parameters = initial(built);
  const outputs = stepped(built, parameters, step);
  return parameters.map(({ data }, i) => Float32Array.from(data, (value, j) => value - (outputs[i]?.data[j] as number)));
}

const normOf = (gradients: readonly Float32Array[]): number => Math.hypot(...gradients.flatMap((gradient) => [...gradient]));

const codeOf = async (work: () => unknown): Promise<unknown> => {
  try {
    await work();
    return 'none';
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
};

const scores: ModelDefinition = {
  name: 'scores',
  input: { dtype: 'float32', shape: [5] },
  target: { dtype: 'int32', shape: [] },
  parameters: [
    { name: 'low', shape: [2, 3], initial: { kind: 'normal', std: 0.5 } },
    { name: 'shift', shape: [3], initial: { kind: 'constant', value: 0.25 } },
  ],
  frozen: [],
  frozenValues: null,
  generation: null,
  loss: crossEntropy,
  apply: ({ low, shift }, x, context) => np.dot(dropout(context, 0.5, x.slice([], [0, 2]), 0), low as JaxArray).add(shift as JaxArray),
};

const training: TrainingSpec = { batchSize: 6, evaluationBatch: 6, optimizer: { kind: 'sgd', learningRate: 1 } };

describe('gradient accumulation', () => {
  test.each([2, 3, 6])('over %d micro-batches gives loss and gradients of the whole batch, to 1e-6', async (accumulation) => {
    const whole = await buildModel(mlp());
    const cut = await buildModel(mlp({ accumulation }));
    const [expected, actual] = [whole, cut].map((built) => movedBy(built)) as [Float32Array[], Float32Array[]];
    expected.forEach((gradient, i) => expect(relativeError(actual[i] ?? [], gradient)).toBeLessThan(1e-6));
    const losses = [whole, cut].map((built) => stepped(built, initial(built)).at(-1)?.data[0] as number) as [number, number];
    expect(Math.abs(losses[0] - losses[1])).toBeLessThan(1e-6);
    expect(cut.model.batch).toEqual(whole.model.batch);
    expect(cut.cid).not.toBe(whole.cid);
  });

  test('is refused where it does not divide the batch', async () => {
    expect(await codeOf(() => buildModel(mlp({ accumulation: 4 })))).toBe('MODEL_INVALID');
  });
});

describe('clipping', () => {
  test('scales all gradients to the norm, and leaves smaller ones alone to the bit', async () => {
    const plain = await buildModel(mlp());
    const norm = normOf(movedBy(plain));
    const tight = movedBy(await buildModel(mlp({ clipNorm: norm / 4 })));
    expect(normOf(tight)).toBeCloseTo(norm / 4, 6);
    movedBy(plain).forEach((gradient, i) =>
      expect(
        relativeError(
          tight[i] ?? [],
          gradient.map((value) => value / 4),
        ),
      ).toBeLessThan(1e-5),
    );
    expect(movedBy(await buildModel(mlp({ clipNorm: norm * 1.001 })))).toEqual(movedBy(plain));
  });

  test('makes a step of nothing of gradients whose squares overflow', async () => {
    const steep = { ...scores, loss: { ...crossEntropy, perRecord: (output: JaxArray) => output.sum(1).mul(1e20) } };
    const built = await buildModelFromDefinition(steep, { ...training, clipNorm: 1 });
    const parameters = initial(built);
    const outputs = stepped(built, parameters);
    outputs.slice(0, -1).forEach(({ data }, i) => expect(data).toEqual(parameters[i]?.data));
  });
});

describe('a schedule', () => {
  test('sets the rate by the number of the step', async () => {
    const plain = movedBy(await buildModel(mlp({ optimizer: { kind: 'sgd', learningRate: 0.5 } })));
    const stepwise = await buildModel(mlp({ schedule: { kind: 'step', milestones: [3], factor: 0.5 } }));
    for (const [step, share] of [
      [2, 2],
      [3, 1],
      [1000, 1],
    ] as const) {
      movedBy(stepwise, step).forEach((gradient, i) =>
        expect(
          relativeError(
            gradient,
            (plain[i] as Float32Array).map((value) => share * value),
          ),
        ).toBeLessThan(1e-5),
      );
    }
  });

  test('that is constant leaves the program as it is without one', async () => {
    expect((await buildModel(mlp({ schedule: { kind: 'constant' }, clipNorm: null, accumulation: 1, augment: null }))).cid).toBe(
      (await buildModel(mlp())).cid,
    );
  });
});

describe('dropout in a model', () => {
  test('acts in training by the step’s key, and neither in evaluate nor in apply', async () => {
    const built = await buildModelFromDefinition(scores, training);
    const parameters = initial(built);
    const { x, y } = learnable(built);
    const losses = [key, keysFor(1, 1), keysFor(1, 2)].map((drawn) => {
      const step = [...parameters, x, y, { ...drawn, shape: [2] }, stepNumber(0)];
      return run(built.programs.trainStep, step).at(-1)?.data[0];
    });
    expect(new Set(losses).size).toBe(3);
    for (const role of ['evaluate', 'apply'] as const)
      expect(built.programs[role].operations.some(({ primitive }) => primitive === 'random_bits')).toBe(false);
  });

  test('draws anew for every micro-batch', async () => {
    const equal = { ...scores, loss: { ...crossEntropy, perRecord: (output: JaxArray) => output.sum(1) } };
    const built = await buildModelFromDefinition(equal, { ...training, accumulation: 2 });
    const { y } = learnable(built);
    const x: Tensor = { dtype: 'float32', shape: [6, 5], data: new Float32Array(30).fill(1) };
    const zero = zerosOf(built.model.parameters);
    // The gradient of a weight is a third of the number of records that kept its input: even where both halves lose the same.
    const kept = [1, 2, 3, 4, 5, 6].flatMap((seed) => {
      const inputs = [...zero, x, y, { ...keysFor(1, seed), shape: [2] }, stepNumber(0)];
      const moved = run(built.programs.trainStep, inputs)[0]?.data ?? [];
      return [-3 * (moved[0] as number), -3 * (moved[3] as number)].map(Math.round);
    });
    expect(kept.every((count) => count >= 0 && count <= 6)).toBe(true);
    expect(kept.some((count) => count % 2 === 1)).toBe(true);
  });
});

const cnn = (augment: TrainingSpec['augment']): ModelSpec => ({
  family: 'cnn',
  input: [6, 7, 2],
  classes: 3,
  channels: [3],
  kernelSize: 3,
  hidden: [],
  ...training,
  ...(augment === undefined ? {} : { augment }),
});

describe('augmentation in a model', () => {
  test('changes training and nothing else', async () => {
    const [plain, augmented] = [await buildModel(cnn(null)), await buildModel(cnn({ flip: true, shift: 2 }))];
    expect(movedBy(augmented)).not.toEqual(movedBy(plain));
    for (const role of ['init', 'evaluate', 'apply'] as const) expect(augmented.programs[role]).toEqual(plain.programs[role]);
  });

  test('is refused for a model whose records are no images', async () => {
    expect(await codeOf(() => buildModel(mlp({ augment: { flip: true, shift: 0 } })))).toBe('MODEL_INVALID');
    expect(await codeOf(() => buildModel(cnn({ flip: true, shift: 6 })))).toBe('MODEL_INVALID');
  });
});

const values = cidOfBytes(encodeCanonical('frozen'), 'dag-cbor');

const generation: NonNullable<ModelDefinition['generation']> = {
  cache: [{ name: 'seen', dtype: 'float32', shape: [2, 5] }],
  step: ({ base, low, shift }, { seen }, token, position) => {
    const next = (seen as JaxArray).add(nn.oneHot(token, 5).mul(position.astype(np.float32).add(1)));
    return { cache: [next.ref], logits: np.dot(np.dot(next, base as JaxArray), low as JaxArray).add(shift as JaxArray) };
  },
};

/** Scores from a frozen projection, and a generation that counts what it has seen. */
const adapted: ModelDefinition = {
  ...scores,
  name: 'adapted',
  frozen: [{ name: 'base', shape: [5, 2], initial: 'zeros' }],
  frozenValues: values,
  generation,
  apply: ({ base, low, shift }, x) => np.dot(np.dot(x, base as JaxArray), low as JaxArray).add(shift as JaxArray),
};

describe('a model with frozen tensors', () => {
  test('reads them in every program that computes, trains none of them, and links their values', async () => {
    const built = await buildModelFromDefinition(adapted, training);
    expect(built.model.frozen).toEqual([{ name: 'base', dtype: 'float32', shape: [5, 2] }]);
    expect(built.model.frozenValues).toBe(values);
    expect(built.programs.trainStep.inputs.map(({ name }) => name)).toEqual(['low', 'shift', 'base', 'x', 'y', 'key', 'step']);
    expect(built.programs.evaluate.inputs.map(({ name }) => name)).toEqual(['low', 'shift', 'base', 'x', 'y', 'mask']);
    expect(built.programs.trainStep.outputs.map(({ name }) => name)).toEqual(['low', 'shift', 'loss']);
    const frozen = [floats({ dtype: 'float32', shape: [5, 2] }, uniforms(4))];
    const parameters = initial(built);
    const there = stepped(built, parameters, 0, frozen);
    const flat = stepped(built, parameters, 0, zerosOf(built.model.frozen));
    expect(flat[0]?.data).toEqual(parameters[0]?.data);
    expect(there[0]?.data).not.toEqual(parameters[0]?.data);
    const last = built.objects.at(-1)?.bytes ?? new Uint8Array();
    expect(decodeModel(last)).toEqual(built.model);
  });

  test('generates token by token from a cache', async () => {
    const built = await buildModelFromDefinition(adapted, training);
    const { generate, model } = built;
    if (generate === null) throw new Error('no program');
    expect(generate.inputs.map(({ name }) => name)).toEqual(['low', 'shift', 'base', 'seen', 'token', 'position']);
    expect(generate.outputs.map(({ name }) => name)).toEqual(['seen', 'logits']);
    const weights = [...initial(built), floats({ dtype: 'float32', shape: [5, 2] }, uniforms(4))];
    let cache = zerosOf(model.cache);
    const tokens = [
      [1, 4],
      [3, 4],
    ];
    let logits: Tensor | undefined;
    tokens.forEach((pair, position) => {
      const token: Tensor = { dtype: 'int32', shape: [2], data: Int32Array.from(pair) };
      const inputs = [...weights, ...cache, token, stepNumber(position)];
      const outputs = run(generate, inputs);
      expect(wasmExecutor.prepare(generate).run(inputs)).toEqual(outputs);
      cache = outputs.slice(0, 1);
      logits = outputs[1];
    });
    expect([...(cache[0]?.data ?? [])]).toEqual([0, 1, 0, 2, 0, 0, 0, 0, 0, 3]);
    const seen: Tensor = { dtype: 'float32', shape: [6, 5], data: new Float32Array(30) };
    seen.data.set(cache[0]?.data ?? []);
    const output = referenceExecutor.prepare(built.programs.apply).run([...weights, seen])[0];
    expect(logits?.data).toEqual(output?.data.slice(0, 6));
  });

  test('is refused where values, cache and programs do not belong together', async () => {
    const built = await buildModelFromDefinition(adapted, training);
    const { model, programs, generate } = built;
    const wrong: readonly ModelDefinition[] = [
      { ...adapted, frozenValues: null },
      { ...scores, frozenValues: values },
      { ...adapted, frozen: [{ name: 'low', shape: [5, 2], initial: 'zeros' }] },
      { ...adapted, generation: { ...generation, cache: [{ name: 'seen', dtype: 'float32', shape: [] }] } },
      { ...adapted, generation: { ...generation, cache: [{ name: 'token', dtype: 'float32', shape: [2, 5] }] } },
      {
        ...adapted,
        generation: {
          cache: [{ name: 'seen', dtype: 'float32', shape: [2, 5] }],
          step: (given, cache, token, position) => {
            const { cache: next, logits } = generation.step(given, cache, token, position);
            return { cache: next, logits: logits.sum(0) };
          },
        },
      },
    ];
    for (const definition of wrong) expect(await codeOf(() => buildModelFromDefinition(definition, training))).toBe('MODEL_INVALID');
    expect(await codeOf(() => checkModelPrograms(model, programs, null))).toBe('MODEL_INVALID');
    expect(await codeOf(() => checkModelPrograms({ ...model, cache: [] }, programs, generate))).toBe('MODEL_INVALID');
    expect(await codeOf(() => encodeModel({ ...model, programs: { ...model.programs, generate: null } }))).toBe('MODEL_INVALID');
  });
});

const momentsOf = ({ data }: Tensor): [number, number] => {
  const mean = Array.from(data).reduce((a, b) => a + b, 0) / data.length;
  return [mean, Math.sqrt(Array.from(data).reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length)];
};

describe('initial values', () => {
  test('that cannot be drawn are refused by name', async () => {
    const wrong: readonly Initial[] = [
      { kind: 'normal', std: 0 },
      { kind: 'normal', std: Number.POSITIVE_INFINITY },
      { kind: 'constant', value: Number.NaN },
      { kind: 'constant', value: 1e39 },
      { kind: 'uniform', low: 1, high: 1 },
      'heUniform',
    ];
    for (const initial of wrong) {
      const parameters = [scores.parameters[0] as ParameterDefinition, { name: 'shift', shape: [3], initial }];
      await expect(buildModelFromDefinition({ ...scores, parameters }, training)).rejects.toMatchObject({
        code: 'MODEL_INVALID',
        details: { field: 'shift' },
      });
    }
  });

  test('are normal with their deviation, constant or uniform in their range', async () => {
    const drawn: ModelDefinition = {
      ...scores,
      parameters: [
        { name: 'low', shape: [2, 3], initial: 'zeros' },
        { name: 'shift', shape: [3], initial: { kind: 'constant', value: 0.25 } },
        { name: 'gauss', shape: [100, 100], initial: { kind: 'normal', std: 0.02 } },
        { name: 'range', shape: [100, 100], initial: { kind: 'uniform', low: -1, high: 3 } },
      ],
    };
    const [, shift, gauss, range] = initial(await buildModelFromDefinition(drawn, training)) as [Tensor, Tensor, Tensor, Tensor];
    expect([...shift.data]).toEqual([0.25, 0.25, 0.25]);
    const [mean, deviation] = momentsOf(gauss);
    expect(Math.abs(mean)).toBeLessThan((4 * 0.02) / 100);
    expect(Math.abs(deviation / 0.02 - 1)).toBeLessThan(4 / Math.sqrt(20_000));
    const beyond = Array.from(gauss.data).filter((value) => Math.abs(value) > 0.04).length / 10_000;
    expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.009);
    const [centre, spread] = momentsOf(range);
    expect(Math.abs(centre - 1)).toBeLessThan(0.05);
    expect(Math.abs(spread - 4 / Math.sqrt(12))).toBeLessThan(0.03);
    expect(Math.min(...range.data)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...range.data)).toBeLessThanOrEqual(3);
  });
});
