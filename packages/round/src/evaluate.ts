/**
 * Evaluation of parameters on held-out records: part of every checkpoint, recomputed by the auditor.
 */
import type { PreparedProgram, Tensor } from '@muster/engine';
import type { Evaluation } from '@muster/protocol';

export interface EvaluationInput {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly mask: Tensor;
  readonly records: number;
}

/**
 * Loss and correct predictions over `batches`; yields records done. `evaluate`: parameters…, frozen…, x, y, mask → lossSum, correct;
 * `weights` are the values of its parameters and frozen tensors.
 * The loss sums of the batches are added in order in float64 and divided by the number of records, rounded to float32.
 */
export function* evaluateModel(
  evaluate: PreparedProgram,
  weights: readonly Tensor[],
  batches: Iterable<EvaluationInput>,
): Generator<number, Evaluation, undefined> {
  let records = 0;
  let lossSum = 0;
  let correct = 0;
  for (const batch of batches) {
    const [loss, hits] = evaluate.run([...weights, batch.x, batch.y, batch.mask]);
    lossSum += loss?.data[0] ?? 0;
    correct += hits?.data[0] ?? 0;
    records += batch.records;
    yield records;
  }
  return { records, loss: records === 0 ? 0 : Math.fround(lossSum / records), correct };
}
