/**
 * Builds the kernels to WebAssembly and writes them as TypeScript: `node kernels/build.ts`; `--check` compares instead.
 *
 * The compiler is `@yowasp/clang` (clang compiled to WebAssembly, pinned in package-lock.json), so the same source gives the
 * same bytes on every machine. The result is committed: users never need the compiler.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { commands } from '@yowasp/clang';
import type { Tree } from '@yowasp/clang';

const folder = new URL('./', import.meta.url);
const target = new URL('../packages/engine/src/wasm/generated/kernels.ts', import.meta.url);

/** No contraction, no fast-math, no relaxed SIMD: docs/spec/01-exact-arithmetic.md. */
const compilerFlags = [
  '--target=wasm32-unknown-unknown',
  '-O3',
  '-msimd128',
  '-mbulk-memory',
  '-ffp-contract=off',
  '-fno-fast-math',
  '-ffreestanding',
  '-fvisibility=hidden',
  '-fno-ident',
  '-std=c17',
  '-Wall',
  '-Wextra',
  '-Wno-unused-function',
  '-Werror',
];
const linkerFlags = ['--no-entry', '--import-memory', '--strip-all', '-z', 'stack-size=65536', '--stack-first'];

/** Sources by name, in sorted order. */
function readSources(): Record<string, string> {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.c') || name.endsWith('.h'))
    .toSorted();
  return Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name, folder), 'utf8')]));
}

/** Runs one tool of the toolchain over `files` and returns the file it wrote. */
async function runTool(tool: 'clang' | 'wasm-ld', args: string[], files: Tree, output: string): Promise<Uint8Array> {
  const messages: Uint8Array[] = [];
  const collect = (bytes: Uint8Array | null): void => {
    if (bytes !== null) messages.push(bytes.slice());
  };
  const command = commands[tool];
  // The toolchain's exit error carries every source file; its messages say what matters.
  const result = await Promise.resolve(command(args, files, { stdout: collect, stderr: collect, fetchProgress: () => {} })).catch(
    () => undefined,
  );
  const bytes = result?.[output];
  if (!(bytes instanceof Uint8Array)) throw new Error(`${tool} wrote no ${output}:\n${Buffer.concat(messages).toString('utf8')}`);
  return bytes;
}

/** Compiles and links the kernels. The bytes depend on the sources and the compiler's version only. */
export async function compileKernels(): Promise<Uint8Array> {
  const sources = readSources();
  const object = await runTool('clang', [...compilerFlags, '-c', 'kernels.c', '-o', 'kernels.o'], sources, 'kernels.o');
  return await runTool('wasm-ld', ['kernels.o', '-o', 'kernels.wasm', ...linkerFlags], { 'kernels.o': object }, 'kernels.wasm');
}

/** The generated module: opcodes in the order of `opcodes.h`, the hash of the sources, the WebAssembly in base64. */
export async function generateModule(): Promise<string> {
  const wasm = await compileKernels();
  const sources = readSources();
  const sourceHash = createHash('sha256').update(JSON.stringify({ compilerFlags, linkerFlags, sources })).digest('hex');
  const opcodes = [...(sources['opcodes.h'] ?? '').matchAll(/\bX\((\w+)\)/g)].map((match) => match[1] ?? '');
  const lines =
    Buffer.from(wasm)
      .toString('base64')
      .match(/.{1,120}/g) ?? [];
  return [
    '/** Written by `node kernels/build.ts` from `kernels/`: do not edit. */',
    '',
    '/** SHA-256 of the sources and flags this was built from. */',
    `export const kernelSourceHash = '${sourceHash}';`,
    '',
    '/** Numbers of the element-wise interpreter’s operations. */',
    'export const opcodes = {',
    ...opcodes.map((name, index) => `  ${name}: ${index},`),
    '} as const;',
    '',
    `/** The WebAssembly module, ${wasm.length} bytes, in base64. */`,
    'export const kernelBase64 =',
    ...lines.map((line, index) => `  '${line}'${index + 1 === lines.length ? ';' : ' +'}`),
    '',
  ].join('\n');
}

/** The committed module, or an empty string if there is none. */
export function committedModule(): string {
  return existsSync(target) ? readFileSync(target, 'utf8') : '';
}

if (import.meta.main) {
  const text = await generateModule();
  if (process.argv.includes('--check')) {
    const same = text === committedModule();
    process.stdout.write(
      same
        ? 'kernels: the committed build is what the sources give\n'
        : 'kernels: the committed build differs: run `node kernels/build.ts`\n',
    );
    process.exitCode = same ? 0 : 1;
  } else {
    writeFileSync(target, text);
    process.stdout.write(`kernels: ${text.length} characters written\n`);
  }
}
