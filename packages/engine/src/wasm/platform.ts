/**
 * The members of `WebAssembly` that are used, read from `globalThis`: it is not in the language's own library.
 */
import { MusterError } from '@muster/protocol';

export const pageBytes = 65_536;
/** Pages of 32-bit addresses, less one so that no address past the end is ever formed. */
export const maxPages = 65_535;

/** A linear memory; shared between threads if it was made so. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
export interface WasmGlobal {
  value: number;
}
export interface WasmNamespace {
  readonly Memory: new (descriptor: { initial: number; maximum?: number; shared?: boolean }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Record<string, Record<string, WasmMemory>>) => { readonly exports: unknown };
  compile(bytes: Uint8Array): Promise<object>;
  validate(bytes: Uint8Array): boolean;
}

/** The platform's WebAssembly. Throws INTERNAL where there is none. */
export function webAssembly(): WasmNamespace {
  const found = (globalThis as { readonly WebAssembly?: WasmNamespace }).WebAssembly;
  if (found === undefined) throw new MusterError('INTERNAL', 'this runtime has no WebAssembly: use the reference executor');
  return found;
}

/** The next multiple of 64. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

/** The shortest module whose one function adds two vectors: valid only where vectors of 128 bits are known. */
const vectorModule = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

/** Whether the platform has WebAssembly with vectors of 128 bits, which the kernels need. */
export function hasWasmVectors(): boolean {
  return (globalThis as { readonly WebAssembly?: WasmNamespace }).WebAssembly?.validate(vectorModule) === true;
}
