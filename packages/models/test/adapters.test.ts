import type { Tensor } from '@muster/engine';
import { type CidText, cidOfBytes, MusterError } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import {
  adaptedDefinition,
  type AdapterOptions,
  buildModel,
  buildModelFromDefinition,
  decodeModelSpec,
  definitionOf,
  Generator,
  gptDefaults,
  gptDefinition,
  gradientProgram,
  lenetDefinition,
  mambaDefinition,
  mergeProgram,
  type ModelDefinition,
} from '@muster/models';
import { wasmExecutor } from '@muster/engine';
import {
  type Batch,
  bitsOf,
  countingTokens,
  drawn,
  expectSameBits,
  expectSlopes,
  float32,
  int32,
  runFast,
  trainOn,
} from './family-fixtures.ts';
import { relativeError, uniforms } from './fixtures.ts';

const baseValues: CidText = cidOfBytes(new Uint8Array(3), 'dag-cbor');

const sizes = { vocabulary: 7, context: 8, layers: 2, width: 8, generationBatch: 2 };
const tokens = countingTokens(4, 8, 7);
const next = uniforms(6);
const images: Batch = {
  x: float32(
    [4, 12, 12, 1],
    Array.from({ length: 4 * 144 }, () => next() - 0.5),
  ),
  y: int32([4], [0, 1, 2, 1]),
};

const cases: readonly (readonly [string, ModelDefinition, Batch, readonly string[]])[] = [
  ['a GPT', gptDefinition({ ...gptDefaults, ...sizes, heads: 2 }), tokens, ['*.attention.*.kernel', 'embedding.token']],
  [
    'a Mamba-2',
    mambaDefinition({ ...sizes, expansion: 2, headWidth: 4, stateWidth: 3, convolutionWidth: 4, chunk: 4 }),
    tokens,
    ['*.kernel'],
  ],
  ['a LeNet', lenetDefinition({ input: [12, 12, 1], classes: 3 }), images, ['conv2.kernel', 'dense*.kernel']],
];

const training = {
  batchSize: 4,
  evaluationBatch: 4,
  optimizer: { kind: 'adam', learningRate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
} as const;

const draw = (definition: ModelDefinition, which: 'parameters' | 'frozen', scale: number, seed: number): Tensor[] => {
  const source = uniforms(seed);
  return definition[which].map(({ name, shape }) => drawn({ name, dtype: 'float32', shape }, source, scale));
};

describe.each(cases)('adapters on %s', (_, base, batch, targets) => {
  const options: AdapterOptions = { rank: 3, alpha: 6, targets };
  const adapted = adaptedDefinition(base, options, baseValues);
  const frozen = draw(adapted, 'frozen', 0.5, 3);

  test('train only the factors, of the targets that the patterns name', () => {
    const names = adapted.parameters.map(({ name }) => name);
    expect(names.every((name) => /\.(?:down|up)$/.test(name))).toBe(true);
    expect(adapted.frozen).toEqual(base.parameters);
    const small = adapted.parameters.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(small).toBeGreaterThan(0);
    expect(names.length % 2).toBe(0);
  });

  test('change nothing at the start', async () => {
    const built = await buildModelFromDefinition(adapted, training);
    const plain = await buildModelFromDefinition(base, training);
    const factors = adapted.parameters.map(({ name, shape }) =>
      drawn({ name, dtype: 'float32', shape }, uniforms(2), name.endsWith('.up') ? 0 : 1),
    );
    const changed = runFast(built.programs.apply, [...factors, ...frozen, batch.x]);
    expect(bitsOf(changed)).toEqual(bitsOf(runFast(plain.programs.apply, [...frozen, batch.x])));
  });

  test('learn while the base stays', async () => {
    const built = await buildModelFromDefinition(adapted, training);
    expect(built.model.frozen).toHaveLength(base.parameters.length);
    const { losses } = trainOn(built, batch, 60, frozen);
    expect(losses.at(-1)).toBeLessThan(0.8 * (losses[0] as number));
    expectSameBits(built, batch, frozen);
  });

  test('have the gradients of finite differences', () =>
    expectSlopes(adapted, draw(adapted, 'parameters', 0.4, 5), batch, frozen, 0.02, 2 ** -9));

  test('give the same outputs merged, to 1e-5', async () => {
    const factors = draw(adapted, 'parameters', 0.4, 5);
    const merged = runFast(mergeProgram(base, options), [...frozen, ...factors]);
    expect(merged.map(({ shape }) => shape)).toEqual(base.parameters.map(({ shape }) => shape));
    const [ours] = runFast((await buildModelFromDefinition(adapted, training)).programs.apply, [...factors, ...frozen, batch.x]);
    const [theirs] = runFast((await buildModelFromDefinition(base, training)).programs.apply, [...merged, batch.x]);
    expect(relativeError(ours?.data ?? [], theirs?.data ?? [])).toBeLessThan(1e-5);
  });
});

/** Scores after two tokens. */
const scores = async (definition: ModelDefinition, weights: readonly Tensor[]): Promise<ArrayLike<number>> => {
  const { model, generate } = await buildModelFromDefinition(definition, training);
  const generator = new Generator(wasmExecutor, model, generate as never, weights);
  generator.feed([1, 2]);
  return generator.feed([2, 3]).data;
};

test('an adapted GPT generates as its merged base', async () => {
  const [, base] = cases[0] as (typeof cases)[number];
  const options = { rank: 2, alpha: 4, targets: ['*.kernel'] };
  const adapted = adaptedDefinition(base, options, baseValues);
  const source = uniforms(4);
  const factors = adapted.parameters.map(({ name, shape }) => drawn({ name, dtype: 'float32', shape }, source, 0.5));
  const frozen = adapted.frozen.map(({ name, shape }) => drawn({ name, dtype: 'float32', shape }, source, 0.5));
  const merged = runFast(mergeProgram(base, options), [...frozen, ...factors]);
  expect(relativeError(await scores(adapted, [...factors, ...frozen]), await scores(base, merged))).toBeLessThan(1e-5);
});

test('the backward pass of a low-rank layer takes no product of the kernel', () => {
  const base = gptDefinition({ ...gptDefaults, ...sizes, heads: 2, width: 16 });
  const adapted = adaptedDefinition(base, { rank: 2, alpha: 2, targets: ['*.mlp.*.kernel'] }, baseValues);
  const program = gradientProgram(adapted, 4);
  const products = program.operations.flatMap(({ primitive, outputs }) =>
    primitive === 'dot' ? outputs.map(({ shape }) => shape.join()) : [],
  );
  expect(products).toContain('16,2');
  expect(products).not.toContain('16,64');
  expect(products).not.toContain('64,16');
});

test('targets that are not there, not matrices, or on an adapted base are refused', () => {
  const [, base] = cases[0] as (typeof cases)[number];
  const attempt =
    (given: Partial<AdapterOptions>, on = base) =>
    (): ModelDefinition =>
      adaptedDefinition(on, { rank: 2, alpha: 1, targets: ['embedding.token'], ...given }, baseValues);
  expect(attempt({ targets: ['*.nothing'] })).toThrow(/names no parameter/);
  expect(attempt({ targets: ['norm.scale'] })).toThrow(/not a matrix/);
  expect(attempt({ targets: [] })).toThrow(MusterError);
  expect(attempt({ rank: 0 })).toThrow(/rank/);
  expect(attempt({ alpha: Number.NaN })).toThrow(/alpha/);
  expect(attempt({}, attempt({})())).toThrow(/frozen/);
});

test('a specification names adapters, their base by its content id', async () => {
  const spec = {
    family: 'mlp',
    input: [4],
    classes: 3,
    hidden: [5],
    batchSize: 2,
    evaluationBatch: 2,
    optimizer: { kind: 'sgd', learningRate: 0.1 },
  };
  const adapter = { rank: 2, alpha: 2, targets: ['dense1.kernel'], base: baseValues };
  const { model } = await buildModel(decodeModelSpec({ ...spec, adapter }));
  expect(model.parameters.map(({ name }) => name)).toEqual(['dense1.kernel.down', 'dense1.kernel.up']);
  expect(model.frozenValues).toBe(baseValues);
  expect((await buildModel(decodeModelSpec(spec))).model.frozen).toEqual([]);
  expect(() => decodeModelSpec({ ...spec, adapter: { ...adapter, base: 'nothing' } })).toThrow(/adapter\.base/);
  expect(() => definitionOf(decodeModelSpec({ ...spec, adapter: { ...adapter, targets: ['dense9.kernel'] } }))).toThrow(/dense9/);
});
