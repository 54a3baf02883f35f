/**
 * Compiles the contracts with the npm `solc` and writes their bindings into packages/adapters. Offline.
 *
 *   node contracts/build.ts           write packages/adapters/src/evm/generated/*.ts
 *   node contracts/build.ts --check   exit 1 unless the files there are what this would write
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Abi } from 'viem';

/** The contracts that are deployed; each gets one file of bindings. */
const contractNames = [
  'MusterForwarder',
  'InsuranceFund',
  'ReputationRegistry',
  'NodeCertRegistry',
  'AIJobManager',
  'SignedVerdictVerifier',
  'ProofOfCompute',
  'BatchedProofOfCompute',
  'TrainProofLog',
  'ModelRegistry',
  'EmissionPool',
  'ArthaDIDRegistry',
  'DataConsent',
  'SignedQuoteVerifier',
  'TrainRequest',
] as const;

/** Compiler settings. `cancun` is the newest EVM that the embedded chain, anvil and Hardhat all run by default. */
export const compilerSettings = { evmVersion: 'cancun', optimizer: { enabled: true, runs: 1000 } } as const;

export interface CompiledContract {
  readonly abi: Abi;
  /** Creation code. */
  readonly bytecode: `0x${string}`;
}

interface SolcOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: Record<
    string,
    Record<string, { readonly abi: Abi; readonly evm: { readonly bytecode: { readonly object: string } } }>
  >;
}

const contractsFolder = dirname(fileURLToPath(import.meta.url));
const generatedFolder = join(contractsFolder, '../packages/adapters/src/evm/generated');
const require = createRequire(import.meta.url);

function solidityFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.sol'))
    .map((name) => join(folder, name))
    .sort();
}

/** What a compilation follows from: every source here, and the versions of compiler and library. */
function compilationKey(folder: string): string {
  const hash = createHash('sha256').update(JSON.stringify([folder, compilerSettings]));
  for (const name of ['solc/package.json', '@openzeppelin/contracts/package.json']) hash.update(readFileSync(require.resolve(name)));
  for (const part of ['src', 'test/helpers']) {
    for (const file of solidityFiles(join(contractsFolder, part))) {
      const text = readFileSync(file);
      hash.update(`${relative(contractsFolder, file)} ${text.length}\n`).update(text);
    }
  }
  return hash.digest('hex');
}

/**
 * Compiles all .sol files under `folder` of contracts/ with what they import, or remembers what that gave before, in contracts/artifacts.
 * Contracts by name; throws on any error or warning.
 */
export function compile(folder: 'src' | 'test/helpers'): Map<string, CompiledContract> {
  const remembered = join(contractsFolder, 'artifacts/compiled', `${compilationKey(folder)}.json`);
  if (existsSync(remembered)) return new Map(JSON.parse(readFileSync(remembered, 'utf8')) as [string, CompiledContract][]);
  const compiled = compileNow(folder);
  mkdirSync(dirname(remembered), { recursive: true });
  // Several processes may compile the same; each leaves a whole file.
  const whole = `${remembered}.${process.pid}`;
  writeFileSync(whole, JSON.stringify([...compiled]));
  renameSync(whole, remembered);
  return compiled;
}

function compileNow(folder: 'src' | 'test/helpers'): Map<string, CompiledContract> {
  // Loading the compiler takes a second and installs process-wide handlers, so only who compiles pays for it.
  const solc = require('solc') as { compile(input: string, callbacks: { import(path: string): { contents: string } }): string };
  const sources: Record<string, { content: string }> = {};
  for (const file of solidityFiles(join(contractsFolder, folder))) {
    sources[relative(contractsFolder, file)] = { content: readFileSync(file, 'utf8') };
  }
  const settings = {
    ...compilerSettings,
    metadata: { bytecodeHash: 'none' },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
  };
  const readImport = (path: string) => ({
    contents: readFileSync(path.startsWith('@') ? require.resolve(path) : join(contractsFolder, path), 'utf8'),
  });
  const input = JSON.stringify({ language: 'Solidity', sources, settings });
  const output = JSON.parse(solc.compile(input, { import: readImport })) as SolcOutput;
  const complaints = (output.errors ?? []).filter((error) => error.severity !== 'info');
  if (complaints.length > 0) throw new Error(complaints.map((error) => error.formattedMessage).join('\n'));

  const compiled = new Map<string, CompiledContract>();
  for (const file of Object.keys(sources)) {
    for (const [name, contract] of Object.entries(output.contracts?.[file] ?? {})) {
      compiled.set(name, { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` });
    }
  }
  return compiled;
}

/** Binding files by name, as they should be in packages/adapters/src/evm/generated. */
export function generateBindings(): Map<string, string> {
  const compiled = compile('src');
  const files = new Map<string, string>();
  const notice = '// Generated by contracts/build.ts from contracts/src; do not edit.\n';
  let index = notice;
  for (const name of contractNames) {
    const contract = compiled.get(name);
    if (contract === undefined) throw new Error(`no contract ${name} in contracts/src`);
    const exported = name.startsWith('AI') ? `ai${name.slice(2)}` : name.charAt(0).toLowerCase() + name.slice(1);
    const abi = contract.abi.map((entry) => `  ${JSON.stringify(entry)},\n`).join('');
    files.set(
      `${exported}.ts`,
      `${notice}export const ${exported}Abi = [\n${abi}] as const;\n\nexport const ${exported}Bytecode = '${contract.bytecode}';\n`,
    );
    index += `export { ${exported}Abi, ${exported}Bytecode } from './${exported}.ts';\n`;
  }
  files.set('index.ts', index);
  return files;
}

/** Names of the binding files that are missing, left over, or differ from what `generateBindings` gives. */
export function staleBindings(expected: ReadonlyMap<string, string>): string[] {
  let present: string[] = [];
  try {
    present = readdirSync(generatedFolder);
  } catch {
    return [...expected.keys()];
  }
  const differing = [...expected].filter(
    ([name, text]) => !present.includes(name) || readFileSync(join(generatedFolder, name), 'utf8') !== text,
  );
  return [...differing.map(([name]) => name), ...present.filter((name) => !expected.has(name))];
}

if (import.meta.main) {
  const expected = generateBindings();
  if (process.argv.includes('--check')) {
    const stale = staleBindings(expected);
    if (stale.length > 0) process.stderr.write(`stale bindings, run node contracts/build.ts: ${stale.join(', ')}\n`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    mkdirSync(generatedFolder, { recursive: true });
    for (const [name, text] of expected) writeFileSync(join(generatedFolder, name), text);
    process.stdout.write(`wrote ${expected.size} files to ${relative(process.cwd(), generatedFolder)}\n`);
  }
}
