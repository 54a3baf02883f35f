/** Losses per record, written so that they trace to few operations and stay finite for large scores. */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import type { LossDefinition } from './definition.ts';

/** Cross-entropy of each row of `output` [rows, classes] against `target` int32 [rows]. */
function rowLosses(output: JaxArray, target: JaxArray): JaxArray {
  const [rows, classes] = output.shape as [number, number];
  const highest = lax.stopGradient(np.max(output.ref, 1, { keepdims: true }));
  const shifted = output.sub(highest);
  const labels = np.arange(classes).astype(np.int32);
  const chosen = np.equal(target.reshape([rows, 1]), labels);
  const own = np.where(chosen, shifted.ref, 0).sum(1);
  return np.log(np.exp(shifted).sum(1)).sub(own);
}

/**
 * Cross-entropy of scores float32 [batch, classes] against class numbers int32 [batch], in nats. A class number outside the
 * range matches no class; its loss is the log-sum-exp alone. A record is correct if its class has the first highest score.
 */
export const crossEntropy: LossDefinition = {
  perRecord: rowLosses,
  correct(output: JaxArray, target: JaxArray): JaxArray {
    return np.equal(np.argmax(output, 1), target);
  },
};

/**
 * Mean over the tokens of a record of the cross-entropy of scores float32 [batch, tokens, classes] against int32 [batch, tokens],
 * in nats. Whether a whole record is right says nothing useful, so nothing is counted.
 */
export const tokenCrossEntropy: LossDefinition = {
  perRecord(output: JaxArray, target: JaxArray): JaxArray {
    const [batch, tokens, classes] = output.shape as [number, number, number];
    const losses = rowLosses(output.reshape([batch * tokens, classes]), target.reshape([batch * tokens]));
    return np.mean(losses.reshape([batch, tokens]), 1);
  },
  correct: null,
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
