/**
 * The WebAssembly executor: plans a program once, then runs it as a list of kernel calls over one memory.
 *
 * Same bits and same faults as `reference/`. A run that meets a NaN is repeated without fusion, in program order, to name the
 * operation; that second plan is made only then.
 */
import { MusterError } from '@muster/protocol';
import { checkProgram } from '../check.ts';
import type { Executor, PreparedProgram, Program, Tensor, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { compileKernels } from './instance.ts';
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

class PreparedWasm implements PreparedProgram {
  readonly program: Program;
  #machine: Machine | null;

  constructor(program: Program) {
    this.program = program;
    this.#machine = createMachine(program, true);
  }

  run(inputs: readonly Tensor[]): Tensor[] {
    const machine = this.#machine;
    if (machine === null) throw new MusterError('INTERNAL', 'the prepared program has been disposed of');
    writeInputs(machine, this.program, inputs);
    if (!machine.run()) throw traceFault(this.program, inputs);
    return machine.readOutputs();
  }

  dispose(): void {
    this.#machine = null;
  }
}

/** The fault of running `program` on `inputs`, found in program order. */
export function traceFault(program: Program, inputs: readonly Tensor[]): MusterError {
  const machine = createMachine(program, false);
  inputs.forEach((input, index) => machine.writeInput(index, input.data));
  const operation = machine.runToFault();
  const primitive = program.operations[operation]?.primitive;
  if (primitive === undefined) return new MusterError('INTERNAL', 'a fault could not be traced to its operation');
  return new MusterError('NUMERIC_FAULT', `operation ${operation} (${primitive}) gave a NaN`, { operation, primitive });
}

/**
 * Exact arithmetic at speed, wherever WebAssembly with 128-bit SIMD runs. `prepare` compiles the kernels synchronously the first
 * time, which browser main threads refuse: use `createWasmExecutor` there. Errors as in `Executor`.
 */
export const wasmExecutor: Executor = {
  name: 'wasm',
  prepare(program) {
    checkProgram(program);
    return new PreparedWasm(program);
  },
};

/** `wasmExecutor` after compiling the kernels without blocking. */
export async function createWasmExecutor(): Promise<Executor> {
  await compileKernels();
  return wasmExecutor;
}
