/**
 * A program run in a loop: its first outputs are its next run's first inputs, as the state of a training step is.
 *
 * A compiled executor keeps the state in its memory and exchanges buffers instead of copying them; any other executor is
 * driven through `run`. Both give the bits that repeated `run` gives.
 */
import { MusterError, type Root } from '@muster/protocol';
import { checkProgram, valueTypes } from '../check.ts';
import type { Executor, PreparedProgram, Program, Tensor, TensorType } from '../program.ts';
import { tensorRoot } from '../digest.ts';
import { checkInputs } from '../reference/inputs.ts';
import { describeType, sameType } from '../shapes.ts';
import type { KernelBackend } from './backend.ts';
import { forBackend, isCompiled, traceFault, writeInputs } from './executor.ts';
import { createMachine, type Machine } from './machine.ts';

export interface LoopingProgram {
  readonly program: Program;
  /** Number of state tensors: the first inputs and the first outputs of the program. */
  readonly stateCount: number;
  /** Number of fixed tensors: the inputs after the state, the same in every step. */
  readonly fixedCount: number;
  /** Sets the state, in the order of the program's inputs. Throws TENSOR_MISMATCH and, for a NaN, NUMERIC_FAULT. */
  setState(state: readonly Tensor[]): void;
  /** Sets the fixed inputs, in the order of the program's inputs. Throws TENSOR_MISMATCH and, for a NaN, NUMERIC_FAULT. */
  setFixed(fixed: readonly Tensor[]): void;
  /**
   * One run: `inputs` are those after the state and the fixed ones; the result, the outputs after the state. Throws as
   * `PreparedProgram.run`; the state is then as before the step.
   */
  step(inputs: readonly Tensor[]): Tensor[];
  /** Copies of the state. */
  readState(): Tensor[];
  /** Roots of the tensor trees of the state (`tensorRoot`), hashed where it lies. */
  stateRoots(): Root[];
  /** Index of the first state tensor that holds an infinity; null if all are finite. */
  firstNotFinite(): number | null;
  dispose(): void;
}

/** Throws PROGRAM_INVALID unless the first `stateCount` outputs have the types of the first inputs. */
function checkState(program: Program, stateCount: number): void {
  const types = valueTypes(program);
  for (let index = 0; index < stateCount; index++) {
    const input: TensorType | undefined = program.inputs[index];
    const value = program.outputs[index]?.value;
    const output = value === undefined ? undefined : types[value];
    if (input === undefined || output === undefined || !sameType(input, output)) {
      const [from, to] = [output, input].map((type) => (type === undefined ? 'nothing' : describeType(type)));
      throw new MusterError('PROGRAM_INVALID', `output ${index} (${from}) cannot become input ${index} (${to})`, {
        field: `outputs[${index}]`,
      });
    }
  }
}

function copies(tensors: readonly Tensor[]): Tensor[] {
  return tensors.map(({ dtype, shape, data }) => ({ dtype, shape, data: data.slice() }));
}

class RunLoop implements LoopingProgram {
  readonly program: Program;
  readonly stateCount: number;
  readonly fixedCount: number;
  readonly #prepared: PreparedProgram;
  #state: readonly Tensor[] = [];
  #fixed: readonly Tensor[] = [];

  constructor(prepared: PreparedProgram, stateCount: number, fixedCount: number) {
    this.program = prepared.program;
    this.stateCount = stateCount;
    this.fixedCount = fixedCount;
    this.#prepared = prepared;
  }

  setState(state: readonly Tensor[]): void {
    checkInputs({ ...this.program, inputs: this.program.inputs.slice(0, this.stateCount) }, state);
    this.#state = copies(state);
  }

  setFixed(fixed: readonly Tensor[]): void {
    checkInputs({ ...this.program, inputs: this.program.inputs.slice(this.stateCount, this.stateCount + this.fixedCount) }, fixed);
    this.#fixed = copies(fixed);
  }

  step(inputs: readonly Tensor[]): Tensor[] {
    const outputs = this.#prepared.run([...this.#state, ...this.#fixed, ...inputs]);
    this.#state = outputs.slice(0, this.stateCount);
    return outputs.slice(this.stateCount);
  }

  readState(): Tensor[] {
    return copies(this.#state);
  }

  stateRoots(): Root[] {
    return this.#state.map(tensorRoot);
  }

  firstNotFinite(): number | null {
    const index = this.#state.findIndex(({ dtype, data }) => dtype === 'float32' && !data.every((value) => Number.isFinite(value)));
    return index === -1 ? null : index;
  }

  dispose(): void {
    this.#prepared.dispose();
  }
}

class MachineLoop implements LoopingProgram {
  readonly program: Program;
  readonly stateCount: number;
  readonly fixedCount: number;
  readonly #backend: KernelBackend;
  #machine: Machine | null;

  constructor(backend: KernelBackend, program: Program, stateCount: number, fixedCount: number) {
    this.program = program;
    this.stateCount = stateCount;
    this.fixedCount = fixedCount;
    this.#backend = backend;
    this.#machine = createMachine(backend, forBackend(backend, program, stateCount), true, stateCount);
  }

  get #live(): Machine {
    if (this.#machine === null) throw new MusterError('INTERNAL', 'the looping program has been disposed of');
    return this.#machine;
  }

  setState(state: readonly Tensor[]): void {
    this.#writePart(0, this.stateCount, state);
  }

  setFixed(fixed: readonly Tensor[]): void {
    this.#writePart(this.stateCount, this.fixedCount, fixed);
  }

  #writePart(first: number, count: number, tensors: readonly Tensor[]): void {
    const program = { ...this.program, inputs: this.program.inputs.slice(0, first + count) };
    writeInputs(this.#live, program, tensors, first);
  }

  #readInputs(first: number, count: number): Tensor[] {
    return Array.from({ length: count }, (_, index) => this.#live.readInput(first + index));
  }

  step(inputs: readonly Tensor[]): Tensor[] {
    const machine = this.#live;
    const given = this.stateCount + this.fixedCount;
    writeInputs(machine, this.program, inputs, given);
    if (!machine.run()) throw traceFault(this.#backend, this.program, [...this.#readInputs(0, given), ...inputs]);
    const results = machine.readOutputs(this.stateCount);
    machine.advance();
    return results;
  }

  readState(): Tensor[] {
    return this.#readInputs(0, this.stateCount);
  }

  stateRoots(): Root[] {
    return this.#live.stateRoots();
  }

  firstNotFinite(): number | null {
    return this.#live.firstNotFinite();
  }

  dispose(): void {
    this.#machine?.dispose();
    this.#machine = null;
  }
}

/**
 * `program` prepared to run in a loop in which its first `stateCount` outputs become its first inputs. Throws PROGRAM_INVALID when
 * their types differ or the program is malformed. The `fixedCount` inputs after the state are the same in every step (frozen weights).
 * The state is zero or undefined until `setState`, the fixed inputs until `setFixed`.
 */
export function prepareLoop(executor: Executor, program: Program, stateCount: number, fixedCount = 0): LoopingProgram {
  checkProgram(program);
  checkState(program, stateCount);
  return isCompiled(executor)
    ? new MachineLoop(executor.backend, program, stateCount, fixedCount)
    : new RunLoop(executor.prepare(program), stateCount, fixedCount);
}
