/**
 * Suite `plan`: what the planner predicts beside what is measured, for models that fit; what rematerialisation saves and costs; what a dispute
 * trace costs beside the step it traces.
 */
import { calibrate, leastSeconds, predictStep } from '../apps/cli/src/calibrate.ts';
import { installFastSha256 } from '../packages/adapters/src/index.ts';
import {
  type Executor,
  openOperation,
  optimizeProgram,
  prepareLoop,
  type Program,
  rematerialise,
  costOf,
  type Tensor,
  type TensorType,
  tracePartialSums,
  traceStep,
  wasmExecutor,
} from '../packages/engine/src/index.ts';
import { buildModel, type BuiltModel, estimateModel, type ModelSpec } from '../packages/models/src/index.ts';
import { plainRow, type Row } from './lib/measure.ts';
import { cnn, gpt, lenet, mlp } from './lib/specs.ts';

const specs: Readonly<Record<string, ModelSpec>> = { mlp, cnn, lenet, gpt };

const sizeOf = ({ shape }: TensorType): number => shape.reduce((size, extent) => size * extent, 1);

function batchTensor(type: TensorType): Tensor {
  const length = sizeOf(type);
  const { shape } = type;
  if (type.dtype === 'float32') return { dtype: 'float32', shape, data: Float32Array.from({ length }, (_, i) => ((i * 7919) % 101) / 100) };
  if (type.dtype === 'int32') return { dtype: 'int32', shape, data: Int32Array.from({ length }, (_, i) => (i * 31) % 10) };
  return { dtype: 'uint32', shape, data: Uint32Array.from({ length }, (_, i) => i + 1) };
}

/** Inputs of a first training step. */
function stepInputs({ model, programs }: BuiltModel): Tensor[] {
  const keys: Tensor = {
    dtype: 'uint32',
    shape: [model.parameters.length, 2],
    data: Uint32Array.from({ length: 2 * model.parameters.length }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 0),
  };
  const state = [
    ...wasmExecutor.prepare(programs.init).run([keys]),
    ...model.slots.map(({ dtype, shape }): Tensor => ({ dtype, shape, data: new Float32Array(sizeOf({ dtype, shape })) })),
  ];
  return [...state, ...programs.trainStep.inputs.slice(state.length).map(batchTensor)];
}

interface MemoryLike {
  readonly buffer: ArrayBufferLike;
}

/** What `make` returns and the bytes of all WebAssembly memories made meanwhile. */
function withMemory<T>(make: () => T): { readonly made: T; readonly bytes: () => number } {
  const scope = globalThis as unknown as { WebAssembly: { Memory: new (descriptor: object) => MemoryLike } };
  const Original = scope.WebAssembly.Memory;
  const memories: MemoryLike[] = [];
  scope.WebAssembly.Memory = class extends Original {
    constructor(descriptor: object) {
      super(descriptor);
      memories.push(this);
    }
  };
  try {
    return { made: make(), bytes: () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0) };
  } finally {
    scope.WebAssembly.Memory = Original;
  }
}

/** Seconds and bytes of one step in a loop. */
function measured(
  executor: Executor,
  program: Program,
  state: number,
  inputs: readonly Tensor[],
): { readonly seconds: number; readonly bytes: number } {
  const { made: loop, bytes } = withMemory(() => prepareLoop(executor, program, state));
  loop.setState(inputs.slice(0, state));
  const batch = inputs.slice(state);
  const seconds = leastSeconds(() => loop.step(batch), 1500);
  loop.dispose();
  return { seconds, bytes: bytes() };
}

/** Rows of the suite, each as soon as it is measured. */
export async function* planSuite(): AsyncGenerator<Row> {
  const calibration = calibrate(wasmExecutor);
  for (const [name, spec] of Object.entries(specs)) {
    const built = await buildModel(spec);
    const inputs = stepInputs(built);
    const { step, cost, state } = estimateModel(spec);
    const predicted = predictStep(wasmExecutor, calibration, step, true);
    const actual = measured(wasmExecutor, built.programs.trainStep, state, inputs);
    const [ours, theirs] = [predicted.seconds, actual.seconds].map((seconds) => 1000 * seconds) as [number, number];
    yield plainRow(`plan ${name}: time of a step, predicted`, 'ms', ours, {
      measured: Math.round(100 * theirs) / 100,
      'predicted ÷ measured': Math.round((100 * ours) / theirs) / 100,
    });
    const ordered = measured(wasmExecutor, step, state, inputs);
    yield plainRow(`plan ${name}: memory of a step, predicted`, 'MB', cost.peakBytes / 1e6, {
      'measured, program as traced': Math.round(actual.bytes / 1e4) / 100,
      'measured, after the passes': Math.round(ordered.bytes / 1e4) / 100,
      'predicted ÷ measured': Math.round((100 * cost.peakBytes) / ordered.bytes) / 100,
    });
  }
  yield* rematerialisationRows();
  yield* traceRows();
}

async function* rematerialisationRows(): AsyncGenerator<Row> {
  const built = await buildModel({ ...gpt, layers: 12, batchSize: 64 });
  const inputs = stepInputs(built);
  const state = built.model.parameters.length + built.model.slots.length;
  const { program } = optimizeProgram(built.programs.trainStep, { memoryLimitBytes: null, state });
  const plain = measured(wasmExecutor, program, state, inputs);
  const { peakBytes, flops } = costOf(program, state);
  const lean = rematerialise(program, peakBytes / 2, state).program;
  const again = measured(wasmExecutor, lean, state, inputs);
  yield plainRow('rematerialisation, gpt 12 × 128: memory of a step', 'MB', again.bytes / 1e6, {
    without: Math.round(plain.bytes / 1e4) / 100,
  });
  yield plainRow('rematerialisation, gpt 12 × 128: time of a step', 'ms', 1000 * again.seconds, {
    without: Math.round(1e5 * plain.seconds) / 100,
    'arithmetic ÷ without': Math.round((100 * costOf(lean, state).flops) / flops) / 100,
  });
}

async function* traceRows(): AsyncGenerator<Row> {
  installFastSha256(); // as nodes do
  for (const [name, spec] of Object.entries({ mlp, gpt })) {
    const built = await buildModel(spec);
    const inputs = stepInputs(built);
    const { trainStep } = built.programs;
    const prepared = wasmExecutor.prepare(trainStep);
    const plain = leastSeconds(() => prepared.run(inputs), 1000);
    const whole = leastSeconds(() => traceStep(trainStep, inputs), 2000);
    yield plainRow(`trace ${name}: a step traced`, 'ms', 1000 * whole, {
      'plain step': Math.round(1e5 * plain) / 100,
      'traced ÷ plain': Math.round((10 * whole) / plain) / 10,
    });
    const trace = traceStep(trainStep, inputs);
    const last = trainStep.operations.findLastIndex(({ primitive }) => primitive === 'dot');
    const open = leastSeconds(() => openOperation(trainStep, inputs, trace, last), 500);
    const sums = leastSeconds(() => tracePartialSums(trainStep, inputs, last, 0), 500);
    yield plainRow(`trace ${name}: the last product opened`, 'ms', 1000 * open, {
      'partial sums of one element': Math.round(1e5 * sums) / 100,
    });
  }
}
