/**
 * A planned program in a memory of its own: inputs are written, a tape of kernel calls is run, outputs read.
 */
import { bytesToHex, MusterError, type Root } from '@muster/protocol';
import { dataOver, leafBytes } from '../digest.ts';
import type { Program, Tensor, TensorData } from '../program.ts';
import { kernelNumbers } from '../wasm/generated/kernels.ts';
import type { KernelBackend, KernelMemory } from './backend.ts';
import { addressWords, byteAddress, addressOf, type Instruction, type TapeEntry } from './instruction.ts';
import { placeBuffers } from './layout.ts';
import { lowerProgram, type Plan } from './lower.ts';
import { TableWriter } from './tables.ts';
import { type Buffer, elementBytes, sizeOf, type View } from './view.ts';

/** A tape in memory. */
interface Tape {
  readonly address: number;
  readonly count: number;
}

/** The tapes for one placement of the buffers. */
interface Tapes {
  readonly main: Tape;
  /** The instruction that each entry of the main tape belongs to. */
  readonly owners: readonly number[];
  /** For each input, a tape that stops if it holds a NaN; null where it cannot. */
  readonly inputs: readonly (Tape | null)[];
  /** Writes the roots of the state one after another; a tape that stops at the first state tensor that is not finite. */
  readonly roots: Tape;
  readonly finite: Tape;
}

/** Bytes of a hash. */
const hashBytes = 32;

/** A plan with its memory, ready to be run. */
export class Machine {
  readonly #memory: KernelMemory;
  readonly #plan: Plan;
  readonly #state: number;
  /** Buffers of an input and the output that follows it, which change places after every step of a loop. */
  readonly #pairs: readonly (readonly [Buffer, Buffer])[];
  readonly #copied: readonly number[];
  /** Addresses of the roots of the state, and of the leaf hashes while they are made. */
  readonly #rootsAddress: number;
  readonly #leavesAddress: number;
  /** Tapes for both placements of the pairs. */
  #tapes: Tapes;
  #otherTapes: Tapes;
  /** Bytes of memory that tensors, tables and tapes take. */
  readonly bytes: number;

  /**
   * Plans `program`. If it is `looping`, inputs stay, and that many first outputs are the next run's first inputs: `advance` makes them
   * so, by exchanging the roles of their buffers where that is possible.
   */
  constructor(backend: KernelBackend, program: Program, fuse: boolean, looping: number | null = null) {
    const state = looping ?? 0;
    this.#plan = lowerProgram(program, fuse);
    this.#state = state;
    const { inputs, outputs, constants } = this.#plan;
    const end = placeBuffers(this.#plan, backend.start, looping, backend.maxBytes);
    const leaves = inputs.slice(0, state).map((view) => Math.ceil(bytesOf(view) / leafBytes));
    this.#rootsAddress = end;
    this.#leavesAddress = end + hashBytes * state;
    const tables = new TableWriter(this.#leavesAddress + hashBytes * Math.max(0, ...leaves));
    const loop = Array.from({ length: state }, (_, index) => index);
    const shared = [...inputs, ...constants, ...outputs].map((view) => view.buffer);
    const exchangeable = (index: number): boolean => {
      const { buffer, offset } = outputs[index] as View;
      const alone = shared.indexOf(buffer) === shared.lastIndexOf(buffer);
      return alone && offset === 0 && buffer.bytes === inputs[index]?.buffer.bytes;
    };
    this.#pairs = loop.filter(exchangeable).map((index) => [(inputs[index] as View).buffer, (outputs[index] as View).buffer]);
    this.#copied = loop.filter((index) => !exchangeable(index));
    this.#tapes = this.#emit(tables);
    this.#otherTapes = this.#tapes;
    if (this.#pairs.length > 0) {
      // Descriptors hold addresses, so both placements get tapes of their own; tables are shared where they are equal.
      this.#exchange();
      this.#otherTapes = this.#emit(tables);
      this.#exchange();
    }
    this.bytes = tables.end;
    this.#memory = allocate(backend, tables.end);
    tables.writeTo(this.#memory.buffer);
    program.constants.forEach((constant, index) => this.#write(constants[index] as View, constant.data));
  }

  /** Stores tapes for where the buffers lie now. */
  #emit(tables: TableWriter): Tapes {
    const table = (words: ArrayLike<number>): readonly [number, number] => addressWords(tables.add(words));
    const tapeOf = (entries: readonly TapeEntry[], owners: readonly number[]): Tape => {
      const words = entries.flatMap(({ kernel, words }, index) => {
        const descriptor = kernel === 'jump' ? [words[0] ?? 0, 0] : table(words);
        return [kernelNumbers[kernel], ...descriptor, owners[index] ?? 0];
      });
      return { address: tables.add(words), count: entries.length };
    };
    const entries: TapeEntry[] = [];
    const owners: number[] = [];
    this.#plan.instructions.forEach((instruction: Instruction, owner) => {
      for (const entry of instruction.emit({ table })) {
        entries.push(entry);
        owners.push(owner);
      }
    });
    const states = this.#plan.inputs.slice(0, this.#state);
    const roots = states.flatMap((view, index): TapeEntry[] => {
      const nodes = addressWords(this.#leavesAddress);
      const root = addressWords(this.#rootsAddress + hashBytes * index);
      const leaves = Math.ceil(bytesOf(view) / leafBytes);
      // The lower levels are hashed where their leaves are, by all threads; one thread does the rest.
      const level = leaves > 64 ? 5 : 0;
      const count = addressWords(Math.ceil(leaves / 2 ** level));
      return [
        { kernel: 'sha256_leaves', words: [...addressOf(view), ...addressWords(bytesOf(view)), ...nodes, level] },
        { kernel: 'sha256_tree', words: [...nodes, ...count, ...root] },
      ];
    });
    return {
      main: tapeOf(entries, owners),
      owners,
      inputs: this.#plan.inputs.map((view) => (view.dtype === 'float32' ? tapeOf([check('check_nan', view)], []) : null)),
      roots: tapeOf(roots, []),
      finite: tapeOf(states.map((view) => check('check_finite', view)), []), // prettier-ignore
    };
  }

  #exchange(): void {
    for (const [input, output] of this.#pairs) [input.address, output.address] = [output.address, input.address];
  }

  #run({ address, count }: Tape): number {
    return this.#memory.run(address, count);
  }

  /** Makes the first outputs of the last run the inputs of the next. */
  advance(): void {
    const { inputs, outputs } = this.#plan;
    // An output may be another input unchanged, so all are read before one is written.
    const copies = this.#copied.map((index) => this.#bytes(outputs[index] as View).slice());
    this.#copied.forEach((index, n) => this.#bytes(inputs[index] as View).set(copies[n] as Uint8Array));
    this.#exchange();
    [this.#tapes, this.#otherTapes] = [this.#otherTapes, this.#tapes];
  }

  #bytes(view: View): Uint8Array {
    return new Uint8Array(this.#memory.buffer, byteAddress(view), bytesOf(view));
  }

  #write(view: View, data: TensorData): void {
    this.#bytes(view).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  writeInput(index: number, data: TensorData): void {
    this.#write(this.#plan.inputs[index] as View, data);
  }

  /** True if the float32 input `index` now holds a NaN. */
  inputHasNaN(index: number): boolean {
    const tape = this.#tapes.inputs[index] ?? null;
    return tape !== null && this.#run(tape) !== -1;
  }

  /** Runs the program. False if a checked result held a NaN; outputs are then worthless. */
  run(): boolean {
    return this.#run(this.#tapes.main) === -1;
  }

  /** Runs the program. The operation of the first instruction that gives a NaN, −1 if none does. */
  runToFault(): number {
    const entry = this.#run(this.#tapes.main);
    return entry === -1 ? -1 : (this.#plan.instructions[this.#tapes.owners[entry] ?? -1]?.operation ?? -1);
  }

  /** Number of instructions, the operation each is named after, and the kernels it calls. */
  describe(): readonly { readonly operation: number; readonly kernels: readonly string[] }[] {
    return this.#plan.instructions.map(({ operation, emit }) => ({
      operation,
      kernels: emit({ table: () => [0, 0] }).map(({ kernel, words }) =>
        kernel === 'product' ? `product ${words.slice(0, 3).join('×')}` : kernel,
      ),
    }));
  }

  /** Runs the entries of one instruction: for measuring, in program order. */
  runInstruction(index: number): void {
    const { owners, main } = this.#tapes;
    const first = owners.indexOf(index);
    if (first >= 0) this.#memory.run(main.address + 16 * first, owners.lastIndexOf(index) + 1 - first);
  }

  /** Roots of the tensor trees of the state, the first inputs. */
  stateRoots(): Root[] {
    this.#run(this.#tapes.roots);
    return Array.from({ length: this.#state }, (_, index) => {
      const hash = new Uint8Array(this.#memory.buffer, this.#rootsAddress + hashBytes * index, hashBytes);
      return bytesToHex(hash.slice()) as Root;
    });
  }

  /** Index of the first state tensor that holds an infinity or a NaN; null if all are finite. */
  firstNotFinite(): number | null {
    const entry = this.#run(this.#tapes.finite);
    return entry === -1 ? null : entry;
  }

  /** A copy of a tensor. */
  #read(view: View): Tensor {
    const { dtype, shape } = view;
    const bytes = new Uint8Array(bytesOf(view));
    bytes.set(this.#bytes(view));
    return { dtype, shape, data: dataOver(dtype, bytes.buffer) };
  }

  /** Copies of the outputs from the one numbered `first` on. */
  readOutputs(first = 0): Tensor[] {
    return this.#plan.outputs.slice(first).map((view) => this.#read(view));
  }

  readInput(index: number): Tensor {
    return this.#read(this.#plan.inputs[index] as View);
  }

  dispose(): void {
    this.#memory.dispose();
  }
}

/** The tape entry that looks at the float32 of `view`. */
function check(kernel: 'check_nan' | 'check_finite', view: View): TapeEntry {
  return { kernel, words: [...addressOf(view), sizeOf(view.shape)] };
}

function bytesOf(view: View): number {
  return sizeOf(view.shape) * elementBytes(view.dtype);
}

function allocate(backend: KernelBackend, bytes: number): KernelMemory {
  try {
    return backend.allocate(bytes);
  } catch (error) {
    throw new MusterError('INTERNAL', `no memory of ${bytes} bytes for a program`, { bytes }, { cause: error });
  }
}

/** A machine for a checked `program`. Throws INTERNAL or PROGRAM_INVALID when its tensors or tables do not fit in memory. */
export function createMachine(backend: KernelBackend, program: Program, fuse: boolean, looping: number | null = null): Machine {
  try {
    return new Machine(backend, program, fuse, looping);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new MusterError('INTERNAL', `no memory for the tables of program "${program.name}"`, { program: program.name }, { cause: error });
  }
}
