/**
 * Builds the kernels to WebAssembly and writes them as TypeScript: `node kernels/build.ts`; `--check` compares instead.
 *
 * The compiler is `@yowasp/clang` (clang compiled to WebAssembly, pinned in package-lock.json), so the same source gives the
 * same bytes on every machine. The result is committed: users never need the compiler.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { commands } from '@yowasp/clang';
import type { Tree } from '@yowasp/clang';

const folder = new URL('./', import.meta.url);
const generated = new URL('../packages/engine/src/wasm/generated/', import.meta.url);

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
/** What threads need: atomic operations, and a memory and a stack pointer that the host gives each thread. */
const threadedCompilerFlags = ['-matomics', '-DMUSTER_THREADS'];
const threadedLinkerFlags = ['--shared-memory', '--max-memory=4294967296', '--export=__stack_pointer'];
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
export async function compileKernels(threaded: boolean): Promise<Uint8Array> {
  const sources = readSources();
  const compiling = [...compilerFlags, ...(threaded ? threadedCompilerFlags : [])];
  const linking = [...linkerFlags, ...(threaded ? threadedLinkerFlags : [])];
  const object = await runTool('clang', [...compiling, '-c', 'kernels.c', '-o', 'kernels.o'], sources, 'kernels.o');
  return await runTool('wasm-ld', ['kernels.o', '-o', 'kernels.wasm', ...linking], { 'kernels.o': object }, 'kernels.wasm');
}

function base64Lines(wasm: Uint8Array): string[] {
  const lines =
    Buffer.from(wasm)
      .toString('base64')
      .match(/.{1,120}/g) ?? [];
  return lines.map((line, index) => `  '${line}'${index + 1 === lines.length ? ';' : ' +'}`);
}

/** Names in a list `#define … X(NAME) X(NAME)`, numbered. */
function numbered(list: string): string[] {
  return [...list.matchAll(/\bX\((\w+)\)/g)].map((match, index) => `  ${match[1] ?? ''}: ${index},`);
}

/** The generated modules by file name. */
export async function generateModules(): Promise<Readonly<Record<string, string>>> {
  const [single, threaded] = [await compileKernels(false), await compileKernels(true)];
  const sources = readSources();
  const scratch = /#define SCRATCH_BYTES \((\d+)u << (\d+)\)/.exec(sources['types.h'] ?? '');
  const scratchBytes = Number(scratch?.[1]) * 2 ** Number(scratch?.[2]);
  if (!Number.isSafeInteger(scratchBytes)) throw new Error('types.h: SCRATCH_BYTES is not (n u << m)');
  const header = '/** Written by `node kernels/build.ts` from `kernels/`: do not edit. */';
  const kernels = [
    header,
    '',
    '/** Bytes of scratch memory that every thread needs. */',
    `export const scratchBytes = ${scratchBytes};`,
    '',
    '/** Numbers of the kernels a tape can call. */',
    'export const kernelNumbers = {',
    ...numbered(sources['tape.h'] ?? ''),
    '} as const;',
    '',
    '/** Numbers of the element-wise interpreter’s operations. */',
    'export const opcodes = {',
    ...numbered(sources['opcodes.h'] ?? ''),
    '} as const;',
    '',
    `/** The WebAssembly module for one thread, ${single.length} bytes, in base64. */`,
    'export const kernelBase64 =',
    ...base64Lines(single),
    '',
  ];
  const threadedKernels = [
    header,
    '',
    `/** The WebAssembly module for threads over a shared memory, ${threaded.length} bytes, in base64. */`,
    'export const threadedKernelBase64 =',
    ...base64Lines(threaded),
    '',
  ];
  return { 'kernels.ts': kernels.join('\n'), 'threaded-kernels.ts': threadedKernels.join('\n') };
}

/** The committed module of that name, or an empty string if there is none. */
export function committedModule(name: string): string {
  const file = new URL(name, generated);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

if (import.meta.main) {
  const modules = await generateModules();
  if (process.argv.includes('--check')) {
    const same = Object.entries(modules).every(([name, text]) => text === committedModule(name));
    process.stdout.write(
      same
        ? 'kernels: the committed build is what the sources give\n'
        : 'kernels: the committed build differs: run `node kernels/build.ts`\n',
    );
    process.exitCode = same ? 0 : 1;
  } else {
    for (const [name, text] of Object.entries(modules)) {
      writeFileSync(new URL(name, generated), text);
      process.stdout.write(`kernels: ${name}, ${text.length} characters written\n`);
    }
  }
}
