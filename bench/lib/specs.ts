/** The models whose training steps are measured: sizes as in the table of `bench/README.md`. */
import type { AdapterOptions, ModelSpec } from '../../packages/models/src/index.ts';

const sgd = { kind: 'sgd', learningRate: 0.05 } as const;

export const mlp: ModelSpec = {
  family: 'mlp',
  input: [784],
  hidden: [256],
  classes: 10,
  batchSize: 64,
  evaluationBatch: 256,
  optimizer: sgd,
};

export const cnn: ModelSpec = {
  family: 'cnn',
  input: [28, 28, 1],
  classes: 10,
  channels: [8, 16],
  kernelSize: 3,
  hidden: [64],
  batchSize: 64,
  evaluationBatch: 256,
  optimizer: sgd,
};

/** nanoGPT's recipe for a CPU. */
export const gpt: Extract<ModelSpec, { family: 'gpt' }> = {
  family: 'gpt',
  vocabulary: 65,
  context: 64,
  layers: 4,
  heads: 4,
  width: 128,
  norm: 'layer',
  bias: false,
  tied: true,
  hiddenMultiple: 4,
  activation: 'gelu',
  dropout: 0,
  generationBatch: 1,
  batchSize: 12,
  evaluationBatch: 12,
  clipNorm: 1,
  optimizer: { kind: 'adamw', learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 },
};

export const lenet: ModelSpec = { family: 'lenet', input: [28, 28, 1], classes: 10, batchSize: 64, evaluationBatch: 256, optimizer: sgd };

export const resnet: ModelSpec = {
  family: 'resnet',
  input: [32, 32, 3],
  classes: 10,
  stages: [
    { channels: 16, blocks: 1 },
    { channels: 32, blocks: 1 },
    { channels: 64, blocks: 1 },
  ],
  groups: 8,
  batchSize: 32,
  evaluationBatch: 64,
  optimizer: sgd,
};

/**
 * As many parameters as the GPT, within 3 %: a block of Mamba-2 has about half as many as one of attention and feed-forward together.
 * Everything else is the same. The chunk is as long as the context, which is the fastest here (shorter chunks: suite `gradients`).
 */
export const mamba: Extract<ModelSpec, { family: 'mamba' }> = {
  family: 'mamba',
  vocabulary: 65,
  context: 64,
  layers: 7,
  width: 128,
  expansion: 2,
  headWidth: 64,
  stateWidth: 64,
  convolutionWidth: 4,
  chunk: 64,
  generationBatch: 1,
  batchSize: 12,
  evaluationBatch: 12,
  clipNorm: 1,
  optimizer: gpt.optimizer,
};

/** The models above by name. */
export const stepSpecs: Readonly<Record<string, ModelSpec>> = { mlp, cnn, lenet, resnet, gpt, mamba };

/** Models whose gradients are compared: the sizes above, and the choices that they leave out at small sizes. */
export const gradientCases: Readonly<Record<string, ModelSpec>> = {
  softmax: { family: 'softmax', input: [28, 28], classes: 10, batchSize: 32, evaluationBatch: 32, optimizer: sgd },
  regression: { family: 'regression', input: [20], hidden: [32, 16], outputs: 3, batchSize: 32, evaluationBatch: 32, optimizer: sgd },
  mlp,
  cnn,
  lenet,
  resnet,
  gpt,
  'gpt with rms norm, untied': { ...gpt, layers: 2, width: 64, norm: 'rms', tied: false },
  'gpt with biases, tanh gelu': { ...gpt, layers: 2, width: 64, bias: true, activation: 'gelu-tanh' },
  'mamba in one chunk': { ...mamba, layers: 2 },
  'mamba in chunks of 32': { ...mamba, layers: 2, chunk: 32 },
  'mamba in chunks of 8': { ...mamba, layers: 2, chunk: 8 },
};

interface AdapterCase {
  readonly spec: ModelSpec;
  readonly options: AdapterOptions;
}

/** Models with low-rank adapters whose gradients are compared. */
export const adapterCases: Readonly<Record<string, AdapterCase>> = {
  mlp: { spec: mlp, options: { rank: 4, alpha: 8, targets: ['dense*.kernel'] } },
  lenet: { spec: lenet, options: { rank: 4, alpha: 4, targets: ['conv*.kernel', 'dense1.kernel'] } },
  gpt: { spec: { ...gpt, layers: 2 }, options: { rank: 8, alpha: 16, targets: ['block*.kernel'] } },
  mamba: { spec: { ...mamba, layers: 2, chunk: 16 }, options: { rank: 8, alpha: 16, targets: ['block*.in.kernel', 'block*.out.kernel'] } },
};

const moments = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };
const optimized = { family: 'softmax', input: [20], classes: 10, batchSize: 16, evaluationBatch: 16 } as const;

/** Optimizers that are compared step by step. */
export const optimizerCases: Readonly<Record<string, ModelSpec>> = {
  sgd: { ...optimized, optimizer: { kind: 'sgd', learningRate: 0.1 } },
  'sgd with weight decay': { ...optimized, optimizer: { kind: 'sgd', learningRate: 0.1, weightDecay: 0.01 } },
  momentum: { ...optimized, optimizer: { kind: 'momentum', learningRate: 0.1, momentum: 0.9 } },
  nesterov: { ...optimized, optimizer: { kind: 'nesterov', learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 } },
  adam: { ...optimized, optimizer: { kind: 'adam', learningRate: 0.01, ...moments } },
  'adam with weight decay': { ...optimized, optimizer: { kind: 'adam', learningRate: 0.01, ...moments, weightDecay: 0.1 } },
  adamw: { ...optimized, optimizer: { kind: 'adamw', learningRate: 0.01, ...moments, weightDecay: 0.1 } },
  'adamw on all': { ...optimized, optimizer: { kind: 'adamw', learningRate: 0.01, ...moments, weightDecay: 0.1, decayed: 'all' } },
  'sgd, clipped to 0.1': { ...optimized, clipNorm: 0.1, optimizer: { kind: 'sgd', learningRate: 0.1 } },
  'sgd, clipped to 100': { ...optimized, clipNorm: 100, optimizer: { kind: 'sgd', learningRate: 0.1 } },
  'sgd, 4 micro-batches': { ...optimized, accumulation: 4, optimizer: { kind: 'sgd', learningRate: 0.1 } },
};
