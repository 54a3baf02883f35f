/** Checks that every model family runs through, on sizes that the reference executor can afford. Not a test itself. */
import { elementCount, type Executor, type NamedType, type Program, referenceExecutor, type Tensor, wasmExecutor } from '@muster/engine';
import { expect } from 'vitest';
import { type BuiltModel, gradientProgram, type ModelDefinition } from '@muster/models';
import { key, keysFor, relativeError, uniforms, zerosOf } from './fixtures.ts';

export function int32(shape: readonly number[], values: ArrayLike<number>): Tensor {
  return { dtype: 'int32', shape, data: Int32Array.from(values) };
}

export function float32(shape: readonly number[], values: ArrayLike<number>): Tensor {
  return { dtype: 'float32', shape, data: Float32Array.from(values) };
}

export function runOn(executor: Executor, program: Program, inputs: readonly Tensor[]): Tensor[] {
  const prepared = executor.prepare(program);
  const outputs = prepared.run(inputs);
  prepared.dispose();
  return outputs;
}

export const runFast = (program: Program, inputs: readonly Tensor[]): Tensor[] => runOn(wasmExecutor, program, inputs);

export function bitsOf(tensors: readonly Tensor[]): string[] {
  return tensors.map(({ data }) =>
    [...new Uint32Array(new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).buffer)].join(),
  );
}

/** A batch whose tokens count upwards from a drawn start, modulo the vocabulary: the next token follows from the last one. */
export function countingTokens(batch: number, length: number, vocabulary: number, seed = 3): { readonly x: Tensor; readonly y: Tensor } {
  const next = uniforms(seed);
  const starts = Array.from({ length: batch }, () => Math.floor(next() * vocabulary));
  const tokens = (shift: number): number[] => starts.flatMap((start) => Array.from({ length }, (_, i) => (start + i + shift) % vocabulary));
  return { x: int32([batch, length], tokens(0)), y: int32([batch, length], tokens(1)) };
}

/** Inputs of a training step after state and frozen tensors; whatever it takes besides x, y and key is zero. */
export function stepInputs(built: BuiltModel, x: Tensor, y: Tensor): Tensor[] {
  const { parameters, slots, frozen } = built.model;
  const rest = built.programs.trainStep.inputs.slice(parameters.length + slots.length + frozen.length);
  return rest.map((type): Tensor => (type.name === 'x' ? x : type.name === 'y' ? y : type.name === 'key' ? key : int32(type.shape, [0])));
}

export function initialOf(built: BuiltModel, seed = 7): Tensor[] {
  return runFast(built.programs.init, [keysFor(built.model.parameters.length, seed)]);
}

export interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** Losses of `steps` steps over one batch, and the trained parameters. */
export function trainOn(
  built: BuiltModel,
  { x, y }: Batch,
  steps: number,
  frozen: readonly Tensor[] = [],
): { losses: number[]; parameters: Tensor[] } {
  const prepared = wasmExecutor.prepare(built.programs.trainStep);
  let state = [...initialOf(built), ...zerosOf(built.model.slots)];
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const outputs = prepared.run([...state, ...frozen, ...stepInputs(built, x, y)]);
    losses.push(outputs.at(-1)?.data[0] as number);
    state = outputs.slice(0, -1);
  }
  prepared.dispose();
  return { losses, parameters: state.slice(0, built.model.parameters.length) };
}

/** The gradients that a training step takes are those of the plain functions, to 1e-5 of each tensor's largest: derivatives that are written out are right. */
export function expectSameGradients(definition: ModelDefinition, parameters: readonly Tensor[], { x, y }: Batch): void {
  const batchSize = x.shape[0] as number;
  const plain = runFast(gradientProgram(definition, batchSize), [...parameters, x, y]);
  const trained = runFast(gradientProgram(definition, batchSize, true), [...parameters, x, y, key]);
  expect(bitsOf(trained.slice(0, 1))).toEqual(bitsOf(plain.slice(0, 1)));
  trained.forEach(({ data }, i) => expect(relativeError(data, plain[i]?.data ?? [])).toBeLessThan(1e-5));
}

/** Every operation of a training step and an evaluation gives the same bits in both executors. */
export function expectSameBits(built: BuiltModel, { x, y }: Batch, frozen: readonly Tensor[] = []): void {
  const history = (executor: Executor): string[] => {
    let state = [...runOn(executor, built.programs.init, [keysFor(built.model.parameters.length, 7)]), ...zerosOf(built.model.slots)];
    const outputs = [bitsOf(state)];
    for (let step = 0; step < 2; step++) {
      state = runOn(executor, built.programs.trainStep, [...state, ...frozen, ...stepInputs(built, x, y)]);
      outputs.push(bitsOf(state));
      state.pop();
    }
    const mask = float32(
      [x.shape[0] as number],
      Array.from({ length: x.shape[0] as number }, () => 1),
    );
    outputs.push(
      bitsOf(runOn(executor, built.programs.evaluate, [...state.slice(0, built.model.parameters.length), ...frozen, x, y, mask])),
    );
    return outputs.flat();
  };
  expect(history(wasmExecutor)).toEqual(history(referenceExecutor));
}

export function drawn(type: NamedType, next: () => number, scale: number): Tensor {
  return float32(
    type.shape,
    Float32Array.from({ length: elementCount(type.shape) }, () => scale * (2 * next() - 1)),
  );
}

/**
 * The gradients of `definition` at `parameters` agree with central differences of the loss in a direction drawn per parameter: along
 * a whole direction float32 resolves the slope far better than along one element. `h` is the length of the step.
 */
export function expectSlopes(
  definition: ModelDefinition,
  parameters: readonly Tensor[],
  { x, y }: Batch,
  frozen: readonly Tensor[] = [],
  tolerance = 0.01,
  h = 2 ** -7,
): void {
  const program = gradientProgram(definition, x.shape[0] as number);
  const prepared = wasmExecutor.prepare(program);
  const at = (given: readonly Tensor[]): Tensor[] => prepared.run([...given, ...frozen, x, y]);
  const [, ...gradients] = at(parameters);
  const next = uniforms(21);
  const norms = gradients.map((gradient) => Math.hypot(...gradient.data));
  const largest = Math.max(...norms);
  parameters.forEach((parameter, index) => {
    const gradient = gradients[index]?.data ?? [];
    const norm = norms[index] as number;
    expect(Number.isFinite(norm)).toBe(true);
    // Along the gradient, disturbed, so that the slope is large and no symmetry hides an error.
    const direction = Float32Array.from(
      gradient,
      (slope) => (norm === 0 ? 1 : slope / norm) + (0.3 * (2 * next() - 1)) / Math.sqrt(gradient.length),
    );
    const expected = direction.reduce((sum, part, i) => sum + part * (gradient[i] as number), 0);
    const moved = (by: number): number => {
      const data = Float32Array.from(parameter.data, (value, i) => value + by * (direction[i] as number));
      return at(parameters.with(index, { ...parameter, data }))[0]?.data[0] as number;
    };
    const slope = (moved(h) - moved(-h)) / (2 * h);
    const name = definition.parameters[index]?.name ?? '';
    const error = Math.abs(slope - expected) / Math.max(norm, 0.02 * largest);
    expect({ name, small: error < tolerance, error, slope, expected }).toMatchObject({ name, small: true });
  });
  prepared.dispose();
}
