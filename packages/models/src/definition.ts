/**
 * What an organizer writes: a model in jax-js terms. Turning it into programs is `build.ts`.
 *
 * jax-js arrays move: a value that is used twice is passed as `value.ref` all but the last time.
 */
import type { Array as JaxArray } from '@jax-js/jax';
import type { DType, NamedType } from '@muster/engine';
import { type CidText, MusterError } from '@muster/protocol';

/**
 * How a parameter starts. `heUniform` draws from ±√(6 / fanIn), `glorotUniform` from ±√(6 / (fanIn + fanOut)); the fans of
 * `[inputs, outputs]` are its extents, those of `[outputs, inputs, …kernel]` its extents times the kernel's size.
 */
export type Initial =
  | 'zeros'
  | 'ones'
  | 'heUniform'
  | 'glorotUniform'
  /** Gaussian with mean 0; `std` > 0. */
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'constant'; readonly value: number }
  /** Uniform between `low` and `high` > `low`. */
  | { readonly kind: 'uniform'; readonly low: number; readonly high: number };

/** A float32 tensor of the model. */
export interface ParameterDefinition {
  readonly name: string;
  readonly shape: readonly number[];
  readonly initial: Initial;
}

/** Type of one record's input or target, without the batch axis. */
export interface RecordType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface LossDefinition {
  /** Losses float32 [batch] of `output` [batch, …] against `target` [batch, …]. */
  perRecord(output: JaxArray, target: JaxArray): JaxArray;
  /** Which records are right, bool [batch]; null where the question makes no sense. */
  correct: ((output: JaxArray, target: JaxArray) => JaxArray) | null;
}

/** What `apply` may use besides parameters and input. */
export interface ApplyContext {
  /** Threefry key uint32[2] of the training step, borrowed (use `key.ref`): for dropout. Null outside training. */
  readonly key: JaxArray | null;
}

/** Step by step generation from a cache that starts as zeros. G sequences are generated side by side. */
export interface GenerationDefinition {
  /** At least one tensor; the first axis of each is G. */
  readonly cache: readonly NamedType[];
  /**
   * Scores for the token after `token` int32[G], which stands at `position` int32[] (from 0), and the cache after it, in the order
   * of the definition. `parameters` holds the frozen tensors too. `logits` float32 [G, …].
   */
  step(
    parameters: Readonly<Record<string, JaxArray>>,
    cache: Readonly<Record<string, JaxArray>>,
    token: JaxArray,
    position: JaxArray,
  ): { readonly cache: readonly JaxArray[]; readonly logits: JaxArray };
}

export interface ModelDefinition {
  /** Letters, digits, `_`, `-` and `.`, at most 40. */
  readonly name: string;
  readonly input: RecordType;
  readonly target: RecordType;
  /** Trained tensors. */
  readonly parameters: readonly ParameterDefinition[];
  /** Tensors that are read and never trained (the base weights under an adapter), with the values of `frozenValues`. */
  readonly frozen: readonly ParameterDefinition[];
  /** The stored tensor set of the frozen tensors, in order; null where there are none. */
  readonly frozenValues: CidText | null;
  readonly loss: LossDefinition;
  /** Kernels [inputs, outputs] whose layer adds the product of low-rank factors `….down` and `….up` where it is given them. */
  readonly lowRank?: readonly string[];
  /** Null for a model that does not generate. */
  readonly generation: GenerationDefinition | null;
  /** Output [batch, …] for `x` [batch, …input shape]; `parameters`, trained and frozen, by name. */
  apply(parameters: Readonly<Record<string, JaxArray>>, x: JaxArray, context: ApplyContext): JaxArray;
}

/** Names and types of `definitions`. */
export function typesOf(definitions: readonly ParameterDefinition[]): NamedType[] {
  return definitions.map(({ name, shape }) => ({ name, dtype: 'float32', shape: [...shape] }));
}

/** Half-width of the uniform distribution of a `heUniform` or `glorotUniform` parameter. Throws MODEL_INVALID where fans are undefined. */
export function uniformLimit(parameter: ParameterDefinition): number {
  const { shape, initial, name } = parameter;
  const [first, second, ...kernel] = shape;
  if (first === undefined || second === undefined) {
    throw new MusterError('MODEL_INVALID', `parameter "${name}": ${JSON.stringify(initial)} needs a shape of at least two axes`, {
      field: name,
    });
  }
  const kernelSize = kernel.reduce((product, extent) => product * extent, 1);
  const [fanIn, fanOut] = shape.length === 2 ? [first, second] : [second * kernelSize, first * kernelSize];
  return Math.sqrt(6 / (initial === 'heUniform' ? fanIn : fanIn + fanOut));
}

/** The error of a switch that has met a value outside its type. */
export function unexpected(value: never): MusterError {
  return new MusterError('MODEL_INVALID', `unexpected: ${JSON.stringify(value)}`);
}
