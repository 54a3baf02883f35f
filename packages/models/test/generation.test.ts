import { type Executor, referenceExecutor, type Tensor, wasmExecutor } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  buildModelFromDefinition,
  type BuiltModel,
  generateTokens,
  Generator,
  gptDefaults,
  gptDefinition,
  mambaDefinition,
  Sampler,
} from '@muster/models';
import { countingTokens, float32, int32, runFast, trainOn } from './family-fixtures.ts';
import { relativeError, uniforms } from './fixtures.ts';

const sizes = { vocabulary: 7, context: 8, layers: 2, width: 8, generationBatch: 2 };
const definitions = {
  gpt: gptDefinition({ ...gptDefaults, ...sizes, heads: 2 }),
  'gpt with biases, root-mean-square norm and a head': gptDefinition({
    ...gptDefaults,
    ...sizes,
    heads: 4,
    bias: true,
    norm: 'rms',
    tied: false,
  }),
  mamba: mambaDefinition({ ...sizes, expansion: 2, headWidth: 4, stateWidth: 3, convolutionWidth: 4, chunk: 4 }),
};

const training = {
  batchSize: 14,
  evaluationBatch: 2,
  optimizer: { kind: 'adam', learningRate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
} as const;

const words = (seed: number): (() => number) => {
  const next = uniforms(seed);
  return () => Math.floor(next() * 2 ** 32);
};
const greedy = { temperature: 0, topK: null };

describe.each(Object.entries(definitions))('%s', (name, definition) => {
  let built: BuiltModel;
  let parameters: Tensor[];
  beforeAll(async () => {
    built = await buildModelFromDefinition(definition, training);
    ({ parameters } = trainOn(built, countingTokens(14, 8, 7), 80));
  });
  const generator = (executor: Executor = wasmExecutor): Generator =>
    new Generator(executor, built.model, built.generate as never, parameters);

  test('gives with its cache the scores of the whole, to 1e-5', () => {
    const { x } = countingTokens(2, 8, 7, 9);
    const [whole] = runFast(built.programs.apply, [...parameters, x]);
    const own = generator();
    for (let at = 0; at < 8; at++) {
      const scores = own.feed([x.data[at] as number, x.data[8 + at] as number]);
      const expected = [0, 1].flatMap((row) => [...(whole?.data.slice((row * 8 + at) * 7, (row * 8 + at + 1) * 7) ?? [])]);
      expect(relativeError(scores.data, expected)).toBeLessThan(1e-5);
    }
  });

  test('takes up the same text from the cache as from the whole, and counts', () => {
    const prompts = [
      [1, 2],
      [5, 6],
    ];
    const texts = generateTokens(wasmExecutor, generator(), prompts, 6, greedy, words(1));
    const whole = prompts.map((prompt) => [...prompt]);
    for (let made = 0; made < 6; made++) {
      const at = whole[0]?.length as number;
      const x = int32(
        [2, 8],
        whole.flatMap((text) => [...text, ...Array.from({ length: 8 - at }, () => 0)]),
      );
      const [scores] = runFast(built.programs.apply, [...parameters, x]);
      whole.forEach((text, row) => {
        const own = [...(scores?.data.slice((row * 8 + at - 1) * 7, (row * 8 + at) * 7) ?? [])];
        text.push(own.indexOf(Math.max(...own)));
      });
    }
    expect(texts).toEqual(whole.map((text) => text.slice(2)));
    expect(texts[0]).toEqual([3, 4, 5, 6, 0, 1]);
  });

  test('goes on beyond its context', () => {
    const [text] = generateTokens(wasmExecutor, generator(), [[0], [3]], 20, greedy, words(1));
    expect(text).toHaveLength(20);
    expect(text?.slice(0, 7)).toEqual([1, 2, 3, 4, 5, 6, 0]);
    const own = generator();
    expect(own.limit).toBe(name === 'mamba' ? null : 8);
    if (own.limit === null) return;
    for (let at = 0; at < 8; at++) own.feed([0, 0]);
    expect(() => own.feed([0, 0])).toThrow(MusterError);
  });

  test('samples the same text in both executors', () => {
    const options = { temperature: 10, topK: 5 };
    const [fast, slow] = [wasmExecutor, referenceExecutor].map((executor) =>
      generateTokens(executor, generator(executor), [[1], [2]], 8, options, words(4)),
    );
    expect(fast).toEqual(slow);
    expect(fast).not.toEqual(generateTokens(wasmExecutor, generator(), [[1], [2]], 8, options, words(5)));
  });

  test('refuses prompts that do not fit', () => {
    const own = generator();
    for (const prompts of [[[1]], [[1], []], [[1], [1, 2]]])
      expect(() => generateTokens(wasmExecutor, own, prompts, 1, greedy, words(1))).toThrow(MusterError);
  });
});

test('a model that does not generate has no generator', async () => {
  const { model, programs } = await buildModelFromDefinition({ ...definitions.gpt, generation: null }, training);
  expect(model.programs.generate).toBeNull();
  expect(() => new Generator(wasmExecutor, model, programs.apply, [])).toThrow(/does not generate/);
});

/** Shares of 4000 draws are within five standard errors. */
const expectNear = (found: number[], expected: number[]): void =>
  found.forEach((share, i) => expect(Math.abs(share - (expected[i] as number))).toBeLessThan(0.04));

describe('Sampler', () => {
  const scores = float32([1, 4], [1, 3, 3, 2].map(Math.log));
  const counts = (options: { temperature: number; topK: number | null }, draws = 4000): number[] => {
    const sampler = new Sampler(wasmExecutor, [1, 4], options, words(2));
    const found = [0, 0, 0, 0];
    for (let draw = 0; draw < draws; draw++) {
      const token = sampler.sample(scores)[0] as number;
      found[token] = (found[token] as number) + 1;
    }
    return found.map((count) => count / draws);
  };

  test('draws in proportion to exp(score ÷ temperature)', () => {
    expectNear(counts({ temperature: 1, topK: null }), [1 / 9, 3 / 9, 3 / 9, 2 / 9]);
    expectNear(counts({ temperature: 0.5, topK: null }), [1 / 23, 9 / 23, 9 / 23, 4 / 23]);
    expectNear(counts({ temperature: 1, topK: 3 }), [0, 3 / 8, 3 / 8, 2 / 8]);
  });

  test('takes the first of the highest at temperature 0, and with one candidate', () => {
    expect(counts({ temperature: 0, topK: null }, 10)).toEqual([0, 1, 0, 0]);
    expect(counts({ temperature: 1e-30, topK: null }, 10)).toEqual([0, 1, 0, 0]);
    expect(counts({ temperature: 1, topK: 1 }, 10)).toEqual([0, 1, 0, 0]);
  });

  test('refuses options out of range', () => {
    for (const options of [
      { temperature: -1, topK: null },
      { temperature: Number.NaN, topK: null },
      { temperature: 1, topK: 0 },
    ])
      expect(() => new Sampler(wasmExecutor, [1, 4], options, words(1))).toThrow(MusterError);
  });
});
