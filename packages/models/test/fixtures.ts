/** Small models, batches and keys for the tests of this package. Not a test itself. */
import { elementCount, type NamedType, type Program, referenceExecutor, type Tensor, type TensorType } from '@muster/engine';
import type { BuiltModel, ModelSpec, OptimizerSpec } from '@muster/models';

export const optimizers = {
  sgd: { kind: 'sgd', learningRate: 0.25 },
  momentum: { kind: 'momentum', learningRate: 0.125, momentum: 0.75 },
  nesterov: { kind: 'nesterov', learningRate: 0.125, momentum: 0.75, weightDecay: 0.0078125 },
  adam: { kind: 'adam', learningRate: 0.03125, beta1: 0.875, beta2: 0.9375, epsilon: 1e-8 },
  adamw: { kind: 'adamw', learningRate: 0.03125, beta1: 0.875, beta2: 0.9375, epsilon: 1e-8, weightDecay: 0.125 },
} as const satisfies Record<string, OptimizerSpec>;

/** Everything a recipe can ask for at once, for batches of 6 records. */
export const recipe = {
  optimizer: optimizers.adamw,
  schedule: { kind: 'cosine', warmupSteps: 1, totalSteps: 4, minimumRate: 0.001 },
  clipNorm: 0.5,
  accumulation: 2,
} as const;

/** `spec` with the whole recipe, images augmented. */
export function withRecipe(spec: ModelSpec): ModelSpec {
  return { ...spec, ...recipe, ...(spec.family === 'cnn' ? { augment: { flip: true, shift: 1 } } : {}) };
}

/** One tiny specification per family. */
export function tinySpecs(optimizer: OptimizerSpec): readonly ModelSpec[] {
  const training = { batchSize: 6, evaluationBatch: 6, optimizer };
  return [
    { family: 'softmax', input: [2, 3, 1], classes: 3, ...training },
    { family: 'mlp', input: [5], classes: 3, hidden: [7, 4], ...training },
    { family: 'cnn', input: [6, 7, 2], classes: 3, channels: [3, 4], kernelSize: 3, hidden: [5], ...training },
    { family: 'regression', input: [4], outputs: 2, hidden: [6], ...training },
  ];
}

/** Numbers in [0, 1), the same for the same seed. */
export function uniforms(seed: number): () => number {
  let state = (seed >>> 0) + 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

export function floats(type: TensorType, next: () => number, scale = 1): Tensor {
  return {
    dtype: 'float32',
    shape: type.shape,
    data: Float32Array.from({ length: elementCount(type.shape) }, () => scale * (2 * next() - 1)),
  };
}

export function run(program: Program, inputs: readonly Tensor[]): Tensor[] {
  return referenceExecutor.prepare(program).run(inputs);
}

export function keysFor(count: number, seed: number): Tensor {
  const next = uniforms(seed);
  return { dtype: 'uint32', shape: [count, 2], data: Uint32Array.from({ length: 2 * count }, () => next() * 2 ** 32) };
}

export const key: Tensor = { dtype: 'uint32', shape: [2], data: Uint32Array.of(1, 2) };

/** The number of a step, as `trainStep` takes it. */
export const stepNumber = (step: number): Tensor => ({ dtype: 'int32', shape: [], data: Int32Array.of(step) });

export function zerosOf(types: readonly NamedType[]): Tensor[] {
  return types.map(({ dtype, shape }) => ({ dtype, shape, data: new Float32Array(elementCount(shape)) }));
}

/** Parameters after `init`. */
export function initial(built: BuiltModel, seed = 7): Tensor[] {
  return run(built.programs.init, [keysFor(built.model.parameters.length, seed)]);
}

/** A batch in which the target follows from the input: class by the largest of three sums, or two sums. */
export function learnable(built: BuiltModel, seed = 3): { readonly x: Tensor; readonly y: Tensor } {
  const { batch } = built.model;
  const x = floats(batch.x, uniforms(seed));
  const records = batch.x.shape[0] as number;
  const width = x.data.length / records;
  const sums = (record: number, parts: number): number[] =>
    Array.from({ length: parts }, (_, part) => {
      let sum = 0;
      for (let i = part; i < width; i += parts) sum += x.data[record * width + i] as number;
      return sum;
    });
  if (batch.y.dtype === 'float32') {
    return { x, y: { ...batch.y, data: Float32Array.from({ length: records * 2 }, (_, i) => sums(i >> 1, 2)[i & 1] as number) } };
  }
  const classOf = (record: number): number => {
    const scores = sums(record, 3);
    return scores.indexOf(Math.max(...scores));
  };
  return { x, y: { ...batch.y, data: Int32Array.from({ length: records }, (_, record) => classOf(record)) } };
}

export function scalarFloat(value: number): Tensor {
  return { dtype: 'float32', shape: [], data: Float32Array.of(value) };
}

/** Largest |a − b| over the largest |b|. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let scale = 1e-6;
  for (let i = 0; i < b.length; i++) {
    difference = Math.max(difference, Math.abs((a[i] as number) - (b[i] as number)));
    scale = Math.max(scale, Math.abs(b[i] as number));
  }
  return difference / scale;
}
