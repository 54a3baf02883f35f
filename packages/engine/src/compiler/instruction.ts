/**
 * Instructions: planned kernel calls, and the words by which tapes and descriptors hold them.
 */
import type { kernelNumbers } from '../wasm/generated/kernels.ts';
import type { Buffer, View } from './view.ts';
import { elementBytes } from './view.ts';

export type KernelName = keyof typeof kernelNumbers;

/** One entry of a tape: a kernel and the words of its descriptor; `jump` has the number of entries to skip instead. */
export interface TapeEntry {
  readonly kernel: KernelName;
  readonly words: readonly number[];
}

/** Given once all buffers have addresses: stores tables in memory. */
export interface Emission {
  /** Stores 32-bit words and returns the two words of their address. */
  readonly table: (words: ArrayLike<number>) => readonly [number, number];
}

/** A part of a plan: kernel calls that belong together. `operation` is the index in the program that is named if it faults. */
export interface Instruction {
  readonly operation: number;
  readonly reads: readonly Buffer[];
  readonly writes: readonly Buffer[];
  /** Buffers that may lie where another one lies that nobody reads after this instruction. */
  readonly reuses?: readonly { readonly from: Buffer; readonly to: Buffer }[];
  readonly emit: (emission: Emission) => TapeEntry[];
}

/** The low and the high word of a byte address. */
export function addressWords(address: number): readonly [number, number] {
  return [address >>> 0, Math.floor(address / 0x1_0000_0000)];
}

/** Byte address of a view's first element. */
export function byteAddress(view: View): number {
  return view.buffer.address + view.offset * elementBytes(view.dtype);
}

/** The two words of the address of a view's first element. */
export function addressOf(view: View): readonly [number, number] {
  return addressWords(byteAddress(view));
}
