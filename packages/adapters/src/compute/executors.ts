/**
 * Which executor this machine uses: native kernels where they were built, else WebAssembly. All give the same bits; the
 * choice is one of speed.
 */
import { availableParallelism } from 'node:os';
import { type CompiledExecutor, createWasmExecutor, hasSharedMemory, hasWasmVectors, wasmExecutor, withMemoryLimit } from '@muster/engine';
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

/** What a name chooses: `native` (the best instruction set), `native-avx2` and the like, `wasm`, `wasm-threads`, or `auto`. */
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
  if (name === 'wasm-threads') return createWasmThreadsExecutor(Math.max(threads, 2));
  if (name === 'native') return createNativeExecutor({ threads });
  if (name.startsWith('native-')) return createNativeExecutor({ instructionSet: name.slice('native-'.length), threads });
  const names = executorReports().map(({ name: known, available, reason }) => (available ? known : `${known} (not here: ${reason ?? ''})`));
  const kinds = ['auto', ...(nativeKernels().available ? ['native'] : []), ...names];
  throw new MusterError('EXECUTOR_UNAVAILABLE', `no executor is called "${name}", only ${kinds.join(', ')}`, { capability: name });
}

function positiveInteger(environment: Readonly<Record<string, string | undefined>>, name: string, most: number): number | null {
  const text = environment[name];
  if (text === undefined || text === '') return null;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
  throw new MusterError('USAGE', `${name}: ${text} is not a whole number from 1 to ${most}`, { field: name });
}

/**
 * The executor that the environment asks for: MUSTER_EXECUTOR (a name of `openExecutor`, `auto` by default), MUSTER_THREADS (1) and
 * MUSTER_MEMORY_LIMIT, the bytes above which programs compute values again instead of keeping them. Throws USAGE, EXECUTOR_UNAVAILABLE.
 */
export async function executorFromEnvironment(environment: Readonly<Record<string, string | undefined>>): Promise<CompiledExecutor> {
  const threads = positiveInteger(environment, 'MUSTER_THREADS', 64) ?? 1;
  const limit = positiveInteger(environment, 'MUSTER_MEMORY_LIMIT', Number.MAX_SAFE_INTEGER);
  const executor = await openExecutor({ name: environment['MUSTER_EXECUTOR'] ?? 'auto', threads });
  return limit === null ? executor : withMemoryLimit(executor, limit);
}
