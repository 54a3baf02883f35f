/**
 * What an organizer writes: a model in jax-js terms. Turning it into programs is `build.ts`.
 *
 * jax-js arrays move: a value that is used twice is passed as `value.ref` all but the last time.
 */
import type { Array as JaxArray } from '@jax-js/jax';
import type { DType } from '@muster/engine';
import { MusterError } from '@muster/protocol';

/**
 * How a parameter starts. `heUniform` draws from ±√(6 / fanIn), `glorotUniform` from ±√(6 / (fanIn + fanOut)); the fans of
 * `[inputs, outputs]` are its extents, those of `[outputs, inputs, …kernel]` its extents times the kernel's size.
 */
export type Initial = 'zeros' | 'ones' | 'heUniform' | 'glorotUniform';

/** A trained float32 tensor. */
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

export interface ModelDefinition {
  /** Letters, digits, `_`, `-` and `.`, at most 40. */
  readonly name: string;
  readonly input: RecordType;
  readonly target: RecordType;
  readonly parameters: readonly ParameterDefinition[];
  readonly loss: LossDefinition;
  /** Output [batch, …] for `x` [batch, …input shape]; `parameters` by name. */
  apply(parameters: Readonly<Record<string, JaxArray>>, x: JaxArray): JaxArray;
}

/** Half-width of the uniform distribution of `parameter`. Throws MODEL_INVALID where fans are undefined. */
export function uniformLimit(parameter: ParameterDefinition): number {
  const { shape, initial, name } = parameter;
  const [first, second, ...kernel] = shape;
  if (first === undefined || second === undefined) {
    throw new MusterError('MODEL_INVALID', `parameter "${name}": ${initial} needs a shape of at least two axes`, { field: name });
  }
  const kernelSize = kernel.reduce((product, extent) => product * extent, 1);
  const [fanIn, fanOut] = shape.length === 2 ? [first, second] : [second * kernelSize, first * kernelSize];
  return Math.sqrt(6 / (initial === 'heUniform' ? fanIn : fanIn + fanOut));
}

/** The error of a switch that has met a value outside its type. */
export function unexpected(value: never): MusterError {
  return new MusterError('MODEL_INVALID', `unexpected: ${JSON.stringify(value)}`);
}
