/**
 * The check that a program is well formed. Nothing is executed and no tensor is allocated; time is linear in the size of the
 * program, so it is safe on programs from strangers. Memory and time of a run are the planner's business.
 */
import { MusterError } from '@muster/protocol';
import { dtypes, type Operation, primitives, type Program, type Tensor, type TensorData, type TensorType } from './program.ts';
import { describeType, elementCount, inferOutputs, maxArity, sameType } from './shapes.ts';

export const maxOperations = 100_000;
export const maxNamedValues = 4096;
export const maxConstants = 65_536;
/** All constants of a program together. */
export const maxConstantBytes = 64 * 1024 * 1024;
/** Names of programs, inputs and outputs: what may stand in a file name, with dots between the parts. */
export const namePattern = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;

const arrayTypes = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array, bool: Uint8Array } as const;

function fail(field: string, message: string): never {
  throw new MusterError('PROGRAM_INVALID', `${field}: ${message}`, { field });
}

function checkName(name: string, field: string): void {
  if (typeof name !== 'string' || !namePattern.test(name)) fail(field, `not a name: "${name.slice(0, 80)}"`);
}

function checkType(type: TensorType, field: string): number {
  if (!dtypes.includes(type.dtype)) fail(`${field}.dtype`, `unknown: ${type.dtype.slice(0, 40)}`);
  return elementCount(type.shape, `${field}.shape`);
}

function checkNames(names: readonly string[], field: string): void {
  if (names.length > maxNamedValues) fail(field, `${names.length} values, at most ${maxNamedValues}`);
  const seen = new Set<string>();
  names.forEach((name, index) => {
    checkName(name, `${field}[${index}].name`);
    if (seen.has(name)) fail(`${field}[${index}].name`, `"${name}" appears twice`);
    seen.add(name);
  });
}

/** True if `data` holds what `dtype` allows: no NaN in float32, only 0 and 1 in bool. */
function allowedData(data: TensorData): boolean {
  if (data instanceof Float32Array) {
    for (let i = 0; i < data.length; i++) if (Number.isNaN(data[i])) return false;
  }
  if (data instanceof Uint8Array) {
    for (let i = 0; i < data.length; i++) if ((data[i] as number) > 1) return false;
  }
  return true;
}

/** Bytes of the constant. */
function checkConstant(constant: Tensor, field: string): number {
  const count = checkType(constant, field);
  if (!(constant.data instanceof arrayTypes[constant.dtype]) || constant.data.length !== count) {
    fail(`${field}.data`, `not the ${count} elements of ${describeType(constant)}`);
  }
  if (constant.data.byteLength > maxConstantBytes) fail(`${field}.data`, `more than ${maxConstantBytes} bytes`);
  if (!allowedData(constant.data)) fail(`${field}.data`, 'holds a NaN or a bool other than 0 and 1');
  return constant.data.byteLength;
}

function inferOperation(operation: Operation, values: readonly TensorType[]): TensorType[] {
  if (!primitives.includes(operation.primitive)) fail('primitive', `unknown: ${operation.primitive.slice(0, 40)}`);
  if (operation.inputs.length > maxArity) fail('inputs', `${operation.inputs.length} inputs, at most ${maxArity}`);
  const inputs = operation.inputs.map((index) => {
    const type = Number.isSafeInteger(index) ? values[index] : undefined;
    if (type === undefined) fail('inputs', `value ${index} is not defined before this operation`);
    return type;
  });
  return inferOutputs(operation.primitive, operation.params, inputs);
}

function checkOperation(operation: Operation, values: readonly TensorType[]): void {
  const inferred = inferOperation(operation, values);
  const given = operation.outputs;
  if (given.length !== inferred.length) fail('outputs', `${given.length} outputs, expected ${inferred.length}`);
  inferred.forEach((type, index) => {
    const stated = given[index];
    if (stated === undefined || !sameType(stated, type)) {
      fail(`outputs[${index}]`, `${stated === undefined ? 'nothing' : describeType(stated)} stated, ${describeType(type)} inferred`);
    }
  });
}

/** Types of all values of a checked `program`, by value index. */
export function valueTypes(program: Program): TensorType[] {
  const types: TensorType[] = [...program.inputs, ...program.constants];
  for (const operation of program.operations) for (const output of operation.outputs) types.push(output);
  return types;
}

/**
 * Returns if `program` keeps every rule of `docs/spec/02-programs.md`; otherwise throws PROGRAM_INVALID whose details hold
 * the `field` and, inside an operation, its index as `operation` and its `primitive`.
 */
export function checkProgram(program: Program): void {
  if (program.version !== 1) fail('version', 'is not 1');
  checkName(program.name, 'name');
  checkNames(
    program.inputs.map((input) => input.name),
    'inputs',
  );
  program.inputs.forEach((input, index) => checkType(input, `inputs[${index}]`));
  if (program.constants.length > maxConstants) fail('constants', `${program.constants.length} constants, at most ${maxConstants}`);
  let constantBytes = 0;
  program.constants.forEach((constant, index) => {
    constantBytes += checkConstant(constant, `constants[${index}]`);
    if (constantBytes > maxConstantBytes) fail('constants', `more than ${maxConstantBytes} bytes together`);
  });
  if (program.operations.length > maxOperations) fail('operations', `${program.operations.length} operations, at most ${maxOperations}`);
  const values: TensorType[] = [...program.inputs, ...program.constants];
  program.operations.forEach((operation, index) => {
    try {
      checkOperation(operation, values);
    } catch (error) {
      if (!(error instanceof MusterError)) throw error;
      const primitive = operation.primitive.slice(0, 40);
      throw new MusterError(
        'PROGRAM_INVALID',
        `operation ${index} (${primitive}) ${error.message}`,
        { ...error.details, operation: index, primitive },
        { cause: error },
      );
    }
    for (const output of operation.outputs) values.push(output);
  });
  checkNames(
    program.outputs.map((output) => output.name),
    'outputs',
  );
  program.outputs.forEach(({ value }, index) => {
    if (!Number.isSafeInteger(value) || value < 0 || value >= values.length) fail(`outputs[${index}].value`, `there is no value ${value}`);
  });
}
