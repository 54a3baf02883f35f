/** ONNX Runtime's native library, if it is among the peers: a matrix product as a model of one node. */
import { type Candidate, local } from './alternate.ts';
import { peerRequire } from './peers.ts';

interface OrtTensor {
  readonly data: Float32Array;
}
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>, fetches: Readonly<Record<string, OrtTensor>>): Promise<unknown>;
  release(): Promise<void>;
}
interface Ort {
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}

/** ONNX Runtime, or the reason why not. */
export function loadOrt(): Ort | string {
  try {
    return peerRequire()('onnxruntime-node') as Ort;
  } catch (error) {
    return `missing: onnxruntime-node (npm run bench:peers): ${(error as Error).message.split('\n')[0] ?? ''}`;
  }
}

type Field = readonly [number: number, value: number | string | readonly Field[]];

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

/** Fields of a Protocol Buffers message: numbers as varints, text and messages by length. */
function message(fields: readonly Field[]): number[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === 'number') return [...varint(number * 8), ...varint(value)];
    const bytes = typeof value === 'string' ? [...Buffer.from(value)] : message(value);
    return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
  });
}

/** An ONNX model with the one node c = a · b of float32 n × n matrices. Field numbers as in onnx.proto. */
function productModel(n: number): Uint8Array {
  const dimension: Field = [1, [[1, n]]];
  const matrix = (name: string): readonly Field[] => [
    [1, name],
    [
      2,
      [
        [
          1,
          [
            [1, 1],
            [2, [dimension, dimension]],
          ],
        ],
      ],
    ],
  ];
  const node: readonly Field[] = [
    [1, 'a'],
    [1, 'b'],
    [2, 'c'],
    [4, 'MatMul'],
  ];
  const graph: readonly Field[] = [
    [1, node],
    [2, 'product'],
    [11, matrix('a')],
    [11, matrix('b')],
    [12, matrix('c')],
  ];
  return Uint8Array.from(
    message([
      [1, 8],
      [7, graph],
      [8, [[2, 17]]],
    ]),
  );
}

/** The product of `a` and `b`, n × n, on one thread, into an array made beforehand. */
export async function ortProduct(ort: Ort, n: number, a: Float32Array, b: Float32Array): Promise<Candidate> {
  const session = await ort.InferenceSession.create(productModel(n), { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const tensor = (data: Float32Array): OrtTensor => new ort.Tensor('float32', data, [n, n]);
  const feeds = { a: tensor(a), b: tensor(b) };
  const fetches = { c: tensor(new Float32Array(n * n)) };
  return local(
    'onnxruntime',
    () => session.run(feeds, fetches),
    () => session.release(),
  );
}
