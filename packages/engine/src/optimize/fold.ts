/**
 * Constant folding: what depends on constants alone is computed once, when a program is prepared, by the rules of the reference executor.
 *
 * Results stay small: large ones stay operations, and views of constants (a broadcast of a literal) stay views, which cost nothing. An
 * operation that would give a NaN is left where it is, to fault in its turn.
 */
import { maxConstantBytes, maxConstants } from '../check.ts';
import { flopsOf } from '../cost.ts';
import type { Operation, Program, Tensor, TensorData, TensorType } from '../program.ts';
import { executeOperation } from '../reference/executor.ts';
import { sizeOf } from '../reference/layout.ts';
import { assemble, constantsOf, type Draft, draftsOf, type Rewritten, valueCount } from './rewrite.ts';
import { bytesOf, modeOf } from './schedule.ts';

/** Largest result that is folded, unless an input of the operation is as large. */
const maxFoldedBytes = 64 * 1024;
/** Elements that folding one program may compute and read. */
const maxWork = 4e6;

function repeats(data: TensorData): boolean {
  if (data.length < 2) return false;
  const words = data instanceof Uint8Array ? data : new Uint32Array(data.buffer, data.byteOffset, data.length);
  return words.every((word) => word === words[0]);
}

/** `program` with the operations on constants alone computed. */
export function foldConstants(program: Program): Rewritten {
  const drafts = draftsOf(program);
  const constants = constantsOf(program);
  const known = new Map<number, Tensor>(constants);
  const types: TensorType[] = [...program.inputs, ...program.constants, ...program.operations.flatMap(({ outputs }) => outputs)];
  let work = 0;
  let bytes = program.constants.reduce((sum, type) => sum + bytesOf(type), 0);
  let nextId = valueCount(program);

  /** Outputs of an operation on constants, if it is small and does not fault. */
  const computed = ({ operation, outputs }: Draft): Tensor[] | null => {
    if (operation.inputs.length === 0 || !operation.inputs.every((input) => known.has(input))) return null;
    const inputs = operation.inputs.map((input) => known.get(input) as Tensor);
    const limit = Math.max(maxFoldedBytes, ...inputs.map(bytesOf));
    if (operation.outputs.some((type) => bytesOf(type) > limit)) return null;
    const made = operation.outputs.reduce((sum, type) => sum + bytesOf(type), 0);
    if (bytes + made > maxConstantBytes || constants.size + outputs.length > maxConstants) return null;
    const cost = flopsOf(operation, types) + [...inputs, ...operation.outputs].reduce((sum, type) => sum + sizeOf(type.shape), 0);
    if (work + cost > maxWork) return null;
    work += cost;
    const results = executeOperation(operation, inputs);
    if (results.some((data) => data instanceof Float32Array && data.some(Number.isNaN))) return null;
    bytes += made;
    return outputs.map((_, n) => ({ ...(operation.outputs[n] as TensorType), data: results[n] as TensorData }));
  };

  const kept: Draft[] = [];
  /** Views of constants, which go if nothing reads them in the end. */
  const views = new Set<Draft>();
  for (const draft of drafts) {
    const results = computed(draft);
    if (results === null) {
      kept.push(draft);
      continue;
    }
    results.forEach((tensor, n) => known.set(draft.outputs[n] as number, tensor));
    const [source] = draft.operation.inputs;
    if (source !== undefined && modeOf(draft.operation, (types[source] as TensorType).dtype) === 'view') {
      views.add(draft);
      kept.push(draft);
      continue;
    }
    results.forEach((tensor, n) => {
      const id = draft.outputs[n] as number;
      if (repeats(tensor.data)) {
        const single = nextId++;
        constants.set(single, { dtype: tensor.dtype, shape: [], data: tensor.data.slice(0, 1) });
        const params = { shape: [...tensor.shape], axis: tensor.shape.map((_, axis) => axis) };
        const operation: Operation = {
          primitive: 'broadcast',
          inputs: [single],
          params,
          outputs: [{ dtype: tensor.dtype, shape: tensor.shape }],
        };
        const spread: Draft = { operation, outputs: [id], origin: draft.origin };
        views.add(spread);
        kept.push(spread);
      } else constants.set(id, tensor);
    });
  }
  const outputs = program.outputs.map(({ value }) => value);
  return assemble(program, constants, withoutUnused(kept, views, outputs), outputs);
}

/** `drafts` without those of `removable` that nothing reads. */
function withoutUnused(drafts: readonly Draft[], removable: ReadonlySet<Draft>, outputs: readonly number[]): Draft[] {
  const needed = new Set(outputs);
  return drafts
    .toReversed()
    .filter((draft) => {
      if (removable.has(draft) && !draft.outputs.some((id) => needed.has(id))) return false;
      for (const input of draft.operation.inputs) needed.add(input);
      return true;
    })
    .toReversed();
}
