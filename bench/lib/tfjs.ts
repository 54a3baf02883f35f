/**
 * TensorFlow.js on its WASM backend, if it is installed: in the folder that MUSTER_BENCH_PEERS names (a `node_modules`), else in
 * `bench/peers`. It is no dependency of Muster; without it, rows say so.
 */
import { dirname } from 'node:path';
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
