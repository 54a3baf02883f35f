/**
 * The compiled executors: plan a program once, then run it as a tape of kernel calls over one memory.
 *
 * Same bits and same faults as `reference/`. A run that meets a NaN is repeated without fusion, in program order, to name the
 * operation; that second plan is made only then.
 */
import { MusterError } from '@muster/protocol';
import { checkProgram } from '../check.ts';
import type { Executor, PreparedProgram, Program, Tensor, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { optimizeProgram } from '../optimize/index.ts';
import type { KernelBackend } from './backend.ts';
import { createMachine, type Machine } from './machine.ts';
import { sizeOf } from './view.ts';

/** True if `tensor` has the type, length and bool values of `type`; NaN is looked for later, in memory. */
function fits(tensor: Tensor | undefined, type: TensorType): boolean {
  if (tensor === undefined || tensor.dtype !== type.dtype || tensor.shape.length !== type.shape.length) return false;
  if (type.shape.some((extent, axis) => tensor.shape[axis] !== extent) || tensor.data.length !== sizeOf(type.shape)) return false;
  const { data } = tensor;
  switch (type.dtype) {
    case 'float32':
      return data instanceof Float32Array;
    case 'int32':
      return data instanceof Int32Array;
    case 'uint32':
      return data instanceof Uint32Array;
    case 'bool':
      if (!(data instanceof Uint8Array)) return false;
      for (let i = 0; i < data.length; i++) if ((data[i] as number) > 1) return false;
      return true;
    default:
      throw new MusterError('INTERNAL', `unexpected ${String(type.dtype satisfies never)}`);
  }
}

/**
 * Copies `inputs` into the program's inputs from the one numbered `first` on. Throws as `checkInputs`, whose message is made only
 * when something is wrong: it is slow on large tensors.
 */
export function writeInputs(machine: Machine, program: Program, inputs: readonly Tensor[], first = 0): void {
  const types = program.inputs.slice(first);
  const part: Program = { ...program, inputs: types };
  if (inputs.length !== types.length || !types.every((type, index) => fits(inputs[index], type))) checkInputs(part, inputs);
  inputs.forEach((input, index) => machine.writeInput(first + index, input.data));
  if (types.some((_, index) => machine.inputHasNaN(first + index))) checkInputs(part, inputs);
}

class PreparedMachine implements PreparedProgram {
  readonly program: Program;
  readonly #backend: KernelBackend;
  #machine: Machine | null;

  constructor(backend: KernelBackend, program: Program) {
    this.program = program;
    this.#backend = backend;
    this.#machine = createMachine(backend, forBackend(backend, program, 0), true);
  }

  run(inputs: readonly Tensor[]): Tensor[] {
    const machine = this.#machine;
    if (machine === null) throw new MusterError('INTERNAL', 'the prepared program has been disposed of');
    writeInputs(machine, this.program, inputs);
    if (!machine.run()) throw traceFault(this.#backend, this.program, inputs);
    return machine.readOutputs();
  }

  dispose(): void {
    this.#machine?.dispose();
    this.#machine = null;
  }
}

/** `program` as it is run: the same outputs for less work, and for less memory where the backend's limit asks for it. */
export function forBackend({ memoryLimitBytes }: KernelBackend, program: Program, state: number): Program {
  return optimizeProgram(program, { memoryLimitBytes, state }).program;
}

/** The fault of running `program` on `inputs`, found in program order. */
export function traceFault(backend: KernelBackend, program: Program, inputs: readonly Tensor[]): MusterError {
  const machine = createMachine(backend, program, false);
  inputs.forEach((input, index) => machine.writeInput(index, input.data));
  const operation = machine.runToFault();
  machine.dispose();
  const primitive = program.operations[operation]?.primitive;
  if (primitive === undefined) return new MusterError('INTERNAL', 'a fault could not be traced to its operation');
  return new MusterError('NUMERIC_FAULT', `operation ${operation} (${primitive}) gave a NaN`, { operation, primitive });
}

/** An executor that compiles programs to kernel calls over memories of its backend. */
export interface CompiledExecutor extends Executor {
  readonly backend: KernelBackend;
}

/** Exact arithmetic at speed on `backend`. Errors as in `Executor`. */
export function createExecutor(backend: KernelBackend): CompiledExecutor {
  return {
    name: backend.name,
    backend,
    prepare(program) {
      checkProgram(program);
      return new PreparedMachine(backend, program);
    },
  };
}

/**
 * `executor` with a wish: programs that would take more than `memoryLimitBytes` compute values again instead of keeping them (gradient
 * checkpointing). The bits stay the same; a program that cannot be made to fit takes what it needs.
 */
export function withMemoryLimit({ backend }: CompiledExecutor, memoryLimitBytes: number): CompiledExecutor {
  const { name, start, maxBytes } = backend;
  return createExecutor({ name, start, maxBytes, memoryLimitBytes, allocate: (bytes) => backend.allocate(bytes) });
}

export function isCompiled(executor: Executor): executor is CompiledExecutor {
  return 'backend' in executor;
}
