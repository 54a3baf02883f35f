/**
 * TensorFlow.js on its WASM backend, if it is installed: in the folder that MUSTER_BENCH_PEERS names (a `node_modules`), else in
 * `bench/peers`. It is no dependency of Muster; without it, rows say so.
 */
import { dirname } from 'node:path';
import type { Tensor } from '../../packages/engine/src/index.ts';
import { type Candidate, local } from './alternate.ts';
import { peerRequire } from './peers.ts';

/** The part of TensorFlow.js that the benches call. */
export interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}
export interface Tf {
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  relu(x: TfTensor): TfTensor;
  logSoftmax(x: TfTensor): TfTensor;
  sum(x: TfTensor, axis: number): TfTensor;
  mean(x: TfTensor): TfTensor;
  neg(x: TfTensor): TfTensor;
  valueAndGrads(f: (...x: TfTensor[]) => TfTensor): (x: TfTensor[]) => { readonly value: TfTensor; readonly grads: TfTensor[] };
  tidy<T>(f: () => T): T;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
}
interface WasmBackend {
  setWasmPaths(folder: string): void;
  setThreadsCount?(count: number): void;
}

/** TensorFlow.js ready on one thread, or the reason why not. */
export async function loadTf(): Promise<Tf | string> {
  const require = peerRequire();
  try {
    // CommonJS builds: the ES modules lack the file extensions that Node asks for. The core package alone has no gradients.
    const tf = require('@tensorflow/tfjs') as Tf;
    const backendPath = require.resolve('@tensorflow/tfjs-backend-wasm');
    const backend = require(backendPath) as WasmBackend;
    backend.setWasmPaths(`${dirname(backendPath)}/`);
    backend.setThreadsCount?.(1);
    if (!(await tf.setBackend('wasm'))) return 'not measured: the WASM backend did not start';
    await tf.ready();
    return tf;
  } catch (error) {
    return `missing: @tensorflow/tfjs (npm run bench:peers): ${(error as Error).message.split('\n')[0] ?? ''}`;
  }
}

/** The product of two matrices; it is not read out. */
export function tfProduct(tf: Tf, a: Tensor, b: Tensor): Candidate {
  const [x, y] = [a, b].map(({ data, shape }) => tf.tensor(data as Float32Array, shape)) as [TfTensor, TfTensor];
  return local(
    'tfjs-wasm',
    () => tf.matMul(x, y).dispose(),
    () => {
      x.dispose();
      y.dispose();
    },
  );
}

/** SGD steps at 0.05 of the multi-layer perceptron of `mlp.ts` from `tensors`: w1, b1, w2, b2, x, y. */
export function tfMlpStep(tf: Tf, tensors: readonly Tensor[]): Candidate {
  const all = tensors.map(({ data, shape }) => tf.tensor(data as Float32Array, shape));
  let state = all.slice(0, 4);
  const [x, y] = all.slice(4) as [TfTensor, TfTensor];
  const gradient = tf.valueAndGrads((...p) => {
    const [w1, b1, w2, b2] = p as [TfTensor, TfTensor, TfTensor, TfTensor];
    const activations = tf.relu(tf.add(tf.matMul(x, w1), b1));
    return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(tf.add(tf.matMul(activations, w2), b2)), y), -1)));
  });
  return local('tfjs-wasm', () => {
    const old = state;
    const { next, loss } = tf.tidy(() => {
      const { value, grads } = gradient(old);
      return { next: old.map((p, i) => tf.sub(p, tf.mul(grads[i] as TfTensor, 0.05))), loss: value };
    });
    loss.dataSync();
    loss.dispose();
    for (const tensor of old) tensor.dispose();
    state = next;
  });
}
