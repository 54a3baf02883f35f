/** jax-js's own WASM backend, one thread: products and the steps of `mlp.ts`, compiled by its jit. */
import { type Array as JaxArray, blockUntilReady, defaultDevice, init, jit, numpy } from '@jax-js/jax';
import type { Tensor } from '../../packages/engine/src/index.ts';
import { type Candidate, local } from './alternate.ts';
import { trainStep } from './mlp.ts';

export async function startJax(): Promise<void> {
  await init('wasm');
  defaultDevice('wasm');
}

function jaxArray({ data, shape }: Tensor): JaxArray {
  return numpy.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
}

/** The product of two matrices; it is not read out. */
export function jaxProduct(a: Tensor, b: Tensor): Candidate {
  const [x, y] = [jaxArray(a), jaxArray(b)];
  const compiled = jit((left: JaxArray, right: JaxArray) => numpy.dot(left, right));
  return local('jax-js', async () => {
    const product = compiled(x.ref, y.ref);
    await blockUntilReady(product);
    product.dispose();
  });
}

/** Steps of the multi-layer perceptron from `tensors`: w1, b1, w2, b2, x, y. */
export function jaxMlpStep(tensors: readonly Tensor[]): Candidate {
  const compiled = jit(trainStep);
  let state = tensors.slice(0, 4).map(jaxArray);
  const [x, y] = tensors.slice(4).map(jaxArray) as [JaxArray, JaxArray];
  return local('jax-js', async () => {
    const [w1, b1, w2, b2, loss] = compiled(...state, x.ref, y.ref);
    state = [w1, b1, w2, b2] as JaxArray[];
    await blockUntilReady(state);
    await (loss as JaxArray).data();
  });
}
