/** sort and argsort along the last axis: stable, by a total order in which −0 comes before +0. */
import type { Tensor, TensorData, TensorType } from '../program.ts';
import { at, zeros } from './layout.ts';
import { bitsOf } from './math.ts';

/** An integer that orders float32 values as −∞ < … < −0 < +0 < … < +∞. */
function orderOf(x: number): number {
  const bits = bitsOf(x);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

/** Sorted values and, as int32, where along the axis each came from. */
export function argsort(x: Tensor, valueType: TensorType, indexType: TensorType): [TensorData, TensorData] {
  const values = zeros(valueType);
  const positions = zeros(indexType);
  const length = at(x.shape, x.shape.length - 1);
  const key = x.dtype === 'float32' ? orderOf : (value: number) => value;
  for (let row = 0; row < values.length; row += length) {
    const places = Array.from({ length }, (_, i) => i).sort((a, b) => key(at(x.data, row + a)) - key(at(x.data, row + b)) || a - b);
    places.forEach((place, i) => {
      values[row + i] = at(x.data, row + place);
      positions[row + i] = place;
    });
  }
  return [values, positions];
}
