/** The model object's decoder on bytes from outside. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { cidOfBytes, encodeCanonical, equalBytes, MusterError } from '@muster/protocol';
import { buildModel, decodeModel, encodeModel, type ModelObject } from '@muster/models';

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

const link = cidOfBytes(encodeCanonical('values'), 'dag-cbor');

it.each(['as it trains', 'over frozen tensors, generating'])(
  'takes a model %s, and refuses random and changed bytes with a code',
  async (kind) => {
    const built = (await buildModel(spec)).model;
    const model: ModelObject =
      kind === 'as it trains'
        ? built
        : {
            ...built,
            frozen: [{ name: 'base', dtype: 'float32', shape: [3] }],
            frozenValues: link,
            cache: [{ name: 'seen', dtype: 'int32', shape: [2, 3] }],
            programs: { ...built.programs, generate: link },
          };
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
  },
);
