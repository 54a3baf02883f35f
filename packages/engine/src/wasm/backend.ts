/**
 * The kernels in WebAssembly on one thread: runs wherever 128-bit SIMD does, Node and browsers alike. With threads: `threads.ts`.
 */
import type { KernelBackend, KernelMemory } from '../compiler/backend.ts';
import { type CompiledExecutor, createExecutor } from '../compiler/executor.ts';
import { decodeBase64 } from './base64.ts';
import { kernelBase64, scratchBytes } from './generated/kernels.ts';
import { aligned, maxPages, pageBytes, type WasmMemory, webAssembly } from './platform.ts';

interface Exports {
  heap_base(): number;
  run(tape: number, count: number, scratch: number): number;
}

/** Pages that the kernels' own data may take: asked for before it is known how many it does. */
const leastPages = 4;

let compiled: object | undefined;

function instantiate(bytes: number): { readonly memory: WasmMemory; readonly exports: Exports } {
  const wasm = webAssembly();
  compiled ??= new wasm.Module(decodeBase64(kernelBase64));
  const memory = new wasm.Memory({ initial: Math.max(Math.ceil(bytes / pageBytes), leastPages) });
  const { exports } = new wasm.Instance(compiled, { env: { memory } });
  return { memory, exports: exports as Exports };
}

let startCache: number | undefined;

const wasmBackend: KernelBackend = {
  name: 'wasm',
  get start() {
    startCache ??= aligned(instantiate(0).exports.heap_base());
    return startCache;
  },
  maxBytes: maxPages * pageBytes - scratchBytes - 64,
  memoryLimitBytes: null,
  allocate(bytes): KernelMemory {
    const scratch = aligned(bytes);
    const { memory, exports } = instantiate(scratch + scratchBytes);
    return {
      buffer: memory.buffer,
      run: (tape, count) => exports.run(tape, count, scratch),
      threads: () => 1,
      dispose() {},
    };
  },
};

/**
 * Exact arithmetic at speed, wherever WebAssembly with 128-bit SIMD runs. `prepare` compiles the kernels synchronously the first
 * time, which browser main threads refuse: use `createWasmExecutor` there. Errors as in `Executor`.
 */
export const wasmExecutor: CompiledExecutor = createExecutor(wasmBackend);

/** `wasmExecutor` after compiling the kernels without blocking. */
export async function createWasmExecutor(): Promise<CompiledExecutor> {
  compiled ??= await webAssembly().compile(decodeBase64(kernelBase64));
  return wasmExecutor;
}
