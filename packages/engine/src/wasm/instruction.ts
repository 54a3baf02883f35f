/**
 * Instructions: planned kernel calls, and the writer of the tables they read.
 */
import type { Kernels } from './instance.ts';
import type { Buffer, View } from './view.ts';
import { elementBytes } from './view.ts';

/** Calls one kernel; a result other than 0 or undefined says that an output held a NaN. */
export type Call = () => number;

/** Given once all buffers have addresses: places tables in memory and returns their addresses. */
export interface Emission {
  readonly kernels: Kernels;
  /** Stores 32-bit words and returns their byte address. */
  readonly table: (words: ArrayLike<number>) => number;
}

/** One kernel call of a plan. `operation` is the index in the program that is named if it faults. */
export interface Instruction {
  readonly operation: number;
  readonly reads: readonly Buffer[];
  readonly writes: readonly Buffer[];
  readonly emit: (emission: Emission) => Call;
}

/** Byte address of a view's first element. */
export function addressOf(view: View): number {
  return view.buffer.address + view.offset * elementBytes(view.dtype);
}
