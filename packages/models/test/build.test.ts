import { readFileSync } from 'node:fs';
import { type Array as JaxArray, nn, numpy as np } from '@jax-js/jax';
import { decodeProgram } from '@muster/engine';
import { MusterError, verifyCid } from '@muster/protocol';
import { describe, expect, test } from 'vitest';
import {
  buildModel,
  buildModelFromDefinition,
  checkModelPrograms,
  crossEntropy,
  decodeModel,
  decodeModelSpec,
  encodeModel,
  type ModelDefinition,
  type ModelSpec,
  type ProgramRole,
  programRoles,
} from '@muster/models';
import { optimizers, tinySpecs, withRecipe } from './fixtures.ts';

const pinned = JSON.parse(readFileSync(new URL('pinned.json', import.meta.url), 'utf8')) as Readonly<Record<string, string>>;

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
    return 'none';
  } catch (error) {
    return error instanceof MusterError ? error.code : `not coded: ${String(error)}`;
  }
};

const all = [
  ...Object.entries(optimizers).flatMap(([kind, optimizer]) =>
    tinySpecs(optimizer).map((spec) => [`${spec.family} with ${kind}`, spec] as const),
  ),
  ...tinySpecs(optimizers.sgd).map((spec) => [`${spec.family} with a whole recipe`, withRecipe(spec)] as const),
];

describe('buildModel', () => {
  test.each(all)('%s has its pinned content id, twice', async (name, spec) => {
    const built = await buildModel(spec);
    expect((await buildModel(spec)).cid).toBe(built.cid);
    expect({ [name]: built.cid }).toEqual({ [name]: pinned[name] });
  });

  test.each(all)('%s publishes objects that decode, hash to their ids and fit together', async (_, spec) => {
    const built = await buildModel(spec);
    for (const { cid, bytes } of built.objects) verifyCid(cid, bytes);
    const last = built.objects.at(-1);
    expect(last?.cid).toBe(built.cid);
    const model = decodeModel(last?.bytes ?? new Uint8Array());
    expect(model).toEqual(built.model);
    const byCid = new Map(built.objects.map(({ cid, bytes }) => [cid, bytes]));
    const programs = Object.fromEntries(
      programRoles.map((role) => [role, decodeProgram(byCid.get(model.programs[role]) ?? new Uint8Array())]),
    ) as Record<ProgramRole, typeof built.programs.init>;
    checkModelPrograms(model, programs);
    expect(programs).toEqual(built.programs);
  });

  test('holds no constant larger than a list of classes', async () => {
    const built = await buildModel({
      family: 'mlp',
      input: [28, 28, 1],
      classes: 10,
      hidden: [64],
      batchSize: 8,
      evaluationBatch: 8,
      optimizer: optimizers.adam,
    });
    for (const program of Object.values(built.programs))
      for (const constant of program.constants) expect(constant.data.length).toBeLessThanOrEqual(10);
  });

  test('names the field of a specification that is wrong', () => {
    const good: ModelSpec = tinySpecs(optimizers.sgd)[1] as ModelSpec;
    const bad: readonly unknown[] = [
      null,
      'mlp',
      { ...good, family: 'rnn' },
      { ...good, classes: 1 },
      { ...good, extra: 1 },
      { ...good, optimizer: { kind: 'sgd', learningRate: -1 } },
    ];
    for (const spec of bad) expect(() => decodeModelSpec(spec)).toThrow(MusterError);
    expect(() => decodeModelSpec({ ...good, hidden: [0] })).toThrow(/model\.hidden\[0\]/);
    const complete = decodeModelSpec(JSON.parse(JSON.stringify(good)));
    expect(complete).toEqual({
      ...good,
      optimizer: { ...good.optimizer, weightDecay: 0, decayed: 'all' },
      schedule: { kind: 'constant' },
      clipNorm: null,
      accumulation: 1,
      augment: null,
      adapter: null,
    });
    expect(decodeModelSpec(complete)).toEqual(complete);
  });
});

const training = { batchSize: 4, evaluationBatch: 4, optimizer: optimizers.sgd };

const own: ModelDefinition = {
  name: 'own',
  input: { dtype: 'int32', shape: [3] },
  target: { dtype: 'int32', shape: [] },
  parameters: [
    { name: 'table', shape: [5, 4], initial: 'glorotUniform' },
    { name: 'scale', shape: [4], initial: 'ones' },
  ],
  frozen: [],
  frozenValues: null,
  generation: null,
  loss: crossEntropy,
  apply: ({ table, scale }, x) =>
    np
      .dot(nn.oneHot(x, 5), table as JaxArray)
      .sum(1)
      .mul(scale as JaxArray),
};

describe('buildModelFromDefinition', () => {
  test('builds a definition with integer inputs', async () => {
    const built = await buildModelFromDefinition(own, training);
    expect(built.model.batch.x).toEqual({ dtype: 'int32', shape: [4, 3] });
    expect(built.model.parameters.map((parameter) => parameter.name)).toEqual(['table', 'scale']);
  });

  test('says what is wrong with a definition', async () => {
    const [table, scale] = own.parameters as [ModelDefinition['parameters'][number], ModelDefinition['parameters'][number]];
    const wrong: readonly ModelDefinition[] = [
      { ...own, name: 'two words' },
      { ...own, parameters: [] },
      { ...own, parameters: [table, { ...scale, name: 'x' }] },
      { ...own, parameters: [table, { ...scale, name: 'table' }] },
      { ...own, parameters: [table, { ...scale, name: 'a'.repeat(60) }] },
      { ...own, parameters: [table, { ...scale, initial: 'heUniform' }] },
      { ...own, apply: ({ table: t }, x) => np.dot(x, t as JaxArray) },
    ];
    for (const definition of wrong) expect(await codeOf(() => buildModelFromDefinition(definition, training))).toBe('MODEL_INVALID');
    expect(await codeOf(() => buildModelFromDefinition(own, { ...training, batchSize: 0 }))).toBe('MODEL_INVALID');
  });

  test('refuses a model that leaves the closed list', async () => {
    const outside: ModelDefinition = { ...own, apply: (parameters, x) => np.arctan(own.apply(parameters, x, { key: null })) };
    expect(await codeOf(() => buildModelFromDefinition(outside, training))).toBe('PRIMITIVE_UNKNOWN');
  });
});

describe('decodeModel', () => {
  test('refuses changed bytes with a code', async () => {
    const { objects, cid } = await buildModel(tinySpecs(optimizers.momentum)[0] as ModelSpec);
    const bytes = objects.at(-1)?.bytes ?? new Uint8Array();
    const codes = new Set<string>();
    for (let i = 0; i < bytes.length; i++) {
      const changed = bytes.slice();
      changed[i] = (changed[i] as number) ^ 0x41;
      const code = await codeOf(() => encodeModel(decodeModel(changed)).cid === cid);
      codes.add(code);
    }
    expect([...codes].filter((code) => code.startsWith('not coded'))).toEqual([]);
    expect(codes).toContain('FIELD_INVALID');
  });

  test('refuses programs of another model', async () => {
    const [softmax, mlp] = await Promise.all(tinySpecs(optimizers.sgd).slice(0, 2).map(buildModel));
    expect(() => checkModelPrograms((softmax ?? mlp)!.model, (mlp ?? softmax)!.programs)).toThrow(/programs\.init\.inputs/);
  });
});
