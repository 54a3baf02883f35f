/** Rows on aggregation: FedAvg by the model's own programs against one JavaScript loop over Float32Arrays that gives the same bits. */
import { type NamedType, prepareLoop, type Tensor, wasmExecutor } from '../packages/engine/src/index.ts';
import { finishProgram, foldProgram } from '../packages/models/src/index.ts';
import { FederatedAverage } from '../packages/round/src/index.ts';
import { interleave, rateRow, type Row } from './lib/measure.ts';

interface Shape {
  readonly name: string;
  readonly parameters: readonly NamedType[];
}

const f32 = (name: string, ...shape: number[]): NamedType => ({ name, dtype: 'float32', shape });
const shapes: readonly Shape[] = [
  { name: 'mlp 784-128-10', parameters: [f32('w1', 784, 128), f32('b1', 128), f32('w2', 128, 10), f32('b2', 10)] },
  { name: '10 M parameters', parameters: [f32('w1', 2500, 2000), f32('w2', 2500, 2000)] },
];

function tensors(parameters: readonly NamedType[], seed: number): Tensor[] {
  let state = seed;
  return parameters.map(({ dtype, shape }) => {
    const data = new Float32Array(shape.reduce((size, extent) => size * extent, 1));
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      data[i] = state / 4294967296 - 0.5;
    }
    return { dtype, shape, data };
  });
}

/** The same sums in the same order, float32 at every step, as anybody would write them without an engine. */
function plainAverage(base: readonly Tensor[], updates: readonly (readonly Tensor[])[], weights: readonly number[]): Float32Array[] {
  const sums = base.map(({ data }) => new Float32Array(data.length));
  let total = 0;
  for (const [index, update] of updates.entries()) {
    const weight = weights[index] ?? 0;
    total += weight;
    for (const [at, sum] of sums.entries()) {
      const data = update[at]?.data as Float32Array;
      for (let i = 0; i < sum.length; i++) sum[i] = Math.fround((sum[i] as number) + Math.fround((data[i] as number) * weight));
    }
  }
  const share = Math.fround(1 / total);
  for (const [at, sum] of sums.entries()) {
    const data = base[at]?.data as Float32Array;
    for (let i = 0; i < sum.length; i++) sum[i] = Math.fround((data[i] as number) + Math.fround((sum[i] as number) * share));
  }
  return sums;
}

async function aggregationRow({ name, parameters }: Shape, count: number, peers: Readonly<Record<string, string>>): Promise<Row> {
  const programs = {
    fold: prepareLoop(wasmExecutor, foldProgram('fold', parameters), parameters.length),
    finish: wasmExecutor.prepare(finishProgram('finish', parameters)),
  };
  const base = tensors(parameters, 1);
  // A few different updates taken in turns: 64 of 40 MB would only measure the memory of this machine.
  const distinct = [2, 3, 4, 5].map((seed) => tensors(parameters, seed));
  const updates = Array.from({ length: count }, (_, index) => distinct[index % distinct.length] as Tensor[]);
  const weights = updates.map((_, index) => 100 + (index % 7));
  const ours = (): readonly Tensor[] => {
    const average = new FederatedAverage(programs, parameters);
    for (const [index, update] of updates.entries()) average.add(update, weights[index] ?? 0);
    return average.finish(base);
  };
  const plain = plainAverage(base, updates, weights);
  for (const [at, { data }] of ours().entries())
    if (!Buffer.from(data.buffer, data.byteOffset, data.byteLength).equals(Buffer.from((plain[at] as Float32Array).buffer)))
      throw new Error(`aggregation of ${name}: the plain loop gives other bits`);
  const bytes = count * base.reduce((sum, { data }) => sum + data.byteLength, 0);
  const large = bytes > 1e9;
  const times = await interleave(
    [
      { name: 'ours', run: ours },
      { name: 'plain JavaScript loop', run: () => plainAverage(base, updates, weights) },
    ],
    large ? 3 : 9,
  );
  for (const program of Object.values(programs)) program.dispose();
  return rateRow(`aggregate ${count} updates, ${name}`, 'GB/s of updates', times, (ms) => bytes / ms / 1e6, peers);
}

/** 8 and 64 updates of a small and of a large model. `peers` says which others are missing. */
export async function* aggregationRows(peers: Readonly<Record<string, string>>): AsyncGenerator<Row> {
  for (const shape of shapes) for (const count of [8, 64]) yield await aggregationRow(shape, count, peers);
}
