/**
 * What a record looks like to a program: dtypes and shapes of a batch, and the values of stored bytes.
 *
 * The types are those of the engine's tensors, written without depending on it. Reading records is `reader.ts`.
 */
import type { RecordType } from './manifest.ts';

/** A dense value, row-major; an engine `Tensor`. */
export type BatchTensor =
  | { readonly dtype: 'float32'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: 'int32'; readonly shape: readonly number[]; readonly data: Int32Array };

/** Type of one side of a batch, as a program's input declares it. */
export interface BatchType {
  readonly dtype: 'float32' | 'int32';
  readonly shape: readonly number[];
}

const inverse255 = Math.fround(1 / 255);

/** float32 of each stored byte: fl(v · fl(1/255)); the product is exact in float64, so `fround` is the one rounding. */
export const uint8Values: Float32Array = Float32Array.from({ length: 256 }, (_, value) => value * inverse255);

/** Types of `x` and `y` in a batch of `batchSize` records, to hold against the inputs of a program. `y` is null for records without target. */
export function batchTypes(record: RecordType, batchSize: number): { readonly x: BatchType; readonly y: BatchType | null } {
  const { feature, target } = record;
  const isFloat = feature.dtype === 'uint8' || feature.dtype === 'float32';
  const x: BatchType = { dtype: isFloat ? 'float32' : 'int32', shape: [batchSize, ...feature.shape] };
  switch (target.kind) {
    case 'class':
      return { x, y: { dtype: 'int32', shape: [batchSize] } };
    case 'value':
      return { x, y: { dtype: 'float32', shape: [batchSize, ...target.shape] } };
    case 'next-token':
      return { x, y: x };
    case 'none':
      return { x, y: null };
    default:
      return target satisfies never;
  }
}
