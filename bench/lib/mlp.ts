/**
 * One SGD step of an MLP 784-256-10, batch 64, in jax-js's own terms, for its executor and TensorFlow.js: the peers of the family `mlp`.
 */
import { type Array as JaxArray, nn, numpy, valueAndGrad } from '@jax-js/jax';
import type { NamedType, Tensor } from '../../packages/engine/src/index.ts';

const batch = 64;
const hidden = 256;

const stepInputs: readonly NamedType[] = [
  { name: 'w1', dtype: 'float32', shape: [784, hidden] },
  { name: 'b1', dtype: 'float32', shape: [hidden] },
  { name: 'w2', dtype: 'float32', shape: [hidden, 10] },
  { name: 'b2', dtype: 'float32', shape: [10] },
  { name: 'x', dtype: 'float32', shape: [batch, 784] },
  { name: 'y', dtype: 'float32', shape: [batch, 10] },
];

/** Softmax cross-entropy, plain SGD at 0.05: (w1, b1, w2, b2, x, y) → (w1, b1, w2, b2, loss). Consumes its arguments. */
export function trainStep(...arrays: JaxArray[]): JaxArray[] {
  const [w1, b1, w2, b2, x, y] = arrays as [JaxArray, JaxArray, JaxArray, JaxArray, JaxArray, JaxArray];
  const parameters: JaxArray[] = [w1, b1, w2, b2];
  const lossOf = (p: JaxArray[]): JaxArray => {
    const [v1, c1, v2, c2] = p as [JaxArray, JaxArray, JaxArray, JaxArray];
    const activations = nn.relu(numpy.dot(x.ref, v1).add(c1));
    const scores = nn.logSoftmax(numpy.dot(activations, v2).add(c2), -1);
    return numpy.mean(numpy.sum(numpy.multiply(scores, y.ref), -1)).neg();
  };
  const [loss, gradients] = valueAndGrad(lossOf)(parameters.map((p) => p.ref)) as [JaxArray, JaxArray[]];
  const updated = parameters.map((p, i) => p.sub((gradients[i] as JaxArray).mul(0.05)));
  x.dispose();
  y.dispose();
  return [...updated, loss];
}

/** The same initial weights and batch for every peer. */
export function stepTensors(): Tensor[] {
  let state = 12345;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const scales = [0.07, 0, 0.12, 0, 1];
  return stepInputs.map(({ dtype, shape }, index) => {
    const data = new Float32Array(shape.reduce((size, extent) => size * extent, 1));
    if (index === 5) for (let row = 0; row < batch; row++) data[row * 10 + Math.floor(uniform() * 10)] = 1;
    else for (let i = 0; i < data.length; i++) data[i] = (index === 4 ? uniform() : uniform() - 0.5) * (scales[index] ?? 1);
    return { dtype, shape, data };
  });
}
