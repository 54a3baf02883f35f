/**
 * Layers that several families share. Matrix products are taken over [rows, features], with all leading axes merged into rows:
 * then the gradient of a weight is one product too, and nothing is broadcast to rows × inputs × outputs.
 */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import type { ParameterDefinition } from '../definition.ts';
import type { Norm } from './options.ts';

export type Parameters = Readonly<Record<string, JaxArray>>;

/** The parameter `name`; a definition only takes what it declares. */
export const take = (parameters: Parameters, name: string): JaxArray => parameters[name] as JaxArray;

export const product = (extents: readonly number[]): number => extents.reduce((total, extent) => total * extent, 1);

/** `x` [batch, …] as [batch, features]. */
export const flat = (x: JaxArray): JaxArray => x.reshape([x.shape[0] ?? 1, -1]);

/** Parameters of `normalize`: a scale and, for layer normalization with `bias`, a bias. */
export function normParameters(name: string, width: number, norm: Norm, bias: boolean): ParameterDefinition[] {
  const scale: ParameterDefinition = { name: `${name}.scale`, shape: [width], initial: 'ones' };
  return norm === 'layer' && bias ? [scale, { name: `${name}.bias`, shape: [width], initial: 'zeros' }] : [scale];
}

const meanOfRows = (x: JaxArray): JaxArray => x.sum(1, { keepdims: true }).mul(1 / (x.shape[1] as number));

/** `x` [rows, width], rows centred first if `centred`, divided by the root of their mean square plus `epsilon`. */
export function rootMeanSquareRows(x: JaxArray, centred: boolean, epsilon = 1e-5): JaxArray {
  const rows = centred ? x.ref.sub(meanOfRows(x)) : x;
  const meanSquare = meanOfRows(rows.ref.mul(rows.ref));
  return rows.mul(np.reciprocal(np.sqrt(meanSquare.add(epsilon))));
}

/** Layer normalization (Ba et al., 2016) or its root-mean-square form (Zhang and Sennrich, 2019) of `x` [rows, width], with its scale and bias. */
export function normalize(parameters: Parameters, name: string, x: JaxArray, norm: Norm): JaxArray {
  const scaled = rootMeanSquareRows(x, norm === 'layer').mul(take(parameters, `${name}.scale`));
  const bias = parameters[`${name}.bias`];
  return bias === undefined ? scaled : scaled.add(bias);
}

/**
 * `x` [rows, inputs] times the kernel [inputs, outputs], plus the bias if there is one. With factors `….kernel.down` [inputs, r] and
 * `….kernel.up` [r, outputs] it is x · kernel + (x · down) · up: the low-rank layer of `adapters.ts`.
 */
export function linear(parameters: Parameters, name: string, x: JaxArray): JaxArray {
  const [down, up, bias] = ['kernel.down', 'kernel.up', 'bias'].map((part) => parameters[`${name}.${part}`]);
  const adapted = down !== undefined && up !== undefined;
  const plain = np.dot(adapted ? x.ref : x, take(parameters, `${name}.kernel`));
  const result = adapted ? plain.add(np.dot(np.dot(x, down), up)) : plain;
  return bias === undefined ? result : result.add(bias);
}

/** Names of the kernels among `parameters` that `linear` reads. A depthwise convolution's kernel is a matrix too, but not one of them. */
export function linearKernels(parameters: readonly ParameterDefinition[]): string[] {
  return parameters.flatMap(({ name, shape }) =>
    shape.length === 2 && name.endsWith('.kernel') && !name.endsWith('convolution.kernel') ? [name] : [],
  );
}

/**
 * `a` [lead…, m, k] times `b` [lead…, k, n]. Leading axes of extent 1 are left out of the product: its gradient would take them for
 * summed ones and repeat an operand over m × n × k.
 */
export function matrixProduct(a: JaxArray, b: JaxArray): JaxArray {
  const [lead, rows] = [a.shape.slice(0, -2), a.shape.at(-2) as number];
  const columns = b.shape.at(-1) as number;
  const long = lead.filter((extent) => extent !== 1);
  const result = np.matmul(a.reshape([...long, ...a.shape.slice(-2)]), b.reshape([...long, ...b.shape.slice(-2)]));
  return result.reshape([...lead, rows, columns]);
}

/**
 * `value` of a function at `x` whose derivative there is `slope`. For training steps: the backward pass is one product with the slope,
 * and of all intermediate results only the slope waits for it. x − x is +0 for every finite x, so the value keeps its bits (−0 becomes +0).
 */
function withSlope(x: JaxArray, value: JaxArray, slope: JaxArray): JaxArray {
  const nothing = x.ref.sub(lax.stopGradient(x));
  return lax.stopGradient(value).add(nothing.mul(lax.stopGradient(slope)));
}

/** An element-wise function; `training` if its derivative will be taken. Both give the same values. */
export type Activation = (x: JaxArray, training: boolean) => JaxArray;

/** x · Φ(x), the Gaussian error linear unit (Hendrycks and Gimpel, 2016); the derivative is Φ(x) + x · φ(x). */
export const gelu: Activation = (x, training) => {
  const scaled = x.ref.mul(Math.SQRT1_2);
  const share = lax.erf(scaled.ref).mul(0.5).add(0.5);
  const value = x.ref.mul(share.ref);
  if (!training) {
    for (const unused of [x, scaled, share]) unused.dispose();
    return value;
  }
  const density = np.exp(np.negative(scaled.ref.mul(scaled))).mul(1 / Math.sqrt(2 * Math.PI));
  return withSlope(x.ref, value, share.add(x.mul(density)));
};

/**
 * 1 / (1 + exp(−x)). The exponent is capped at 80: exp would reach infinity above 88, and infinity times the underflowing
 * derivative is a NaN in the backward pass. The cap changes values below e⁻⁸⁰ only.
 */
function sigmoid(x: JaxArray): JaxArray {
  return np.reciprocal(np.exp(np.minimum(np.negative(x), 80)).add(1));
}

/**
 * GPT-2's approximation of `gelu`: x / 2 · (1 + tanh u) = x · s with s = sigmoid(2u), u = √(2/π) · (x + 0.044715 x³); the derivative is
 * s · (1 + x · (1 − s) · 2u′).
 */
export const geluTanh: Activation = (x, training) => {
  const twice = 2 * Math.sqrt(2 / Math.PI);
  const square = x.ref.mul(x.ref);
  const share = sigmoid(x.ref.mul(square.ref.mul(0.044715).add(1)).mul(twice));
  const value = x.ref.mul(share.ref);
  if (!training) {
    for (const unused of [x, square, share]) unused.dispose();
    return value;
  }
  const inner = square.mul(3 * 0.044715 * twice).add(twice);
  const rest = np.negative(share.ref).add(1);
  return withSlope(x.ref, value, share.mul(x.mul(rest).mul(inner).add(1)));
};

/** log(1 + exp(x)), without overflow: max(x, 0) + log(1 + exp(−|x|)). */
export function softplus(x: JaxArray): JaxArray {
  const distance = np.maximum(x.ref, np.negative(x.ref));
  return np.maximum(x, 0).add(np.log(np.exp(np.negative(distance)).add(1)));
}
