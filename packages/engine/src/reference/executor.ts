/**
 * The reference executor: every primitive as `docs/spec/01-exact-arithmetic.md` writes it, one element at a time.
 *
 * It is the readable definition that fast executors are tested against, not a way to train: it favours plain loops over speed.
 */
import { MusterError } from '@muster/protocol';
import { checkProgram } from '../check.ts';
import type { Executor, Operation, PreparedProgram, Program, Tensor, TensorData } from '../program.ts';
import { conv, dot, poolTranspose, reduce, scatter } from './accumulation.ts';
import {
  bitcast,
  bitCombine,
  bitShift,
  cast,
  compare,
  integerDivision,
  mapElements,
  negate,
  remainder,
  unaryFloat,
} from './elementwise.ts';
import { checkInputs } from './inputs.ts';
import { arithmetic, at, unreachable } from './layout.ts';
import { broadcast, concatenate, flip, gather, pad, pool, reshape, shrink, split, transpose } from './movement.ts';
import { argsort } from './order.ts';
import { randomBits } from './random.ts';

/** Data of every output of `operation` for its `inputs`, which fit. NaNs are left for the caller to find. */
export function executeOperation(operation: Operation, inputs: readonly Tensor[]): TensorData[] {
  const input = (index: number) => at(inputs, index);
  const type = at(operation.outputs, 0);
  switch (operation.primitive) {
    case 'add':
    case 'mul':
    case 'min':
    case 'max':
      return [mapElements(inputs, type, arithmetic[type.dtype][operation.primitive])];
    case 'idiv':
      return [mapElements(inputs, type, integerDivision(type.dtype))];
    case 'mod':
      return [mapElements(inputs, type, remainder(type.dtype))];
    case 'bit_combine':
      return [mapElements(inputs, type, bitCombine(type.dtype, operation.params.op))];
    case 'bit_shift':
      return [mapElements(inputs, type, bitShift(type.dtype, operation.params.op))];
    case 'compare':
      return [mapElements(inputs, type, compare(operation.params.op))];
    case 'where':
      return [mapElements(inputs, type, (condition, x, y) => (condition === 1 ? x : y))];
    case 'neg':
      return [mapElements(inputs, type, negate(type.dtype))];
    case 'reciprocal':
    case 'floor':
    case 'ceil':
    case 'sin':
    case 'cos':
    case 'exp':
    case 'log':
    case 'erf':
    case 'sqrt':
      return [mapElements(inputs, type, unaryFloat[operation.primitive])];
    case 'cast':
      return [mapElements(inputs, type, cast(input(0).dtype, type.dtype))];
    case 'bitcast':
      return [bitcast(input(0), type)];
    case 'reduce':
      return [reduce(input(0), operation.params, type)];
    case 'dot':
      return [dot(input(0), input(1), type)];
    case 'conv':
      return [conv(input(0), input(1), operation.params, type)];
    case 'pool':
      return [pool(input(0), operation.params, type)];
    case 'pool_transpose':
      return [poolTranspose(input(0), operation.params, type)];
    case 'concatenate':
      return [concatenate(inputs, operation.params, type)];
    case 'split':
      return split(input(0), operation.params, operation.outputs);
    case 'random_bits':
      return [randomBits(input(0), input(1), operation.params, type)];
    case 'gather':
      return [gather(input(0), inputs.slice(1), operation.params, type)];
    case 'scatter':
      return [scatter(input(0), inputs.slice(1), operation.params, type)];
    case 'transpose':
      return [transpose(input(0), operation.params, type)];
    case 'broadcast':
      return [broadcast(input(0), operation.params, type)];
    case 'reshape':
      return [reshape(input(0))];
    case 'flip':
      return [flip(input(0), operation.params, type)];
    case 'shrink':
      return [shrink(input(0), operation.params, type)];
    case 'pad':
      return [pad(input(0), operation.params, type)];
    case 'sort':
      return [argsort(input(0), type, { dtype: 'int32', shape: type.shape })[0]];
    case 'argsort':
      return argsort(input(0), type, at(operation.outputs, 1));
    default:
      throw unreachable(operation);
  }
}

/** Throws NUMERIC_FAULT with the operation's index if a float32 in `data` is a NaN. */
function refuseNaN(data: TensorData, index: number, operation: Operation): void {
  if (data instanceof Float32Array && data.some(Number.isNaN)) {
    const { primitive } = operation;
    throw new MusterError('NUMERIC_FAULT', `operation ${index} (${primitive}) gave a NaN`, { operation: index, primitive });
  }
}

/** Values of all operations in program order: `visit(index, operation, outputs)` after each, before the next. Inputs must be checked. */
export function runOperations(
  program: Program,
  inputs: readonly Tensor[],
  visit?: (index: number, operation: Operation, outputs: readonly Tensor[]) => void,
): Tensor[] {
  const values: Tensor[] = [...inputs, ...program.constants];
  program.operations.forEach((operation, index) => {
    const results = executeOperation(
      operation,
      operation.inputs.map((value) => at(values, value)),
    );
    const outputs = results.map((data, n): Tensor => {
      refuseNaN(data, index, operation);
      const { dtype, shape } = at(operation.outputs, n);
      return { dtype, shape, data };
    });
    values.push(...outputs);
    visit?.(index, operation, outputs);
  });
  return values;
}

class PreparedReference implements PreparedProgram {
  readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  run(inputs: readonly Tensor[]): Tensor[] {
    checkInputs(this.program, inputs);
    const values = runOperations(this.program, inputs);
    return this.program.outputs.map(({ value }) => {
      const { dtype, shape, data } = at(values, value);
      return { dtype, shape, data: data.slice() };
    });
  }

  dispose(): void {
    // Nothing is held outside the garbage collector.
  }
}

export const referenceExecutor: Executor = {
  name: 'reference',
  prepare(program) {
    checkProgram(program);
    return new PreparedReference(program);
  },
};
