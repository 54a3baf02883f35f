/**
 * What a planned program runs on: a memory and an interpreter of tapes over it. WebAssembly is in `wasm/`, native kernels come from
 * an adapter. All of them run the same kernels (`kernels/`), so all give the same bits.
 */

/** A program's memory. Zeroed when made. */
export interface KernelMemory {
  /** All bytes, from address 0. */
  readonly buffer: ArrayBufferLike;
  /**
   * Runs `count` entries of the tape at byte address `tape` (`kernels/kernels.c`). The index of the entry whose result held a NaN,
   * or −1.
   */
  run(tape: number, count: number): number;
  /** Threads that would take part in a run now, the calling one counted. */
  threads(): number;
  dispose(): void;
}

/** A source of memories. */
export interface KernelBackend {
  /** `wasm`, `wasm-threads`, `native-avx512` and so on. */
  readonly name: string;
  /** First byte address that a program may use; a multiple of 64. */
  readonly start: number;
  /** Largest number of bytes of a program's memory. */
  readonly maxBytes: number;
  /** Memory that programs should stay below by computing values again instead of keeping them; null for no such wish. */
  readonly memoryLimitBytes: number | null;
  /** A memory of at least `bytes`. Throws whatever the platform throws when it has none. */
  allocate(bytes: number): KernelMemory;
}
