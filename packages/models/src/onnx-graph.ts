/**
 * A graph of ONNX nodes under construction: names, constants, and the few reshaping steps that translations share. It knows nothing of
 * programs; what a primitive becomes is `onnx-operations.ts`.
 */
import { elementCount, sameShape, type Tensor, tensorBytes, type TensorType } from '@muster/engine';
import { type AttributeValue, type Message, type NodeDescription, type OnnxType, tensorProto } from './onnx-proto.ts';

/** The value called `name` in the graph. */
export interface OnnxValue extends TensorType {
  readonly name: string;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

export class OnnxGraph {
  readonly nodes: NodeDescription[] = [];
  readonly initializers: Message[] = [];
  readonly #constants = new Map<string, string>();
  #next = 0;

  /** A name that no program can contain. */
  #name(): string {
    return `/${this.#next++}`;
  }

  /** The `count` results of a node. */
  nodeOf(operator: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>>, count: number): string[] {
    const outputs = range(count).map(() => this.#name());
    this.nodes.push({ operator, inputs, outputs, attributes });
    return outputs;
  }

  /** The result of a node of one. */
  node(operator: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    return this.nodeOf(operator, inputs, attributes, 1)[0] as string;
  }

  /** Gives `value` the name `output`. */
  output(value: string, output: string): void {
    this.nodes.push({ operator: 'Identity', inputs: [value], outputs: [output], attributes: {} });
  }

  initializer(name: string, dtype: OnnxType, shape: readonly number[], bytes: Uint8Array): void {
    this.initializers.push(tensorProto(name, dtype, shape, bytes));
  }

  /** A constant tensor. */
  constant(tensor: Tensor): string {
    const name = this.#name();
    this.initializer(name, tensor.dtype, tensor.shape, tensorBytes(tensor));
    return name;
  }

  /** A constant list of int64; equal lists are one. */
  integers(values: readonly (number | bigint)[]): string {
    const key = values.join(',');
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(8 * values.length);
    const view = new DataView(bytes.buffer);
    values.forEach((value, index) => view.setBigInt64(8 * index, BigInt(value), true));
    const name = this.#name();
    this.initializer(name, 'int64', [values.length], bytes);
    this.#constants.set(key, name);
    return name;
  }

  /** A constant int32 scalar. */
  int32(value: number): string {
    return this.constant({ dtype: 'int32', shape: [], data: Int32Array.of(value) });
  }

  reshape(value: OnnxValue, shape: readonly number[]): OnnxValue {
    if (sameShape(value.shape, shape)) return value;
    const name = this.node('Reshape', [value.name, this.integers(shape)], elementCount(shape) === 0 ? { allowzero: 1 } : {});
    return { name, dtype: value.dtype, shape };
  }

  transpose(value: OnnxValue, perm: readonly number[]): OnnxValue {
    if (perm.every((from, to) => from === to)) return value;
    const shape = perm.map((axis) => value.shape[axis] ?? 1);
    // Axes of extent 1 may move without moving an element.
    const moved = perm.filter((axis) => value.shape[axis] !== 1);
    if (moved.every((axis, index) => index === 0 || axis > (moved[index - 1] as number))) return this.reshape(value, shape);
    return { name: this.node('Transpose', [value.name], { perm }), dtype: value.dtype, shape };
  }

  /** `value` stretched to `shape`, which has its rank. */
  expand(value: OnnxValue, shape: readonly number[]): OnnxValue {
    if (sameShape(value.shape, shape)) return value;
    return { name: this.node('Expand', [value.name, this.integers(shape)]), dtype: value.dtype, shape };
  }

  cast(value: OnnxValue, dtype: OnnxValue['dtype'], code: number): OnnxValue {
    if (value.dtype === dtype) return value;
    return { name: this.node('Cast', [value.name], { to: code }), dtype, shape: value.shape };
  }
}
