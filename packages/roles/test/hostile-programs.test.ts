/** Jobs whose programs no machine should try, or whose data the model does not know: refused before a program is planned. */
import { importText, packDataset } from '@muster/data';
import { defaultCostLimits, encodeProgram, type Executor, ProgramBuilder, wasmExecutor } from '@muster/engine';
import { buildModel, decodeModelSpec, encodeModel } from '@muster/models';
import { memoryBlobStore } from '@muster/ports';
import { cidOfBytes, encodeCanonical } from '@muster/protocol';
import { expect, test } from 'vitest';
import { loadMaterial, reader } from '../src/index.ts';
import { storeOrder, tinyOrder } from './support/order.ts';

/** Plans nothing. */
const refusing: Executor = {
  name: 'refusing',
  prepare() {
    throw new Error('a program was planned');
  },
};

/** Loads the tiny order with `bytes` as the program that applies the model. */
async function loadWithApply(bytes: Uint8Array, limits = defaultCostLimits): Promise<unknown> {
  const blobs = memoryBlobStore();
  const order = await tinyOrder();
  await storeOrder(order, blobs);
  const { model } = order.model;
  const hostile = encodeModel({ ...model, programs: { ...model.programs, apply: cidOfBytes(bytes, 'dag-cbor') } });
  const stored = new Map([
    [cidOfBytes(bytes, 'dag-cbor'), bytes],
    [hostile.cid, hostile.bytes],
  ]);
  const read = reader(blobs);
  return await loadMaterial({ ...order.spec, model: hostile.cid }, async (cid) => stored.get(cid) ?? (await read(cid)), refusing, limits);
}

test('a program that spreads a number over 2³¹ elements is refused before anything is planned', async () => {
  const { model } = await tinyOrder();
  const builder = new ProgramBuilder('apply');
  const inputs = model.programs.apply.inputs.map((type) => builder.input(type));
  const x = inputs.at(-1) as (typeof inputs)[number];
  const scalar = builder.apply('reduce', { op: 'max', axis: [0, 1] }, x);
  const wide = builder.apply('neg', {}, builder.apply('broadcast', { shape: [2 ** 31], axis: [0] }, scalar));
  const output = builder.apply('reduce', { op: 'max', axis: [0] }, wide);
  const bytes = encodeProgram(builder.finish([{ name: 'output', value: output }]));
  await expect(loadWithApply(bytes)).rejects.toMatchObject({
    code: 'PROGRAM_INVALID',
    details: { field: 'largestTensorBytes', value: 2 ** 33 },
  });
});

test('a program of a million tiny operations is refused before anything is planned', async () => {
  const operation = { primitive: 'neg', inputs: [0], params: {}, outputs: [{ dtype: 'float32', shape: [] }] };
  const program = { version: 1, name: 'apply', inputs: [], constants: [], outputs: [] };
  const one = Buffer.from(encodeCanonical(operation));
  const whole = Buffer.from(encodeCanonical({ ...program, operations: [operation] }));
  const at = whole.indexOf(one);
  // The list of one (0x81) becomes one of a million (0x9a and four bytes of length).
  const many = Buffer.alloc(1_000_000 * one.length, one);
  const bytes = Buffer.concat([whole.subarray(0, at - 1), Buffer.from('9a000f4240', 'hex'), many, whole.subarray(at + one.length)]);
  await expect(loadWithApply(bytes)).rejects.toMatchObject({ code: 'BYTES_TOO_LARGE' });
});

test('a job whose programs take more memory than this machine gives is refused, and every other one is planned', async () => {
  const blobs = memoryBlobStore();
  const order = await tinyOrder();
  await storeOrder(order, blobs);
  const limited = (peakBytes: number): Promise<unknown> =>
    loadMaterial(order.spec, reader(blobs), refusing, { ...defaultCostLimits, peakBytes });
  await expect(limited(500)).rejects.toMatchObject({ code: 'PROGRAM_INVALID', details: { field: 'peakBytes', limit: 500 } });
  await expect(limited(1e6)).rejects.toThrow('a program was planned');
});

test('a language model is not given texts with tokens that it does not know', async () => {
  const optimizer = { kind: 'sgd', learningRate: 0.1 } as const;
  const shape = { family: 'gpt', context: 4, layers: 1, heads: 1, width: 4, batchSize: 2, evaluationBatch: 2, optimizer } as const;
  const text = Uint8Array.from({ length: 400 }, (_, index) => 97 + (index % 26));
  const dataset = packDataset(
    importText(
      'letters',
      { name: 'letters', bytes: text },
      null,
      { context: 4, stride: 4, tokenizer: null },
      { fraction: 0.1, seed: 3 },
      2 ** 20,
    ),
  );
  const load = async (vocabulary: number): Promise<unknown> => {
    const blobs = memoryBlobStore();
    const model = await buildModel(decodeModelSpec({ ...shape, vocabulary }));
    const { spec } = await tinyOrder({ model: model.cid, dataset: dataset.cid });
    await storeOrder({ spec, dataset, model }, blobs);
    return await loadMaterial(spec, reader(blobs), wasmExecutor);
  };
  await expect(load(200)).rejects.toMatchObject({ code: 'JOB_INVALID', message: expect.stringContaining('vocabulary of 256') as string });
  await expect(load(256)).resolves.toBeDefined();
});
