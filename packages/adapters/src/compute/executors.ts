/**
 * Which executor this machine uses: native kernels where they were built, else WebAssembly. All give the same bits; the
 * choice is one of speed.
 */
import { availableParallelism } from 'node:os';
import { type CompiledExecutor, createWasmExecutor, hasSharedMemory, hasWasmVectors, wasmExecutor } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { createNativeExecutor, nativeKernels } from './native.ts';
import { createWasmThreadsExecutor } from './wasm-threads.ts';

/** One way to execute programs on this machine. */
export interface ExecutorReport {
  readonly name: string;
  readonly available: boolean;
  /** Why it is not available; null if it is. */
  readonly reason: string | null;
  /** float32 numbers that one instruction works on. */
  readonly lanes: number;
  /** Most threads it can use. */
  readonly threads: number;
  /** Most memory that one program may take. */
  readonly memoryBytes: number;
  /** One thread of it; null if it is not available. */
  readonly executor: CompiledExecutor | null;
}

const lanesOf: Readonly<Record<string, number>> = { avx512: 16, avx2: 8, sse2: 4, neon: 4, portable: 4 };

function reportOf(name: string, executor: CompiledExecutor, lanes: number, threads: number): ExecutorReport {
  return { name, available: true, reason: null, lanes, threads, memoryBytes: executor.backend.maxBytes, executor };
}

const absent = (name: string, reason: string): ExecutorReport => ({
  name,
  available: false,
  reason,
  lanes: 0,
  threads: 0,
  memoryBytes: 0,
  executor: null,
});

/** Every executor that Muster has, the one that `auto` takes first, and whether it runs here. */
export function executorReports(): readonly ExecutorReport[] {
  const native = nativeKernels();
  const cores = availableParallelism();
  const natives = native.available
    ? native.instructionSets.map((instructionSet) =>
        reportOf(`native-${instructionSet}`, createNativeExecutor({ instructionSet, threads: 1 }), lanesOf[instructionSet] ?? 4, cores),
      )
    : [];
  const wasm = hasWasmVectors()
    ? reportOf('wasm', wasmExecutor, 4, 1)
    : absent('wasm', 'this runtime has no WebAssembly vectors of 128 bits');
  const wasmThreads =
    hasWasmVectors() && hasSharedMemory() && cores > 1
      ? reportOf('wasm-threads', createWasmThreadsExecutor(cores), 4, cores)
      : absent('wasm-threads', cores > 1 ? 'this runtime has no WebAssembly memory that threads share' : 'this machine has one core');
  return [...natives, ...(native.available ? [] : [absent('native', native.reason)]), wasm, wasmThreads];
}

/** What a name chooses: `native` (the best instruction set), `native-avx2` and the like, `wasm`, or `auto`. */
export interface ExecutorChoice {
  readonly name: string;
  /** From 1 to 64. */
  readonly threads: number;
}

/**
 * The executor of that name. `auto` takes native kernels where they are and WebAssembly else. Throws EXECUTOR_UNAVAILABLE for
 * what is not here.
 */
export async function openExecutor({ name, threads }: ExecutorChoice): Promise<CompiledExecutor> {
  if (name === 'auto') return openExecutor({ name: nativeKernels().available ? 'native' : 'wasm', threads });
  if (name === 'wasm') return threads > 1 ? createWasmThreadsExecutor(threads) : await createWasmExecutor();
  if (name === 'native') return createNativeExecutor({ threads });
  if (name.startsWith('native-')) return createNativeExecutor({ instructionSet: name.slice('native-'.length), threads });
  throw new MusterError('EXECUTOR_UNAVAILABLE', `no executor is called "${name}": auto, native, native-<instruction set> or wasm`, {
    capability: name,
  });
}

/** The executor that the environment asks for: MUSTER_EXECUTOR (a name of `openExecutor`, `auto` by default) and MUSTER_THREADS (1). */
export function executorFromEnvironment(environment: Readonly<Record<string, string | undefined>>): Promise<CompiledExecutor> {
  const threads = Number(environment['MUSTER_THREADS'] ?? '1');
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > 64) {
    throw new MusterError('USAGE', `MUSTER_THREADS: ${environment['MUSTER_THREADS'] ?? ''} is not a number from 1 to 64`, {
      field: 'MUSTER_THREADS',
    });
  }
  return openExecutor({ name: environment['MUSTER_EXECUTOR'] ?? 'auto', threads });
}
