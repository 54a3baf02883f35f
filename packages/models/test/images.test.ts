import { beforeAll, describe, expect, test } from 'vitest';
import {
  buildModelFromDefinition,
  type BuiltModel,
  gradientProgram,
  lenetDefinition,
  type ModelDefinition,
  resnetDefinition,
} from '@muster/models';
import { MusterError } from '@muster/protocol';
import { type Batch, drawn, expectSameBits, expectSlopes, float32, int32, runFast, trainOn } from './family-fixtures.ts';
import { uniforms } from './fixtures.ts';

const training = { batchSize: 6, evaluationBatch: 6, optimizer: { kind: 'momentum', learningRate: 0.05, momentum: 0.9 } } as const;

const smallResnet = {
  input: [7, 6, 2],
  classes: 3,
  stages: [
    { channels: 4, blocks: 1 },
    { channels: 6, blocks: 2 },
  ],
  groups: 2,
} as const;

const families: readonly (readonly [string, ModelDefinition])[] = [
  ['lenet', lenetDefinition({ input: [12, 13, 1], classes: 3 })],
  ['resnet', resnetDefinition(smallResnet)],
];

/** Noise with a bright bar whose place along the height is the class. */
function bars([height, width, channels]: readonly number[], records: number): Batch {
  const [h, w, c] = [height ?? 0, width ?? 0, channels ?? 0];
  const next = uniforms(4);
  const labels = Array.from({ length: records }, (_, record) => record % 3);
  const pixels = labels.flatMap((label) =>
    Array.from({ length: h * w * c }, (_, i) => next() - 0.5 + (Math.floor((i / (w * c) / h) * 3) === label ? 1 : 0)),
  );
  return { x: float32([records, h, w, c], pixels), y: int32([records], labels) };
}

describe.each(families)('%s', (_, definition) => {
  const batch = bars(definition.input.shape, 6);
  let built: BuiltModel;
  beforeAll(async () => {
    built = await buildModelFromDefinition(definition, training);
  });

  test('learns where a bar stands', () => {
    const { losses } = trainOn(built, batch, 40);
    expect(losses.at(-1)).toBeLessThan(0.1 * (losses[0] as number));
  });

  test('gives the same bits in both executors', () => expectSameBits(built, batch));

  test('has the gradients of finite differences', () => {
    const next = uniforms(5);
    const parameters = definition.parameters.map(({ name, shape }) => {
      const tensor = drawn({ name, dtype: 'float32', shape }, next, 0.4);
      return name.endsWith('.scale') ? { ...tensor, data: tensor.data.map((value) => value + 1) } : tensor;
    });
    // Relu and the maximum have corners: the shorter the step, the fewer it crosses.
    expectSlopes(definition, parameters, batch, [], 0.02, 2 ** -10);
  });
});

test('LeNet for 28 × 28 images has the 61 706 parameters of LeNet-5', () => {
  const { parameters } = lenetDefinition({ input: [28, 28, 1], classes: 10 });
  expect(parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)).toBe(61_706);
});

test('three stages of one block make eight layers, and each stage halves the image', () => {
  const stages = [16, 32, 64].map((channels) => ({ channels, blocks: 1 }));
  const definition = resnetDefinition({ input: [32, 32, 3], classes: 10, stages, groups: 4 });
  const layers = definition.parameters.filter(({ name }) => name.endsWith('.kernel') && !name.includes('shortcut'));
  expect(layers).toHaveLength(8);
  const program = gradientProgram(definition, 1);
  const images = program.operations.flatMap(({ primitive, outputs }) =>
    primitive === 'conv' ? outputs.map(({ shape }) => shape.slice(2)) : [],
  );
  for (const extent of [32, 16, 8]) expect(images).toContainEqual([extent, extent]);
});

test('a record does not see the others of its batch', async () => {
  const definition = resnetDefinition(smallResnet);
  const built = await buildModelFromDefinition(definition, training);
  const next = uniforms(2);
  const parameters = definition.parameters.map(({ name, shape }) => drawn({ name, dtype: 'float32', shape }, next, 0.5));
  const { x } = bars(smallResnet.input, 6);
  const half = x.data.length / 2;
  const changed = { ...x, data: Float32Array.from(x.data, (value, i) => (i < half ? value : 3 * value)) };
  const [first, second] = [x, changed].map((images) => [...(runFast(built.programs.apply, [...parameters, images])[0]?.data ?? [])]);
  expect(first?.slice(0, 9)).toEqual(second?.slice(0, 9));
  expect(first?.slice(9)).not.toEqual(second?.slice(9));
});

test('sizes that contradict each other are refused', () => {
  expect(() => lenetDefinition({ input: [11, 28, 1], classes: 10 })).toThrow(MusterError);
  expect(() => resnetDefinition({ ...smallResnet, groups: 4 })).toThrow(/groups/);
});
