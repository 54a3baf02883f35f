/**
 * Which executor this machine uses: native kernels where they were built, else WebAssembly. All give the same bits; the
 * choice is one of speed.
 */
import { availableParallelism } from 'node:os';
import { createWasmExecutor, type Executor, hasSharedMemory } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { createNativeExecutor, nativeKernels } from './native.ts';
import { createWasmThreadsExecutor } from './wasm-threads.ts';

/** One way to execute programs on this machine. */
export interface ExecutorReport {
  readonly name: string;
  readonly available: boolean;
  /** Why not, or what speaks for it. */
  readonly reason: string;
  /** float32 values in a vector; 0 if it is not available. */
  readonly lanes: number;
  /** Most threads it can use. */
  readonly threads: number;
}

const lanesOf: Readonly<Record<string, number>> = { avx512: 16, avx2: 8, sse2: 4, neon: 4, portable: 4 };

/** Every executor that Muster has, best first, and whether it runs here. */
export function executorReports(): ExecutorReport[] {
  const native = nativeKernels();
  const cores = availableParallelism();
  const natives: ExecutorReport[] = native.available
    ? native.instructionSets.map((set) => ({
        name: `native-${set}`,
        available: true,
        reason: `built with ${native.compiler ?? 'an unknown compiler'}`,
        lanes: lanesOf[set] ?? 4,
        threads: cores,
      }))
    : [{ name: 'native', available: false, reason: native.reason, lanes: 0, threads: 0 }];
  const shared = hasSharedMemory();
  return [
    ...natives,
    {
      name: 'wasm-threads',
      available: shared,
      reason: shared ? 'shared memory is here' : 'no shared memory',
      lanes: shared ? 4 : 0,
      threads: shared ? cores : 0,
    },
    { name: 'wasm', available: true, reason: 'runs everywhere', lanes: 4, threads: 1 },
  ];
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
export async function openExecutor({ name, threads }: ExecutorChoice): Promise<Executor> {
  if (name === 'auto') return openExecutor({ name: nativeKernels().available ? 'native' : 'wasm', threads });
  if (name === 'wasm') return threads > 1 ? createWasmThreadsExecutor(threads) : await createWasmExecutor();
  if (name === 'native') return createNativeExecutor({ threads });
  if (name.startsWith('native-')) return createNativeExecutor({ instructionSet: name.slice('native-'.length), threads });
  throw new MusterError('EXECUTOR_UNAVAILABLE', `no executor is called "${name}": auto, native, native-<instruction set> or wasm`, {
    capability: name,
  });
}

/** The executor that the environment asks for: MUSTER_EXECUTOR (a name of `openExecutor`, `auto` by default) and MUSTER_THREADS (1). */
export function executorFromEnvironment(environment: Readonly<Record<string, string | undefined>>): Promise<Executor> {
  const threads = Number(environment['MUSTER_THREADS'] ?? '1');
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > 64) {
    throw new MusterError('USAGE', `MUSTER_THREADS: ${environment['MUSTER_THREADS'] ?? ''} is not a number from 1 to 64`, {
      field: 'MUSTER_THREADS',
    });
  }
  return openExecutor({ name: environment['MUSTER_EXECUTOR'] ?? 'auto', threads });
}
