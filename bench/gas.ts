/**
 * What the contracts' calls cost, beside their targets and what else does about the same. Gas is exact: a figure is the same on every machine,
 * and the committed snapshot of contracts/test/gas.test.ts holds the same figures. Not a measure of time.
 */
import { startTestChain } from '../contracts/test/harness.ts';
import { measureGas } from '../contracts/test/support/gas.ts';
import { plainRow, type Row } from './lib/measure.ts';

/** One row for each call: gas, whether it keeps its target, and the yardsticks. */
export async function* gasSuite(): AsyncGenerator<Row> {
  const chain = await startTestChain();
  try {
    for (const { name, gas, target, peers } of await measureGas(chain)) {
      const judged = target === null ? {} : { target: `≤ ${target}: ${gas <= target ? 'met' : 'MISSED'}` };
      yield plainRow(name, 'gas', gas, { ...judged, ...peers });
    }
  } finally {
    await chain.close();
  }
}
