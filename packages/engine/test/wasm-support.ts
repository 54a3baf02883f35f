/** Helpers of the WebAssembly tests: seeded tensors, one-operation programs, comparison with the reference executor bit by bit. */
import { MusterError } from '@muster/protocol';
import { expect } from 'vitest';
import {
  type DType,
  inferOutputs,
  type Operation,
  type ParamsOf,
  type PrimitiveName,
  type Program,
  referenceExecutor,
  type Tensor,
  type TensorData,
  wasmExecutor,
} from '../src/index.ts';

export type Random = () => number;

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const edges = [0, -0, 1, -1, 0.5, 2.5, -2.5, 3.4028234663852886e38, 1e-45, -1e-45, 1.1754943508222875e-38, 88.7, -103.9, 2147483648, 1e5];
const integerEdges = [0, 1, -1, 2, 31, 32, 33, 2147483647, -2147483648];

function element(dtype: DType, random: Random): number {
  const edge = random() < 0.2;
  if (dtype === 'bool') return random() < 0.5 ? 0 : 1;
  if (dtype === 'float32') return edge ? (edges[Math.floor(random() * edges.length)] as number) : Math.fround((random() - 0.5) * 8);
  return edge ? (integerEdges[Math.floor(random() * integerEdges.length)] as number) : Math.floor(random() * 40) - 15;
}

const arrays = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array, bool: Uint8Array } as const;

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}

/** Values of every magnitude with zeros, subnormals and limits among them; `tame` floats stay within ±1. */
export function randomTensor(dtype: DType, shape: readonly number[], random: Random, tame = false): Tensor {
  const data: TensorData = new arrays[dtype](sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = tame && dtype === 'float32' ? Math.fround(random() * 2 - 1) : element(dtype, random);
  return { dtype, shape, data };
}

/** A program of one operation over inputs a0, a1, …. */
export function single<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, inputs: readonly Tensor[]): Program {
  const outputs = inferOutputs(primitive, params, inputs);
  const operation = { primitive, params, inputs: inputs.map((_, index) => index), outputs } as unknown as Operation;
  return {
    version: 1,
    name: primitive,
    inputs: inputs.map(({ dtype, shape }, index) => ({ name: `a${index}`, dtype, shape })),
    constants: [],
    operations: [operation],
    outputs: outputs.map((_, index) => ({ name: `r${index}`, value: inputs.length + index })),
  };
}

type Outcome =
  | { readonly outputs: readonly { readonly dtype: DType; readonly shape: readonly number[]; readonly bits: Uint8Array }[] }
  | { readonly fault: unknown };

function outcome(run: () => Tensor[]): Outcome {
  try {
    return {
      outputs: run().map(({ dtype, shape, data }) => ({
        dtype,
        shape: [...shape],
        bits: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      })),
    };
  } catch (error) {
    if (!(error instanceof MusterError)) throw error;
    return { fault: { code: error.code, details: error.details, message: error.message } };
  }
}

/** Demands the same bits, or the same fault, from both executors; twice from the fast one, whose memory is reused. */
export function expectSameBits(program: Program, inputs: readonly Tensor[], label: string = program.name): 'outputs' | 'fault' {
  const expected = outcome(() => referenceExecutor.prepare(program).run(inputs));
  const prepared = wasmExecutor.prepare(program);
  for (let repeat = 0; repeat < 2; repeat++)
    expect(
      outcome(() => prepared.run(inputs)),
      label,
    ).toEqual(expected);
  prepared.dispose();
  return 'fault' in expected ? 'fault' : 'outputs';
}
