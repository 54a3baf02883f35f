/** Layers over images. Records arrive as [batch, height, width, channels]; inside, images are [batch, channels, height, width]. */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import type { ParameterDefinition } from '../definition.ts';
import { type Parameters, rootMeanSquareRows, take } from './layers.ts';

export const channelsFirst = (x: JaxArray): JaxArray => np.transpose(x, [0, 3, 1, 2]);

export function convolutionParameters(name: string, inputs: number, outputs: number, size: number, bias: boolean): ParameterDefinition[] {
  const kernel: ParameterDefinition = { name: `${name}.kernel`, shape: [outputs, inputs, size, size], initial: 'heUniform' };
  return bias ? [kernel, { name: `${name}.bias`, shape: [outputs], initial: 'zeros' }] : [kernel];
}

/** Cross-correlation of `x` [batch, inputs, height, width] with the kernel [outputs, inputs, size, size], zeros around as `padding` says. */
export function convolution(parameters: Parameters, name: string, x: JaxArray, stride: number, padding: number): JaxArray {
  const pairs = Array.from({ length: 2 }, (): [number, number] => [padding, padding]);
  return lax.conv(x, take(parameters, `${name}.kernel`), [stride, stride], pairs);
}

/** `x` [batch, channels, height, width] plus the bias of its channel. */
export function channelBias(parameters: Parameters, name: string, x: JaxArray): JaxArray {
  return x.add(take(parameters, `${name}.bias`).reshape([-1, 1, 1]));
}

/** The two halves of `x` along an axis of extent 2, which is dropped; their maximum. Of two equal elements the first takes the gradient. */
function largerHalf(x: JaxArray, axis: number): JaxArray {
  const shape = x.shape.toSpliced(axis, 1);
  const [first, second] = np.split(x, 2, axis) as [JaxArray, JaxArray];
  return np.maximum(first.reshape(shape), second.reshape(shape));
}

/** The largest of each 2 × 2 window, without overlap; an odd last row or column is left out. */
export function maxPool(x: JaxArray): JaxArray {
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [rows, columns] = [height >> 1, width >> 1];
  const even = height % 2 === 0 && width % 2 === 0 ? x : x.slice([], [], [0, 2 * rows], [0, 2 * columns]);
  const byRows = largerHalf(even.reshape([batch, channels, rows, 2, 2 * columns]), 3);
  return largerHalf(byRows.reshape([batch, channels, rows, columns, 2]), 4);
}

export function groupNormParameters(name: string, channels: number): ParameterDefinition[] {
  return [
    { name: `${name}.scale`, shape: [channels], initial: 'ones' },
    { name: `${name}.bias`, shape: [channels], initial: 'zeros' },
  ];
}

/**
 * Group normalization (Wu and He, 2018): mean zero and variance one over the channels of a group and all places of one image, then
 * scale and bias per channel. Batch normalization would tie records of a batch together and keep running statistics, which are not
 * trained by gradients and do not average between tasks that saw different data.
 */
export function groupNorm(parameters: Parameters, name: string, x: JaxArray, groups: number): JaxArray {
  const shape = x.shape;
  const normed = rootMeanSquareRows(x.reshape([(shape[0] as number) * groups, -1]), true).reshape(shape);
  const perChannel = (what: string): JaxArray => take(parameters, `${name}.${what}`).reshape([-1, 1, 1]);
  return normed.mul(perChannel('scale')).add(perChannel('bias'));
}
