/** WebAssembly kernels on several threads of Node: one worker for each thread of each larger program. */
import { Worker } from 'node:worker_threads';
import { type CompiledExecutor, createThreadedExecutor } from '@muster/engine';
import { leastThreadedBytes } from './threading.ts';

/**
 * An executor on `threads` (2 to 64) threads of WebAssembly. Programs with less memory than `leastBytes` stay on one: starting a worker
 * costs more than they would gain. Throws INTERNAL where memory cannot be shared.
 */
export function createWasmThreadsExecutor(threads: number, leastBytes = leastThreadedBytes): CompiledExecutor {
  return createThreadedExecutor({
    threads,
    leastBytes,
    spawn(start) {
      const worker = new Worker(new URL('./wasm-thread.ts', import.meta.url), { workerData: start });
      // A thread that waits for work is no reason for the process to go on.
      worker.unref();
      return () => void worker.terminate();
    },
  });
}
