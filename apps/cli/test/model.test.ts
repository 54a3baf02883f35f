/** `muster model …`: what goes into files comes out of them again, and what is said about wrong input. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFolderStore } from '@muster/adapters';
import { decodeManifest } from '@muster/data';
import type { Tensor } from '@muster/engine';
import { characterTokenizer, decodeModel, decodeSafetensors, encodeSafetensors, floatsOf, type ModelObject } from '@muster/models';
import { encodeLinked, MusterError, parseCid } from '@muster/protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Context } from '../src/commands/context.ts';
import { dataImport } from '../src/commands/data.ts';
import { modelBuild, modelExport, modelGenerate, modelImport, modelShow } from '../src/commands/model.ts';
import { homePaths } from '../src/home.ts';
import type { Fields } from '../src/output.ts';

const training = { batchSize: 2, evaluationBatch: 2, optimizer: { kind: 'sgd', learningRate: 0.1 } };
const dense = { family: 'mlp', input: [3], classes: 2, hidden: [4], ...training };
const gpt = { family: 'gpt', vocabulary: 40, context: 8, layers: 1, heads: 2, width: 8, ...training };

let folder: string;
let context: Context;
let events: (Fields & { readonly event: string })[];
let lines: string[];
const path = (name: string): string => join(folder, name);
const last = (): Fields & { readonly event: string } => events.at(-1) ?? { event: 'nothing' };
const generating = { prompt: 'ab', tokens: '12', temperature: '0.8' };
const exporting = { format: 'safetensors', program: 'apply' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-model-'));
  await writeFile(path('dense.json'), JSON.stringify(dense));
  await writeFile(path('gpt.json'), JSON.stringify(gpt));
  context = {
    paths: homePaths(path('home')),
    homeGiven: true,
    output: {
      json: true,
      event: (event, fields) => events.push({ event, ...fields }),
      line: (text) => lines.push(text),
      progress: () => ({ update: () => undefined, stop: () => undefined }),
    },
  };
});
beforeEach(() => {
  events = [];
  lines = [];
});
afterAll(async () => await rm(folder, { recursive: true }));

/** Content id of the model in a file, built into the store. */
async function built(name: string): Promise<string> {
  await modelBuild(context, path(name), {});
  return String(last()['model']);
}

async function problemOf(attempt: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof MusterError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

const storedModel = async (cid: string): Promise<ModelObject> =>
  decodeModel((await (await openFolderStore(context.paths.store)).get(parseCid(cid))) ?? new Uint8Array());

/** 0, 1, 2 … in `shape`. */
const counting = (...shape: number[]): Tensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: shape.reduce((product, extent) => product * extent, 1) }, (_, i) => i),
});

test('a model is built into the store and, where asked, into a folder; shown from either it is the same', async () => {
  await modelBuild(context, path('gpt.json'), { out: path('built') });
  const { model, parameters } = last();
  expect(last()).toMatchObject({ event: 'model.built', name: 'gpt', out: path('built') });
  expect((await readdir(path('built'))).toSorted()).toEqual(
    ['apply', 'evaluate', 'finish', 'fold', 'generate', 'init', 'model', 'trainStep', 'update'].map((name) => `${name}.dag-cbor`),
  );
  expect(decodeModel(await readFile(path('built/model.dag-cbor')))).toEqual(await storedModel(String(model)));
  await modelShow(context, String(model));
  const shown = last();
  expect(shown).toMatchObject({ event: 'model.shown', model, count: parameters, frozen: 0, optimizerState: 0 });
  expect(Object.keys(shown['programs'] as object)).toContain('generate');
  expect(lines.join('\n')).toMatch(/block1\.attention\.qkv\.kernel {2}float32\[8 × 24\]/);
  await modelShow(context, path('gpt.json'));
  expect(last()).toEqual(shown);
});

test('a path that is shown is not stored', async () => {
  await writeFile(path('other.json'), JSON.stringify({ ...dense, hidden: [9] }));
  await modelShow(context, path('other.json'));
  expect((await problemOf(modelShow(context, String(last()['model'])))).code).toBe('OBJECT_MISSING');
});

describe('parameters', () => {
  test('leave as safetensors and come back as a tensor set of the same values', async () => {
    const model = await built('dense.json');
    await modelExport(context, model, { ...exporting, out: path('one.safetensors'), seed: '7' });
    expect(last()).toMatchObject({ event: 'model.exported', model, format: 'safetensors', source: `model ${model}, seed 7` });
    const file = decodeSafetensors(await readFile(path('one.safetensors')));
    expect(file.metadata).toMatchObject({ model, name: 'mlp' });
    await modelImport(context, path('one.safetensors'), { model, map: [], transpose: [] });
    const { tensors } = last();
    expect(last()).toMatchObject({ event: 'model.imported', model, parameters: 26 });
    await modelExport(context, String(tensors), { ...exporting, out: path('two.safetensors'), model });
    const again = decodeSafetensors(await readFile(path('two.safetensors')));
    expect(again.tensors).toEqual(file.tensors);
    expect(again.metadata['source']).toBe(`tensors ${String(tensors)}`);
    // Another seed gives other values.
    await modelExport(context, model, { ...exporting, out: path('three.safetensors') });
    expect(decodeSafetensors(await readFile(path('three.safetensors'))).tensors).not.toEqual(file.tensors);
  });

  test('of a PyTorch file are mapped and turned; the model may be a path and is stored with them', async () => {
    await writeFile(path('fresh.json'), JSON.stringify({ ...dense, hidden: [5] }));
    const stored = [
      { name: 'net.1.weight', tensor: counting(5, 3) },
      { name: 'net.1.bias', tensor: counting(5) },
      { name: 'net.2.weight', tensor: counting(2, 5) },
      { name: 'net.2.bias', tensor: counting(2) },
    ];
    await writeFile(path('torch.safetensors'), encodeSafetensors(stored));
    const map = ['dense*.kernel=net.*.weight', 'dense*.bias=net.*.bias'];
    const flags = { model: path('fresh.json'), map, transpose: ['*.kernel'] };
    await modelImport(context, path('torch.safetensors'), flags);
    const { tensors, model } = last();
    await modelExport(context, String(tensors), { ...exporting, out: path('turned.safetensors'), model: String(model) });
    const [, kernel] = decodeSafetensors(await readFile(path('turned.safetensors'))).tensors;
    expect(kernel).toMatchObject({ name: 'dense1.kernel', shape: [3, 5] });
    expect(kernel === undefined ? null : [...floatsOf(kernel)].slice(0, 5)).toEqual([0, 3, 6, 9, 12]);
    const unturned = await problemOf(modelImport(context, path('torch.safetensors'), { ...flags, transpose: [] }));
    expect(unturned).toMatchObject({ code: 'TENSOR_MISMATCH', message: expect.stringContaining('transpose') as string });
  });

  test('leave as ONNX, with weights inside', async () => {
    const model = await built('gpt.json');
    for (const program of ['apply', 'generate']) {
      await modelExport(context, model, { format: 'onnx', program, out: path(`${program}.onnx`) });
      expect(last()).toMatchObject({ event: 'model.exported', format: 'onnx', file: path(`${program}.onnx`) });
      expect((await readFile(path(`${program}.onnx`))).length).toBe(last()['bytes']);
    }
  });

  test.each([
    [{ format: 'hdf5' }, '--format'],
    [{ format: 'onnx', program: 'trainStep' }, '--program'],
  ])('are not exported with %j', async (flags, named) => {
    const { code, message } = await problemOf(modelExport(context, 'x', { ...exporting, out: path('never'), ...flags }));
    expect({ code, named: message.includes(named) }).toEqual({ code: 'USAGE', named: true });
    expect(await readdir(folder)).not.toContain('never');
  });

  test('are not exported of what is no model, has none, or cannot be found', async () => {
    const model = await built('dense.json');
    const out = path('never');
    const exportProblem = (what: string, flags: object = {}) => problemOf(modelExport(context, what, { ...exporting, out, ...flags }));
    expect(await exportProblem('a word')).toMatchObject({ code: 'USAGE' });
    expect(await exportProblem(encodeLinked({ not: 'there' }).cid)).toMatchObject({ code: 'OBJECT_MISSING' });
    expect(await exportProblem(model, { format: 'onnx', program: 'generate' })).toMatchObject({ code: 'MODEL_INVALID' });
    expect(await exportProblem(`0x${'12'.repeat(32)}`)).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('muster up') as string,
    });
    const program = (await storedModel(model)).programs.apply;
    expect(await exportProblem(program)).toMatchObject({ code: 'USAGE', message: expect.stringContaining('neither') as string });
    await modelExport(context, model, { ...exporting, out: path('w.safetensors') });
    await modelImport(context, path('w.safetensors'), { model, map: [], transpose: [] });
    const tensors = String(last()['tensors']);
    expect(await exportProblem(tensors)).toMatchObject({ code: 'USAGE', message: expect.stringContaining('--model') as string });
    expect(await exportProblem(tensors, { model: await built('gpt.json') })).toMatchObject({ code: 'TENSOR_MISMATCH' });
    const nowhere = await problemOf(modelExport(context, model, { ...exporting, out: join(folder, 'no', 'such', 'folder') }));
    expect(nowhere).toMatchObject({ code: 'DATA_UNREADABLE', message: expect.stringContaining('ENOENT') as string });
    expect((await readdir(folder)).filter((name) => name.includes('never') || name.endsWith('.new'))).toEqual([]);
  });

  test('are not imported from a wrong file or with a wrong mapping', async () => {
    const model = await built('dense.json');
    await writeFile(path('broken.safetensors'), 'not a file of tensors');
    const flags = { model, map: [], transpose: [] };
    expect(await problemOf(modelImport(context, path('absent'), flags))).toMatchObject({ code: 'DATA_UNREADABLE' });
    expect(await problemOf(modelImport(context, folder, flags))).toMatchObject({ code: 'DATA_UNREADABLE' });
    expect((await problemOf(modelImport(context, path('broken.safetensors'), flags))).code).toMatch(/DATA_MALFORMED|BYTES_TOO_LARGE/);
    for (const map of [['a'], ['=b'], ['a='], ['a=b=c']]) {
      expect(await problemOf(modelImport(context, path('broken.safetensors'), { ...flags, map }))).toMatchObject({ code: 'USAGE' });
    }
  });
});

describe('text', () => {
  test('is generated the same from the same seed, with the tokenizer of the data', async () => {
    const model = await built('gpt.json');
    await writeFile(path('text.txt'), 'abcdefghijklmnopqrstuvwxyz .,!?'.repeat(10));
    await dataImport(context, path('text.txt'), { seed: '1', tokenizer: 'chars', context: '8', stride: '8' });
    const dataset = String(last()['dataset']);
    const store = await openFolderStore(context.paths.store);
    const { target } = decodeManifest((await store.get(parseCid(dataset))) ?? new Uint8Array()).record;
    const tokenizer = characterTokenizer(['abcdefghijklmnopqrstuvwxyz .,!?']);
    expect(target).toEqual({ kind: 'next-token', vocabulary: 31, tokenizer: tokenizer.cid, stride: 8 });

    const texts: unknown[] = [];
    for (const [given, seed] of [
      [dataset, '1'],
      [tokenizer.cid, '1'],
      [dataset, '2'],
    ] as const) {
      await modelGenerate(context, model, { ...generating, tokenizer: given, seed });
      expect(last()).toMatchObject({ event: 'model.generated', model, prompt: 'ab', tokenizer: tokenizer.cid });
      expect(last()['tokens']).toHaveLength(12);
      texts.push(last()['text']);
    }
    expect(texts[0]).toBe(texts[1]);
    expect(texts[0]).not.toBe(texts[2]);
    await modelGenerate(context, model, { ...generating, tokenizer: dataset, temperature: '0' });
    const greedy = last()['text'];
    await modelGenerate(context, model, { ...generating, tokenizer: dataset, topK: '1' });
    expect(last()['text']).toBe(greedy);
  });

  test.each([
    [{ tokens: '0' }, '--tokens'],
    [{ tokens: 'many' }, '--tokens'],
    [{ temperature: '-1' }, '--temperature'],
    [{ temperature: '' }, '--temperature'],
    [{ topK: '1.5' }, '--top-k'],
    [{ seed: 'x' }, '--seed'],
  ])('is not generated with %j', async (flags, named) => {
    const { code, message } = await problemOf(modelGenerate(context, 'x', { ...generating, ...flags }));
    expect({ code, named: message.includes(named) }).toEqual({ code: 'USAGE', named: true });
  });

  test('is not generated by a model that cannot, with another vocabulary, or after nothing', async () => {
    const model = await built('gpt.json');
    expect(await problemOf(modelGenerate(context, await built('dense.json'), generating))).toMatchObject({ code: 'MODEL_INVALID' });
    const bytes = await problemOf(modelGenerate(context, model, generating));
    expect(bytes).toMatchObject({
      code: 'USAGE',
      message: 'the tokenizer has 256 tokens, the model 40: --tokenizer names the one it was trained with',
    });
    await writeFile(path('text.txt'), 'abcdefghijklmnopqrstuvwxyz'.repeat(10));
    await dataImport(context, path('text.txt'), { seed: '1', tokenizer: 'chars' });
    const tokenizer = String(last()['dataset']);
    expect(await problemOf(modelGenerate(context, model, { ...generating, tokenizer, prompt: '' }))).toMatchObject({ code: 'USAGE' });
    expect(await problemOf(modelGenerate(context, model, { ...generating, tokenizer, prompt: 'Ä' }))).toMatchObject({
      code: 'DATA_MALFORMED',
      message: expect.stringContaining('U+00C4') as string,
    });
  });
});

test.each([
  ['absent.json', 'DATA_UNREADABLE'],
  ['gpt.json', 'DATA_MALFORMED'],
])('`data import --tokenizer %s` is refused', async (name, code) => {
  await writeFile(path('text.txt'), 'some text'.repeat(100));
  expect(await problemOf(dataImport(context, path('text.txt'), { seed: '1', tokenizer: path(name) }))).toMatchObject({ code });
});
