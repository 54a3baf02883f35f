/**
 * A program run in a loop: its first outputs are its next run's first inputs, as the state of a training step is.
 *
 * The WebAssembly executor keeps the state in its memory and exchanges buffers instead of copying them; any other executor is
 * driven through `run`. Both give the bits that repeated `run` gives.
 */
import { MusterError } from '@muster/protocol';
import { checkProgram, valueTypes } from '../check.ts';
import type { Executor, PreparedProgram, Program, Tensor, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { describeType, sameType } from '../shapes.ts';
import { traceFault, wasmExecutor, writeInputs } from './executor.ts';
import { createMachine, type Machine } from './machine.ts';

export interface LoopingProgram {
  readonly program: Program;
  /** Number of state tensors: the first inputs and the first outputs of the program. */
  readonly stateCount: number;
  /** Sets the state, in the order of the program's inputs. Throws TENSOR_MISMATCH and, for a NaN, NUMERIC_FAULT. */
  setState(state: readonly Tensor[]): void;
  /**
   * One run: `inputs` are those after the state; the result, the outputs after the state. Throws as `PreparedProgram.run`; the state
   * is then as before the step.
   */
  step(inputs: readonly Tensor[]): Tensor[];
  /** Copies of the state. */
  readState(): Tensor[];
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

class RunLoop implements LoopingProgram {
  readonly program: Program;
  readonly stateCount: number;
  readonly #prepared: PreparedProgram;
  #state: readonly Tensor[] = [];

  constructor(prepared: PreparedProgram, stateCount: number) {
    this.program = prepared.program;
    this.stateCount = stateCount;
    this.#prepared = prepared;
  }

  setState(state: readonly Tensor[]): void {
    checkInputs({ ...this.program, inputs: this.program.inputs.slice(0, this.stateCount) }, state);
    this.#state = state.map(({ dtype, shape, data }) => ({ dtype, shape, data: data.slice() }));
  }

  step(inputs: readonly Tensor[]): Tensor[] {
    const outputs = this.#prepared.run([...this.#state, ...inputs]);
    this.#state = outputs.slice(0, this.stateCount);
    return outputs.slice(this.stateCount);
  }

  readState(): Tensor[] {
    return this.#state.map(({ dtype, shape, data }) => ({ dtype, shape, data: data.slice() }));
  }

  dispose(): void {
    this.#prepared.dispose();
  }
}

class WasmLoop implements LoopingProgram {
  readonly program: Program;
  readonly stateCount: number;
  #machine: Machine | null;

  constructor(program: Program, stateCount: number) {
    this.program = program;
    this.stateCount = stateCount;
    this.#machine = createMachine(program, true, stateCount);
  }

  get #live(): Machine {
    if (this.#machine === null) throw new MusterError('INTERNAL', 'the looping program has been disposed of');
    return this.#machine;
  }

  setState(state: readonly Tensor[]): void {
    writeInputs(this.#live, { ...this.program, inputs: this.program.inputs.slice(0, this.stateCount) }, state);
  }

  step(inputs: readonly Tensor[]): Tensor[] {
    const machine = this.#live;
    writeInputs(machine, this.program, inputs, this.stateCount);
    if (!machine.run()) throw traceFault(this.program, [...this.readState(), ...inputs]);
    const results = machine.readOutputs(this.stateCount);
    machine.advance();
    return results;
  }

  readState(): Tensor[] {
    return Array.from({ length: this.stateCount }, (_, index) => this.#live.readInput(index));
  }

  dispose(): void {
    this.#machine = null;
  }
}

/**
 * `program` prepared to run in a loop in which its first `stateCount` outputs become its first inputs. Throws PROGRAM_INVALID when
 * their types differ or the program is malformed. The state is zero or undefined until `setState`.
 */
export function prepareLoop(executor: Executor, program: Program, stateCount: number): LoopingProgram {
  checkProgram(program);
  checkState(program, stateCount);
  return executor === wasmExecutor ? new WasmLoop(program, stateCount) : new RunLoop(executor.prepare(program), stateCount);
}
