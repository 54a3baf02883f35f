/**
 * Order: an operation that lets go of as much memory as it takes is done as soon as its operands are there. Differentiation leaves the products that
 * make weight gradients to the end of a program, where they hold every layer's activations; here they follow the layer.
 *
 * Only kernel calls move; element-wise operations stay where fusion expects them, and views go in front of whoever needs them. Time is linear in
 * operations and operands.
 */
import { valueTypes } from '../check.ts';
import type { Program, TensorType } from '../program.ts';
import { assemble, constantsOf, type Draft, draftsOf, type Rewritten } from './rewrite.ts';
import { bytesOf, modeOf, scheduleProgram } from './schedule.ts';

/** `program` in an order with shorter lives; as it is where that would take more memory. */
export function reorder(program: Program): Rewritten {
  const drafts = draftsOf(program);
  const types = valueTypes(program);
  const given = program.inputs.length + program.constants.length;
  const root = Int32Array.from(types, (_, value) => value);
  const maker = new Int32Array(types.length).fill(-1);
  const modes = drafts.map(({ operation, outputs }, index) => {
    const [first] = operation.inputs;
    const mode = first === undefined ? 'call' : modeOf(operation, (types[first] as TensorType).dtype);
    for (const output of outputs) {
      maker[output] = index;
      if (mode === 'view') root[output] = root[first as number] as number;
    }
    return mode;
  });
  /** Roots that an operation reads, each once. */
  const reads = drafts.map(({ operation }) => [...new Set(operation.inputs.map((input) => root[input] as number))]);
  const readers: number[][] = types.map(() => []);
  drafts.forEach((_, index) => {
    if (modes[index] !== 'view') for (const value of reads[index] as number[]) readers[value]?.push(index);
  });
  const left = Int32Array.from(readers, (list) => list.length);
  const made = Uint8Array.from(types, (_, value) => (value < given ? 1 : 0));
  // Inputs, constants and outputs stay whatever happens.
  const frees = Uint8Array.from(types, (_, value) => (value < given ? 0 : 1));
  for (const { value } of program.outputs) frees[root[value] as number] = 0;

  const order: Draft[] = [];
  const done = new Uint8Array(drafts.length);
  const place = (index: number): void => {
    done[index] = 1;
    order.push(drafts[index] as Draft);
  };
  /** Places the views that make `value` from its root. */
  const placeViews = (value: number): void => {
    const chain: number[] = [];
    for (let at = value; root[at] !== at;) {
      const index = maker[at] as number;
      if (done[index] === 1) break;
      chain.push(index);
      at = (drafts[index] as Draft).operation.inputs[0] as number;
    }
    for (const index of chain.toReversed()) place(index);
  };
  const worthwhile = (index: number): boolean => {
    if (done[index] === 1 || modes[index] !== 'call') return false;
    let balance = 0;
    for (const value of reads[index] as number[]) {
      if (made[value] !== 1) return false;
      if (left[value] === 1 && frees[value] === 1) balance += bytesOf(types[value] as TensorType);
    }
    for (const output of (drafts[index] as Draft).operation.outputs) balance -= bytesOf(output);
    return balance >= 0;
  };
  const pending: number[] = [];
  const run = (index: number): void => {
    const { operation, outputs } = drafts[index] as Draft;
    if (modes[index] !== 'view') for (const input of operation.inputs) placeViews(input);
    place(index);
    if (modes[index] === 'view') return;
    for (const value of reads[index] as number[]) {
      left[value] = (left[value] as number) - 1;
      if (left[value] === 1) pending.push(value);
    }
    for (const output of outputs) {
      made[output] = 1;
      pending.push(output);
    }
  };
  drafts.forEach((_, index) => {
    if (done[index] === 1) return;
    run(index);
    for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
      for (const reader of readers[value] as number[]) if (worthwhile(reader)) run(reader);
    }
  });
  const outputs = program.outputs.map(({ value }) => value);
  const ordered = assemble(program, constantsOf(program), order, outputs);
  // What frees memory soonest at every point is not always best in the end.
  const better = scheduleProgram(ordered.program).peakBytes <= scheduleProgram(program).peakBytes;
  return better ? ordered : { program, origin: program.operations.map((_, index) => index) };
}
