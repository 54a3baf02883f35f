/** WebAssembly kernels on several threads of Node: one worker for each thread of each larger program. */
import { Worker } from 'node:worker_threads';
import { type CompiledExecutor, createThreadedExecutor } from '@muster/engine';

/** Programs below this stay on one thread: starting a worker costs more than they would gain. */
const leastBytes = 1 << 20;

/** An executor on `threads` (2 to 64) threads of WebAssembly. Throws INTERNAL where memory cannot be shared. */
export function createWasmThreadsExecutor(threads: number): CompiledExecutor {
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
