/** The models whose training steps are measured: sizes as in the table of `bench/README.md`. */
import type { ModelSpec } from '../../packages/models/src/index.ts';

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
export const gpt: ModelSpec = {
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
  optimizer: { kind: 'adam', learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
};
