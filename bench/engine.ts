/** Suite `engine`: everything about the exact executors, one suite after the other. */
import { digestSuite } from './engine-digest.ts';
import { memorySuite, threadsSuite } from './engine-processes.ts';
import { productsSuite } from './engine-products.ts';
import { stepsSuite } from './engine-steps.ts';
import type { Row } from './lib/measure.ts';

/** Rows of the suite, each as soon as it is measured. */
export async function* engineSuite(): AsyncGenerator<Row> {
  yield* productsSuite();
  yield* stepsSuite();
  yield* threadsSuite();
  yield* memorySuite();
  yield* digestSuite();
}
