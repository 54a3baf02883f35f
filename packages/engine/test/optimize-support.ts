/** Programs for the tests of the passes: a deep network and its training step, traced from jax-js. Not a test itself. */
import { type Array as JaxArray, nn, numpy as np, valueAndGrad } from '@jax-js/jax';
import { type NamedType, type Program, traceProgram } from '../src/index.ts';

/** One SGD step of `layers` dense layers of `width` with tanh-like gates, on `batch` records. Its first outputs are its first inputs. */
export function deepStep(layers: number, width: number, batch: number): Program {
  const names = Array.from({ length: layers }, (_, layer) => `w${layer}`);
  const inputs: NamedType[] = [
    ...names.map((name): NamedType => ({ name, dtype: 'float32', shape: [width, width] })),
    { name: 'x', dtype: 'float32', shape: [batch, width] },
  ];
  const step = (...arrays: JaxArray[]): JaxArray[] => {
    const weights = arrays.slice(0, layers);
    const x = arrays[layers] as JaxArray;
    const lossOf = (w: JaxArray[]): JaxArray => {
      let value = x.ref;
      for (const weight of w) {
        const product = np.dot(value, weight);
        value = nn.sigmoid(product.ref).mul(product);
      }
      return np.mean(value.ref.mul(value));
    };
    const [loss, gradients] = valueAndGrad(lossOf)(weights.map((w) => w.ref)) as [JaxArray, JaxArray[]];
    const next = weights.map((w, i) => w.sub((gradients[i] as JaxArray).mul(0.125)));
    x.dispose();
    return [...next, loss];
  };
  return traceProgram('deep', step, inputs, [...names, 'loss']);
}
