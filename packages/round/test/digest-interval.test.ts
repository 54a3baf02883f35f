import { maxSteps } from '@muster/protocol';
import { buildModel } from '@muster/models';
import { defaultDigestInterval, digestIntervalFor } from '@muster/round';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const intervalOf = async (batchSize: number): Promise<number> => {
  const optimizer = { kind: 'momentum', learningRate: 0.1, momentum: 0.9 } as const;
  const { model, programs } = await buildModel({
    family: 'mlp',
    input: [64],
    classes: 10,
    hidden: [32],
    batchSize,
    evaluationBatch: 8,
    optimizer,
  });
  return digestIntervalFor([...model.parameters, ...model.slots], programs.trainStep);
};

describe('the default digest interval', () => {
  it('keeps hashing within a fiftieth of the training time, and no longer than it must', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e10 }), fc.integer({ min: 1e6, max: 1e13 }), (bytes, flops) => {
        const steps = defaultDigestInterval(bytes, flops);
        const share = (interval: number): number => bytes / 1e9 / (interval * (flops / 90e9));
        if (steps < maxSteps) expect(share(steps)).toBeLessThanOrEqual(0.02 * (1 + 1e-9));
        if (steps > 1) expect(share(steps - 1)).toBeGreaterThan(0.02 * (1 - 1e-9));
      }),
    );
  });

  it('is a number of steps even where a step or the state is nothing', () => {
    expect(defaultDigestInterval(0, 1e9)).toBe(1);
    expect(defaultDigestInterval(1e9, 0)).toBe(maxSteps);
    expect(defaultDigestInterval(0, 0)).toBe(maxSteps);
    expect(defaultDigestInterval(4, 1e15)).toBe(1);
  });

  it('of a model follows from its state and its step: a larger batch is digested more often', async () => {
    const [few, many] = [await intervalOf(8), await intervalOf(64)];
    // Two products of the forward pass and three of the backward pass per record, two operations per weight each; the rest is small.
    expect(few).toBeGreaterThan(200);
    expect(few).toBeLessThan(1260);
    expect(many).toBeLessThan(few / 4);
  });
});
