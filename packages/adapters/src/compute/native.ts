/**
 * The kernels as native code: the addon that `kernels/native.ts` builds when the dependencies are installed. Same bits as WebAssembly.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type CompiledExecutor, createExecutor, type KernelBackend } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { leastThreadedBytes } from './threading.ts';

/** What the addon offers (`kernels/native/addon.c`). */
interface Addon {
  features(): string[];
  allocate(bytes: number): ArrayBuffer;
  discard(memory: ArrayBuffer): void;
  run(instructionSet: string, memory: ArrayBuffer, tape: number, count: number, threads: number): number;
}

/** The addon and the instruction sets that this processor has, best first; or why there is none. */
export type NativeKernels =
  | { readonly available: true; readonly instructionSets: readonly string[]; readonly compiler: string | null }
  | { readonly available: false; readonly reason: string };

const built = new URL('../../../../kernels/build/', import.meta.url);
let loaded: Addon | string | undefined;

function report(): { readonly compiler: string | null; readonly reason: string | null } {
  const file = new URL('native.json', built);
  if (!existsSync(file)) return { compiler: null, reason: 'not built: run `node kernels/native.ts`' };
  return JSON.parse(readFileSync(file, 'utf8')) as { compiler: string | null; reason: string | null };
}

function load(): Addon | string {
  if (loaded !== undefined) return loaded;
  const file = fileURLToPath(new URL('muster.node', built));
  try {
    loaded = existsSync(file) ? (createRequire(import.meta.url)(file) as Addon) : (report().reason ?? 'not built');
  } catch (error) {
    loaded = `built, but it does not load: ${(error as Error).message.split('\n')[0] ?? ''}`;
  }
  return loaded;
}

/** Whether native kernels can be used here, and if not why. */
export function nativeKernels(): NativeKernels {
  const addon = load();
  if (typeof addon === 'string') return { available: false, reason: addon };
  return { available: true, instructionSets: addon.features(), compiler: report().compiler };
}

/** Largest memory of one program: what an ArrayBuffer can hold. */
const maxBytes = 2 ** 36;

/**
 * An executor on native kernels. `instructionSet` defaults to the best one; `threads` (1 to 64) run every kernel together in programs
 * whose memory has at least `leastBytes` (1 MiB).
 * Throws EXECUTOR_UNAVAILABLE where there is no addon or no such instruction set.
 */
export function createNativeExecutor(options: {
  readonly instructionSet?: string;
  readonly threads: number;
  readonly leastBytes?: number;
}): CompiledExecutor {
  const addon = load();
  if (typeof addon === 'string') throw new MusterError('EXECUTOR_UNAVAILABLE', `no native kernels: ${addon}`, { capability: 'native' });
  const sets = addon.features();
  const instructionSet = options.instructionSet ?? sets[0] ?? '';
  if (!sets.includes(instructionSet)) {
    throw new MusterError('EXECUTOR_UNAVAILABLE', `this processor has no ${instructionSet}, only ${sets.join(', ')}`, {
      capability: instructionSet,
    });
  }
  const { threads, leastBytes = leastThreadedBytes } = options;
  const backend: KernelBackend = {
    name: threads === 1 ? `native-${instructionSet}` : `native-${instructionSet}-${threads}-threads`,
    start: 64,
    maxBytes,
    memoryLimitBytes: null,
    allocate(bytes) {
      const buffer = addon.allocate(bytes);
      const used = bytes < leastBytes ? 1 : threads;
      return {
        buffer,
        run: (tape, count) => addon.run(instructionSet, buffer, tape, count, used),
        threads: () => used,
        dispose: () => addon.discard(buffer),
      };
    },
  };
  return createExecutor(backend);
}
