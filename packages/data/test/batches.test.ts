import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { batchIndices, BatchSampler, indexRange } from '../src/index.ts';
import { errorOf } from './support.ts';

const seed = new Uint8Array(32).fill(5);
const shard = Uint32Array.of(3, 9, 10, 44, 71, 80, 200);

test('batches are pinned', () => {
  const sampler = new BatchSampler({ seed, round: 2, task: 1, shard, batchSize: 4 });
  expect([0, 1, 2, 3].map((step) => sampler.batch(step).join(' '))).toMatchInlineSnapshot(`
    [
      "10 71 9 80",
      "44 200 3 9",
      "10 71 44 80",
      "3 200 71 10",
    ]
  `);
});

test('every epoch takes each record of the shard once, in an order of its own', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 20 }), fc.nat(1000), (records, batchSize, round) => {
      const sampler = new BatchSampler({ seed, round, task: 0, shard: indexRange(records), batchSize });
      const taken: number[] = [];
      for (let step = 0; taken.length < 3 * records; step++) taken.push(...sampler.batch(step));
      for (const epoch of [0, 1, 2]) {
        expect(taken.slice(epoch * records, (epoch + 1) * records).sort((a, b) => a - b)).toEqual([...indexRange(records)]);
      }
    }),
  );
  const sampler = new BatchSampler({ seed, round: 0, task: 0, shard: indexRange(100), batchSize: 100 });
  expect(sampler.batch(0)).not.toEqual(sampler.batch(1));
});

test('any step may be asked for in any order, from any sampler', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.nat(30), { maxLength: 12 }), (batchSize, steps) => {
      const source = { seed, round: 1, task: 4, shard, batchSize };
      const sampler = new BatchSampler(source);
      for (const step of steps) expect(sampler.batch(step)).toEqual(batchIndices({ ...source, step }));
    }),
  );
});

test('seed, round and task each change the batches', () => {
  const base = { seed, round: 0, task: 0, shard: indexRange(50), batchSize: 50, step: 0 };
  const all = [base, { ...base, seed: new Uint8Array(32) }, { ...base, round: 1 }, { ...base, task: 1 }].map((request) =>
    batchIndices(request).join(),
  );
  expect(new Set(all).size).toBe(4);
});

test('an empty shard, batch or a negative step is a coded error', () => {
  const source = { seed, round: 0, task: 0, shard, batchSize: 2 };
  expect(errorOf(() => new BatchSampler({ ...source, shard: new Uint32Array(0) })).code).toBe('FIELD_INVALID');
  expect(errorOf(() => new BatchSampler({ ...source, batchSize: 0 })).code).toBe('FIELD_INVALID');
  expect(errorOf(() => new BatchSampler(source).batch(-1)).code).toBe('FIELD_INVALID');
});
