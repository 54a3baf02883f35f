/** The check of a program run's inputs, the same for every executor. */
import { MusterError } from '@muster/protocol';
import { type DType, dtypes, type Program, type Tensor } from '../program.ts';
import { sizeOf } from './layout.ts';

const arrays = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array, bool: Uint8Array } as const satisfies Record<
  DType,
  unknown
>;

/**
 * Throws TENSOR_MISMATCH {input} unless `inputs` fit `program.inputs` in number, dtype, shape, array type and length with bools of
 * 0 and 1 only, and NUMERIC_FAULT {operation: −1, primitive: 'input', input} if one holds a NaN.
 */
export function checkInputs(program: Program, inputs: readonly Tensor[]): void {
  if (inputs.length !== program.inputs.length) {
    throw new MusterError('TENSOR_MISMATCH', `${inputs.length} inputs for a program of ${program.inputs.length}`, {
      expected: program.inputs.length,
      actual: inputs.length,
    });
  }
  program.inputs.forEach(({ name, dtype, shape }, index) => {
    const tensor = inputs[index] as Tensor;
    const refuse = (what: string): never => {
      throw new MusterError('TENSOR_MISMATCH', `input "${name}": ${what}`, { input: name });
    };
    if (tensor.dtype !== dtype) refuse(`${dtypes.includes(tensor.dtype) ? tensor.dtype : 'unknown dtype'} for ${dtype}`);
    if (tensor.shape.length !== shape.length || shape.some((extent, axis) => tensor.shape[axis] !== extent)) {
      refuse(`shape [${tensor.shape.join(',')}] for [${shape.join(',')}]`);
    }
    if (!(tensor.data instanceof arrays[dtype])) refuse(`the data is no ${arrays[dtype].name}`);
    if (tensor.data.length !== sizeOf(shape)) refuse(`${tensor.data.length} elements for ${sizeOf(shape)}`);
    if (tensor.data instanceof Uint8Array && tensor.data.some((value) => value > 1)) refuse('a bool other than 0 and 1');
    if (tensor.data instanceof Float32Array && tensor.data.some(Number.isNaN)) {
      throw new MusterError('NUMERIC_FAULT', `input "${name}" holds a NaN`, { operation: -1, primitive: 'input', input: name });
    }
  });
}
