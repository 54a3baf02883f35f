/**
 * The parts of ONNX's protobuf messages that a model file needs, written only. Source: onnx.proto of ONNX 1.14 (IR version 8) and the
 * protobuf encoding specification. Field numbers are named by the message they belong to.
 */
import type { DType } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { encodeUtf8 } from './utf8.ts';

/** TensorProto.DataType. */
export const dataTypes = { float32: 1, int32: 6, int64: 7, bool: 9, uint32: 12 } as const;
export type OnnxType = DType | 'int64';

/** A message as the pieces of its encoding. Nothing is copied before the whole is joined. */
export type Message = readonly Uint8Array[];

/** Largest file protobuf allows. */
const maxFileBytes = 2 ** 31 - 1;

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

const lengthOf = (message: Message): number => message.reduce((sum, { length }) => sum + length, 0);

function integer(field: number, value: number): Message {
  return [varint(8 * field), varint(value)];
}

function nested(field: number, message: Message): Message {
  return [varint(8 * field + 2), varint(lengthOf(message)), ...message];
}

function string(field: number, value: string): Message {
  const bytes = encodeUtf8(value);
  if (!(bytes instanceof Uint8Array)) throw new MusterError('INTERNAL', 'a name is not well-formed text');
  return nested(field, [bytes]);
}

const repeated = <T>(items: readonly T[], write: (item: T) => Message): Message => items.flatMap((item) => [...write(item)]);

/** TensorProto with `bytes` as its raw data, little-endian. */
export function tensorProto(name: string, dtype: OnnxType, shape: readonly number[], bytes: Uint8Array): Message {
  return [...repeated(shape, (extent) => integer(1, extent)), ...integer(2, dataTypes[dtype]), ...string(8, name), ...nested(9, [bytes])];
}

/** ValueInfoProto of a tensor. */
export function valueInfo(name: string, dtype: OnnxType, shape: readonly number[]): Message {
  const dimensions = repeated(shape, (extent) => nested(1, integer(1, extent)));
  return [...string(1, name), ...nested(2, nested(1, [...integer(1, dataTypes[dtype]), ...nested(2, dimensions)]))];
}

export type AttributeValue = number | string | readonly number[];

/** AttributeProto: an integer, a text or integers. */
function attribute(name: string, value: AttributeValue): Message {
  if (typeof value === 'number') return [...string(1, name), ...integer(3, value), ...integer(20, 2)];
  if (typeof value === 'string') return [...string(1, name), ...string(4, value), ...integer(20, 3)];
  return [...string(1, name), ...repeated(value, (item) => integer(8, item)), ...integer(20, 7)];
}

export interface NodeDescription {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

function nodeProto({ operator, inputs, outputs, attributes }: NodeDescription): Message {
  return [
    ...repeated(inputs, (input) => string(1, input)),
    ...repeated(outputs, (output) => string(2, output)),
    ...string(4, operator),
    ...repeated(Object.entries(attributes), ([name, value]) => nested(5, attribute(name, value))),
  ];
}

export interface ModelDescription {
  readonly name: string;
  readonly nodes: readonly NodeDescription[];
  /** TensorProto messages. */
  readonly initializers: readonly Message[];
  /** ValueInfoProto messages. */
  readonly inputs: readonly Message[];
  readonly outputs: readonly Message[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly opset: number;
}

/** The file of a ModelProto. Throws BYTES_TOO_LARGE above 2 GiB. */
export function modelFile(model: ModelDescription): Uint8Array<ArrayBuffer> {
  const graph: Message = [
    ...repeated(model.nodes, (node) => nested(1, nodeProto(node))),
    ...string(2, model.name),
    ...repeated(model.initializers, (tensor) => nested(5, tensor)),
    ...repeated(model.inputs, (value) => nested(11, value)),
    ...repeated(model.outputs, (value) => nested(12, value)),
  ];
  const message: Message = [
    ...integer(1, 8), // IR version 8
    ...string(2, 'muster'),
    ...nested(7, graph),
    ...nested(8, [...string(1, ''), ...integer(2, model.opset)]),
    ...repeated(Object.entries(model.metadata), ([key, value]) => nested(14, [...string(1, key), ...string(2, value)])),
  ];
  const bytes = lengthOf(message);
  if (bytes > maxFileBytes) {
    throw new MusterError('BYTES_TOO_LARGE', `an ONNX file of ${bytes} bytes, at most ${maxFileBytes}`, { bytes, maxBytes: maxFileBytes });
  }
  const file = new Uint8Array(bytes);
  let at = 0;
  for (const piece of message) {
    file.set(piece, at);
    at += piece.length;
  }
  return file;
}
