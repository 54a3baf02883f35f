/**
 * Where a prepared program spends its time: every instruction of the plan, timed one by one and summed by kernel, primitive and shape.
 *
 * An instruction of under a microsecond is timed too long, by the clock itself.
 */
import {
  createMachine,
  type KernelBackend,
  type Operation,
  type Program,
  type Tensor,
  valueTypes,
} from '../../packages/engine/src/index.ts';

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

/**
 * Times every instruction of `program` on `inputs` and `backend`, each the fastest of `repeats` runs: what a busy machine adds is none
 * of the program's.
 */
export function profileProgram(backend: KernelBackend, program: Program, inputs: readonly Tensor[], repeats: number): ProgramProfile {
  const machine = createMachine(backend, program, true);
  const instructions = machine.describe();
  const write = (): void => inputs.forEach((input, index) => machine.writeInput(index, input.data));
  const times = instructions.map((): number[] => []);
  const whole: number[] = [];
  for (let run = 0; run < repeats + 2; run++) {
    // Memory of inputs may be used again once they have been read.
    write();
    const started = performance.now();
    machine.run();
    whole.push(performance.now() - started);
    write();
    instructions.forEach((_, index) => {
      const start = performance.now();
      machine.runInstruction(index);
      const took = performance.now() - start;
      if (run >= 2) times[index]?.push(took);
    });
  }
  const entries = new Map<string, ProfileEntry>();
  let total = 0;
  instructions.forEach(({ operation: first, kernels }, index) => {
    const operation = program.operations[first];
    const milliseconds = Math.min(...(times[index] ?? []));
    total += milliseconds;
    const kernel = kernels[0] ?? '';
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
    calls: instructions.length,
    bytes: machine.bytes,
  };
}

function inferredShape(operation: Operation): string {
  return (operation.outputs[0]?.shape ?? []).join('×');
}
