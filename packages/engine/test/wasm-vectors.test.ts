import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkFunctionVector, checkVector, createWasmExecutor, readFunctionVectors, readVectors } from '../src/index.ts';

const folder = join(import.meta.dirname, '../../../vectors/engine');
const readJson = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'));

it('the WebAssembly executor holds every conformance vector', async () => {
  const executor = await createWasmExecutor();
  let count = 0;
  for (const name of readdirSync(folder).filter((file) => file !== 'functions.json')) {
    for (const vector of readVectors(readJson(name))) {
      expect(checkVector(executor, vector), vector.name).toEqual({ ok: true, reason: null });
      count++;
    }
  }
  for (const vector of readFunctionVectors(readJson('functions.json'))) {
    expect(checkFunctionVector(executor, vector), vector.name).toEqual({ ok: true, reason: null });
  }
  expect(count).toBeGreaterThan(160);
});
