/**
 * Compiles Solidity with probes in it. In the tests' processes it stands in for contracts/build.ts, so that a test which compiles the
 * contracts gets the code with probes; helpers of tests stay as they are.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile as compilePlain, type CompiledContract, compilerSettings } from '../build.ts';
import { instrument, probeFile, probeLibrary, type SyntaxNode } from './instrument.ts';
import type { Place } from './places.ts';

export * from '../build.ts';

/** What the contracts are while coverage is measured: creation code by contract name, and what its probes stand for. */
export interface Instrumented {
  readonly bytecodes: Readonly<Record<string, `0x${string}`>>;
  readonly places: readonly Place[];
}

interface SolcOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly sources?: Readonly<Record<string, { readonly ast: SyntaxNode }>>;
  readonly contracts?: Readonly<
    Record<string, Readonly<Record<string, { readonly evm: { readonly bytecode: { readonly object: string } } }>>>
  >;
}

const require = createRequire(import.meta.url);
const contractsFolder = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Puts probes into `sources` (text by the name under which they import one another) and compiles them. Throws what the compiler says. */
export function compileInstrumented(sources: Readonly<Record<string, string>>): Instrumented {
  const parsed = solc(sources, { stopAfter: 'parsing', outputSelection: { '*': { '': ['ast'] } } });
  const places: Place[] = [];
  const probed: Record<string, string> = { [probeFile]: probeLibrary };
  for (const [file, text] of Object.entries(sources)) {
    const tree = parsed.sources?.[file]?.ast;
    if (tree === undefined) throw new Error(`no syntax tree of ${file}`);
    const done = instrument(file, text, tree, places.length);
    places.push(...done.places);
    probed[file] = done.text;
  }
  // The newer pipeline moves variables out of the way: with probes, some functions have more of them than the stack can reach.
  const output = solc(probed, { ...compilerSettings, viaIR: true, outputSelection: { '*': { '*': ['evm.bytecode.object'] } } });
  const bytecodes: Record<string, `0x${string}`> = {};
  for (const file of Object.keys(sources)) {
    for (const [name, contract] of Object.entries(output.contracts?.[file] ?? {})) bytecodes[name] = `0x${contract.evm.bytecode.object}`;
  }
  return { bytecodes, places };
}

/** As contracts/build.ts has it, with probes in the contracts of `src`. Only in processes that `node contracts/coverage.ts` starts. */
export function compile(folder: 'src' | 'test/helpers'): Map<string, CompiledContract> {
  const plain = compilePlain(folder);
  if (folder !== 'src') return plain;
  const { bytecodes } = readInstrumented();
  return new Map([...plain].map(([name, contract]) => [name, { ...contract, bytecode: bytecodes[name] ?? contract.bytecode }]));
}

/** What `node contracts/coverage.ts` has compiled for the tests it started. */
export function readInstrumented(): Instrumented {
  const folder = process.env['MUSTER_COVERAGE_FOLDER'];
  if (folder === undefined) throw new Error('not started by contracts/coverage.ts');
  return JSON.parse(readFileSync(join(folder, 'instrumented.json'), 'utf8')) as Instrumented;
}

function solc(sources: Readonly<Record<string, string>>, settings: object): SolcOutput {
  const compiler = require('solc') as { compile(input: string, callbacks: { import(path: string): { contents: string } }): string };
  const content = Object.fromEntries(Object.entries(sources).map(([name, text]) => [name, { content: text }]));
  const input = JSON.stringify({ language: 'Solidity', sources: content, settings });
  const readImport = (path: string) => ({
    contents: readFileSync(path.startsWith('@') ? require.resolve(path) : join(contractsFolder, path), 'utf8'),
  });
  const output = JSON.parse(compiler.compile(input, { import: readImport })) as SolcOutput;
  const errors = (output.errors ?? []).filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(errors.map(({ formattedMessage }) => formattedMessage).join('\n'));
  return output;
}
