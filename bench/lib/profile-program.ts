/**
 * Where a prepared program spends its time: every kernel call of the WASM plan, timed one by one and summed by kernel, primitive and shape.
 *
 * It plans and runs the program from the executor's own parts, since the executor has no clock. A call of under a microsecond is
 * timed too long, by the clock itself.
 */
import { type Operation, type Program, type Tensor, valueTypes } from '../../packages/engine/src/index.ts';
import { heapBase, instantiateKernels, type Kernels, pageBytes } from '../../packages/engine/src/wasm/instance.ts';
import { addressOf } from '../../packages/engine/src/wasm/instruction.ts';
import { placeBuffers } from '../../packages/engine/src/wasm/layout.ts';
import { lowerProgram } from '../../packages/engine/src/wasm/lower.ts';
import { TableWriter } from '../../packages/engine/src/wasm/tables.ts';

/** Calls that do the same: how many there are in one run, and their milliseconds in it. */
export interface ProfileEntry {
  /** Kernel, then the primitive and shape of the first operation it computes. */
  readonly what: string;
  readonly kernel: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Floating-point operations of the sums of products among them; 0 for others. */
  readonly flops: number;
}

export interface ProgramProfile {
  readonly entries: readonly ProfileEntry[];
  /** Sum over all calls, and a run without looking at the clock between them. */
  readonly milliseconds: number;
  readonly undisturbedMs: number;
  readonly operations: number;
  readonly calls: number;
  /** Bytes of tensors and tables. */
  readonly bytes: number;
}

function flopsOf(operation: Operation, program: Program): number {
  if (operation.primitive !== 'dot' && operation.primitive !== 'conv') return 0;
  const types = valueTypes(program);
  const elements = (operation.outputs[0]?.shape ?? []).reduce((total, extent) => total * extent, 1);
  const [x, w] = operation.inputs.map((input) => types[input]?.shape ?? []);
  if (operation.primitive === 'dot') return 2 * elements * (x?.at(-1) ?? 0);
  return 2 * elements * (w ?? []).slice(operation.params.vmapDims + 1).reduce((total, extent) => total * extent, 1);
}

/** Times every kernel call of `program` on `inputs`, each the fastest of `repeats` runs: what a busy machine adds is none of the program's. */
export function profileProgram(program: Program, inputs: readonly Tensor[], repeats: number): ProgramProfile {
  const plan = lowerProgram(program, true);
  const end = placeBuffers(plan, heapBase(), 0);
  const { kernels, memory } = instantiateKernels(end);
  const tables = new TableWriter(end);
  let called = '';
  const watched = Object.fromEntries(
    Object.entries(kernels).map(([name, kernel]) => [
      name,
      (...words: number[]): number => {
        called = name;
        return (kernel as Kernels['product'])(...words);
      },
    ]),
  ) as unknown as Kernels;
  const calls = plan.instructions.map((instruction) =>
    instruction.emit({ kernels: watched, table: (words: ArrayLike<number>): number => tables.add(words) }),
  );
  if (tables.end > memory.buffer.byteLength) memory.grow(Math.ceil((tables.end - memory.buffer.byteLength) / pageBytes));
  tables.writeTo(memory.buffer);
  const write = (index: number, tensor: Tensor): void => {
    const view = [...plan.inputs, ...plan.constants][index];
    const { data } = tensor;
    if (view !== undefined)
      new Uint8Array(memory.buffer, addressOf(view)).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  };
  program.constants.forEach((constant, index) => write(program.inputs.length + index, constant));
  const times = calls.map((): number[] => []);
  const names: string[] = [];
  const whole: number[] = [];
  for (let run = 0; run < repeats + 2; run++) {
    // Memory of inputs may be used again once they have been read.
    inputs.forEach((input, index) => write(index, input));
    const started = performance.now();
    for (const call of calls) call();
    whole.push(performance.now() - started);
    inputs.forEach((input, index) => write(index, input));
    calls.forEach((call, index) => {
      const start = performance.now();
      call();
      const took = performance.now() - start;
      if (run >= 2) times[index]?.push(took);
      names[index] = called;
    });
  }
  const entries = new Map<string, ProfileEntry>();
  let total = 0;
  plan.instructions.forEach(({ operation: first }, index) => {
    const operation = program.operations[first];
    const milliseconds = Math.min(...(times[index] ?? []));
    total += milliseconds;
    const kernel = names[index] ?? '';
    const shape = operation === undefined ? '' : `[${inferredShape(operation)}]`;
    const what = `${kernel}: ${operation?.primitive ?? 'output'} ${shape}`;
    const known = entries.get(what) ?? { what, kernel, calls: 0, milliseconds: 0, flops: 0 };
    const isProduct = kernel.startsWith('product');
    entries.set(what, {
      ...known,
      calls: known.calls + 1,
      milliseconds: known.milliseconds + milliseconds,
      flops: known.flops + (operation !== undefined && isProduct ? flopsOf(operation, program) : 0),
    });
  });
  return {
    entries: [...entries.values()].toSorted((a, b) => b.milliseconds - a.milliseconds),
    milliseconds: total,
    undisturbedMs: Math.min(...whole),
    operations: program.operations.length,
    calls: calls.length,
    bytes: tables.end,
  };
}

function inferredShape(operation: Operation): string {
  return (operation.outputs[0]?.shape ?? []).join('×');
}
