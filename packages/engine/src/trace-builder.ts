/**
 * Builds programs one operation at a time: types are inferred, equal constants and equal operations are shared, what no output
 * needs is left out. Programs that are not traced from jax-js (aggregation, for one) are written with it directly.
 */
import { bytesToHex, MusterError, sha256 } from '@muster/protocol';
import { checkProgram } from './check.ts';
import type { DType, NamedType, Operation, ParamsOf, PrimitiveName, Program, Tensor, TensorData, TensorType } from './program.ts';
import { elementCount, inferOutputs } from './shapes.ts';

/** A value of the program being built; meaningful only to the builder that returned it. */
export interface Value extends TensorType {
  readonly id: number;
}

/** How a value came to be. */
export type Origin =
  { readonly kind: 'input' } | { readonly kind: 'constant'; readonly tensor: Tensor } | { readonly kind: 'operation'; readonly node: Node };

interface Node {
  readonly primitive: PrimitiveName;
  readonly params: ParamsOf<PrimitiveName>;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** A rank-0 tensor. float32 is rounded to nearest even, integers wrap. Throws PROGRAM_INVALID for NaN. */
export function scalarTensor(dtype: DType, value: number): Tensor {
  if (Number.isNaN(value)) throw new MusterError('PROGRAM_INVALID', 'a constant is NaN', { field: 'constants' });
  const data: TensorData =
    dtype === 'float32'
      ? Float32Array.of(value)
      : dtype === 'int32'
        ? Int32Array.of(value)
        : dtype === 'uint32'
          ? Uint32Array.of(value)
          : Uint8Array.of(value === 0 ? 0 : 1);
  return { dtype, shape: [], data };
}

/** Identity of a constant: type and bits, so that −0 and +0 stay apart. */
function constantKey(tensor: Tensor): string {
  const { data } = tensor;
  const digest = sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return `${tensor.dtype}[${tensor.shape.join(',')}]${bytesToHex(digest)}`;
}

export class ProgramBuilder {
  readonly #name: string;
  readonly #inputs: NamedType[] = [];
  readonly #origins: Origin[] = [];
  readonly #values: Value[] = [];
  readonly #nodes: Node[] = [];
  readonly #known = new Map<string, readonly Value[]>();

  constructor(name: string) {
    this.#name = name;
  }

  #newValue(type: TensorType, origin: Origin): Value {
    const value: Value = { id: this.#values.length, dtype: type.dtype, shape: type.shape };
    this.#values.push(value);
    this.#origins.push(origin);
    return value;
  }

  /** The next program input. */
  input(type: NamedType): Value {
    this.#inputs.push({ name: type.name, dtype: type.dtype, shape: [...type.shape] });
    return this.#newValue(type, { kind: 'input' });
  }

  constant(tensor: Tensor): Value {
    const key = constantKey(tensor);
    const known = this.#known.get(key)?.[0];
    if (known !== undefined) return known;
    const value = this.#newValue(tensor, { kind: 'constant', tensor });
    this.#known.set(key, [value]);
    return value;
  }

  scalar(dtype: DType, value: number): Value {
    return this.constant(scalarTensor(dtype, value));
  }

  /** Results of one operation, in output order. Throws PROGRAM_INVALID if it breaks the primitive's rules. */
  operation<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, ...inputs: readonly Value[]): readonly Value[] {
    const key = `${primitive}(${inputs.map((input) => input.id).join(',')})${JSON.stringify(params)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const types = inferOutputs(primitive, params, inputs);
    const outputs: Value[] = [];
    const node: Node = { primitive, params, inputs: [...inputs], outputs };
    for (const type of types) outputs.push(this.#newValue(type, { kind: 'operation', node }));
    this.#nodes.push(node);
    this.#known.set(key, outputs);
    return outputs;
  }

  /** The first result of an operation. */
  apply<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, ...inputs: readonly Value[]): Value {
    return this.operation(primitive, params, ...inputs)[0] as Value;
  }

  originOf(value: Value): Origin {
    return this.#origins[value.id] as Origin;
  }

  /** The checked program whose outputs are `outputs`, without operations and constants that none of them needs. */
  finish(outputs: readonly { readonly name: string; readonly value: Value }[]): Program {
    const needed = new Set(outputs.map(({ value }) => value.id));
    const nodes = this.#nodes.toReversed().filter((node) => {
      if (!node.outputs.some((output) => needed.has(output.id))) return false;
      for (const input of node.inputs) needed.add(input.id);
      return true;
    });
    nodes.reverse();

    const index = new Map<number, number>();
    const number = (id: number): void => void index.set(id, index.size);
    const indexOf = (value: Value): number => index.get(value.id) as number;
    const constants: Tensor[] = [];
    this.#origins.forEach((origin, id) => {
      if (origin.kind === 'input') number(id);
    });
    this.#origins.forEach((origin, id) => {
      if (origin.kind !== 'constant' || !needed.has(id)) return;
      number(id);
      constants.push(origin.tensor);
    });
    const operations = nodes.map((node) => {
      for (const output of node.outputs) number(output.id);
      return {
        primitive: node.primitive,
        inputs: node.inputs.map(indexOf),
        params: node.params,
        outputs: node.outputs.map(({ dtype, shape }) => ({ dtype, shape: [...shape] })),
      } as Operation; // primitive and params of a node belong together: `operation` took them as a pair
    });
    const program: Program = {
      version: 1,
      name: this.#name,
      inputs: this.#inputs,
      constants,
      operations,
      outputs: outputs.map(({ name, value }) => ({ name, value: indexOf(value) })),
    };
    checkProgram(program);
    return program;
  }
}

/** Element count of a value. */
export function sizeOf(value: TensorType): number {
  return elementCount(value.shape);
}
