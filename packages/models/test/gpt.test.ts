import type { Tensor } from '@muster/engine';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  buildModelFromDefinition,
  type BuiltModel,
  decodeModelSpec,
  gptDefinition,
  type GptOptions,
  gradientProgram,
  type ModelDefinition,
} from '@muster/models';
import {
  bitsOf,
  countingTokens,
  drawn,
  expectSameBits,
  expectSameGradients,
  expectSlopes,
  initialOf,
  int32,
  runFast,
  trainOn,
} from './family-fixtures.ts';
import { key, uniforms } from './fixtures.ts';

const tiny: GptOptions = {
  vocabulary: 7,
  context: 6,
  layers: 2,
  heads: 2,
  width: 8,
  norm: 'layer',
  bias: false,
  tied: true,
  hiddenMultiple: 4,
  activation: 'gelu',
  dropout: 0,
  generationBatch: 2,
};

const variants: readonly (readonly [string, GptOptions])[] = [
  ['as nanoGPT', tiny],
  ['with biases, a head of its own and the tanh form of gelu', { ...tiny, bias: true, tied: false, activation: 'gelu-tanh' }],
  ['with root-mean-square norm', { ...tiny, norm: 'rms' }],
  ['with dropout', { ...tiny, dropout: 0.2 }],
];

const training = {
  batchSize: 4,
  evaluationBatch: 4,
  optimizer: { kind: 'adam', learningRate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
} as const;

const batch = countingTokens(4, tiny.context, tiny.vocabulary);

/** Values at which nothing is degenerate. */
function parametersOf(definition: ModelDefinition): Tensor[] {
  const next = uniforms(5);
  return definition.parameters.map(({ name, shape }) => {
    const tensor = drawn({ name, dtype: 'float32', shape }, next, 0.5);
    return name.endsWith('.scale') ? { ...tensor, data: tensor.data.map((value) => value + 1) } : tensor;
  });
}

/** Scores of the first record from position `first` up to `end`. */
const scoresAt = (scores: ArrayLike<number> | undefined, first: number, end: number): number[] =>
  Array.from(scores ?? []).slice(first * tiny.vocabulary, end * tiny.vocabulary);

describe.each(variants)('a GPT %s', (_, options) => {
  const definition = gptDefinition(options);
  let built: BuiltModel;
  beforeAll(async () => {
    built = await buildModelFromDefinition(definition, training);
  });

  test('learns to count', () => {
    const { losses } = trainOn(built, batch, 60);
    expect(losses[0]).toBeGreaterThan(1.8);
    expect(losses.at(-1)).toBeLessThan(options.dropout > 0 ? 0.8 : 0.3);
  });

  test('gives the same bits in both executors', () => expectSameBits(built, batch));

  test('has the gradients of finite differences', () => expectSlopes(definition, parametersOf(definition), batch));

  test('never looks ahead', () => {
    const parameters = initialOf(built);
    const changed = int32(
      batch.x.shape,
      [...batch.x.data].map((token, i) => (i % tiny.context === 4 ? (token + 3) % tiny.vocabulary : token)),
    );
    const [first, second] = [batch.x, changed].map((x) => runFast(built.programs.apply, [...parameters, x])[0]?.data ?? []);
    expect(scoresAt(first, 0, 4)).toEqual(scoresAt(second, 0, 4));
    expect(scoresAt(first, 4, tiny.context)).not.toEqual(scoresAt(second, 4, tiny.context));
  });
});

test.each(['gelu', 'gelu-tanh'] as const)('a training step with %s takes the gradients of the plain function', (activation) => {
  const definition = gptDefinition({ ...tiny, activation });
  expectSameGradients(definition, parametersOf(definition), batch);
});

/** Root mean square of the elements. */
const spread = ({ data }: Tensor): number => Math.sqrt([...data].reduce((sum, value) => sum + value * value, 0) / data.length);

test('starts with the spread of GPT-2: 0.02, and less on the residual path', async () => {
  const options = { ...tiny, width: 64, vocabulary: 65, layers: 2 };
  const built = await buildModelFromDefinition(gptDefinition(options), training);
  initialOf(built).forEach((tensor, i) => {
    const name = built.model.parameters[i]?.name ?? '';
    const expected = name.includes('norm') ? 1 : name.endsWith('out.kernel') ? 0.01 : 0.02;
    // The smallest tensor has 384 elements: three standard errors of its spread are 11 %.
    expect(Math.abs(spread(tensor) / expected - 1)).toBeLessThan(0.11);
  });
});

test('dropout changes training and nothing else, and follows the key', () => {
  const definition = gptDefinition({ ...tiny, dropout: 0.5 });
  const program = gradientProgram(definition, 4, true);
  const parameters = definition.parameters.map(({ name, shape }) => drawn({ name, dtype: 'float32', shape }, uniforms(9), 0.5));
  const lossFor = (k: number): number =>
    runFast(program, [...parameters, batch.x, batch.y, { dtype: 'uint32', shape: [2], data: Uint32Array.of(k, 1) }])[0]?.data[0] as number;
  expect(lossFor(1)).toBe(lossFor(1));
  expect(lossFor(1)).not.toBe(lossFor(2));
  const without = gradientProgram(gptDefinition(tiny), 4);
  const [a, b] = [gradientProgram(definition, 4), without].map((p) => bitsOf(runFast(p, [...parameters, batch.x, batch.y])));
  expect(a).toEqual(b);
});

test('activations far out stay finite, in both directions', () => {
  const definition = gptDefinition({ ...tiny, activation: 'gelu-tanh' });
  const parameters = definition.parameters.map(({ name, shape }) =>
    drawn({ name, dtype: 'float32', shape }, uniforms(9), name.includes('mlp') || name.includes('qkv') ? 200 : 1),
  );
  const plain = runFast(gradientProgram(definition, 4), [...parameters, batch.x, batch.y]);
  const trained = runFast(gradientProgram(definition, 4, true), [...parameters, batch.x, batch.y, key]);
  for (const { data } of [...plain, ...trained]) expect([...data].every(Number.isFinite)).toBe(true);
});

test('the nanoGPT recipe takes fewer than 950 operations besides its optimizer, and no large constant', () => {
  const definition = gptDefinition({ ...tiny, vocabulary: 65, context: 64, layers: 4, heads: 4, width: 128 });
  const program = gradientProgram(definition, 12);
  expect(program.operations.length).toBeLessThan(950);
  for (const constant of program.constants) expect(constant.data.length).toBeLessThanOrEqual(65);
  // The largest value is one layer's attention scores: nothing is broadcast beyond them.
  const sizes = program.operations.flatMap(({ outputs }) => outputs.map(({ shape }) => shape.reduce((total, extent) => total * extent, 1)));
  expect(Math.max(...sizes)).toBe(12 * 64 * 4 * 128);
});

test('heads must divide the width', () => {
  expect(() => gptDefinition({ ...tiny, heads: 3 })).toThrow(/heads: 3 does not divide 8/);
});

test("a specification may leave out nanoGPT's choices", () => {
  const spec = { family: 'gpt', vocabulary: 7, context: 6, layers: 2, heads: 2, width: 8, ...training };
  expect(decodeModelSpec(spec)).toMatchObject({ ...tiny, generationBatch: 1 });
});
