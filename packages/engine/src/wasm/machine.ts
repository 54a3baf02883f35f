/**
 * A planned program in a memory of its own: inputs are written, kernels called in order, outputs read.
 */
import { MusterError } from '@muster/protocol';
import type { Program, Tensor, TensorData, TensorType } from '../program.ts';
import { heapBase, instantiateKernels, type KernelInstance, pageBytes, type WasmMemory } from './instance.ts';
import { addressOf, type Call } from './instruction.ts';
import { placeBuffers } from './layout.ts';
import { lowerProgram, type Plan } from './lower.ts';
import { TableWriter } from './tables.ts';
import { type Buffer, elementBytes, sizeOf, type View } from './view.ts';

/** A plan with its memory, ready to be called. */
class Machine {
  readonly #instance: KernelInstance;
  readonly #plan: Plan;
  /** Buffers of an input and the output that follows it, which change places after every step of a loop. */
  readonly #pairs: readonly (readonly [Buffer, Buffer])[];
  readonly #copied: readonly number[];
  /** Kernel calls for both placements of the pairs. */
  #calls: readonly Call[];
  #otherCalls: readonly Call[];

  /**
   * Plans `program`. With `state` > 0 the first outputs are the next run's first inputs: `advance` then makes them so, by exchanging
   * the roles of their buffers where that is possible.
   */
  constructor(program: Program, fuse: boolean, state = 0) {
    this.#plan = lowerProgram(program, fuse);
    const { inputs, outputs, constants, instructions } = this.#plan;
    const end = placeBuffers(this.#plan, heapBase(), state);
    this.#instance = instantiateKernels(end);
    const { memory, kernels } = this.#instance;
    const tables = new TableWriter(end);
    const emission = { kernels, table: (words: ArrayLike<number>): number => tables.add(words) };
    const loop = Array.from({ length: state }, (_, index) => index);
    const shared = [...inputs, ...constants, ...outputs].map((view) => view.buffer);
    const exchangeable = (index: number): boolean => {
      const { buffer, offset } = outputs[index] as View;
      const alone = shared.indexOf(buffer) === shared.lastIndexOf(buffer);
      return alone && offset === 0 && buffer.bytes === inputs[index]?.buffer.bytes;
    };
    this.#pairs = loop.filter(exchangeable).map((index) => [(inputs[index] as View).buffer, (outputs[index] as View).buffer]);
    this.#copied = loop.filter((index) => !exchangeable(index));
    this.#calls = instructions.map((instruction) => instruction.emit(emission));
    this.#otherCalls = this.#calls;
    if (this.#pairs.length > 0) {
      // Kernel calls hold addresses, so both placements get calls of their own; tables are shared where they are equal.
      this.#exchange();
      this.#otherCalls = instructions.map((instruction) => instruction.emit(emission));
      this.#exchange();
    }
    growMemory(memory, tables.end);
    tables.writeTo(memory.buffer);
    program.constants.forEach((constant, index) => this.#write(constants[index] as View, constant.data));
  }

  #exchange(): void {
    for (const [input, output] of this.#pairs) [input.address, output.address] = [output.address, input.address];
  }

  /** Makes the first outputs of the last run the inputs of the next. */
  advance(): void {
    const { inputs, outputs } = this.#plan;
    // An output may be another input unchanged, so all are read before one is written.
    const copies = this.#copied.map((index) => this.#bytes(outputs[index] as View).slice());
    this.#copied.forEach((index, n) => this.#bytes(inputs[index] as View).set(copies[n] as Uint8Array));
    this.#exchange();
    [this.#calls, this.#otherCalls] = [this.#otherCalls, this.#calls];
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

  /** A copy of a tensor. */
  read(view: View): Tensor {
    const { dtype, shape } = view;
    const bytes = this.#bytes(view).slice().buffer;
    return { dtype, shape, data: dataOf(dtype, bytes) };
  }

  /** Copies of the outputs from the one numbered `first` on. */
  readOutputs(first = 0): Tensor[] {
    return this.#plan.outputs.slice(first).map((view) => this.read(view));
  }

  readInput(index: number): Tensor {
    return this.read(this.#plan.inputs[index] as View);
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

function growMemory(memory: WasmMemory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing <= 0) return;
  try {
    memory.grow(Math.ceil(missing / pageBytes));
  } catch (error) {
    throw new MusterError('INTERNAL', `no memory of ${bytes} bytes for a program`, { bytes }, { cause: error });
  }
}

/** A machine for a checked `program`. Throws INTERNAL or PROGRAM_INVALID when its tensors or tables do not fit in memory. */
export function createMachine(program: Program, fuse: boolean, state = 0): Machine {
  try {
    return new Machine(program, fuse, state);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new MusterError('INTERNAL', `no memory for the tables of program "${program.name}"`, { program: program.name }, { cause: error });
  }
}
export type { Machine };
