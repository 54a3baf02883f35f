/**
 * ONNX files, run by ONNX Runtime's WebAssembly on one thread: the outside oracle. Values agree to 1e-4 of the largest, since a runtime
 * sums in its own order; predictions agree exactly.
 */
import * as ort from 'onnxruntime-web';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  elementCount,
  type Operation,
  type PrimitiveName,
  primitives,
  type Program,
  ProgramBuilder,
  randomOperation,
  referenceExecutor,
  type Tensor,
  wasmExecutor,
} from '@muster/engine';
import { cidOfBytes, MusterError } from '@muster/protocol';
import {
  adaptedDefinition,
  buildModel,
  buildModelFromDefinition,
  type BuiltModel,
  decodeModelSpec,
  definitionOf,
  programToOnnx,
} from '@muster/models';
import { floats, initial, optimizers, relativeError, uniforms, zerosOf } from './fixtures.ts';

/** Outputs of the file for the inputs it still has, in the order of `program.outputs`. */
async function runFile(file: Uint8Array, program: Program, inputs: ReadonlyMap<string, Tensor>): Promise<Tensor[]> {
  const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] });
  try {
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => {
        const tensor = inputs.get(name.replace(/\/input$/, ''));
        if (tensor === undefined) throw new Error(`the file asks for ${name}`);
        return [name, new ort.Tensor(tensor.dtype, tensor.data, tensor.shape)];
      }),
    );
    const results = await session.run(feeds);
    return program.outputs.map(({ name }) => {
      const result = results[name];
      if (result === undefined) throw new Error(`the file has no output ${name}`);
      return { dtype: result.type, shape: [...result.dims], data: result.data } as Tensor;
    });
  } finally {
    await session.release();
  }
}

const named = (program: Program, inputs: readonly Tensor[]): Map<string, Tensor> =>
  new Map(program.inputs.map(({ name }, index) => [name, inputs[index] as Tensor]));

function expectClose(actual: readonly Tensor[], expected: readonly Tensor[]): void {
  expect(actual.map(({ dtype, shape }) => ({ dtype, shape }))).toEqual(expected.map(({ dtype, shape }) => ({ dtype, shape })));
  actual.forEach(({ data }, index) => expect(relativeError(data, expected[index]?.data ?? [])).toBeLessThan(1e-4));
}

/** Place of the largest of every `width` values. */
const predictions = ({ data, shape }: Tensor): number[] => {
  const width = shape.at(-1) as number;
  return Array.from({ length: data.length / width }, (_, row) => {
    const values = [...data.subarray(row * width, (row + 1) * width)];
    return values.indexOf(Math.max(...values));
  });
};

/** `tensor` with values at which both sides are defined: no division by an integer 0, no root or logarithm of a negative. */
const tamed = (primitive: PrimitiveName, next: () => number, tensor: Tensor): Tensor => {
  const { dtype, shape, data } = tensor;
  const count = elementCount(shape);
  if (dtype === 'bool' || primitive === 'gather') return tensor;
  if (dtype === 'float32') {
    const positive = primitive === 'log' || primitive === 'sqrt';
    return { dtype, shape, data: Float32Array.from({ length: count }, () => (positive ? next() + 0.01 : 8 * next() - 4)) };
  }
  const integers = Array.from({ length: count }, () => Math.floor(15 * next()) - 7);
  const nonzero = primitive === 'idiv' || primitive === 'mod' ? integers.map((value) => (value === 0 ? 3 : value)) : integers;
  return { dtype, shape, data: data instanceof Uint32Array ? Uint32Array.from(nonzero, Math.abs) : Int32Array.from(nonzero) };
};

describe('a single operation', () => {
  const untranslated = new Set<PrimitiveName>(['bit_shift', 'bitcast', 'random_bits', 'pool_transpose', 'scatter']);

  it.each(primitives.filter((primitive) => !untranslated.has(primitive)))('%s gives what the reference gives', async (primitive) => {
    let translated = 0;
    for (let seed = 0; seed < 10; seed++) {
      const next = uniforms(seed);
      const drawn = randomOperation(primitive, seed);
      const tame = (tensor: Tensor): Tensor => tamed(primitive, next, tensor);
      const program = { ...drawn.program, constants: drawn.program.constants.map(tame) };
      const inputs = drawn.inputs.map(tame);
      let file: Uint8Array;
      try {
        file = programToOnnx(program, new Map());
      } catch (error) {
        expect((error as MusterError).code).toBe('PRIMITIVE_UNKNOWN');
        continue;
      }
      translated++;
      expectClose(await runFile(file, program, named(program, inputs)), referenceExecutor.prepare(program).run(inputs));
    }
    expect(translated).toBeGreaterThan(2);
  });

  it.each([...untranslated])('%s is refused by name, with the operation', (primitive) => {
    for (let seed = 0; seed < 5; seed++) {
      try {
        programToOnnx(randomOperation(primitive, seed).program, new Map());
        throw new Error('nothing was refused');
      } catch (error) {
        expect(error).toBeInstanceOf(MusterError);
        expect(error).toMatchObject({ code: 'PRIMITIVE_UNKNOWN', details: { primitive, operation: 0 } });
        expect((error as MusterError).message).toMatch(new RegExp(`^operation 0: ${primitive} has no form in ONNX`));
      }
    }
  });

  it('of arithmetic over uint32 is refused', () => {
    const builder = new ProgramBuilder('unsigned');
    const x = builder.input({ name: 'x', dtype: 'uint32', shape: [2] });
    const program = builder.finish([{ name: 'y', value: builder.apply('add', {}, x, x) }]);
    expect(() => programToOnnx(program, new Map())).toThrow(/add has no form in ONNX here: it is over uint32/);
  });
});

const training = { batchSize: 4, evaluationBatch: 4, optimizer: optimizers.sgd } as const;
const gpt = { family: 'gpt', vocabulary: 11, context: 8, layers: 2, heads: 2, width: 8, ...training } as const;
interface Described {
  readonly spec: object;
  /** Parameters that get adapters. */
  readonly targets?: readonly string[];
}

const lenet = { family: 'lenet', input: [14, 14, 1], classes: 3, ...training } as const;
const specs: Readonly<Record<string, Described>> = {
  softmax: { spec: { family: 'softmax', input: [2, 3, 1], classes: 3, ...training } },
  mlp: { spec: { family: 'mlp', input: [5], classes: 3, hidden: [7, 4], ...training } },
  regression: { spec: { family: 'regression', input: [4], outputs: 2, hidden: [6], ...training } },
  cnn: { spec: { family: 'cnn', input: [6, 7, 2], classes: 3, channels: [3, 4], kernelSize: 3, hidden: [5], ...training } },
  lenet: { spec: lenet },
  resnet: {
    spec: {
      family: 'resnet',
      input: [8, 8, 3],
      classes: 3,
      stages: [
        { channels: 4, blocks: 1 },
        { channels: 8, blocks: 1 },
      ],
      groups: 2,
      ...training,
    },
  },
  gpt: { spec: gpt },
  'gpt with its other choices': { spec: { ...gpt, norm: 'rms', bias: true, tied: false, activation: 'gelu-tanh' } },
  mamba: { spec: { family: 'mamba', vocabulary: 11, context: 8, layers: 2, width: 8, headWidth: 4, stateWidth: 4, chunk: 4, ...training } },
  'gpt under adapters': { spec: gpt, targets: ['*.attention.*.kernel', 'embedding.token'] },
  'lenet under adapters': { spec: lenet, targets: ['conv2.kernel', 'dense*.kernel'] },
};

/** Inputs of `program` by name: the model's weights after init, zeros for a cache, and drawn records or tokens. */
function inputsOf(built: BuiltModel, program: Program): { readonly weights: Map<string, Tensor>; readonly rest: Map<string, Tensor> } {
  const { parameters, frozen, cache } = built.model;
  const values = initial(built);
  const next = uniforms(5);
  const weights = new Map(parameters.map(({ name }, index) => [name, values[index] as Tensor]));
  for (const type of frozen) weights.set(type.name, floats(type, next, 0.5));
  const zeros = zerosOf(cache);
  const rest = new Map(cache.map(({ name }, index) => [name, zeros[index] as Tensor]));
  for (const input of program.inputs) {
    if (weights.has(input.name) || rest.has(input.name)) continue;
    const { name, dtype, shape } = input;
    const isFloat = dtype === 'float32';
    const integers = (): Tensor => ({
      dtype,
      shape,
      data: Int32Array.from({ length: elementCount(shape) }, () => Math.floor(11 * next())),
    });
    rest.set(name, isFloat ? floats(input, next) : name === 'position' ? { dtype, shape, data: Int32Array.of(0) } : integers());
  }
  return { weights, rest };
}

/** The model of a specification, or adapters for it where `targets` are given. */
async function build({ spec, targets }: Described): Promise<BuiltModel> {
  const decoded = decodeModelSpec(spec);
  if (targets === undefined) return await buildModel(decoded);
  const base = cidOfBytes(new Uint8Array(1), 'dag-cbor');
  return await buildModelFromDefinition(adaptedDefinition(definitionOf(decoded), { rank: 2, alpha: 4, targets }, base), training);
}

const models = new Map<string, BuiltModel>();
const modelNamed = (name: string): BuiltModel => models.get(name) as BuiltModel;

// Before the first session: ONNX Runtime gives Node a global Worker, by which jax-js takes it for a browser.
beforeAll(async () => {
  for (const [name, described] of Object.entries(specs)) models.set(name, await build(described));
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
});

describe('a model', () => {
  it.each(Object.keys(specs))('%s predicts in ONNX Runtime what it predicts here', async (name) => {
    const model = modelNamed(name);
    const program = model.programs.apply;
    const { weights, rest } = inputsOf(model, program);
    const inputs = program.inputs.map(({ name }) => (weights.get(name) ?? rest.get(name)) as Tensor);
    const expected = wasmExecutor.prepare(program).run(inputs);
    const file = programToOnnx(program, weights, { family: model.model.name });
    const actual = await runFile(file, program, rest);
    expectClose(actual, expected);
    expect(predictions(actual[0] as Tensor)).toEqual(predictions(expected[0] as Tensor));
  });

  it.each(['gpt', 'mamba'])('%s can have its next token computed in ONNX Runtime, cache and all', async (name) => {
    const model = modelNamed(name);
    const program = model.generate as Program;
    const { weights, rest } = inputsOf(model, program);
    const file = programToOnnx(program, weights);
    const prepared = wasmExecutor.prepare(program);
    for (const position of [0, 1, 2]) {
      rest.set('position', { dtype: 'int32', shape: [], data: Int32Array.of(position) });
      const expected = prepared.run(program.inputs.map(({ name }) => (weights.get(name) ?? rest.get(name)) as Tensor));
      expectClose(await runFile(file, program, rest), expected);
      program.outputs.forEach(({ name }, index) => name !== 'logits' && rest.set(name, expected[index] as Tensor));
    }
    prepared.dispose();
  });

  it('gives the same file for the same weights, and leaves out what the output does not need', () => {
    const model = modelNamed('mlp');
    const { apply } = model.programs;
    const { weights } = inputsOf(model, apply);
    const file = programToOnnx(apply, weights);
    expect(programToOnnx(apply, weights)).toEqual(file);
    const weightBytes = [...weights.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
    expect(file.length).toBeLessThan(weightBytes + 4000);
  });

  it('refuses weights of another name or type', () => {
    const model = modelNamed('mlp');
    const { apply } = model.programs;
    const { weights } = inputsOf(model, apply);
    const other = weights.get('dense1.bias') as Tensor;
    expect(() => programToOnnx(apply, new Map([['nobody', other]]))).toThrow(/no input nobody/);
    expect(() => programToOnnx(apply, new Map([['dense1.kernel', other]]))).toThrow(/dense1\.kernel is float32\[7\]/);
  });
});

const pooled = (op: 'max' | 'add', shown: boolean): Program => {
  const pool: Operation = {
    primitive: 'pool',
    inputs: [0],
    params: { window: [2, 2], strides: [2, 2] },
    outputs: [{ dtype: 'float32', shape: [2, 3, 2, 2, 2, 2] }],
  };
  const reduce: Operation = {
    primitive: 'reduce',
    inputs: [1],
    params: { op, axis: [4, 5] },
    outputs: [{ dtype: 'float32', shape: [2, 3, 2, 2] }],
  };
  return {
    version: 1,
    name: 'pooled',
    inputs: [{ name: 'x', dtype: 'float32', shape: [2, 3, 5, 4] }],
    constants: [],
    operations: [pool, reduce],
    outputs: [{ name: 'y', value: 2 }, ...(shown ? [{ name: 'windows', value: 1 }] : [])],
  };
};

it('maxima over windows become one pooling node, other uses of windows do not', async () => {
  const x = floats({ dtype: 'float32', shape: [2, 3, 5, 4] }, uniforms(1));
  for (const [program, isNode] of [
    [pooled('max', false), true],
    [pooled('max', true), false],
    [pooled('add', false), false],
  ] as const) {
    const file = programToOnnx(program, new Map());
    expect(new TextDecoder('latin1').decode(file).includes('MaxPool')).toBe(isNode);
    expectClose(await runFile(file, program, new Map([['x', x]])), referenceExecutor.prepare(program).run([x]));
  }
});
