/**
 * The same bits in a browser tab: all conformance vectors and training steps of every family, in headless Chromium, on one thread and on two, against the WebAssembly
 * executor in Node and the reference executor.
 *
 * Needs Chromium at /usr/bin/chromium or where CHROMIUM says; `.ci/run` installs it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWasmExecutor, type Executor, referenceExecutor } from '@muster/engine';
import { cidOfBytes } from '@muster/protocol';
import { checkConformance, checkTraining, type TrainingCase } from './browser/checks.ts';
import type { Request, Response } from './browser/messages.ts';
import type { PageApi } from './browser/page.ts';
import { type Site, startSite } from './browser/site.ts';
import { buildTrainingCases, type TrainingCases, trainingNames, trainingSteps } from './support/training-cases.ts';

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
/** The reference executor takes this many: it is a thousand times slower. */
const referenceSteps = 2;

const vectorFolder = new URL('../vectors/engine/', import.meta.url);
const vectorNames = readdirSync(vectorFolder).toSorted();
const vectorFiles = vectorNames.map((name) => ({
  name,
  json: JSON.parse(readFileSync(new URL(name, vectorFolder), 'utf8')) as unknown,
}));

let executor: Executor;
let training: TrainingCases;
let site: Site;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: install it, or say in CHROMIUM where it is`);
  executor = await createWasmExecutor();
  training = await buildTrainingCases(executor);
  site = await startSite(training.blocks);
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
    // Not minified; the kernels are in there for one thread and for several.
    expect(site.scriptLength).toBeLessThan(1_300_000);
  });

  it.each([1, 2])('every conformance vector gives its bits, threads: %i, and the page may share memory', async (threads) => {
    const { isolated, report } = await ask({ kind: 'conformance', threads, files: vectorNames });
    expect(report.failures).toEqual([]);
    expect(report).toEqual(checkConformance(executor, vectorFiles));
    expect(report.vectors).toBeGreaterThan(400);
    expect(isolated).toBe(true);
  });

  it.each(trainingNames)(
    `${trainingSteps} training steps of %s give the losses and states they give in Node and by the reference`,
    async (name) => {
      const given = training.cases.get(name) as TrainingCase;
      const { report } = await ask({ kind: 'training', threads: 1, given });
      expect(report).toEqual(await checkTraining(executor, given, training.getBlock));
      expect(new Set(report.roots).size).toBe(trainingSteps);
      const reference = await checkTraining(referenceExecutor, { ...given, steps: referenceSteps }, training.getBlock);
      expect(reference).toEqual({ losses: report.losses.slice(0, referenceSteps), roots: report.roots.slice(0, referenceSteps) });
    },
  );

  it.each(['wide mlp', 'cnn', 'gpt', 'mamba'])(`${trainingSteps} training steps of %s give the same on two threads`, async (name) => {
    const given = training.cases.get(name) as TrainingCase;
    const { report } = await ask({ kind: 'training', threads: 2, given });
    expect(report).toEqual(await checkTraining(executor, given, training.getBlock));
  });

  it('a block that is not what its content id says is refused', async () => {
    const given = training.cases.get('mlp') as TrainingCase;
    const wrong = cidOfBytes(new Uint8Array([1]), 'raw');
    training.blocks.set(wrong, new Uint8Array([2]));
    await expect(ask({ kind: 'training', threads: 1, given: { ...given, parameters: wrong } })).rejects.toThrow(/do not hash to/);
  });

  it('nothing is said on the console', () => {
    expect(complaints).toEqual([]);
  });
});
