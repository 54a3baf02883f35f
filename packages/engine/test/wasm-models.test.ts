import { buildModel, type ModelSpec } from '@muster/models';
import { expect, it } from 'vitest';
import { prepareLoop, type Program, referenceExecutor, type Tensor, type TensorType, wasmExecutor } from '../src/index.ts';
import { expectSameBits, randomTensor, seeded, sizeOf } from './wasm-support.ts';

const training = { batchSize: 6, evaluationBatch: 6 } as const;
const adam = { kind: 'adam', learningRate: 0.03125, beta1: 0.875, beta2: 0.9375, epsilon: 1e-8 } as const;
const momentum = { kind: 'momentum', learningRate: 0.125, momentum: 0.75 } as const;
const sgd = { kind: 'sgd', learningRate: 0.25 } as const;
const specs: readonly ModelSpec[] = [
  { family: 'mlp', input: [20], classes: 3, hidden: [17, 9], ...training, optimizer: sgd },
  { family: 'mlp', input: [20], classes: 3, hidden: [17, 9], ...training, optimizer: adam },
  { family: 'cnn', input: [10, 9, 2], classes: 3, channels: [3, 4], kernelSize: 3, hidden: [5], ...training, optimizer: momentum },
];

const random = seeded(77);

function batchTensor(type: TensorType): Tensor {
  if (type.dtype === 'float32') return randomTensor('float32', type.shape, random, true);
  return { ...type, data: Int32Array.from({ length: sizeOf(type.shape) }, () => Math.floor(random() * 3)) };
}

function keys(shape: readonly number[]): Tensor {
  return { dtype: 'uint32', shape, data: Uint32Array.from({ length: sizeOf(shape) }, () => random() * 2 ** 32) };
}

/** Arguments for any program of a model, by the types of its inputs. */
function argumentsFor(program: Program): Tensor[] {
  return program.inputs.map((type) => (type.dtype === 'uint32' ? keys(type.shape) : batchTensor(type)));
}

for (const spec of specs) {
  const name = `${spec.family} with ${spec.optimizer.kind}`;
  const { model, programs } = await buildModel(spec);

  it(`every program of ${name} gives the reference’s bits`, () => {
    for (const program of Object.values(programs)) expectSameBits(program, argumentsFor(program));
  });

  it(`five training steps of ${name} in a loop give the reference’s bits after each`, () => {
    const stateCount = model.parameters.length + model.slots.length;
    const start = [
      ...referenceExecutor.prepare(programs.init).run([keys([model.parameters.length, 2])]),
      ...model.slots.map(({ dtype, shape }): Tensor => ({ dtype, shape, data: new Float32Array(sizeOf(shape)) })),
    ];
    const loops = [referenceExecutor, wasmExecutor].map((executor) => prepareLoop(executor, programs.trainStep, stateCount));
    for (const loop of loops) loop.setState(start);
    for (let step = 0; step < 5; step++) {
      const number: Tensor = { dtype: 'int32', shape: [], data: Int32Array.of(step) };
      const inputs = [batchTensor(model.batch.x), batchTensor(model.batch.y), keys([2]), number];
      const [expected, actual] = loops.map((loop) => [...loop.step(inputs), ...loop.readState()]);
      expect(actual, `step ${step}`).toEqual(expected);
    }
  });
}
