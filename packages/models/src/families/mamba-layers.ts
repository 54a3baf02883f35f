/**
 * Layers of the Mamba-2 block whose backward pass is written out: what differentiation would make of them pads, copies and reads more.
 * Each gives the same values whether it is differentiated or not.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { sumOfChanges, withDerivative } from './derivative.ts';
import { type Parameters, take } from './layers.ts';

/** exp(x) and 1 / (1 + exp(x)), the exponent capped at 80 lest infinity meets zero: that changes the latter below e⁻⁸⁰ only. */
function logistic(x: JaxArray): [JaxArray, JaxArray] {
  const power = np.exp(np.minimum(x, 80));
  return [power, np.reciprocal(power.ref.add(1))];
}

/** sigmoid(x) and 1 − sigmoid(x). */
function shares(x: JaxArray): [JaxArray, JaxArray] {
  const [power, rest] = logistic(x);
  return [power.mul(rest.ref), rest];
}

function siluOf(x: JaxArray): JaxArray {
  const [share, rest] = shares(x.ref);
  rest.dispose();
  return x.mul(share);
}

/** The derivative of `silu`: s + x · s · (1 − s) with s = sigmoid(x). */
function siluSlope(x: JaxArray): JaxArray {
  const [share, rest] = shares(x.ref);
  return x.mul(share.ref).mul(rest).add(share);
}

/** x · sigmoid(x), the sigmoid linear unit. */
export const silu = (x: JaxArray): JaxArray =>
  withDerivative(
    [x],
    ([given]) => siluOf(given),
    ([given], [dx]) => (dx === null ? null : dx.mul(siluSlope(given))),
  );

/** x · silu(gate), of equal shapes. */
export const gatedBy = (x: JaxArray, gate: JaxArray): JaxArray =>
  withDerivative(
    [x, gate],
    ([given, by]) => given.mul(siluOf(by)),
    ([given, by], [dx, dGate]) => {
      const changes = [dGate === null ? null : dGate.mul(given.ref.mul(siluSlope(by.ref))), dx === null ? null : dx.mul(siluOf(by.ref))];
      for (const used of [given, by]) used.dispose();
      return sumOfChanges(changes);
    },
  );

/** `x` [B, T, channels…] at the positions that each of the `width` taps sees, oldest first, zeros before the beginning. */
function seenBy(x: JaxArray, width: number): JaxArray[] {
  const length = x.shape[1] as number;
  const padded = np.pad(x, { 1: [width - 1, 0] });
  const views = Array.from({ length: width }, (_, k) => padded.ref.slice([], [k, k + length]));
  padded.dispose();
  return views;
}

const sumOf = (terms: readonly JaxArray[]): JaxArray => terms.reduce((sum, term) => sum.add(term));

const rowsOf = (taps: JaxArray): JaxArray[] => {
  const rows = Array.from({ length: taps.shape[0] as number }, (_, k) => taps.ref.slice(k));
  taps.dispose();
  return rows;
};

/** How many parts to make of `batch` records: the most up to 16, but only of batches in fours; small ones are one part. */
function partsOf(batch: number): number {
  if (batch % 4 !== 0) return 1;
  for (let parts = 16; parts > 1; parts--) if (batch % parts === 0) return parts;
  return 1;
}

/**
 * The causal convolution of each channel of `x` [B, T, channels…] with `taps` [K, channels…], oldest first, plus `bias` [channels…].
 * The backward pass pads the gradient once and reads it at K places, as the forward pass reads the input.
 */
export function causalConvolution(x: JaxArray, taps: JaxArray, bias: JaxArray): JaxArray {
  const width = taps.shape[0] as number;
  const length = x.shape[1] as number;
  return withDerivative(
    [x, taps, bias],
    ([given, kernel, offset]) => {
      const rows = rowsOf(kernel);
      return sumOf([offset, ...seenBy(given, width).map((view, k) => view.mul(rows[k] as JaxArray))]);
    },
    ([given, kernel, offset], [dx, dTaps, dBias]) => {
      offset.dispose();
      const changes: (JaxArray | null)[] = [];
      if (dx !== null) {
        // A change spreads to the K places after it; what lies beyond the end is cut off at once.
        const spread = rowsOf(kernel.ref).map((row, k) => np.pad(dx.ref.mul(row), { 1: [width - 1 - k, k] }));
        changes.push(sumOf(spread).slice([], [0, length]));
        dx.dispose();
      }
      if (dBias !== null) changes.push(np.broadcastTo(dBias, given.shape));
      if (dTaps !== null) {
        // Records are added up before places are: the products of a part are never written down.
        const batch = given.shape[0] as number;
        const parts = partsOf(batch);
        const size = batch / parts;
        const rows = rowsOf(dTaps).map((row) => np.broadcastTo(row, [size, ...given.shape.slice(1)]));
        const views = seenBy(given.ref, width);
        const partial = Array.from({ length: parts }, (_, part) =>
          sumOf(views.map((view, k) => view.ref.slice([part * size, (part + 1) * size]).mul((rows[k] as JaxArray).ref))),
        );
        changes.push(np.concatenate(partial, 0));
        for (const used of [...rows, ...views]) used.dispose();
      }
      for (const used of [given, kernel]) used.dispose();
      return sumOfChanges(changes);
    },
  );
}

const epsilon = 1e-5;

const lastAxes = (x: JaxArray, count: number): number[] => Array.from({ length: count }, (_, i) => x.shape.length - 1 - i);

/** 1 over the root of the mean square of `x` over its last `count` axes plus 1e-5; those axes stay, with extent 1. */
export function rootMeanSquareFactor(x: JaxArray, count: number): JaxArray {
  const axes = lastAxes(x, count);
  const share = 1 / axes.reduce((total, axis) => total * (x.shape[axis] as number), 1);
  const factorOf = (given: JaxArray): JaxArray =>
    np.reciprocal(np.sqrt(given.ref.mul(given).sum(axes, { keepdims: true }).mul(share).add(epsilon)));
  return withDerivative(
    [x],
    ([given]) => factorOf(given),
    ([given], [dx]) => {
      if (dx === null) {
        given.dispose();
        return null;
      }
      // −factor³ · mean(x · dx)
      const factor = factorOf(given.ref);
      const slope = factor.ref.mul(factor.ref).mul(factor).mul(-share);
      return given.mul(dx).sum(axes, { keepdims: true }).mul(slope);
    },
  );
}

/** `x` [rows, features] over the root of its mean square plus 1e-5, times `scale` [features]. */
export function rootMeanSquareNorm(x: JaxArray, scale: JaxArray): JaxArray {
  const share = 1 / (x.shape[1] as number);
  return withDerivative(
    [x, scale],
    ([given, by]) => given.ref.mul(rootMeanSquareFactor(given, 1)).mul(by),
    ([given, by], [dx, dScale]) => {
      const factor = rootMeanSquareFactor(given.ref, 1);
      // factor · scale · dx + x · (factor · dScale − scale · factor³ · mean(x · dx))
      const across: (JaxArray | null)[] = [dScale === null ? null : dScale.mul(factor.ref)];
      if (dx !== null) {
        const cube = factor.ref.mul(factor.ref).mul(factor.ref).mul(-share);
        const sum = given.ref.mul(dx.ref).sum(1, { keepdims: true });
        across.push(sum.mul(cube).mul(by.ref));
      }
      const inner = sumOfChanges(across);
      const changes = [inner === null ? null : given.ref.mul(inner), dx === null ? null : dx.mul(by.ref).mul(factor.ref)];
      for (const used of [given, by, factor]) used.dispose();
      return sumOfChanges(changes);
    },
  );
}

/** `x`, whose change is taken for dx ± x · `ds`, where `s` broadcasts to x. */
export function tilted(x: JaxArray, s: JaxArray, sign: 1 | -1): JaxArray {
  return withDerivative(
    [x, s],
    ([given, tilt]) => {
      tilt.dispose();
      return given;
    },
    ([given, tilt], [dx, ds]) => {
      tilt.dispose();
      const turned = ds === null ? null : given.ref.mul(sign === 1 ? ds : np.negative(ds));
      given.dispose();
      return sumOfChanges([dx, turned]);
    },
  );
}

/** `decays` [H, …], taken for constant, times `likeness` [1, …]. The backward pass adds the heads up in one go. */
export function decayed(decays: JaxArray, likeness: JaxArray): JaxArray {
  const heads = decays.shape[0] as number;
  return withDerivative(
    [decays, likeness],
    ([by, given]) => by.mul(given),
    ([by, given], [dBy, dx]) => {
      for (const unused of [given, dBy]) unused?.dispose();
      if (dx === null) {
        by.dispose();
        return null;
      }
      const parts = Array.from({ length: heads }, (_, h) => by.ref.slice([h, h + 1]).mul(dx.ref));
      for (const used of [by, dx]) used.dispose();
      return np.concatenate(parts, 0);
    },
  );
}

/** `linear` of `x` [rows, inputs] without a bias, its outputs in parts of `sizes`: a product for each part of the kernel. */
export function linearParts(parameters: Parameters, name: string, x: JaxArray, sizes: readonly number[]): JaxArray[] {
  const ends = sizes.slice(0, -1).map((_, i) => sizes.slice(0, i + 1).reduce((total, size) => total + size, 0));
  const parts = (kernel: JaxArray): JaxArray[] => np.split(kernel, ends, 1);
  const [down, up] = ['down', 'up'].map((part) => parameters[`${name}.kernel.${part}`]);
  const plain = parts(take(parameters, `${name}.kernel`)).map((kernel) => np.dot(x.ref, kernel));
  if (down === undefined || up === undefined) {
    x.dispose();
    return plain;
  }
  const low = np.dot(x, down);
  const results = parts(up).map((factor, i) => (plain[i] as JaxArray).add(np.dot(low.ref, factor)));
  low.dispose();
  return results;
}

/** `parameters` with the kernel of the linear layer `name`, and the first factor of its low-rank part, for inputs times `scale` [inputs]. */
export function scaledInputs(parameters: Parameters, name: string, scale: JaxArray): Parameters {
  const column = scale.reshape([-1, 1]);
  const changed: Record<string, JaxArray> = { ...parameters };
  for (const part of [`${name}.kernel`, `${name}.kernel.down`]) {
    const kernel = parameters[part];
    if (kernel !== undefined) changed[part] = kernel.mul(column.ref);
  }
  column.dispose();
  return changed;
}
