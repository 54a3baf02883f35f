/** Losses per record, written so that they trace to few operations and stay finite for large scores. */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import type { LossDefinition } from './definition.ts';

/**
 * Cross-entropy of scores float32 [batch, classes] against class numbers int32 [batch], in nats. A class number outside the
 * range matches no class; its loss is the log-sum-exp alone. A record is correct if its class has the first highest score.
 */
export const crossEntropy: LossDefinition = {
  perRecord(output: JaxArray, target: JaxArray): JaxArray {
    const [batch, classes] = output.shape as [number, number];
    const highest = lax.stopGradient(np.max(output.ref, 1, { keepdims: true }));
    const shifted = output.sub(highest);
    const labels = np.arange(classes).astype(np.int32);
    const chosen = np.equal(target.reshape([batch, 1]), labels);
    const own = np.where(chosen, shifted.ref, 0).sum(1);
    return np.log(np.exp(shifted).sum(1)).sub(own);
  },
  correct(output: JaxArray, target: JaxArray): JaxArray {
    return np.equal(np.argmax(output, 1), target);
  },
};

/** Mean over the elements of a record of (output − target)²; targets float32 of the output's shape. */
export const meanSquaredError: LossDefinition = {
  perRecord(output: JaxArray, target: JaxArray): JaxArray {
    const difference = output.sub(target);
    const squares = difference.ref.mul(difference);
    return np.mean(squares.reshape([squares.shape[0] ?? 1, -1]), 1);
  },
  correct: null,
};
