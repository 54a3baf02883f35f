/**
 * What is checked in a browser and, to compare, in Node: the conformance vectors, and training steps of models that arrive as bytes.
 *
 * Both sides run exactly these functions. No Node and no DOM in here.
 */
import {
  checkFunctionVector,
  checkVector,
  decodeProgram,
  type Executor,
  type NamedType,
  prepareLoop,
  readFunctionVectors,
  readVectors,
  requireFinite,
  stateRoot,
  stateRootOf,
  type Tensor,
  type TensorType,
  type VectorResult,
} from '@muster/engine';
import { decodeModel, decodeSafetensors, type ModelObject, parametersFromSafetensors } from '@muster/models';
import { type CidText, parseCid, type Root, verifyCid } from '@muster/protocol';

/** A file of vectors: its name and its parsed text. */
export interface VectorFile {
  readonly name: string;
  readonly json: unknown;
}

export interface ConformanceReport {
  readonly vectors: number;
  /** `file: vector: reason` of each that fails. */
  readonly failures: readonly string[];
}

/** Runs every vector of `files` on `executor`. */
export function checkConformance(executor: Executor, files: readonly VectorFile[]): ConformanceReport {
  const failures: string[] = [];
  let vectors = 0;
  const note = (file: string, vector: string, result: VectorResult): void => {
    vectors++;
    if (!result.ok) failures.push(`${file}: ${vector}: ${result.reason}`);
  };
  for (const { name, json } of files) {
    if (name === 'functions.json') {
      for (const vector of readFunctionVectors(json)) note(name, vector.name, checkFunctionVector(executor, vector));
    } else {
      for (const vector of readVectors(json)) note(name, vector.name, checkVector(executor, vector));
    }
  }
  return { vectors, failures };
}

/** A training run: everything that decides its bits. */
export interface TrainingCase {
  readonly model: string;
  /** A safetensors file with the parameters to start from, as a block. */
  readonly parameters: string;
  /** The same for frozen tensors; null where the model has none. */
  readonly frozen: string | null;
  readonly steps: number;
  readonly seed: number;
}

export interface TrainingReport {
  /** Bits of the loss of every step, hexadecimal. */
  readonly losses: readonly string[];
  /** State root after every step. */
  readonly roots: readonly string[];
}

/** The block with a content id. */
export type GetBlock = (cid: CidText) => Promise<Uint8Array>;

async function verified(getBlock: GetBlock, text: string): Promise<Uint8Array> {
  const cid = parseCid(text);
  const bytes = await getBlock(cid);
  verifyCid(cid, bytes);
  return bytes;
}

/** Numbers from 0 to 2³² − 1 (a linear congruential generator), the same for the same seed everywhere. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0);
}

/** Records or targets of `type`: floats in [−1, 1), integers in [0, `limit`). */
function drawn({ dtype, shape }: TensorType, limit: number, next: () => number): Tensor {
  const count = shape.reduce((product, extent) => product * extent, 1);
  if (dtype === 'float32') return { dtype, shape, data: Float32Array.from({ length: count }, () => (next() >>> 8) / 2 ** 23 - 1) };
  return { dtype: 'int32', shape, data: Int32Array.from({ length: count }, () => (next() >>> 16) % limit) };
}

const zerosOf = ({ dtype, shape }: NamedType): Tensor => ({
  dtype,
  shape,
  data: new Float32Array(shape.reduce((product, extent) => product * extent, 1)),
});

function hexOfFloat(value: number): string {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint32(0).toString(16).padStart(8, '0');
}

/** Smallest number of classes or tokens among the models that are checked. */
const classes = 3;

/**
 * Trains the model named by `given` for its steps, on records that follow from its seed, with every object decoded and its content id
 * verified. Throws what the decoders and the executor throw.
 */
export async function checkTraining(executor: Executor, given: TrainingCase, getBlock: GetBlock): Promise<TrainingReport> {
  const model: ModelObject = decodeModel(await verified(getBlock, given.model));
  const program = decodeProgram(await verified(getBlock, model.programs.trainStep));
  const tensors = async (text: string, types: readonly NamedType[]): Promise<Tensor[]> =>
    parametersFromSafetensors(decodeSafetensors(await verified(getBlock, text)), types);
  const state = [...model.parameters, ...model.slots];
  const loop = prepareLoop(executor, program, state.length, model.frozen.length);
  try {
    if (given.frozen !== null) loop.setFixed(await tensors(given.frozen, model.frozen));
    loop.setState([...(await tensors(given.parameters, model.parameters)), ...model.slots.map(zerosOf)]);
    const next = generator(given.seed);
    const losses: string[] = [];
    const roots: string[] = [];
    for (let step = 0; step < given.steps; step++) {
      const key: Tensor = { dtype: 'uint32', shape: [2], data: Uint32Array.of(next(), next()) };
      const number: Tensor = { dtype: 'int32', shape: [], data: Int32Array.of(step) };
      const [loss] = loop.step([drawn(model.batch.x, classes, next), drawn(model.batch.y, classes, next), key, number]);
      const tensorRoots = loop.stateRoots();
      losses.push(hexOfFloat(loss?.data[0] ?? Number.NaN));
      roots.push(stateRootOf(state.map((type, index) => ({ ...type, root: tensorRoots[index] as Root }))));
    }
    // The roots come from where the state is kept; this one is hashed again from a copy.
    const values = loop.readState();
    const named = state.map((type, index) => ({ ...(values[index] as Tensor), name: type.name }));
    requireFinite(named);
    if (stateRoot(named) !== roots.at(-1)) throw new Error('the state does not have the root that the executor gives');
    return { losses, roots };
  } finally {
    loop.dispose();
  }
}
