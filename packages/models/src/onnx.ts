/**
 * A program as an ONNX file: the inputs that are given become weights, the others stay inputs, and outputs keep their names.
 *
 * For use elsewhere: ONNX runtimes compute in their own order, so results agree to rounding. What each primitive becomes is
 * `onnx-operations.ts`; the encoding is `onnx-proto.ts`. Every extent is fixed, as it is in the program.
 */
import { checkProgram, describeType, elementCount, type Operation, type Program, sameType, type Tensor, tensorBytes } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { OnnxGraph, type OnnxValue } from './onnx-graph.ts';
import { maximumOfWindows, translateOperation } from './onnx-operations.ts';
import { modelFile, valueInfo } from './onnx-proto.ts';

/** The operator set that files are written for. */
export const onnxOperatorSet = 18;

/** Values that outputs depend on, by value index. */
function neededValues(program: Program): ReadonlySet<number> {
  const needed = new Set(program.outputs.map(({ value }) => value));
  let first = program.inputs.length + program.constants.length + program.operations.reduce((sum, { outputs }) => sum + outputs.length, 0);
  for (const { inputs, outputs } of program.operations.toReversed()) {
    first -= outputs.length;
    if (outputs.some((_, index) => needed.has(first + index))) for (const input of inputs) needed.add(input);
  }
  return needed;
}

type Pool = Extract<Operation, { readonly primitive: 'pool' }>;

/** The windows that `operation` takes the maximum of: it reduces exactly the axes that `pool`, which gives its input, appended. */
function windowsOf(operation: Operation, pools: ReadonlyMap<number, Pool>): Pool | null {
  if (operation.primitive !== 'reduce' || operation.params.op !== 'max') return null;
  const pool = pools.get(operation.inputs[0] ?? -1);
  const window = pool?.params.window.length ?? 0;
  const rank = pool?.outputs[0]?.shape.length ?? 0;
  const { axis } = operation.params;
  return pool !== undefined && window <= 3 && axis.length === window && axis[0] === rank - window ? pool : null;
}

/** Pools by the value they give, where every use of it is a maximum over its windows. */
function maximumPools(program: Program): ReadonlyMap<number, Pool> {
  const pools = new Map<number, Pool>();
  let next = program.inputs.length + program.constants.length;
  for (const operation of program.operations) {
    if (operation.primitive === 'pool') pools.set(next, operation);
    next += operation.outputs.length;
  }
  for (const operation of program.operations) {
    if (windowsOf(operation, pools) === null) for (const input of operation.inputs) pools.delete(input);
  }
  for (const { value } of program.outputs) pools.delete(value);
  return pools;
}

/**
 * The ONNX file of `program` with `weights` for the inputs they name. `metadata` is kept as properties of the model. Throws PRIMITIVE_UNKNOWN
 * naming the primitive and operation that ONNX has no form for, TENSOR_MISMATCH for a weight that is no input or of another type, PROGRAM_INVALID,
 * BYTES_TOO_LARGE above 2 GiB.
 */
export function programToOnnx(
  program: Program,
  weights: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  checkProgram(program);
  const graph = new OnnxGraph();
  const needed = neededValues(program);
  const outputNames = new Set(program.outputs.map(({ name }) => name));
  for (const name of weights.keys()) {
    if (!program.inputs.some((input) => input.name === name)) {
      throw new MusterError('TENSOR_MISMATCH', `the program has no input ${name}`, { input: name });
    }
  }
  const values = new Map<number, OnnxValue>();
  const inputs: OnnxValue[] = [];
  program.inputs.forEach((input, index) => {
    const weight = weights.get(input.name);
    // An output of the same name has the right to it: it is what a user asks for.
    const name = outputNames.has(input.name) ? `${input.name}/input` : input.name;
    const value = { ...input, name };
    values.set(index, value);
    if (weight === undefined) inputs.push(value);
    else if (!sameType(weight, input) || weight.data.length !== elementCount(input.shape)) {
      throw new MusterError('TENSOR_MISMATCH', `${input.name} is ${describeType(weight)}, expected ${describeType(input)}`, {
        input: input.name,
      });
    } else if (needed.has(index)) graph.initializer(name, input.dtype, input.shape, tensorBytes(weight));
  });
  program.constants.forEach((constant, i) => {
    const index = program.inputs.length + i;
    if (needed.has(index)) values.set(index, { dtype: constant.dtype, shape: constant.shape, name: graph.constant(constant) });
  });
  const pools = maximumPools(program);
  let next = program.inputs.length + program.constants.length;
  program.operations.forEach((operation, index) => {
    const first = next;
    next += operation.outputs.length;
    if (pools.has(first) || !operation.outputs.some((_, i) => needed.has(first + i))) return;
    const windows = windowsOf(operation, pools);
    const given = (windows ?? operation).inputs.map((input) => values.get(input) as OnnxValue);
    try {
      const made = windows === null ? translateOperation(graph, operation, given) : [maximumOfWindows(graph, windows, given)];
      made.forEach((value, i) => values.set(first + i, value));
    } catch (error) {
      if (!(error instanceof MusterError)) throw error;
      throw new MusterError(error.code, `operation ${index}: ${error.message}`, { ...error.details, operation: index }, { cause: error });
    }
  });
  const outputs = program.outputs.map(({ name, value }) => {
    const found = values.get(value) as OnnxValue;
    graph.output(found.name, name);
    return valueInfo(name, found.dtype, found.shape);
  });
  return modelFile({
    name: program.name,
    nodes: graph.nodes,
    initializers: graph.initializers,
    inputs: inputs.map(({ name, dtype, shape }) => valueInfo(name, dtype, shape)),
    outputs,
    metadata,
    opset: onnxOperatorSet,
  });
}
