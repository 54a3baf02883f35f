/**
 * Builds the kernels as a Node-API addon for this machine: `node kernels/native.ts`. `npm ci` runs it with `--optional`.
 *
 * Each instruction set is compiled on its own from the same `kernels.c`; the addon chooses when it is loaded. No compiler, an old
 * one or an unknown platform is no error with `--optional`: WebAssembly then does the work, and `muster doctor` shows what is
 * written into `kernels/build/native.json`.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('./', import.meta.url));
const output = join(folder, 'build');

/** Separate roundings: docs/spec/01-exact-arithmetic.md. */
const exact = ['-ffp-contract=off', '-fno-fast-math', '-fno-math-errno', '-fno-trapping-math'];
const common = ['-std=c17', '-O3', '-fPIC', '-fvisibility=hidden', '-fno-strict-aliasing', '-DMUSTER_THREADS', ...exact];
const instructionSets: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  x64: {
    sse2: ['-msse2'],
    avx2: ['-mavx2', '-mno-fma'],
    avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mprefer-vector-width=512'],
  },
  arm64: { neon: [] },
};

/** What came of the build, as `muster doctor` tells it. */
interface Report {
  readonly built: boolean;
  readonly compiler: string | null;
  readonly reason: string | null;
}

const message = (error: unknown): string => {
  const { stderr, message } = error as { readonly stderr?: string; readonly message: string };
  return (stderr === undefined || stderr === '' ? message : stderr).trim().split('\n').slice(0, 4).join(' | ');
};

/** The first C compiler that answers: CC, cc, clang, gcc. */
async function findCompiler(): Promise<string | null> {
  for (const name of [process.env['CC'] ?? '', 'cc', 'clang', 'gcc']) {
    if (name === '') continue;
    try {
      await run(name, ['--version']);
      return name;
    } catch {
      // The next one, then.
    }
  }
  return null;
}

async function build(compiler: string, sets: Readonly<Record<string, readonly string[]>>): Promise<void> {
  const work = mkdtempSync(join(output, 'work-'));
  try {
    const include = createRequire(import.meta.url)('node-api-headers') as { readonly include_dir: string };
    const objects = [...Object.keys(sets), 'addon'].map((name) => join(work, `${name}.o`));
    await Promise.all([
      ...Object.entries(sets).map(([name, flags]) =>
        run(compiler, [...common, ...flags, `-DISA=${name}`, '-c', join(folder, 'kernels.c'), '-o', join(work, `${name}.o`)]),
      ),
      run(compiler, [...common, '-I', include.include_dir, '-c', join(folder, 'native', 'addon.c'), '-o', join(work, 'addon.o')]),
    ]);
    const undefinedSymbols = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];
    const library = join(work, 'muster.node');
    await run(compiler, ['-shared', ...undefinedSymbols, '-pthread', ...objects, '-o', library]);
    // Loading it here shows a broken build now and not in somebody's round.
    await run(process.execPath, ['-e', `if (require(${JSON.stringify(library)}).features().length === 0) process.exit(1)`]);
    renameSync(library, join(output, 'muster.node'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function main(): Promise<Report> {
  const sets = instructionSets[process.arch];
  if (sets === undefined || process.platform === 'win32') {
    return { built: false, compiler: null, reason: `no native kernels for ${process.platform} on ${process.arch}` };
  }
  if (process.env['MUSTER_NATIVE'] === 'off') return { built: false, compiler: null, reason: 'switched off by MUSTER_NATIVE=off' };
  const compiler = await findCompiler();
  if (compiler === null) return { built: false, compiler, reason: 'no C compiler found (looked for CC, cc, clang, gcc)' };
  try {
    await build(compiler, sets);
    return { built: true, compiler, reason: null };
  } catch (error) {
    return { built: false, compiler, reason: `the build failed: ${message(error)}` };
  }
}

mkdirSync(output, { recursive: true });
const report = await main();
// An older build stays until a new one takes its place in one step; where none can be made, none may be left.
if (!report.built) rmSync(join(output, 'muster.node'), { force: true });
writeFileSync(join(output, 'native.json'), `${JSON.stringify(report, null, 2)}\n`);
process.stdout.write(
  report.built ? `kernels: native, built with ${report.compiler ?? ''}\n` : `kernels: WebAssembly only: ${report.reason ?? ''}\n`,
);
if (!report.built && !process.argv.includes('--optional')) process.exitCode = 1;
