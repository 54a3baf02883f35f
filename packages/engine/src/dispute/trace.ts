/**
 * The trace of one run of a program: the tensor root of every output of every operation, and one root over them all.
 *
 * The run goes part by part through any executor and keeps a value only until its last use, so a trace needs little more memory than the
 * largest part. Nothing is stored: whoever disputes a step traces it again. Spec: `docs/spec/20-dispute-trace.md`.
 */
import { bytesToHex, leafHash, MusterError, nodeHash, type Root } from '@muster/protocol';
import { checkProgram, valueTypes } from '../check.ts';
import { leafBytes, tensorBytes, tensorRoot, traceRoot } from '../digest.ts';
import type { Executor, Operation, Program, Tensor, TensorType } from '../program.ts';
import { checkInputs } from '../reference/inputs.ts';
import { sizeOf } from '../reference/layout.ts';
import { sameShape } from '../shapes.ts';
import { wasmExecutor } from '../wasm/backend.ts';
import { operationStarts, runPart } from './segments.ts';

export interface OperationTrace {
  /** Roots of the outputs of each operation, in program order. */
  readonly operationRoots: readonly (readonly Root[])[];
  /** Merkle root over all of them in order, each 32 bytes a leaf. */
  readonly root: Root;
}

export interface TraceOptions {
  /** Default: the WebAssembly executor. */
  readonly executor?: Executor;
  /** Bytes of operation results held at a time, besides what later operations need. Default 32 MiB. */
  readonly partBytes?: number;
}

const defaultPartBytes = 32 * 1024 * 1024;
const maxPartOperations = 512;
/** Inputs and outputs of a part stay below the limits of a program. */
const maxPartValues = 4096;

/** Bytes of one element. */
const widthOf = ({ dtype }: TensorType): number => (dtype === 'bool' ? 1 : 4);
const bytesOf = (type: TensorType): number => sizeOf(type.shape) * widthOf(type);

/** Where the root of a value comes from: its own bytes, an equal value's, or one element that it repeats. */
type RootRule = { readonly kind: 'own' } | { readonly kind: 'same' | 'repeated'; readonly source: number };

const own: RootRule = { kind: 'own' };

/** A value whose bytes follow from its source's need not be hashed, nor be looked at. Small ones are cheaper as they are. */
function ruleOf(operation: Operation, types: readonly TensorType[], output: TensorType): RootRule {
  const [source] = operation.inputs;
  if (source === undefined || sizeOf(output.shape) <= 1) return own;
  const from = types[source] as TensorType;
  switch (operation.primitive) {
    case 'reshape':
    case 'bitcast':
      return { kind: 'same', source };
    case 'cast':
      return from.dtype !== 'float32' && output.dtype !== 'float32' && widthOf(from) === 4 && widthOf(output) === 4
        ? { kind: 'same', source }
        : own;
    case 'broadcast':
      if (sizeOf(from.shape) === sizeOf(output.shape)) return { kind: 'same', source };
      return sizeOf(from.shape) === 1 ? { kind: 'repeated', source } : own;
    case 'transpose':
      return sameShape(
        operation.params.perm.filter((axis) => from.shape[axis] !== 1),
        from.shape.flatMap((extent, axis) => (extent === 1 ? [] : [axis])),
      )
        ? { kind: 'same', source }
        : own;
    default:
      return own;
  }
}

/** Tensor root of `count` > 1 elements all equal to the only one of `single`: a hash for each level instead of one for each leaf. */
export function repeatedRoot(single: Tensor, count: number): Root {
  const element = tensorBytes(single);
  const total = count * element.length;
  const chunk = new Uint8Array(Math.min(leafBytes, total));
  for (let i = 0; i < chunk.length; i++) chunk[i] = element[i % element.length] as number;
  let nodes = Math.ceil(total / leafBytes);
  let full = leafHash(chunk);
  let last = leafHash(chunk.subarray(0, total - (nodes - 1) * leafBytes));
  // All nodes of a level but the last are equal.
  for (; nodes > 1; nodes = Math.ceil(nodes / 2)) {
    if (nodes % 2 === 0) last = nodeHash(full, last);
    full = nodeHash(full, full);
  }
  return bytesToHex(last) as Root;
}

/** Index of the last operation that reads each value; −1 for none. */
function lastUses(program: Program, count: number): Int32Array {
  const last = new Int32Array(count).fill(-1);
  program.operations.forEach(({ inputs }, index) => {
    for (const input of inputs) last[input] = index;
  });
  return last;
}

/** End of the part that begins with operation `begin`. */
function partEnd(program: Program, begin: number, partBytes: number): number {
  let bytes = 0;
  let values = 0;
  let end = begin;
  for (; end < program.operations.length && end - begin < maxPartOperations; end++) {
    const { inputs, outputs } = program.operations[end] as Operation;
    bytes += outputs.reduce((sum, type) => sum + bytesOf(type), 0);
    values += inputs.length + outputs.length;
    if (end > begin && (bytes > partBytes || values > maxPartValues)) break;
  }
  return end;
}

/**
 * Traces `program` on `inputs`; yields the number of operations done after each part, so that a shell can answer others in between.
 * Throws PROGRAM_INVALID, TENSOR_MISMATCH and NUMERIC_FAULT as an executor does.
 */
export function* traceOperations(
  program: Program,
  inputs: readonly Tensor[],
  { executor = wasmExecutor, partBytes = defaultPartBytes }: TraceOptions = {},
): Generator<number, OperationTrace, undefined> {
  checkProgram(program);
  checkInputs(program, inputs);
  const types = valueTypes(program);
  const starts = operationStarts(program);
  const last = lastUses(program, types.length);
  const live = new Map<number, Tensor>([...inputs, ...program.constants].entries());
  const roots: Root[] = [];
  const firstResult = starts[0] as number;
  const valueOf = (value: number): Tensor => {
    const tensor = live.get(value);
    if (tensor === undefined) throw new MusterError('INTERNAL', `value ${value} is read after it was dropped`);
    return tensor;
  };
  const rootOf = (value: number): Root => roots[value - firstResult] ?? tensorRoot(valueOf(value));
  for (let begin = 0; begin < program.operations.length;) {
    const end = partEnd(program, begin, partBytes);
    const rules: RootRule[] = [];
    const wanted: number[] = [];
    for (let index = begin; index < end; index++) {
      const operation = program.operations[index] as Operation;
      operation.outputs.forEach((output, n) => {
        const value = (starts[index] as number) + n;
        const rule = ruleOf(operation, types, output);
        rules.push(rule);
        if (rule.kind === 'own' || (last[value] as number) >= end) wanted.push(value);
      });
    }
    const operations = Array.from({ length: end - begin }, (_, i) => begin + i);
    const results = runPart(program, types, starts, { operations, wanted }, valueOf, executor);
    wanted.forEach((value, index) => live.set(value, results[index] as Tensor));
    rules.forEach((rule, offset) => {
      const value = (starts[begin] as number) + offset;
      if (rule.kind === 'own') roots.push(tensorRoot(valueOf(value)));
      else if (rule.kind === 'same') roots.push(rootOf(rule.source));
      else roots.push(repeatedRoot(valueOf(rule.source), sizeOf((types[value] as TensorType).shape)));
    });
    // Values of one element stay: something may repeat them later.
    for (const [value, tensor] of live) if ((last[value] as number) < end && tensor.data.length !== 1) live.delete(value);
    begin = end;
    yield end;
  }
  const operationRoots = program.operations.map((_, index) =>
    roots.slice((starts[index] as number) - firstResult, (starts[index + 1] as number) - firstResult),
  );
  return { operationRoots, root: traceRoot(roots) };
}

/** `traceOperations` without a pause. */
export function traceStep(program: Program, inputs: readonly Tensor[], options: TraceOptions = {}): OperationTrace {
  const steps = traceOperations(program, inputs, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
