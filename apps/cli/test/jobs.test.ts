/** Job files: what may be left out, and what is said about a wrong one. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel } from '@muster/models';
import { memoryBlobStore } from '@muster/ports';
import { encodeLinked, MusterError } from '@muster/protocol';
import { digestIntervalOf, reader } from '@muster/roles';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dataImport } from '../src/commands/data.ts';
import { jobSubmit, weiOf } from '../src/commands/jobs.ts';
import { homePaths } from '../src/home.ts';
import { asCid, buildFrom, type JobSettings, jobSpecFor, jobSpecOf, seedOf } from '../src/jobs.ts';
import { createOutput } from '../src/output.ts';

const model = encodeLinked({ a: 'model' }).cid;
const dataset = encodeLinked({ a: 'dataset' }).cid;
const least: JobSettings = { name: 'least', model, dataset, seed: 1 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-cli-'));
});
afterAll(async () => await rm(folder, { recursive: true }));

async function problemOf(attempt: () => unknown): Promise<{ readonly code: string; readonly message: string }> {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof MusterError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a job spec', () => {
  test('is complete when the file gives only name, model, dataset and seed', () => {
    expect(jobSpecOf(least)).toEqual({
      version: 1,
      name: 'least',
      model,
      dataset,
      seed: seedOf(1),
      rounds: 10,
      tasks: 8,
      redundancy: 3,
      localSteps: 32,
      digestInterval: 32,
      split: { kind: 'equal' },
      slotState: 'reset',
      minimumNodes: 3,
      quorumPercent: 80,
      commitTimeoutMs: 60_000,
      revealTimeoutMs: 30_000,
      verdictTimeoutMs: 120_000,
      roundTimeoutMs: 600_000,
    });
  });

  test('wants as many nodes as it has executions of a task, and one digest per task, unless told otherwise', () => {
    expect(jobSpecOf({ ...least, redundancy: 5, localSteps: 10 })).toMatchObject({ minimumNodes: 5, digestInterval: 10 });
    expect(jobSpecOf({ ...least, redundancy: 5, minimumNodes: 9, digestInterval: 1 })).toMatchObject({
      minimumNodes: 9,
      digestInterval: 1,
    });
    expect(jobSpecOf({ ...least, localSteps: 1 }).digestInterval).toBe(1);
  });

  test('for a model in the store has its digest interval, at most a task’s steps, unless told otherwise', async () => {
    const store = memoryBlobStore();
    const optimizer = { kind: 'sgd', learningRate: 0.1 } as const;
    const built = await buildModel({ family: 'softmax', input: [4], classes: 3, batchSize: 512, evaluationBatch: 8, optimizer });
    for (const { bytes } of built.objects) await store.put(bytes, 'dag-cbor');
    const settings: JobSettings = { ...least, model: built.cid, localSteps: 100 };
    const { digestInterval } = await jobSpecFor(settings, store);
    expect(digestInterval).toBe(await digestIntervalOf(built.cid, reader(store)));
    expect(digestInterval).toBeLessThan(100);
    expect((await jobSpecFor({ ...settings, localSteps: 2 }, store)).digestInterval).toBe(2);
    expect((await jobSpecFor({ ...settings, digestInterval: 7 }, store)).digestInterval).toBe(7);
    await expect(jobSpecFor({ ...settings, model: least.model }, store)).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  });

  test('takes a seed as a number, as a word, or as 32 bytes as they are', () => {
    const seeds = [1, '1', 'one', `0x${'12'.repeat(32)}`].map((seed) => jobSpecOf({ ...least, seed }).seed);
    expect(seeds[0]).toBe(seeds[1]);
    expect(seeds[2]).not.toBe(seeds[0]);
    expect(seeds[3]).toBe(`0x${'12'.repeat(32)}`);
  });

  test.each([
    [{ rounds: 0 }, 'rounds'],
    [{ tasks: 1.5 }, 'tasks'],
    [{ tasks: '4' }, 'tasks'],
    [{ redundancy: 16 }, 'redundancy'],
    [{ localSteps: 'many' }, 'localSteps'],
    [{ localSteps: Number.POSITIVE_INFINITY }, 'localSteps'],
    [{ roundTimeoutMs: Number.POSITIVE_INFINITY }, 'roundTimeoutMs'],
    [{ quorumPercent: 101 }, 'quorumPercent'],
    [{ slotState: 'keep' }, 'slotState'],
    [{ split: { kind: 'dirichlet', alpha: 0 } }, 'alpha'],
    [{ split: { kind: 'dirichlet', alpha: Number.POSITIVE_INFINITY } }, 'alpha'],
    [{ split: { kind: 'by hand' } }, 'split'],
    [{ split: null }, 'split'],
    [{ split: 'equal' }, 'split'],
    [{ commitTimeoutMs: 1 }, 'commitTimeoutMs'],
    [{ model: 'not a content id' }, 'model'],
    [{ dataset: null }, 'dataset'],
    [{ name: 'x'.repeat(201) }, 'name'],
  ])('with %j is refused, naming the field', async (changes, field) => {
    const { code, message } = await problemOf(() => jobSpecOf({ ...least, ...changes } as unknown as JobSettings));
    expect(code).toBe('JOB_INVALID');
    expect(message).toContain(field);
  });
});

async function submit(content: string): Promise<{ readonly code: string; readonly message: string }> {
  const file = join(folder, 'job.json');
  await writeFile(file, content);
  const home = join(folder, 'no-home');
  return await problemOf(() => jobSubmit({ paths: homePaths(home), output: createOutput(true), homeGiven: true }, file));
}

describe('a job file', () => {
  const whole = { name: 'n', model: { family: 'softmax' }, dataset: 'data.csv' };

  test.each([
    ['{"name": ', 'JSON'],
    ['[]', 'JSON object'],
    [JSON.stringify({ ...whole, name: '' }), '"name"'],
    [JSON.stringify({ ...whole, model: 3 }), '"model"'],
    [JSON.stringify({ ...whole, dataset: undefined }), '"dataset"'],
    [JSON.stringify({ ...whole, seed: null }), '"seed"'],
    [JSON.stringify({ ...whole, budgetEther: '1,5' }), '"budgetEther"'],
    [JSON.stringify({ ...whole, budgetEther: -1 }), '"budgetEther"'],
    [JSON.stringify({ ...whole, rouns: 3 }), '"rouns"'],
  ])('that says %s is refused before anything is stored', async (content, named) => {
    const { code, message } = await submit(content);
    expect(code).toBe('JOB_INVALID');
    expect(message).toContain(named);
    expect(message).toContain('job.json');
    expect(await readdir(folder)).not.toContain('no-home');
  });

  test('for a home without a network says how to start one', async () => {
    const { code, message } = await submit(JSON.stringify(whole));
    expect(code).toBe('USAGE');
    expect(message).toContain('muster up');
  });
});

test('an amount of ether becomes wei without rounding', () => {
  expect([weiOf(24), weiOf('0.5'), weiOf('0.000000000000000001'), weiOf(1.25)]).toEqual([
    24n * 10n ** 18n,
    5n * 10n ** 17n,
    1n,
    125n * 10n ** 16n,
  ]);
});

test('a content id is told from a path, with and without its scheme', () => {
  expect(asCid(model)).toBe(model);
  expect(asCid(`artha://${model}`)).toBe(model);
  expect(asCid('data/train.csv')).toBeNull();
});

test('a module’s definition need not speak of frozen tensors or generation, and its recipe has defaults', async () => {
  await writeFile(
    join(folder, 'own.mjs'),
    `export const definition = {
      name: 'own',
      input: { dtype: 'float32', shape: [2] },
      target: { dtype: 'float32', shape: [2] },
      parameters: [{ name: 'scale', shape: [2], initial: 'ones' }],
      loss: { perRecord: (output, target) => output.sub(target).sum(1), correct: null },
      apply: ({ scale }, x) => x.mul(scale),
    };
    export const training = { batchSize: 4, evaluationBatch: 4, optimizer: { kind: 'sgd', learningRate: 1 }, clipNorm: 1 };`,
  );
  const { model } = await buildFrom('own.mjs', folder);
  expect(model).toMatchObject({ name: 'own', slots: [], frozen: [], frozenValues: null, cache: [], programs: { generate: null } });
});

test('a model file that cannot be used is refused with its path', async () => {
  await writeFile(join(folder, 'empty.mjs'), 'export const nothing = 1;\n');
  await writeFile(join(folder, 'family.json'), '{"family": "forest"}');
  expect(await problemOf(() => buildFrom('absent.json', folder))).toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('absent.json') as string,
  });
  expect(await problemOf(() => buildFrom('absent.mjs', folder))).toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('absent.mjs') as string,
  });
  expect(await problemOf(() => buildFrom('empty.mjs', folder))).toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('definition') as string,
  });
  expect(await problemOf(() => buildFrom('family.json', folder))).toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('family') as string,
  });
});

test.each([
  [{ format: 'parquet' }, '--format'],
  [{ heldOut: '1.5' }, '--held-out'],
  [{ heldOut: 'some' }, '--held-out'],
  [{ heldOut: '0.2', seed: 'x' }, '--seed'],
  [{ context: '0' }, '--context'],
  [{ stride: '1.5' }, '--stride'],
])('`data import` with %j says which option is wrong and touches no store', async (flags, option) => {
  const context = { paths: homePaths(join(folder, 'untouched')), output: createOutput(true), homeGiven: true };
  const { code, message } = await problemOf(() => dataImport(context, join(folder, 'x.csv'), { seed: '1', ...flags }));
  expect({ code, named: message.includes(option) }).toEqual({ code: 'USAGE', named: true });
  expect(await readdir(folder)).not.toContain('untouched');
});
