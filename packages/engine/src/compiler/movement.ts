/** Kernel calls of the primitives that move bits: copies, padding, concatenation, gather, scatter, pooling's transpose, sorting, random bits. */
import type { ParamsOf } from '../program.ts';
import { addressOf, addressWords, type Instruction, type TapeEntry } from './instruction.ts';
import { at, type Buffer, coalesce, elementBytes, offsetTable, poolView, shrinkView, sizeOf, type View } from './view.ts';

/** Copies `from` onto `to`, views of the same shape. */
export function copyInstruction(to: View, from: View, operation: number): Instruction {
  return {
    operation,
    reads: [from.buffer],
    writes: [to.buffer],
    emit: () => {
      const { shape, strides } = coalesce({ shape: from.shape, strides: [to.strides, from.strides] });
      const words = [shape.length, ...addressOf(to), ...addressOf(from), ...shape, ...strides.flat()];
      return [{ kernel: elementBytes(to.dtype) === 4 ? 'copy4' : 'copy1', words }];
    },
  };
}

/** Zeroes the dense `out`. */
export function fillInstruction(out: View, operation: number): Instruction {
  return {
    operation,
    reads: [],
    writes: [out.buffer],
    emit: () => [{ kernel: 'fill_zero', words: [...addressOf(out), ...addressWords(sizeOf(out.shape) * elementBytes(out.dtype))] }],
  };
}

/** The part of `out` that begins at `start` with extents `shape`. */
function boxOf(out: View, start: readonly number[], shape: readonly number[]): View {
  return shrinkView(
    out,
    shape.map((extent, axis) => [at(start, axis), at(start, axis) + extent]),
  );
}

/** Zeros around `x`; `steps` > 1 also leaves zeros between its elements. */
export function padInstructions(x: View, out: View, start: readonly number[], steps: readonly number[], operation: number): Instruction[] {
  const target: View = {
    ...out,
    shape: x.shape,
    strides: out.strides.map((stride, axis) => stride * at(steps, axis)),
    offset: out.offset + start.reduce((sum, coordinate, axis) => sum + coordinate * at(out.strides, axis), 0),
  };
  return [fillInstruction(out, operation), copyInstruction(target, x, operation)];
}

export function concatenateInstructions(inputs: readonly View[], out: View, axis: number, operation: number): Instruction[] {
  let start = 0;
  return inputs.map((x) => {
    const box = boxOf(
      out,
      out.shape.map((_, index) => (index === axis ? start : 0)),
      x.shape,
    );
    start += at(x.shape, axis);
    return copyInstruction(box, x, operation);
  });
}

/** Offsets of the axes of `whole` that are not indexed, before and after the index axes of the gathered view. */
function freeTables(whole: View, axis: readonly number[], outDim: number): readonly [Int32Array, Int32Array] {
  const free = whole.shape.map((_, index) => index).filter((index) => !axis.includes(index));
  const tableOf = (axes: readonly number[]): Int32Array =>
    offsetTable(
      axes.map((index) => at(whole.shape, index)),
      axes.map((index) => at(whole.strides, index)),
    );
  return [tableOf(free.slice(0, outDim)), tableOf(free.slice(outDim))];
}

/** Writes into `offsets` where each of the dense, equally shaped `indices` points in `whole`. */
function offsetsInstruction(
  whole: View,
  indices: readonly View[],
  axis: readonly number[],
  offsets: Buffer,
  operation: number,
): Instruction {
  const positions = sizeOf((indices[0] as View).shape);
  return {
    operation,
    reads: indices.map((index) => index.buffer),
    writes: [offsets],
    emit: () => {
      const axes = indices.flatMap((index, n) => [...addressOf(index), at(whole.shape, at(axis, n)), at(whole.strides, at(axis, n))]);
      return [{ kernel: 'index_offsets', words: [positions, indices.length, ...addressWords(offsets.address), ...axes] }];
    },
  };
}

/** `out` from `x` at the dense `indices`, all of one shape. `offsets` is scratch of 4 bytes for each position. */
export function gatherInstructions(
  x: View,
  indices: readonly View[],
  out: View,
  params: ParamsOf<'gather'>,
  offsets: Buffer,
  operation: number,
): Instruction[] {
  if (params.axis.some((axis) => x.shape[axis] === 0)) return [fillInstruction(out, operation)];
  const [before, after] = freeTables(x, params.axis, params.outDim);
  const positions = sizeOf((indices[0] as View).shape);
  const gather: Instruction = {
    operation,
    reads: [x.buffer, offsets],
    writes: [out.buffer],
    emit: ({ table }) => {
      const addresses = [...addressOf(out), ...addressOf(x), ...addressWords(offsets.address), ...table(before), ...table(after)];
      const words = [before.length, positions, after.length, ...addresses];
      return [{ kernel: elementBytes(out.dtype) === 4 ? 'gather4' : 'gather1', words }];
    },
  };
  return [offsetsInstruction(x, indices, params.axis, offsets, operation), gather];
}

const adders = { float32: 'scatter_add_f32', int32: 'scatter_add_i32', uint32: 'scatter_add_i32', bool: 'scatter_add_bool' } as const;

/** How threads may share a sum so that each destination has one owner. */
interface Sharing {
  /** Number of equal runs of `before` that write to different places. */
  readonly groups: number;
  /** Whether different places of `after` never meet, whatever `before` and the position are. */
  readonly columns: boolean;
}

/** Adds a tensor into `out` by three levels of offsets; `check` looks for NaN afterwards. */
function accumulate(
  out: View,
  from: View,
  counts: readonly [number, number, number],
  tables: { readonly before: Int32Array; readonly after: Int32Array; readonly offsets: Buffer | null },
  sharing: Sharing,
  mode: 'add' | 'set',
  operation: number,
): Instruction {
  return {
    operation,
    reads: tables.offsets === null ? [from.buffer, out.buffer] : [from.buffer, out.buffer, tables.offsets],
    writes: [out.buffer],
    emit: ({ table }) => {
      const offsets = tables.offsets === null ? table([0]) : addressWords(tables.offsets.address);
      const words = [...counts, ...addressOf(from), ...addressOf(out), ...offsets, ...table(tables.before), ...table(tables.after)];
      words.push(sharing.groups, sharing.columns ? 1 : 0);
      if (mode === 'set') return [{ kernel: elementBytes(out.dtype) === 4 ? 'scatter_set4' : 'scatter_set1', words }];
      const add: TapeEntry = { kernel: adders[out.dtype], words };
      return out.dtype === 'float32' ? [add, { kernel: 'check_nan', words: [...addressOf(out), sizeOf(out.shape)] }] : [add];
    },
  };
}

/** `out` from the dense `updates` at the dense `indices`. `offsets` is scratch of 4 bytes for each position. */
export function scatterInstructions(
  updates: View,
  indices: readonly View[],
  out: View,
  params: ParamsOf<'scatter'>,
  offsets: Buffer,
  operation: number,
): Instruction[] {
  const fill = fillInstruction(out, operation);
  if (params.axis.some((axis) => out.shape[axis] === 0)) return [fill];
  const [before, after] = freeTables(out, params.axis, params.outDim);
  const positions = sizeOf((indices[0] as View).shape);
  return [
    fill,
    offsetsInstruction(out, indices, params.axis, offsets, operation),
    accumulate(
      out,
      updates,
      [before.length, positions, after.length],
      { before, after, offsets },
      { groups: before.length, columns: true },
      params.mode,
      operation,
    ),
  ];
}

/** Sums the dense windows of `x` back into `out`, in ascending order of `x`. */
export function poolTransposeInstructions(
  x: View,
  out: View,
  { window, strides }: ParamsOf<'pool_transpose'>,
  operation: number,
): Instruction[] {
  const windows = poolView(out, x.shape, window.length, strides);
  const split = x.shape.length - window.length;
  const before = offsetTable(windows.shape.slice(0, split), windows.strides.slice(0, split));
  const after = offsetTable(windows.shape.slice(split), windows.strides.slice(split));
  const apart = strides.every((step, axis) => step >= at(window, axis));
  const lead = sizeOf(out.shape.slice(0, out.shape.length - window.length));
  const sharing: Sharing = { groups: apart ? before.length : lead, columns: apart };
  return [
    fillInstruction(out, operation),
    accumulate(out, x, [before.length, 1, after.length], { before, after, offsets: null }, sharing, 'add', operation),
  ];
}

const sortKinds = { float32: 0, int32: 1, uint32: 2, bool: 3 } as const;

/** Sorts the dense `x` along its last axis into `out`; `positions` asks for places instead of values. `scratch`: 16 bytes for each element of a row. */
export function sortInstruction(x: View, out: View, positions: boolean, scratch: Buffer, operation: number): Instruction {
  const width = x.shape.at(-1) ?? 1;
  const rows = width === 0 ? 0 : sizeOf(x.shape) / width;
  return {
    operation,
    reads: [x.buffer],
    writes: [out.buffer, scratch],
    emit: () => {
      const sizes = [rows, width, sortKinds[x.dtype], positions ? 1 : 0];
      return [{ kernel: 'sort_rows', words: [...addressOf(out), ...addressOf(x), ...sizes, ...addressWords(scratch.address)] }];
    },
  };
}

/** Random words for the dense keys `k0` and `k1`. */
export function randomInstruction(k0: View, k1: View, out: View, mode: ParamsOf<'random_bits'>['mode'], operation: number): Instruction {
  const keys = sizeOf(k0.shape);
  const counts = keys === 0 ? 0 : sizeOf(out.shape) / keys;
  return {
    operation,
    reads: [k0.buffer, k1.buffer],
    writes: [out.buffer],
    emit: () => {
      const code = mode === 'xor' ? 2 : mode;
      return [{ kernel: 'threefry', words: [...addressOf(out), ...addressOf(k0), ...addressOf(k1), keys, counts, code] }];
    },
  };
}
