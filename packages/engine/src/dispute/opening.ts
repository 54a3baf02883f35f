/**
 * Openings of one disputed operation: proofs that its inputs and outputs stand in the trace, the partial sums of one output element, and
 * the few elements that one step of them needs. Spec: `docs/spec/20-dispute-trace.md`.
 */
import { type InclusionProof, MusterError, type Root } from '@muster/protocol';
import { checkProgram, valueTypes } from '../check.ts';
import { type ElementOpening, openElement, openTraceEntry, tensorRoot, verifyElement, verifyTraceEntry } from '../digest.ts';
import type { Executor, Operation, Program, Tensor, TensorData, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { at } from '../reference/layout.ts';
import { wasmExecutor } from '../wasm/backend.ts';
import { operationStarts, valuesOf } from './segments.ts';
import { type Accumulation, accumulationOf, type AccumulationStep, accumulators, type ElementOperand } from './terms.ts';
import type { OperationTrace } from './trace.ts';

/**
 * One value of the program and its root. `proof` leads to the trace's root for a result of an operation. A program input's root is agreed
 * elsewhere (state root, batch), a constant's follows from the program: their proof is null.
 */
export interface ValueOpening {
  readonly value: number;
  readonly type: TensorType;
  readonly root: Root;
  readonly proof: InclusionProof | null;
}

export interface OperationOpening {
  readonly index: number;
  readonly operation: Operation;
  readonly inputs: readonly ValueOpening[];
  readonly outputs: readonly ValueOpening[];
  /** The values themselves, for opening elements. */
  readonly inputTensors: readonly Tensor[];
  readonly outputTensors: readonly Tensor[];
}

function operationAt(program: Program, index: number): Operation {
  const operation = Number.isSafeInteger(index) ? program.operations[index] : undefined;
  if (operation === undefined) {
    throw new MusterError('FIELD_INVALID', `operation: ${index} is none of ${program.operations.length}`, { field: 'operation' });
  }
  return operation;
}

/**
 * Operation `index` of the run of `program` on `inputs` that `trace` belongs to, opened. Computes again what the operation depends on.
 * Throws FIELD_INVALID for an index that is no operation, and as an executor does.
 */
export function openOperation(
  program: Program,
  inputs: readonly Tensor[],
  trace: OperationTrace,
  index: number,
  executor: Executor = wasmExecutor,
): OperationOpening {
  checkProgram(program);
  checkInputs(program, inputs);
  const operation = operationAt(program, index);
  const types = valueTypes(program);
  const starts = operationStarts(program);
  const roots = trace.operationRoots.flat();
  const first = at(starts, 0);
  const outputs = operation.outputs.map((_, n) => at(starts, index) + n);
  const tensors = valuesOf(program, inputs, [...operation.inputs, ...outputs], executor);
  const open = (value: number, position: number): ValueOpening => ({
    value,
    type: at(types, value),
    root: roots[value - first] ?? tensorRoot(at(tensors, position)),
    proof: value < first ? null : openTraceEntry(roots, value - first),
  });
  const count = operation.inputs.length;
  return {
    index,
    operation,
    inputs: operation.inputs.map((value, n) => open(value, n)),
    outputs: outputs.map((value, n) => open(value, count + n)),
    inputTensors: tensors.slice(0, count),
    outputTensors: tensors.slice(count),
  };
}

/** Whether `opening` is value number `opening.value` of a program whose first result is number `firstResult`, under trace root `root`. */
export function verifyValue(root: Root, firstResult: number, resultCount: number, opening: ValueOpening): boolean {
  const { proof, value } = opening;
  if (proof === null) return value < firstResult;
  return proof.index === value - firstResult && proof.size === resultCount && verifyTraceEntry(root, opening.root, proof);
}

/** The chain of accumulators of one output element, as data that has a tensor root of its own to search down. */
export interface PartialSums {
  readonly accumulation: Accumulation;
  /** acc_0 … acc_steps; the last is the element. */
  readonly values: TensorData;
  /** Tensor root of `values`, [steps + 1]. */
  readonly root: Root;
}

function partialSumsFrom(operation: Operation, inputs: readonly Tensor[], element: number): PartialSums {
  const accumulation = accumulationOf(operation, inputs, element);
  if (accumulation === null) {
    throw new MusterError('FIELD_INVALID', `operation: ${operation.primitive} does not accumulate`, { field: 'operation' });
  }
  const values = accumulators(accumulation, inputs);
  return { accumulation, values, root: tensorRoot({ dtype: accumulation.dtype, shape: [values.length], data: values }) };
}

/**
 * The partial sums of element `outputElement` (row-major) of operation `index`: for dot, conv, reduce, scatter and pool_transpose the values of
 * its accumulator in the order of the specification. Throws FIELD_INVALID for another primitive or an element or operation that does not exist.
 */
export function tracePartialSums(
  program: Program,
  inputs: readonly Tensor[],
  index: number,
  outputElement: number,
  executor: Executor = wasmExecutor,
): PartialSums {
  checkProgram(program);
  checkInputs(program, inputs);
  const operation = operationAt(program, index);
  return partialSumsFrom(operation, valuesOf(program, inputs, operation.inputs, executor), outputElement);
}

export interface OpenedElement {
  readonly operand: ElementOperand;
  readonly opening: ElementOpening;
}

/** One step of an accumulation with every element that it reads: the right side, the factor, the indices of its conditions. */
export interface StepOpening {
  readonly step: AccumulationStep;
  readonly elements: readonly OpenedElement[];
}

/** The elements of the operation's inputs that `step` reads. */
function elementsOf({ right, factor, conditions }: AccumulationStep): ElementOperand[] {
  return [right, ...(factor === null ? [] : [factor]), ...conditions.map(({ operand }) => operand)].filter(
    (operand) => operand.kind === 'element',
  );
}

/** Step `k` of the accumulation of `element`, opened. Throws FIELD_INVALID. */
export function openStep({ operation, inputTensors }: OperationOpening, element: number, k: number): StepOpening {
  const accumulation = accumulationOf(operation, inputTensors, element);
  if (accumulation === null || !Number.isSafeInteger(k) || k < 1 || k > accumulation.steps) {
    throw new MusterError('FIELD_INVALID', `step: there is no step ${k}`, { field: 'step' });
  }
  const step = accumulation.step(k);
  return {
    step,
    elements: elementsOf(step).map((operand) => ({ operand, opening: openElement(at(inputTensors, operand.input), operand.element) })),
  };
}

/** The value of an opened element of an operation's input with `type` and `root`; null if the opening does not hold. */
export function verifyOpenedElement({ type, root }: ValueOpening, { operand, opening }: OpenedElement): number | null {
  return verifyElement(root, type, operand.element, opening);
}
