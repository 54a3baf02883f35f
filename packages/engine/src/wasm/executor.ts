/**
 * The WebAssembly executor: plans a program once, then runs it as a list of kernel calls over one memory.
 *
 * Same bits and same faults as `reference/`. A run that meets a NaN is repeated without fusion, in program order, to name the
 * operation; that second plan is made only then.
 */
import { MusterError } from '@muster/protocol';
import { checkProgram } from '../check.ts';
import type { Executor, PreparedProgram, Program, Tensor, TensorData, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { compileKernels, heapBase, instantiateKernels, pageBytes, type KernelInstance } from './instance.ts';
import { addressOf, type Call } from './instruction.ts';
import { placeBuffers } from './layout.ts';
import { lowerProgram, type Plan } from './lower.ts';
import { elementBytes, sizeOf, type View } from './view.ts';

/** A plan with its memory, ready to be called. */
class Machine {
  readonly #instance: KernelInstance;
  readonly #plan: Plan;
  readonly #calls: readonly Call[];

  constructor(program: Program, fuse: boolean, keepInputs: boolean) {
    this.#plan = lowerProgram(program, fuse);
    const end = placeBuffers(this.#plan, heapBase(), keepInputs);
    this.#instance = instantiateKernels(end);
    const { memory, kernels } = this.#instance;
    const tables: { readonly address: number; readonly words: Int32Array }[] = [];
    let next = end;
    const table = (words: ArrayLike<number>): number => {
      const address = next;
      tables.push({ address, words: Int32Array.from(words) });
      next += 4 * words.length;
      return address;
    };
    this.#calls = this.#plan.instructions.map((instruction) => instruction.emit({ kernels, table }));
    const missing = next - memory.buffer.byteLength;
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / pageBytes));
      } catch (error) {
        throw new MusterError('INTERNAL', `no memory of ${next} bytes for a program`, { bytes: next }, { cause: error });
      }
    }
    for (const { address, words } of tables) new Int32Array(memory.buffer, address, words.length).set(words);
    program.constants.forEach((constant, index) => this.#write(this.#plan.constants[index] as View, constant.data));
  }

  #bytes(view: View): Uint8Array {
    return new Uint8Array(this.#instance.memory.buffer, addressOf(view), sizeOf(view.shape) * elementBytes(view.dtype));
  }

  #write(view: View, data: TensorData): void {
    this.#bytes(view).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  writeInput(index: number, data: TensorData): void {
    this.#write(this.#plan.inputs[index] as View, data);
  }

  /** True if the float32 input `index` now holds a NaN. */
  inputHasNaN(index: number): boolean {
    const view = this.#plan.inputs[index] as View;
    return view.dtype === 'float32' && this.#instance.kernels.has_nan(addressOf(view), sizeOf(view.shape)) !== 0;
  }

  /** Runs all calls. False if a checked result held a NaN; outputs are then worthless. */
  run(): boolean {
    let nan = 0;
    for (const call of this.#calls) nan |= call();
    return nan === 0;
  }

  /** Index of the first instruction's operation that gives a NaN, −1 if none does. */
  runToFault(): number {
    for (const [index, call] of this.#calls.entries()) {
      if (call() === 1) return this.#plan.instructions[index]?.operation ?? -1;
    }
    return -1;
  }

  read(view: View): Tensor {
    const { dtype, shape } = view;
    const bytes = this.#bytes(view).slice().buffer;
    return { dtype, shape, data: dataOf(dtype, bytes) };
  }

  readOutputs(): Tensor[] {
    return this.#plan.outputs.map((view) => this.read(view));
  }

  readInput(index: number): Tensor {
    return this.read(this.#plan.inputs[index] as View);
  }

  /** Makes output `from` the next run's input `to`. */
  feedBack(from: number, to: number): void {
    const source = this.#plan.outputs[from] as View;
    const target = this.#plan.inputs[to] as View;
    this.#instance.kernels.move_bytes(addressOf(target), addressOf(source), sizeOf(target.shape) * elementBytes(target.dtype));
  }
}

function dataOf(dtype: TensorType['dtype'], bytes: ArrayBuffer): TensorData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(bytes);
    case 'int32':
      return new Int32Array(bytes);
    case 'uint32':
      return new Uint32Array(bytes);
    case 'bool':
      return new Uint8Array(bytes);
    default:
      throw new MusterError('INTERNAL', `unexpected ${String(dtype satisfies never)}`);
  }
}

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

class PreparedWasm implements PreparedProgram {
  readonly program: Program;
  #machine: Machine | null;

  constructor(program: Program) {
    this.program = program;
    this.#machine = new Machine(program, true, false);
  }

  run(inputs: readonly Tensor[]): Tensor[] {
    const machine = this.#machine;
    if (machine === null) throw new MusterError('INTERNAL', 'the prepared program has been disposed of');
    const { program } = this;
    const complete = inputs.length === program.inputs.length && program.inputs.every((type, index) => fits(inputs[index], type));
    if (!complete) checkInputs(program, inputs);
    inputs.forEach((input, index) => machine.writeInput(index, input.data));
    if (program.inputs.some((_, index) => machine.inputHasNaN(index))) checkInputs(program, inputs);
    if (!machine.run()) throw traceFault(program, inputs);
    return machine.readOutputs();
  }

  dispose(): void {
    this.#machine = null;
  }
}

/** The fault of running `program` on `inputs`, found in program order. */
function traceFault(program: Program, inputs: readonly Tensor[]): MusterError {
  const machine = new Machine(program, false, false);
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
