/**
 * The kernels in WebAssembly on several threads over one shared memory. Starting threads is the platform's affair (`spawn`); what a
 * thread then does is `serveThread`. The same bits as on one thread, and as with any number of them.
 *
 * Only programs that are worth it get threads: each has a memory, and so threads, of its own.
 */
import { MusterError } from '@muster/protocol';
import type { KernelBackend, KernelMemory } from '../compiler/backend.ts';
import { type CompiledExecutor, createExecutor } from '../compiler/executor.ts';
import { decodeBase64 } from './base64.ts';
import { scratchBytes } from './generated/kernels.ts';
import { threadedKernelBase64 } from './generated/threaded-kernels.ts';
import { aligned, maxPages, pageBytes, type WasmGlobal, type WasmMemory, webAssembly } from './platform.ts';

/** The linker's name of the global that holds a thread's stack pointer. */
const stackPointer = '__stack_pointer';

interface Exports {
  readonly [stackPointer]: WasmGlobal;
  heap_base(): number;
  run(tape: number, count: number, scratch: number, sync: number, threads: number): number;
  serve(sync: number, scratch: number): void;
}

/** Everything a thread needs to take part. Can be sent to a worker as it is. */
export interface ThreadStart {
  readonly module: object;
  readonly memory: object;
  readonly sync: number;
  readonly scratch: number;
  /** Top of the thread's own stack. */
  readonly stack: number;
}

export interface ThreadOptions {
  /** How many threads run a program, the calling one counted; from 2 to 64. */
  readonly threads: number;
  /** Starts a thread that calls `serveThread(start)`; returns how to end it. */
  readonly spawn: (start: ThreadStart) => () => void;
  /** Programs whose memory is smaller than this run on one thread. */
  readonly leastBytes: number;
}

const stackBytes = pageBytes;
/** Bytes of the structure by which threads meet (`kernels/threads.h`). */
const syncBytes = 64;
const stopWord = 4;
const jobWord = 3;
const readyWord = 5;

/** The life of a thread: returns when it is told to stop. Call it in a worker: it blocks. */
export function serveThread({ module, memory, sync, scratch, stack }: ThreadStart): void {
  const exports = new (webAssembly().Instance)(module, { env: { memory: memory as WasmMemory } }).exports as Exports;
  const { [stackPointer]: pointer } = exports;
  pointer.value = stack;
  exports.serve(sync, scratch);
}

/** Whether this platform has memory that threads can share: browsers give it to cross-origin isolated pages only. */
export function hasSharedMemory(): boolean {
  try {
    const memory = new (webAssembly().Memory)({ initial: 1, maximum: 1, shared: true });
    return 'SharedArrayBuffer' in globalThis && !(memory.buffer instanceof ArrayBuffer);
  } catch {
    return false;
  }
}

/** An executor whose larger programs run on several threads. Throws INTERNAL where memory cannot be shared. */
export function createThreadedExecutor({ threads, spawn, leastBytes }: ThreadOptions): CompiledExecutor {
  if (!hasSharedMemory()) throw new MusterError('INTERNAL', 'threads need shared memory, which this platform does not give');
  const wasm = webAssembly();
  const module = new wasm.Module(decodeBase64(threadedKernelBase64));
  const instantiate = (bytes: number): { readonly memory: WasmMemory; readonly exports: Exports } => {
    const pages = Math.max(Math.ceil(bytes / pageBytes), 4);
    const memory = new wasm.Memory({ initial: pages, maximum: 65_536, shared: true });
    return { memory, exports: new wasm.Instance(module, { env: { memory } }).exports as Exports };
  };
  const start = aligned(instantiate(0).exports.heap_base());
  const overhead = threads * (scratchBytes + stackBytes) + syncBytes + 64;
  const backend: KernelBackend = {
    name: `wasm-${threads}-threads`,
    start,
    maxBytes: maxPages * pageBytes - overhead,
    memoryLimitBytes: null,
    allocate(bytes): KernelMemory {
      const used = bytes < leastBytes ? 1 : threads;
      const sync = aligned(bytes);
      const scratch = sync + syncBytes;
      const stacks = scratch + used * scratchBytes;
      const { memory, exports } = instantiate(stacks + used * stackBytes);
      const stops = Array.from({ length: used - 1 }, (_, index) =>
        spawn({ module, memory, sync, scratch, stack: stacks + (index + 1) * stackBytes }),
      );
      return {
        buffer: memory.buffer,
        run: (tape, count) => exports.run(tape, count, scratch, sync, used),
        threads: () => Math.min(used, 1 + Atomics.load(new Int32Array(memory.buffer, sync, syncBytes / 4), readyWord)),
        dispose() {
          const words = new Int32Array(memory.buffer, sync, syncBytes / 4);
          Atomics.store(words, stopWord, 1);
          Atomics.add(words, jobWord, 256);
          Atomics.notify(words, jobWord);
          for (const stop of stops) stop();
        },
      };
    },
  };
  return createExecutor(backend);
}
