/**
 * Small models of every family, to be trained on executors that must agree: the objects of each as blocks, and what a run starts from.
 *
 * Between them they meet every optimizer, schedules, clipping, accumulation, dropout, augmentation and adapters.
 */
import type { Executor, Tensor } from '@muster/engine';
import {
  adaptedDefinition,
  buildModel,
  buildModelFromDefinition,
  type BuiltModel,
  decodeModelSpec,
  definitionOf,
  parametersToSafetensors,
} from '@muster/models';
import { cidOfBytes } from '@muster/protocol';
import type { GetBlock, TrainingCase } from '../browser/checks.ts';

/** Optimizer steps of a run. */
export const trainingSteps = 50;

const moments = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
const batches = { batchSize: 4, evaluationBatch: 4 };
const training = { ...batches, optimizer: { kind: 'adam', learningRate: 0.01, ...moments } };
const clipped = {
  ...batches,
  optimizer: { kind: 'adamw', learningRate: 0.01, ...moments, weightDecay: 0.1 },
  schedule: { kind: 'cosine', warmupSteps: 5, totalSteps: 40, minimumRate: 0.001 },
  clipNorm: 0.5,
};
const gpt = { family: 'gpt', vocabulary: 11, context: 16, layers: 2, heads: 2, width: 16, dropout: 0.1, ...clipped };
const specs: Readonly<Record<string, object>> = {
  softmax: { family: 'softmax', input: [2, 3, 1], classes: 3, ...training },
  mlp: { family: 'mlp', input: [20], classes: 3, hidden: [17, 9], ...training, accumulation: 2 },
  'wide mlp': { family: 'mlp', input: [200], classes: 11, hidden: [130], ...training, batchSize: 40 },
  regression: {
    family: 'regression',
    input: [4],
    outputs: 2,
    hidden: [6],
    ...training,
    optimizer: { kind: 'momentum', learningRate: 0.01, momentum: 0.9 },
    schedule: { kind: 'step', milestones: [10, 30], factor: 0.5 },
  },
  cnn: {
    family: 'cnn',
    input: [9, 8, 2],
    classes: 3,
    channels: [3, 5],
    kernelSize: 3,
    hidden: [5],
    ...training,
    optimizer: { kind: 'nesterov', learningRate: 0.01, momentum: 0.9, weightDecay: 0.01 },
    augment: { flip: true, shift: 1 },
  },
  lenet: { family: 'lenet', input: [14, 14, 1], classes: 3, ...training, optimizer: { kind: 'sgd', learningRate: 0.05 } },
  resnet: {
    family: 'resnet',
    input: [8, 8, 3],
    classes: 3,
    stages: [
      { channels: 4, blocks: 1 },
      { channels: 8, blocks: 1 },
    ],
    groups: 2,
    ...training,
  },
  gpt,
  mamba: { family: 'mamba', vocabulary: 11, context: 16, layers: 2, width: 8, headWidth: 4, stateWidth: 4, chunk: 4, ...clipped },
};

/** The model whose adapters are a case of their own, and the names of all cases. */
const adapted = 'gpt';
const adaptersName = `${adapted} adapters`;
export const trainingNames: readonly string[] = [...Object.keys(specs), adaptersName];

/** The runs by name, and every block that they need. */
export interface TrainingCases {
  readonly cases: ReadonlyMap<string, TrainingCase>;
  readonly blocks: Map<string, Uint8Array>;
  readonly getBlock: GetBlock;
}

/** Builds all cases; `executor` draws the initial parameters. */
export async function buildTrainingCases(executor: Executor): Promise<TrainingCases> {
  const cases = new Map<string, TrainingCase>();
  const blocks = new Map<string, Uint8Array>();

  function addBlock(bytes: Uint8Array): string {
    const cid = cidOfBytes(bytes, 'raw');
    blocks.set(cid, bytes);
    return cid;
  }

  /** Initial parameters of a built model. */
  function initialOf({ model, programs }: BuiltModel, seed: number): Tensor[] {
    const keys = Uint32Array.from({ length: 2 * model.parameters.length }, (_, index) => Math.imul(index + seed, 2_654_435_761));
    const prepared = executor.prepare(programs.init);
    const values = prepared.run([{ dtype: 'uint32', shape: [model.parameters.length, 2], data: keys }]);
    prepared.dispose();
    return values;
  }

  /** Its objects as blocks, and parameters drawn by its own `init`; `frozen` for adapters. */
  function caseOf(built: BuiltModel, seed: number, frozen: readonly Tensor[] | null): TrainingCase {
    const { model, cid, objects } = built;
    for (const object of objects) blocks.set(object.cid, object.bytes);
    const parameters = addBlock(parametersToSafetensors(model.parameters, initialOf(built, seed)));
    const base = frozen === null ? null : addBlock(parametersToSafetensors(model.frozen, frozen));
    return { model: cid, parameters, frozen: base, steps: trainingSteps, seed };
  }

  for (const [index, [name, spec]] of Object.entries(specs).entries()) {
    const built = await buildModel(decodeModelSpec(spec));
    cases.set(name, caseOf(built, index + 1, null));
    if (name !== adapted) continue;
    const base = cidOfBytes(new Uint8Array(1), 'dag-cbor');
    const options = { rank: 2, alpha: 4, targets: ['*.attention.*.kernel', '*.mlp.*.kernel'] };
    const definition = adaptedDefinition(definitionOf(decodeModelSpec(spec)), options, base);
    const adapters = await buildModelFromDefinition(definition, {
      ...batches,
      optimizer: { kind: 'adamw', learningRate: 0.01, ...moments },
    });
    cases.set(adaptersName, caseOf(adapters, 99, initialOf(built, 98)));
  }
  return { cases, blocks, getBlock: async (cid) => blocks.get(cid) ?? new Uint8Array() };
}
