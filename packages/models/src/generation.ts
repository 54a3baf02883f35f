/**
 * Text, token by token, from a model's `generate` program: the cache stays in the executor, the weights are set once.
 *
 * Sampling is as reproducible as training: the exponential is taken by a program in exact arithmetic, the rest is comparisons and
 * sums of doubles in one order, and random words are given from outside. Not here: tokenisers, and how a model is loaded.
 */
import {
  type Executor,
  type LoopingProgram,
  prepareLoop,
  type PreparedProgram,
  type Program,
  ProgramBuilder,
  type Tensor,
} from '@muster/engine';
import { MusterError } from '@muster/protocol';
import type { ModelObject } from './model.ts';

export interface SamplingOptions {
  /** Scores are divided by it; 0 takes the highest score, the first of equals. */
  readonly temperature: number;
  /** Only so many of the highest scores take part, the first of equals; null: all. */
  readonly topK: number | null;
}

/** The next random uint32, as `RandomStream.next` of `@muster/data` gives them. */
export type RandomWords = () => number;

type GeneratingModel = Pick<ModelObject, 'parameters' | 'frozen' | 'cache' | 'batch'>;

function invalid(field: string, message: string): MusterError {
  return new MusterError('FIELD_INVALID', `${field}: ${message}`, { field });
}

const range = (first: number, length: number): number[] => Array.from({ length }, (_, i) => first + i);

/** `program` with its inputs in another order: the one that stood at `order[i]` stands at i. */
function withInputs(program: Program, order: readonly number[]): Program {
  const places = new Map(order.map((from, to) => [from, to]));
  const moved = (value: number): number => places.get(value) ?? value;
  return {
    ...program,
    inputs: order.map((index) => program.inputs[index] as Program['inputs'][number]),
    operations: program.operations.map((operation) => ({ ...operation, inputs: operation.inputs.map(moved) })),
    outputs: program.outputs.map(({ name, value }) => ({ name, value: moved(value) })),
  };
}

/**
 * The most tokens that the model reaches from an empty cache, or null where there is no end: a program that never looks at its
 * position has none, others reach the tokens of a training record.
 */
export function generationLimit(model: GeneratingModel, program: Program): number | null {
  const position = program.inputs.length - 1;
  const looks = program.operations.some(({ inputs }) => inputs.includes(position));
  return looks ? (model.batch.x.shape[1] ?? null) : null;
}

/** exp((scores − their highest) ÷ temperature) of scores float32 [rows, vocabulary]. */
function weightsProgram(rows: number, vocabulary: number, temperature: number): Program {
  const builder = new ProgramBuilder('sampling');
  const scores = builder.input({ name: 'scores', dtype: 'float32', shape: [rows, vocabulary] });
  const highest = builder.apply('reshape', { shape: [rows, 1] }, builder.apply('reduce', { op: 'max', axis: [1] }, scores));
  const shifted = builder.apply('add', {}, scores, builder.apply('neg', {}, highest));
  const weights = builder.apply('exp', {}, builder.apply('mul', {}, shifted, builder.scalar('float32', 1 / temperature)));
  return builder.finish([{ name: 'weights', value: weights }]);
}

/** Indices of the `count` highest of `scores`, the first of equals, in ascending order. */
function highestOf(scores: ArrayLike<number>, count: number): number[] {
  const order = Array.from(scores, (_, index) => index).toSorted((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
  return order.slice(0, count).toSorted((a, b) => a - b);
}

/** Chooses tokens by their scores. */
export class Sampler {
  readonly #options: SamplingOptions;
  readonly #random: RandomWords;
  readonly #prepared: PreparedProgram | null;
  readonly #vocabulary: number;

  /** For scores float32 [rows, vocabulary]. Throws FIELD_INVALID for a temperature under 0 or a `topK` under 1. */
  constructor(executor: Executor, [rows, vocabulary]: readonly [number, number], options: SamplingOptions, random: RandomWords) {
    const { temperature, topK } = options;
    if (!(temperature >= 0 && temperature <= 1e6)) throw invalid('temperature', `${temperature} is not from 0 to 1e6`);
    if (topK !== null && !(Number.isInteger(topK) && topK >= 1)) throw invalid('topK', `${topK} is not a positive integer`);
    this.#options = options;
    this.#random = random;
    this.#vocabulary = vocabulary;
    // A temperature whose reciprocal overflows float32 is as good as none.
    this.#prepared = temperature < 1e-6 ? null : executor.prepare(weightsProgram(rows, vocabulary, temperature));
  }

  /** One token per row of `scores`. Each row takes one random word, none at temperature 0. */
  sample(scores: Tensor): Int32Array {
    const width = this.#vocabulary;
    const rows = scores.data.length / width;
    const row = (data: Tensor['data'], index: number): Tensor['data'] => data.subarray(index * width, (index + 1) * width);
    if (this.#prepared === null) return Int32Array.from({ length: rows }, (_, i) => highestOf(row(scores.data, i), 1)[0] as number);
    const [weights] = this.#prepared.run([scores]) as [Tensor];
    return Int32Array.from({ length: rows }, (_, i) => this.#draw(row(scores.data, i), row(weights.data, i)));
  }

  #draw(scores: Tensor['data'], weights: Tensor['data']): number {
    const { topK } = this.#options;
    const candidates = topK === null || topK >= weights.length ? Array.from(weights, (_, i) => i) : highestOf(scores, topK);
    const total = candidates.reduce((sum, token) => sum + (weights[token] as number), 0);
    const mark = (this.#random() / 2 ** 32) * total;
    let sum = 0;
    for (const token of candidates) {
      sum += weights[token] as number;
      if (sum > mark) return token;
    }
    return highestOf(scores, 1)[0] as number; // unreachable: the mark is below the total, which is summed in the same order
  }

  dispose(): void {
    this.#prepared?.dispose();
  }
}

/** A model with its weights and its cache in an executor. G sequences, the first axis of the cache, go on side by side. */
export class Generator {
  /** G. */
  readonly sequences: number;
  /** Tokens until the cache is full; null: never. */
  readonly limit: number | null;
  readonly #loop: LoopingProgram;
  readonly #empty: readonly Tensor[];
  #position = 0;

  /**
   * `program` is the model's `generate`, `weights` its parameters and frozen tensors in order. Throws MODEL_INVALID for a model that
   * does not generate, TENSOR_MISMATCH and NUMERIC_FAULT for weights that are not its.
   */
  constructor(executor: Executor, model: GeneratingModel, program: Program, weights: readonly Tensor[]) {
    const given = model.parameters.length + model.frozen.length;
    const count = model.cache.length;
    if (count === 0 || program.inputs.length !== given + count + 2) {
      throw new MusterError('MODEL_INVALID', 'the model does not generate', { field: 'programs.generate' });
    }
    const order = [...range(given, count), ...range(0, given), ...range(given + count, 2)];
    this.sequences = model.cache[0]?.shape[0] ?? 0;
    this.limit = generationLimit(model, program);
    this.#empty = model.cache.map(({ dtype, shape }) => {
      const size = shape.reduce((product, extent) => product * extent, 1);
      return { dtype, shape, data: dtype === 'float32' ? new Float32Array(size) : new Int32Array(size) };
    });
    this.#loop = prepareLoop(executor, withInputs(program, order), count, given);
    this.#loop.setFixed(weights);
    this.reset();
  }

  /** Tokens since the cache was empty. */
  get position(): number {
    return this.#position;
  }

  /** Empties the cache. */
  reset(): void {
    this.#loop.setState(this.#empty);
    this.#position = 0;
  }

  /** Scores float32 [G, vocabulary] for what follows `tokens`, one per sequence. Throws FIELD_INVALID where the cache is full. */
  feed(tokens: ArrayLike<number>): Tensor {
    if (this.limit !== null && this.#position >= this.limit) throw invalid('position', `the model reaches ${this.limit} tokens`);
    const token: Tensor = { dtype: 'int32', shape: [this.sequences], data: Int32Array.from(tokens) };
    const position: Tensor = { dtype: 'int32', shape: [], data: Int32Array.of(this.#position) };
    const [scores] = this.#loop.step([token, position]) as [Tensor];
    this.#position++;
    return scores;
  }

  dispose(): void {
    this.#loop.dispose();
  }
}

/**
 * `count` tokens after each of the `prompts`, one per sequence of the generator and all of one length, at least 1. Where the cache is
 * full it starts anew from the later half of the text so far, so that every token is chosen with at least that much before it.
 * `onTokens` sees the tokens as they come. Throws FIELD_INVALID for prompts that do not fit the generator.
 */
export function generateTokens(
  executor: Executor,
  generator: Generator,
  prompts: readonly (readonly number[])[],
  count: number,
  options: SamplingOptions,
  random: RandomWords,
  onTokens: (tokens: Int32Array) => void = () => undefined,
): number[][] {
  const length = prompts[0]?.length ?? 0;
  if (prompts.length !== generator.sequences) throw invalid('prompts', `${prompts.length} for ${generator.sequences} sequences`);
  if (length === 0 || prompts.some((prompt) => prompt.length !== length)) throw invalid('prompts', 'not of one length, at least 1');
  const texts = prompts.map((prompt) => [...prompt]);
  const { limit } = generator;
  const feedFrom = (first: number): Tensor => {
    generator.reset();
    let scores: Tensor | null = null;
    for (let at = first; at < (texts[0]?.length ?? 0); at++) scores = generator.feed(texts.map((text) => text[at] as number));
    return scores as Tensor; // a text has at least one token after `first`
  };
  const kept = (): number => (limit === null ? Infinity : Math.max(1, limit >> 1));
  let scores = feedFrom(limit !== null && length > limit ? length - kept() : 0);
  const sampler = new Sampler(executor, scores.shape as unknown as readonly [number, number], options, random);
  for (let made = 0; made < count; made++) {
    const next = sampler.sample(scores);
    texts.forEach((text, i) => text.push(next[i] as number));
    onTokens(next);
    if (made === count - 1) break;
    scores = generator.position === limit ? feedFrom((texts[0]?.length ?? 0) - kept()) : generator.feed(next);
  }
  sampler.dispose();
  return texts.map((text) => text.slice(length));
}
