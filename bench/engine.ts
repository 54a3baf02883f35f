/**
 * Suite `engine`: the exact executor against jax-js's own WASM backend and TensorFlow.js WASM, one thread each. Theirs may reorder
 * sums and use fused or relaxed operations; ours may not.
 */
import { type Array as JaxArray, blockUntilReady, defaultDevice, init, jit, numpy } from '@jax-js/jax';
import { type NamedType, prepareLoop, type Program, type Tensor, traceProgram, wasmExecutor } from '../packages/engine/src/index.ts';
import { type Candidate, interleave, rateRow, type Row } from './lib/measure.ts';
import { stepProgram, stepTensors, trainStep } from './lib/mlp.ts';
import { loadTf, type Tf, type TfTensor } from './lib/tfjs.ts';

function jaxArray({ data, shape }: Tensor): JaxArray {
  return numpy.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
}

function jaxStep(tensors: readonly Tensor[]): Candidate {
  const compiled = jit(trainStep);
  let state = tensors.slice(0, 4).map(jaxArray);
  const [x, y] = tensors.slice(4).map(jaxArray) as [JaxArray, JaxArray];
  return {
    name: 'jax-js',
    run: async () => {
      const [w1, b1, w2, b2, loss] = compiled(...state, x.ref, y.ref);
      state = [w1, b1, w2, b2] as JaxArray[];
      await blockUntilReady(state);
      await (loss as JaxArray).data();
    },
  };
}

function tfStep(tf: Tf, tensors: readonly Tensor[]): Candidate {
  const [...all] = tensors.map(({ data, shape }) => tf.tensor(data as Float32Array, shape));
  let state = all.slice(0, 4);
  const [x, y] = all.slice(4) as [TfTensor, TfTensor];
  const gradient = tf.valueAndGrads((...p) => {
    const [w1, b1, w2, b2] = p as [TfTensor, TfTensor, TfTensor, TfTensor];
    const activations = tf.relu(tf.add(tf.matMul(x, w1), b1));
    return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(tf.add(tf.matMul(activations, w2), b2)), y), -1)));
  });
  return {
    name: 'tfjs-wasm',
    run: () => {
      const old = state;
      const { next, loss } = tf.tidy(() => {
        const { value, grads } = gradient(old);
        return { next: old.map((p, i) => tf.sub(p, tf.mul(grads[i] as TfTensor, 0.05))), loss: value };
      });
      loss.dataSync();
      loss.dispose();
      for (const tensor of old) tensor.dispose();
      state = next;
    },
  };
}

async function trainingRow(tf: Tf | string): Promise<Row> {
  const tensors = stepTensors();
  const loop = prepareLoop(wasmExecutor, stepProgram(), 4);
  loop.setState(tensors.slice(0, 4));
  const batch = tensors.slice(4);
  const candidates: Candidate[] = [{ name: 'ours', run: () => loop.step(batch) }, jaxStep(tensors)];
  if (typeof tf !== 'string') candidates.push(tfStep(tf, tensors));
  const times = await interleave(candidates, 200);
  return rateRow(
    'train mlp 784-256-10 batch 64 sgd',
    'steps/s',
    times,
    (ms) => 1000 / ms,
    typeof tf === 'string' ? { 'tfjs-wasm': tf } : {},
  );
}

function productProgram(n: number): Program {
  const inputs = ['a', 'b'].map((name): NamedType => ({ name, dtype: 'float32', shape: [n, n] }));
  return traceProgram('product', (...[a, b]) => [numpy.dot(a as JaxArray, b as JaxArray)], inputs, ['c']);
}

async function productRow(n: number, tf: Tf | string): Promise<Row> {
  const tensors = [1, 2].map((seed): Tensor => {
    const data = Float32Array.from({ length: n * n }, (_, i) => Math.fround(Math.sin(seed * (i + 1))));
    return { dtype: 'float32', shape: [n, n], data };
  });
  // Ours also copies both factors in; every candidate reads the product out.
  const prepared = wasmExecutor.prepare(productProgram(n));
  const [a, b] = tensors.map(jaxArray) as [JaxArray, JaxArray];
  const compiled = jit((x: JaxArray, y: JaxArray) => numpy.dot(x, y));
  const candidates: Candidate[] = [
    { name: 'ours', run: () => prepared.run(tensors) },
    { name: 'jax-js', run: async () => compiled(a.ref, b.ref).data() },
  ];
  if (typeof tf !== 'string') {
    const [x, y] = tensors.map(({ data, shape }) => tf.tensor(data as Float32Array, shape)) as [TfTensor, TfTensor];
    candidates.push({
      name: 'tfjs-wasm',
      run: () => {
        const product = tf.matMul(x, y);
        product.dataSync();
        product.dispose();
      },
    });
  }
  const times = await interleave(candidates, 11);
  return rateRow(`matmul ${n}`, 'GFLOP/s', times, (ms) => (2 * n ** 3) / ms / 1e6, typeof tf === 'string' ? { 'tfjs-wasm': tf } : {});
}

/** Rows of the suite, each as soon as it is measured. */
export async function* engineSuite(): AsyncGenerator<Row> {
  await init('wasm');
  defaultDevice('wasm');
  const tf = await loadTf();
  yield await trainingRow(tf);
  for (const n of [256, 512, 768, 1024]) yield await productRow(n, tf);
}
