/**
 * Compiles Solidity with probes in it. In the tests' processes it stands in for contracts/build.ts, so that a test which compiles
 * contracts gets what was compiled beforehand: contracts with probes, helpers as they are.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Abi } from 'viem';
import { type CompiledContract, compilerSettings } from '../build.ts';
import { instrument, probeFile, probeLibrary, type SyntaxNode } from './instrument.ts';
import type { Place } from './places.ts';

export * from '../build.ts';

/** What the contracts are while coverage is measured: code with probes by contract name, and what the probes stand for. */
export interface Instrumented {
  /** ABIs are those of the contracts without probes. */
  readonly contracts: Readonly<Record<string, CompiledContract>>;
  readonly places: readonly Place[];
}

/** What the tests' processes are given, so that none of them has to compile. */
export interface CoverageInput extends Instrumented {
  readonly helpers: Readonly<Record<string, CompiledContract>>;
}

interface SolcOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly sources?: Readonly<Record<string, { readonly ast: SyntaxNode }>>;
  readonly contracts?: Readonly<
    Record<string, Readonly<Record<string, { readonly abi: Abi; readonly evm: { readonly bytecode: { readonly object: string } } }>>>
  >;
}

const require = createRequire(import.meta.url);
const contractsFolder = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Puts probes into `sources` (text by the name under which they import one another) and compiles them. Throws what the compiler says. */
export function compileInstrumented(sources: Readonly<Record<string, string>>): Instrumented {
  const parsed = solc(sources, { outputSelection: { '*': { '': ['ast'], '*': ['abi'] } } });
  const places: Place[] = [];
  const probed: Record<string, string> = { [probeFile]: probeLibrary };
  for (const [file, text] of Object.entries(sources)) {
    const tree = parsed.sources?.[file]?.ast;
    if (tree === undefined) throw new Error(`no syntax tree of ${file}`);
    const done = instrument(file, text, tree, places.length);
    places.push(...done.places);
    probed[file] = done.text;
  }
  // The newer pipeline moves variables out of the way: with probes, some functions have more of them than the stack can reach. Nothing
  // else of the optimizer is wanted: code that nobody measures need not be short.
  const optimizer = { enabled: true, details: { yul: true, yulDetails: { stackAllocation: true, optimizerSteps: 'u' } } };
  const output = solc(probed, { ...compilerSettings, optimizer, viaIR: true, outputSelection: { '*': { '*': ['evm.bytecode.object'] } } });
  const contracts: Record<string, CompiledContract> = {};
  for (const file of Object.keys(sources)) {
    for (const [name, contract] of Object.entries(output.contracts?.[file] ?? {})) {
      const abi = parsed.contracts?.[file]?.[name]?.abi;
      if (abi === undefined) throw new Error(`no ABI of ${name}`);
      contracts[name] = { abi, bytecode: `0x${contract.evm.bytecode.object}` };
    }
  }
  return { contracts, places };
}

/** As contracts/build.ts has it, with probes in the contracts of `src`. Only in processes that `node contracts/coverage.ts` starts. */
export function compile(folder: 'src' | 'test/helpers'): Map<string, CompiledContract> {
  const { contracts, helpers } = readCoverageInput();
  return new Map(Object.entries(folder === 'src' ? contracts : helpers));
}

/** Where `node contracts/coverage.ts` exchanges files with the tests it started. */
export function coverageFolder(): string {
  const folder = process.env['MUSTER_COVERAGE_FOLDER'];
  if (folder === undefined) throw new Error('not started by contracts/coverage.ts');
  return folder;
}

function readCoverageInput(): CoverageInput {
  return JSON.parse(readFileSync(join(coverageFolder(), 'input.json'), 'utf8')) as CoverageInput;
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
