/**
 * Line and branch coverage of the contracts by their tests.
 *
 *   node contracts/coverage.ts [--threshold 95] [--json] [part of a test file's name …]
 *
 * Compiles contracts/src with probes (probes/instrument.ts), runs the contract tests on that code and counts which probes ran. Exits 1
 * where a test fails or the lines or the branches of all contracts together are covered by less than the threshold, in percent. Tests of
 * gas and of the bindings are left out: they are about the code without probes.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Plugin } from 'vite';
import { startVitest } from 'vitest/node';
import { compile } from './build.ts';
import { compileInstrumented, type CoverageInput, type Instrumented } from './probes/compile-instrumented.ts';
import { coverageOf, describeCoverage, percentOf, totalOf } from './probes/places.ts';

const contractsFolder = dirname(fileURLToPath(import.meta.url));
const probesFolder = join(contractsFolder, 'probes');
/** About the code as it is deployed, so not for code with probes. */
const leftOut = ['contracts/test/{gas,batch-gas}.test.ts', 'contracts/test/bindings.test.ts', 'contracts/test/coverage.test.ts'];

function readSources(): Record<string, string> {
  const names = readdirSync(join(contractsFolder, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.sol'));
  return Object.fromEntries(names.sort().map((name) => [`src/${name}`, readFileSync(join(contractsFolder, 'src', name), 'utf8')]));
}

/** Gives the tests the code with probes: through the bindings of the adapters, through `compile`, and chains that listen. */
function probesPlugin({ contracts }: Instrumented): Plugin {
  return {
    name: 'muster-coverage',
    enforce: 'pre',
    async resolveId(source, importer) {
      if (importer === undefined || importer.startsWith(probesFolder)) return null;
      if (source === 'hardhat/hre') return join(probesFolder, 'hre.ts');
      if (!source.endsWith('build.ts')) return null;
      const resolved = await this.resolve(source, importer, { skipSelf: true });
      return resolved?.id === join(contractsFolder, 'build.ts') ? join(probesFolder, 'compile-instrumented.ts') : resolved;
    },
    transform(code, id) {
      if (!/evm\/generated\/\w+\.ts$/.test(id)) return null;
      const name = Object.keys(contracts).find((known) => id.toLowerCase().endsWith(`/${known.toLowerCase()}.ts`));
      const contract = name === undefined ? undefined : contracts[name];
      return contract === undefined ? null : { code: code.replace(/(Bytecode = ')0x[0-9a-f]+'/, `$1${contract.bytecode}'`), map: null };
    },
  };
}

/** Probes that ran, and whether every test passed. */
async function runTests(input: CoverageInput, filters: readonly string[]): Promise<{ hits: Set<number>; passed: boolean }> {
  const folder = mkdtempSync(join(tmpdir(), 'muster-coverage-'));
  try {
    writeFileSync(join(folder, 'input.json'), JSON.stringify(input));
    const root = dirname(contractsFolder);
    const limits = { testTimeout: 600_000, hookTimeout: 600_000, maxWorkers: 2 };
    const vitest = await startVitest(
      'test',
      [...filters],
      {
        config: false,
        root,
        watch: false,
        // What a module is turned into depends on this run's compilation.
        fsModuleCache: false,
        include: ['contracts/test/**/*.test.ts'],
        exclude: leftOut,
        // Probes cost gas.
        testNamePattern: '^(?!.*\\bgas\\b)',
        env: { MUSTER_COVERAGE_FOLDER: folder },
        reporters: [['default', { summary: false }]],
        ...limits,
      },
      { plugins: [probesPlugin(input)] },
      // The report on stdout is ours; what the tests say goes beside it.
      { stdout: process.stderr },
    );
    const modules = vitest.state.getTestModules();
    await vitest.close();
    const hits = new Set<number>();
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.hits'))) {
      for (const line of readFileSync(join(folder, name), 'utf8').split('\n')) if (line !== '') hits.add(Number(line));
    }
    return { hits, passed: modules.length > 0 && modules.every((module) => module.ok()) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { threshold: { type: 'string', default: '95' }, json: { type: 'boolean', default: false } },
});
const threshold = Number(values.threshold);
if (!(threshold >= 0 && threshold <= 100)) throw new Error(`--threshold ${values.threshold} is not a percentage`);
const instrumented = compileInstrumented(readSources());
const helpers = Object.fromEntries(compile('test/helpers'));
const { hits, passed } = await runTests({ ...instrumented, helpers }, positionals);
const files = coverageOf(instrumented.places, hits);
const total = totalOf(files);
const enough = percentOf(total.lines) >= threshold && percentOf(total.branches) >= threshold;
if (values.json) process.stdout.write(`${JSON.stringify({ threshold, enough, passed, total, files })}\n`);
else process.stdout.write(describeCoverage(files));
if (!passed) process.stderr.write('some tests failed; the figures are of what ran\n');
if (!enough) process.stderr.write(`below ${threshold} %\n`);
process.exitCode = passed && enough ? 0 : 1;
