/** Places the buffers of a plan in one memory: buffers whose lives do not overlap share bytes. */
import { MusterError } from '@muster/protocol';
import type { Plan } from './lower.ts';
import type { Buffer } from './view.ts';

/** Buffers start at multiples of this and own all bytes up to the next one: kernels may write vector tails there. */
const alignment = 64;

function aligned(bytes: number): number {
  return Math.ceil(Math.max(bytes, 1) / alignment) * alignment;
}

function touch(buffer: Buffer, index: number): void {
  buffer.firstUse = Math.min(buffer.firstUse, index);
  buffer.lastUse = Math.max(buffer.lastUse, index);
}

/** Sets the first and last instruction that needs each buffer. In a loop inputs live throughout, and the first `state` outputs, which change places with them. */
function findLives(plan: Plan, state: number | null): void {
  const end = plan.instructions.length;
  plan.instructions.forEach(({ reads, writes }, index) => {
    for (const buffer of reads) touch(buffer, index);
    for (const buffer of writes) touch(buffer, index);
  });
  for (const { buffer } of plan.inputs) {
    touch(buffer, -1);
    if (state !== null) touch(buffer, end);
  }
  for (const { buffer } of plan.constants) {
    touch(buffer, -1);
    touch(buffer, end);
  }
  plan.outputs.forEach(({ buffer }, index) => {
    touch(buffer, end);
    if (index < (state ?? 0)) touch(buffer, -1);
  });
}

/** Free byte ranges, sorted by start. */
class Space {
  readonly #free: { start: number; end: number }[] = [];
  end: number;

  constructor(start: number) {
    this.end = start;
  }

  /** The smallest free range that fits, else new space at the end. */
  take(bytes: number): number {
    let best = -1;
    this.#free.forEach((range, index) => {
      const size = range.end - range.start;
      const chosen = this.#free[best];
      if (size >= bytes && (chosen === undefined || size < chosen.end - chosen.start)) best = index;
    });
    const range = this.#free[best];
    if (range === undefined) {
      const start = this.end;
      this.end += bytes;
      return start;
    }
    const { start } = range;
    range.start += bytes;
    if (range.start === range.end) this.#free.splice(best, 1);
    return start;
  }

  release(start: number, bytes: number): void {
    const next = this.#free.findIndex((range) => range.start > start);
    const index = next === -1 ? this.#free.length : next;
    this.#free.splice(index, 0, { start, end: start + bytes });
    for (const left of [index, index - 1]) {
      const [a, b] = [this.#free[left], this.#free[left + 1]];
      if (a !== undefined && b !== undefined && a.end === b.start) {
        a.end = b.end;
        this.#free.splice(left + 1, 1);
      }
    }
  }
}

/**
 * Gives every used buffer of `plan` its address from `start` on; returns the first free byte after them.
 * In a loop, `state` is the number of state tensors; null plans a single run.
 * Throws PROGRAM_INVALID when they need more than `maxBytes`.
 */
export function placeBuffers(plan: Plan, start: number, state: number | null, maxBytes: number): number {
  findLives(plan, state);
  const used = plan.buffers.filter((buffer) => buffer.lastUse >= -1 && buffer.firstUse !== Infinity);
  const byStart = used.toSorted((a, b) => a.firstUse - b.firstUse);
  const byEnd = used.toSorted((a, b) => a.lastUse - b.lastUse);
  const space = new Space(aligned(start));
  const givers = new Map(plan.instructions.flatMap(({ reuses }) => (reuses ?? []).map(({ from, to }) => [to, from] as const)));
  /** Buffers whose bytes have passed to another one. */
  const passed = new Set<Buffer>();
  let ended = 0;
  for (const buffer of byStart) {
    for (; ended < byEnd.length; ended++) {
      const old = byEnd[ended] as Buffer;
      if (old.lastUse >= buffer.firstUse) break;
      if (!passed.has(old)) space.release(old.address, aligned(old.bytes));
    }
    const giver = givers.get(buffer);
    if (giver !== undefined && giver.lastUse === buffer.firstUse && giver.firstUse < buffer.firstUse) {
      buffer.address = giver.address;
      passed.add(giver);
    } else {
      buffer.address = space.take(aligned(buffer.bytes));
    }
  }
  if (space.end + alignment > maxBytes) {
    throw new MusterError('PROGRAM_INVALID', `the program needs ${space.end} bytes of memory, more than ${maxBytes}`, {
      bytes: space.end,
    });
  }
  return space.end + alignment;
}
