/**
 * The same bits in a browser tab: all conformance vectors and training steps of every family, in headless Chromium, against the WebAssembly
 * executor in Node and the reference executor.
 *
 * Needs Chromium at /usr/bin/chromium or where CHROMIUM says; `.ci/run` installs it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWasmExecutor, type Executor, referenceExecutor, type Tensor } from '@muster/engine';
import {
  adaptedDefinition,
  buildModel,
  buildModelFromDefinition,
  type BuiltModel,
  decodeModelSpec,
  definitionOf,
  parametersToSafetensors,
} from '@muster/models';
import { cidOfBytes } from '@muster/protocol';
import { checkConformance, checkTraining, type GetBlock, type TrainingCase } from './browser/checks.ts';
import type { Request, Response } from './browser/messages.ts';
import type { PageApi } from './browser/page.ts';
import { type Site, startSite } from './browser/site.ts';

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const steps = 50;
/** The reference executor takes this many: it is a thousand times slower. */
const referenceSteps = 2;

const training = {
  batchSize: 4,
  evaluationBatch: 4,
  optimizer: { kind: 'adam', learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
} as const;
const gpt = { family: 'gpt', vocabulary: 11, context: 16, layers: 2, heads: 2, width: 16, dropout: 0.1, ...training };
const families: Readonly<Record<string, object>> = {
  softmax: { family: 'softmax', input: [2, 3, 1], classes: 3, ...training },
  mlp: { family: 'mlp', input: [20], classes: 3, hidden: [17, 9], ...training },
  regression: {
    family: 'regression',
    input: [4],
    outputs: 2,
    hidden: [6],
    ...training,
    optimizer: { kind: 'momentum', learningRate: 0.01, momentum: 0.9 },
  },
  cnn: { family: 'cnn', input: [9, 8, 2], classes: 3, channels: [3, 5], kernelSize: 3, hidden: [5], ...training },
  lenet: { family: 'lenet', input: [14, 14, 1], classes: 3, ...training, optimizer: { kind: 'sgd', learningRate: 0.05 } },
  resnet: {
    family: 'resnet',
    input: [8, 8, 3],
    classes: 3,
    stages: [
      { channels: 4, blocks: 1 },
      { channels: 8, blocks: 1 },
    ],
    groups: 2,
    ...training,
  },
  gpt,
  mamba: { family: 'mamba', vocabulary: 11, context: 16, layers: 2, width: 8, headWidth: 4, stateWidth: 4, chunk: 4, ...training },
};

const vectorFolder = new URL('../vectors/engine/', import.meta.url);
const vectorNames = readdirSync(vectorFolder).toSorted();

const blocks = new Map<string, Uint8Array>();
const cases = new Map<string, TrainingCase>();
const getBlock: GetBlock = async (cid) => blocks.get(cid) ?? new Uint8Array();

function addBlock(bytes: Uint8Array): string {
  const cid = cidOfBytes(bytes, 'raw');
  blocks.set(cid, bytes);
  return cid;
}

/** Initial parameters of a built model. */
function initialOf({ model, programs }: BuiltModel, seed: number): Tensor[] {
  const keys = Uint32Array.from({ length: 2 * model.parameters.length }, (_, index) => Math.imul(index + seed, 2_654_435_761));
  return executor.prepare(programs.init).run([{ dtype: 'uint32', shape: [model.parameters.length, 2], data: keys } satisfies Tensor]);
}

/** The case of a built model: its blocks to be served, and parameters drawn by its own `init`; `frozen` for adapters. */
function caseOf(built: BuiltModel, seed: number, frozen: readonly Tensor[] | null): TrainingCase {
  const { model, cid, objects } = built;
  for (const object of objects) blocks.set(object.cid, object.bytes);
  const parameters = addBlock(parametersToSafetensors(model.parameters, initialOf(built, seed)));
  return { model: cid, parameters, frozen: frozen === null ? null : addBlock(parametersToSafetensors(model.frozen, frozen)), steps, seed };
}

async function addCases(): Promise<void> {
  for (const [index, [name, spec]] of Object.entries(families).entries()) {
    const built = await buildModel(decodeModelSpec(spec));
    cases.set(name, caseOf(built, index + 1, null));
    if (name !== 'gpt') continue;
    const base = cidOfBytes(new Uint8Array(1), 'dag-cbor');
    const options = { rank: 2, alpha: 4, targets: ['*.attention.*.kernel', '*.mlp.*.kernel'] };
    const adapted = await buildModelFromDefinition(adaptedDefinition(definitionOf(decodeModelSpec(spec)), options, base), training);
    cases.set('gpt adapters', caseOf(adapted, 99, initialOf(built, 98)));
  }
}

let executor: Executor;
let site: Site;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: install it, or say in CHROMIUM where it is`);
  executor = await createWasmExecutor();
  await addCases();
  site = await startSite(blocks);
  browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  page = await browser.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(site.url);
});

afterAll(async () => {
  await browser?.close();
  await site?.close();
});

/** The worker's answer. Throws its reason when it failed. */
async function ask<K extends Request['kind']>(
  request: Extract<Request, { readonly kind: K }>,
): Promise<Extract<Response, { readonly kind: K }>> {
  const response = await page.evaluate(
    async (asked: Request) => await (globalThis as unknown as { musterPage: PageApi }).musterPage.ask(asked),
    request as Request,
  );
  if (response.kind === 'failed') throw new Error(response.reason);
  return response as Extract<Response, { readonly kind: K }>;
}

describe('in a tab of Chromium', () => {
  it('the bundle holds the engine and the decoders, and neither the tracer nor anything of Node', () => {
    expect(site.modules.some((name) => name.includes('packages/engine/src/wasm/'))).toBe(true);
    expect(site.modules.some((name) => name.endsWith('packages/models/src/safetensors.ts'))).toBe(true);
    expect(site.modules.filter((name) => /@jax-js|adapters|__vite-browser-external|node:/.test(name))).toEqual([]);
    expect(site.scriptLength).toBeLessThan(1_000_000);
  });

  it('every conformance vector gives its bits, and the page may share memory', async () => {
    const { isolated, report } = await ask({ kind: 'conformance', files: vectorNames });
    expect(report.failures).toEqual([]);
    const files = vectorNames.map((name) => ({ name, json: JSON.parse(readFileSync(new URL(name, vectorFolder), 'utf8')) as unknown }));
    expect(report).toEqual(checkConformance(executor, files));
    expect(report.vectors).toBeGreaterThan(400);
    expect(isolated).toBe(true);
  });

  it.each([...Object.keys(families), 'gpt adapters'])(
    `${steps} training steps of %s give the losses and states they give in Node and by the reference`,
    async (name) => {
      const given = cases.get(name) as TrainingCase;
      const { report } = await ask({ kind: 'training', given });
      expect(report).toEqual(await checkTraining(executor, given, getBlock));
      expect(new Set(report.roots).size).toBe(steps);
      const reference = await checkTraining(referenceExecutor, { ...given, steps: referenceSteps }, getBlock);
      expect(reference).toEqual({ losses: report.losses.slice(0, referenceSteps), roots: report.roots.slice(0, referenceSteps) });
    },
  );

  it('a block that is not what its content id says is refused', async () => {
    const given = cases.get('mlp') as TrainingCase;
    const wrong = cidOfBytes(new Uint8Array([1]), 'raw');
    blocks.set(wrong, new Uint8Array([2]));
    await expect(ask({ kind: 'training', given: { ...given, parameters: wrong } })).rejects.toThrow(/do not hash to/);
  });

  it('nothing is said on the console', () => {
    expect(complaints).toEqual([]);
  });
});
