/**
 * The memory that a program takes on a compiled executor, exactly: it is planned as for execution, and nothing but its tables is made.
 *
 * Costs what planning costs, and tables follow extents, so it is for programs that passed `checkCost`.
 */
import { createMachine } from '../compiler/machine.ts';
import { placeBuffers } from '../compiler/layout.ts';
import { lowerProgram } from '../compiler/lower.ts';
import type { KernelBackend } from '../compiler/backend.ts';
import type { Program } from '../program.ts';

export interface PlannedMemory {
  /** Tensors, packed into the bytes that they share. */
  readonly bufferBytes: number;
  /** Offset tables, descriptors, tapes, and room for hashes. */
  readonly tableBytes: number;
}

/** Where a program's memory begins; backends differ by a few kilobytes, which are their overhead. */
const start = 64;

/**
 * Memory of `program` (checked, after the passes). `state` as for the executor: null for single runs, else the number of state tensors of
 * a loop. An executor adds its own: scratch for each thread, whole pages. Throws what planning throws.
 */
export function plannedMemory(program: Program, state: number | null): PlannedMemory {
  const buffers = placeBuffers(lowerProgram(program, true), start, state, Infinity) - start;
  let asked: number | null = null;
  const counting: KernelBackend = {
    name: 'counting',
    start,
    maxBytes: Infinity,
    memoryLimitBytes: null,
    allocate(bytes) {
      asked = bytes;
      throw new RangeError('only counted');
    },
  };
  try {
    createMachine(counting, program, true, state);
  } catch (error) {
    if (asked === null) throw error;
  }
  return { bufferBytes: buffers, tableBytes: (asked ?? buffers + start) - start - buffers };
}
