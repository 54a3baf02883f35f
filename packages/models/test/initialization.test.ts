import { delegate, leafKey, leafSeed } from '@muster/protocol';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildModel, delegatedKeys, initialKeys, initialTree, partialInit } from '@muster/models';
import { optimizers, run } from './fixtures.ts';

const seed = Uint8Array.from({ length: 32 }, (_, index) => index);
/** 22 parameter tensors: a tree of depth 2. */
const deep = await buildModel({
  family: 'mlp',
  input: [3],
  classes: 2,
  hidden: [4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
  batchSize: 2,
  evaluationBatch: 2,
  optimizer: optimizers.sgd,
});
const count = deep.model.parameters.length;
const whole = run(deep.programs.init, [initialKeys(seed, count)]);

describe('initial parameters', () => {
  test('have a leaf of the seed tree each', () => {
    expect(initialTree(count)).toEqual({ depth: 2, fanout: 16 });
    const { data } = initialKeys(seed, count);
    for (let index = 0; index < count; index++)
      expect(data.slice(2 * index, 2 * index + 2)).toEqual(Uint32Array.from(leafKey(leafSeed(seed, { depth: 2, fanout: 16 }, index))));
  });

  test('below a subtree are drawn by whoever holds it, to the same bits, and no others', () => {
    fc.assert(
      fc.property(fc.constantFrom([], [0], [1], [0, 0], [0, 7], [1, 5]), (path) => {
        const { keys, range } = delegatedKeys(delegate(seed, initialTree(count), path), count);
        for (let index = 0; index < count; index++) {
          if (index < range.start || index >= range.end) expect(keys.data.slice(2 * index, 2 * index + 2)).toEqual(Uint32Array.of(0, 0));
        }
        const program = partialInit(deep.programs.init, range);
        expect(program.outputs.map(({ name }) => name)).toEqual(
          deep.model.parameters.slice(range.start, range.end).map(({ name }) => name),
        );
        expect(run(program, [keys])).toEqual(whole.slice(range.start, range.end));
        if (path.length > 0) expect(program.operations.length).toBeLessThan(deep.programs.init.operations.length);
      }),
      { numRuns: 12 },
    );
  });

  test('are not given by a subtree of another tree, or below which there is no parameter', () => {
    const code = expect.objectContaining({ code: 'FIELD_INVALID' });
    expect(() => delegatedKeys(delegate(seed, { depth: 3, fanout: 16 }, [0]), count)).toThrow(code);
    expect(() => delegatedKeys(delegate(seed, initialTree(count), [2]), count)).toThrow(code);
  });

  test('of a model of one parameter come from the seed itself', () => {
    expect(initialTree(1)).toEqual({ depth: 0, fanout: 16 });
    expect([...initialKeys(seed, 1).data]).toEqual(leafKey(seed));
  });
});
