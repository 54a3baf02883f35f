/** The model object's decoder on bytes from outside. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { equalBytes, MusterError } from '@muster/protocol';
import { buildModel, decodeModel, encodeModel } from '@muster/models';

const spec = {
  family: 'mlp',
  input: [4],
  classes: 3,
  hidden: [5],
  batchSize: 2,
  evaluationBatch: 2,
  optimizer: { kind: 'momentum', learningRate: 0.1, momentum: 0.9 },
} as const;

/** `changed` is a model again, canonical, or refused with a code. */
function refuses(changed: Uint8Array): void {
  try {
    expect(equalBytes(encodeModel(decodeModel(changed)).bytes, changed)).toBe(true);
  } catch (error) {
    expect(error).toBeInstanceOf(MusterError);
    expect((error as MusterError).code).not.toBe('INTERNAL');
  }
}

it('takes what was encoded, and refuses random and changed bytes with a code', async () => {
  const { model } = await buildModel(spec);
  const { bytes } = encodeModel(model);
  expect(decodeModel(bytes)).toEqual(model);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (random) => refuses(random)),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => refuses(bytes.with(at, byte))),
    { numRuns: 2000 },
  );
});
