/** `reduce` over strided views: one table of offsets for the results, one for the reduced elements. */
import type { DType, ParamsOf } from '../program.ts';
import { addressOf, type Instruction } from './instruction.ts';
import { at, offsetTable, type View } from './view.ts';

const operations = { add: 0, mul: 1, min: 2, max: 3 } as const;
const kinds: Readonly<Record<Exclude<DType, 'float32'>, number>> = { int32: 0, uint32: 1, bool: 2 };

function ascends(table: Int32Array): boolean {
  for (let i = 1; i < table.length; i++) if ((table[i] as number) <= (table[i - 1] as number)) return false;
  return true;
}

/** The kernel call for a reduction of `x` into the dense `out`. */
export function reduceInstruction(x: View, out: View, { op, axis }: ParamsOf<'reduce'>, operation: number): Instruction {
  const kept = x.shape.map((_, index) => index).filter((index) => !axis.includes(index));
  const tableOf = (axes: readonly number[]): Int32Array =>
    offsetTable(
      axes.map((index) => at(x.shape, index)),
      axes.map((index) => at(x.strides, index)),
    );
  return {
    operation,
    reads: [x.buffer],
    writes: [out.buffer],
    emit: ({ table }) => {
      const outputs = tableOf(kept);
      const reduced = tableOf(axis);
      const flags = (ascends(reduced) ? 1 : 0) + (ascends(outputs) ? 2 : 0);
      const float = out.dtype === 'float32';
      const code = out.dtype === 'float32' ? operations[op] : 4 * kinds[out.dtype] + operations[op];
      const addresses = [...addressOf(x), ...addressOf(out), ...table(outputs), ...table(reduced)];
      return [{ kernel: float ? 'reduce_f32' : 'reduce_integer', words: [outputs.length, reduced.length, ...addresses, flags, code] }];
    },
  };
}
