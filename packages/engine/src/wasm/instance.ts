/**
 * The compiled kernels and their instances. One instance and one memory per prepared program.
 *
 * `WebAssembly` is not in the language's own library, so the few members used are declared here and read from `globalThis`.
 */
import { MusterError } from '@muster/protocol';
import { kernelBase64 } from './generated/kernels.ts';

/** A linear memory; `buffer` is a new object after `grow` (in pages). */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
interface WasmNamespace {
  readonly Memory: new (descriptor: { initial: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Record<string, Record<string, WasmMemory>>) => { readonly exports: unknown };
  compile(bytes: Uint8Array): Promise<object>;
}

type Kernel = (...words: number[]) => number;

/** Exported functions, as named in `kernels/`. Those without a result return undefined, read as 0. */
export interface Kernels {
  readonly heap_base: Kernel;
  readonly elementwise: Kernel;
  readonly product: Kernel;
  readonly product_direct: Kernel;
  readonly reduce_f32: Kernel;
  readonly reduce_integer: Kernel;
  readonly copy4: Kernel;
  readonly copy1: Kernel;
  readonly fill_zero: Kernel;
  readonly has_nan: Kernel;
  readonly all_finite: Kernel;
  readonly index_offsets: Kernel;
  readonly gather4: Kernel;
  readonly gather1: Kernel;
  readonly scatter_add_f32: Kernel;
  readonly scatter_add_i32: Kernel;
  readonly scatter_add_bool: Kernel;
  readonly scatter_set4: Kernel;
  readonly scatter_set1: Kernel;
  readonly sort_rows: Kernel;
  readonly threefry: Kernel;
}

/** Kernels over one memory. */
export interface KernelInstance {
  readonly kernels: Kernels;
  readonly memory: WasmMemory;
}

export const pageBytes = 65_536;
/** Largest memory of one program, in bytes: WebAssembly's 32-bit addresses less one page. */
export const maxMemoryBytes = 65_535 * pageBytes;

function webAssembly(): WasmNamespace {
  const found = (globalThis as { readonly WebAssembly?: WasmNamespace }).WebAssembly;
  if (found === undefined) throw new MusterError('INTERNAL', 'this runtime has no WebAssembly: use the reference executor');
  return found;
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Bytes of standard base64 with padding. */
export function decodeBase64(text: string): Uint8Array {
  const values = new Map(Array.from(alphabet, (character, index) => [character, index]));
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let word = 0;
  let bits = 0;
  let position = 0;
  for (const character of text) {
    word = ((word << 6) | (values.get(character) ?? 0)) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      if (position < bytes.length) bytes[position++] = word >> bits;
    }
  }
  return bytes;
}

let compiled: object | undefined;

/** Compiles the kernels without blocking, for browser main threads, which refuse to compile synchronously. */
export async function compileKernels(): Promise<void> {
  compiled ??= await webAssembly().compile(decodeBase64(kernelBase64));
}

let heapBaseCache: number | undefined;

/** First byte after the kernels' own data. */
export function heapBase(): number {
  heapBaseCache ??= instantiate(0).kernels.heap_base();
  return heapBaseCache;
}

function instantiate(bytes: number): KernelInstance {
  const wasm = webAssembly();
  compiled ??= new wasm.Module(decodeBase64(kernelBase64));
  // The kernels' own data needs less than 32 pages; a program's memory is always larger than its heap base.
  const memory = new wasm.Memory({ initial: Math.max(Math.ceil(bytes / pageBytes), 32) });
  const instance = new wasm.Instance(compiled, { env: { memory } });
  const exported = instance.exports as Kernels;
  return { kernels: exported, memory };
}

/** Kernels over a fresh zeroed memory of at least `bytes`. Throws INTERNAL if the machine cannot give that much. */
export function instantiateKernels(bytes: number): KernelInstance {
  try {
    return instantiate(bytes);
  } catch (error) {
    throw new MusterError('INTERNAL', `no memory of ${bytes} bytes for a program`, { bytes }, { cause: error });
  }
}
