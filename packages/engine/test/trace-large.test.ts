import { nn, numpy as np, valueAndGrad, type Array as JaxArray } from '@jax-js/jax';
import { traceProgram } from '@muster/engine';
import { expect, test } from 'vitest';
const step = (w: JaxArray, x: JaxArray): JaxArray[] => {
  const [l, g] = valueAndGrad((v: JaxArray) => np.dot(nn.relu(np.dot(x.ref, v.ref)), np.transpose(v)).sum())(w);
  return [l, g];
};
const shapes = (n: number) =>
  [
    { name: 'w', dtype: 'float32', shape: [3 * n, 5 * n] },
    { name: 'x', dtype: 'float32', shape: [4 * n, 3 * n] },
  ] as const;
test('large products are traced like small ones', () => {
  const small = traceProgram('s', step, shapes(1), ['l', 'g']);
  const large = traceProgram('s', step, shapes(400), ['l', 'g']);
  expect(large.operations.map((o) => o.primitive)).toEqual(small.operations.map((o) => o.primitive));
  expect(() =>
    traceProgram('b', (x) => [np.broadcastTo(x, [70000, 70000]).add(1)], [{ name: 'x', dtype: 'float32', shape: [70000] }], ['y']),
  ).toThrow(/more than/);
});
