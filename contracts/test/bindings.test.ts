import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Abi } from 'viem';
import * as bindings from '../../packages/adapters/src/evm/generated/index.ts';
import { generateBindings, staleBindings } from '../build.ts';

const testFolder = fileURLToPath(new URL('.', import.meta.url));
/**
 * Errors that come into the bindings with OpenZeppelin's contracts and libraries, whose own tests provoke them: signatures, ownership and
 * the forwarder in forms that ours cannot have, names too long for a short string, a transfer without the balance for it, and a cast that
 * the callers' bounds exclude.
 */
const inherited = /^(?:ECDSA|Ownable|ERC2771|InvalidShortString|StringTooLong|InsufficientBalance|SafeCast)/;

test('the generated bindings are what the sources compile to', () => {
  expect(staleBindings(generateBindings())).toEqual([]);
});

test('every custom error is provoked by some test', () => {
  const abis = Object.entries(bindings).flatMap(([name, value]) => (name.endsWith('Abi') ? (value as Abi) : []));
  const errors = new Set<string>();
  for (const entry of abis) if (entry.type === 'error' && !inherited.test(entry.name)) errors.add(entry.name);
  expect(errors.size).toBeGreaterThan(100);
  const tests = readdirSync(testFolder)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(`${testFolder}/${name}`, 'utf8'))
    .join('\n');
  expect([...errors].filter((name) => !new RegExp(`['/]${name}['/]`).test(tests))).toEqual([]);
});
