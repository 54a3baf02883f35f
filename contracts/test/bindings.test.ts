import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  aiJobManagerAbi,
  modelRegistryAbi,
  nodeCertRegistryAbi,
  proofOfComputeAbi,
  signedVerdictVerifierAbi,
} from '../../packages/adapters/src/evm/generated/index.ts';
import { generateBindings, staleBindings } from '../build.ts';

const testFolder = fileURLToPath(new URL('.', import.meta.url));
/** Errors of the OpenZeppelin contracts that ours inherit from. */
const inherited = /^(?:ECDSA|Ownable|InvalidShortString|StringTooLong)/;

test('the generated bindings are what the sources compile to', () => {
  expect(staleBindings(generateBindings())).toEqual([]);
});

test('every custom error is provoked by some test', () => {
  const abis = [nodeCertRegistryAbi, aiJobManagerAbi, proofOfComputeAbi, signedVerdictVerifierAbi, modelRegistryAbi];
  const errors = new Set<string>();
  for (const entry of abis.flat()) if (entry.type === 'error' && !inherited.test(entry.name)) errors.add(entry.name);
  const tests = readdirSync(testFolder)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(`${testFolder}/${name}`, 'utf8'))
    .join('\n');
  expect([...errors].filter((name) => !tests.includes(`error: '${name}'`))).toEqual([]);
});
