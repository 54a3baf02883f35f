/**
 * A small order for a job: three classes of eight features, a softmax model, and a spec over them. Everything that decides the
 * resulting bits is fixed, so two jobs with the same order must end with the same model.
 */
import { packDataset, RandomStream, type PackedDataset } from '@muster/data';
import { buildModel, type BuiltModel, type ModelSpec } from '@muster/models';
import type { BlobStore } from '@muster/ports';
import { bytesToHex, type JobSpec, type Root, sha256 } from '@muster/protocol';

const features = 8;
const classes = 3;

/** Records around one centre per class; uint8 features. */
function records(count: number, random: RandomStream): { readonly features: Uint8Array; readonly targets: Uint8Array } {
  const x = new Uint8Array(count * features);
  const y = new Uint8Array(count);
  for (let record = 0; record < count; record++) {
    const label = random.next() % classes;
    y[record] = label;
    for (let feature = 0; feature < features; feature++)
      x[record * features + feature] = 60 + 60 * Number(feature % classes === label) + (random.next() % 80);
  }
  return { features: x, targets: y };
}

export function tinyDataset(): PackedDataset {
  const seed = sha256(new Uint8Array([1]));
  return packDataset({
    name: 'three heaps',
    record: { feature: { dtype: 'uint8', shape: [features] }, target: { kind: 'class', classes, names: null } },
    splits: [
      { name: 'train', records: 240, ...records(240, new RandomStream(seed, 'train')) },
      { name: 'test', records: 60, ...records(60, new RandomStream(seed, 'test')) },
    ],
  });
}

/** Records with one real target each, for a model that can diverge: a softmax's gradient is bounded. */
export function tinyRegression(): PackedDataset {
  const random = new RandomStream(sha256(new Uint8Array([2])), 'regression');
  const split = (count: number): { readonly records: number; readonly features: Uint8Array; readonly targets: Uint8Array } => {
    const x = Uint8Array.from({ length: count * features }, () => random.next() % 256);
    return {
      records: count,
      features: x,
      targets: new Uint8Array(Float32Array.from({ length: count }, (_, record) => (x[record * features] ?? 0) / 64).buffer),
    };
  };
  return packDataset({
    name: 'slopes',
    record: { feature: { dtype: 'uint8', shape: [features] }, target: { kind: 'value', shape: [1] } },
    splits: [
      { name: 'train', ...split(120) },
      { name: 'test', ...split(30) },
    ],
  });
}

/** A linear regression trained by plain gradient descent: above a rate of about 0.5 every step multiplies the error. */
export async function divergingOrder(learningRate: number, changes: Partial<JobSpec> = {}): Promise<Order> {
  const dataset = tinyRegression();
  const optimizer: Optimizer = { kind: 'sgd', learningRate };
  const model = await buildModel({
    family: 'regression',
    input: [features],
    outputs: 1,
    hidden: [],
    batchSize: 8,
    evaluationBatch: 32,
    optimizer,
  });
  const { spec } = await tinyOrder(changes);
  return { dataset, model, spec: { ...spec, dataset: dataset.cid, model: model.cid } };
}

export type Optimizer = ModelSpec['optimizer'];

export const momentum: Optimizer = { kind: 'momentum', learningRate: 0.5, momentum: 0.9 };

const models = new Map<string, Promise<BuiltModel>>();

/** The softmax model trained with `optimizer`; built once. */
export function tinyModel(optimizer: Optimizer): Promise<BuiltModel> {
  const label = JSON.stringify(optimizer);
  const known =
    models.get(label) ?? buildModel({ family: 'softmax', input: [features], classes, batchSize: 8, evaluationBatch: 32, optimizer });
  models.set(label, known);
  return known;
}

export interface Order {
  readonly spec: JobSpec;
  readonly dataset: PackedDataset;
  readonly model: BuiltModel;
}

/** A whole spec over the tiny dataset and model, with what `changes` says instead of the defaults. */
export async function tinyOrder(changes: Partial<JobSpec> = {}, optimizer: Optimizer = momentum): Promise<Order> {
  const dataset = tinyDataset();
  const model = await tinyModel(optimizer);
  const spec: JobSpec = {
    version: 1,
    name: 'tiny',
    model: model.cid,
    dataset: dataset.cid,
    seed: bytesToHex(sha256(new Uint8Array([7]))) as Root,
    rounds: 3,
    tasks: 3,
    redundancy: 3,
    localSteps: 6,
    digestInterval: 2,
    split: { kind: 'equal' },
    slotState: 'reset',
    minimumNodes: 3,
    quorumPercent: 75,
    commitTimeoutMs: 20_000,
    revealTimeoutMs: 10_000,
    verdictTimeoutMs: 30_000,
    roundTimeoutMs: 120_000,
    ...changes,
  };
  return { spec, dataset, model };
}

/** Stores everything the spec links. */
export async function storeOrder({ dataset, model }: Order, blobs: BlobStore): Promise<void> {
  for (const { bytes, codec } of dataset.blocks) await blobs.put(bytes, codec);
  for (const { bytes } of model.objects) await blobs.put(bytes, 'dag-cbor');
}
