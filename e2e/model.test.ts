/** What a network trained, taken out of it: by the job's name alone, from store and chain, with no process of the network running. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-web';
import { BatchReader, drawDigits, packDataset } from '@muster/data';
import { decodeSafetensors, floatsOf } from '@muster/models';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Finished, muster } from './support/muster.ts';

let home: string;
let demo: Finished;
const path = (name: string): string => join(home, name);
const inHome = (...given: readonly string[]): Promise<Finished> => muster(...given, '--json', '--home', home);

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'muster-out-'));
  const flags = '--model mlp --trainers 2 --rounds 1 --cheat 0 --drop 0 --tasks 2 --redundancy 1 --steps 16'.split(' ');
  demo = await inHome('demo', ...flags);
  expect(demo.last).toMatchObject({ event: 'demo.finished', auditOk: true });
});
afterAll(async () => await rm(home, { recursive: true }));

/** Held-out digits that the exported file classifies correctly in ONNX Runtime, as a share. */
async function accuracyOf(file: Uint8Array): Promise<number> {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] });
  const packed = packDataset(drawDigits({ seed: 1, train: 8500, test: 1500 }));
  const blocks = new Map(packed.blocks.map(({ cid, bytes }) => [cid, bytes]));
  const held = await BatchReader.open(packed.manifest, 'test', async (cid) => blocks.get(cid) ?? new Uint8Array());
  let correct = 0;
  for (const { x, y, records } of held.evaluation(250)) {
    const { output } = await session.run({ x: new ort.Tensor('float32', x.data as Float32Array, x.shape) });
    const scores = output?.data as Float32Array;
    const classes = scores.length / 250;
    for (let record = 0; record < records; record++) {
      const own = scores.subarray(record * classes, (record + 1) * classes);
      if (own.indexOf(Math.max(...own)) === y?.data[record]) correct++;
    }
  }
  await session.release();
  return correct / held.records;
}

describe('the model of a finished job', () => {
  test('predicts in ONNX Runtime as the network said it does', async () => {
    const exported = await inHome('model', 'export', String(demo.last?.['job']), '--format', 'onnx', '--out', path('model.onnx'));
    expect(exported.stderr).toBe('');
    expect(exported.last).toMatchObject({ event: 'model.exported', format: 'onnx' });
    expect(await accuracyOf(await readFile(path('model.onnx')))).toBe(demo.last?.['accuracy']);
  });

  test('has the same parameters by job and by content id, and takes them back to that content id', async () => {
    const { last, code } = await inHome(
      'model',
      'export',
      String(demo.last?.['job']),
      '--format',
      'safetensors',
      '--out',
      path('job.safetensors'),
    );
    expect(code).toBe(0);
    const model = String(last?.['model']);
    const tensors = String(demo.last?.['model']);
    const flags = ['--format', 'safetensors', '--out', path('set.safetensors'), '--model', model];
    expect((await inHome('model', 'export', tensors, ...flags)).code).toBe(0);
    const [byJob, byCid] = await Promise.all(
      ['job', 'set'].map(async (name) => decodeSafetensors(await readFile(path(`${name}.safetensors`)))),
    );
    expect(byJob?.tensors.map(floatsOf)).toEqual(byCid?.tensors.map(floatsOf));
    expect(byJob?.metadata['model']).toBe(model);
    const taken = await inHome('model', 'import', path('job.safetensors'), '--model', model);
    expect(taken.last).toMatchObject({ event: 'model.imported', tensors, model });
  });

  test('cannot be had of a job that is not on the chain, and a classifier writes no text', async () => {
    const unknown = await inHome('model', 'export', `0x${'12'.repeat(32)}`, '--format', 'onnx', '--out', path('x'));
    expect(unknown).toMatchObject({ code: 1, last: { event: 'error', code: 'JOB_UNKNOWN' } });
    const silent = await inHome('model', 'generate', String(demo.last?.['job']));
    expect(silent).toMatchObject({ code: 1, last: { event: 'error', code: 'MODEL_INVALID' } });
  });
});
