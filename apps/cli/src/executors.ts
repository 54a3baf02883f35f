/** Which executors run on this machine, and why others do not. */
import { availableParallelism } from 'node:os';
import { type Executor, wasmExecutor } from '@muster/engine';

export interface ExecutorReport {
  readonly name: string;
  readonly available: boolean;
  /** Why it is not available; null if it is. */
  readonly reason: string | null;
  /** float32 numbers that one instruction works on. */
  readonly lanes: number;
  readonly threads: number;
  /** Most memory that one program may take. */
  readonly memoryBytes: number;
  readonly executor: Executor | null;
}

/** The shortest module whose one function adds two vectors: valid only where vectors of 128 bits are known. */
const vectorModule = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** `WebAssembly` has no types without those of a browser; this is what is read of it. */
const webAssembly = (globalThis as { readonly WebAssembly?: { validate(bytes: Uint8Array): boolean } }).WebAssembly;

const absent = (name: string, lanes: number, reason: string): ExecutorReport => ({
  name,
  available: false,
  reason,
  lanes,
  threads: availableParallelism(),
  memoryBytes: 0,
  executor: null,
});

/** Reports, the executor that a node would use first. */
export function executorReports(): readonly ExecutorReport[] {
  const hasVectors = webAssembly?.validate(vectorModule) === true;
  const wasm: ExecutorReport = {
    name: 'wasm',
    available: hasVectors,
    reason: hasVectors ? null : 'this runtime has no WebAssembly vectors of 128 bits',
    lanes: 4,
    threads: 1,
    memoryBytes: 65_535 * 65_536,
    executor: hasVectors ? wasmExecutor : null,
  };
  return [wasm, absent('wasm-threads', 4, 'not in this version'), absent('native', 0, 'not in this version: there is no addon to load')];
}
