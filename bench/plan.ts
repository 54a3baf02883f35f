/**
 * Suite `plan`: what the planner predicts beside what is measured, for models that fit; what rematerialisation saves and costs; what a dispute
 * trace costs beside the step it traces.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { leastSeconds, predictStep } from '../apps/cli/src/calibrate.ts';
import { openTraining, samplingExecutor, stepTime, thisMachine } from '../apps/cli/src/machine.ts';
import { taskBytes } from '../apps/cli/src/planning.ts';
import { installFastSha256 } from '../packages/adapters/src/index.ts';
import {
  type CompiledExecutor,
  createExecutor,
  openOperation,
  optimizeProgram,
  prepareLoop,
  type Program,
  rematerialise,
  costOf,
  encodeProgram,
  type Tensor,
  type TensorType,
  tracePartialSums,
  traceStep,
  wasmExecutor,
} from '../packages/engine/src/index.ts';
import { buildModel, type BuiltModel, encodeModel, estimateModel, type ModelSpec } from '../packages/models/src/index.ts';
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

/** `executor`, and the bytes that its programs have asked for. */
function counted({ backend }: CompiledExecutor): { readonly executor: CompiledExecutor; readonly bytes: () => number } {
  let bytes = 0;
  const { name, start, maxBytes, memoryLimitBytes } = backend;
  const executor = createExecutor({
    name,
    start,
    maxBytes,
    memoryLimitBytes,
    allocate(asked) {
      const memory = backend.allocate(asked);
      bytes += memory.buffer.byteLength;
      return memory;
    },
  });
  return { executor, bytes: () => bytes };
}

/** Seconds and bytes of one step in a loop. */
function measured(
  given: CompiledExecutor,
  program: Program,
  state: number,
  inputs: readonly Tensor[],
): { readonly seconds: number; readonly bytes: number } {
  const { executor, bytes } = counted(given);
  const loop = prepareLoop(executor, program, state);
  loop.setState(inputs.slice(0, state));
  const batch = inputs.slice(state);
  const seconds = leastSeconds(() => loop.step(batch), 1500, !executor.name.endsWith('-threads'));
  loop.dispose();
  return { seconds, bytes: bytes() };
}

/** Bytes of a process that trains one task with `built`, in a process of its own: before it has a program, and at its fullest. */
async function processBytes(built: BuiltModel, name: string): Promise<{ readonly before: number; readonly most: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-plan-'));
  try {
    await writeFile(join(folder, 'model'), encodeModel(built.model).bytes);
    await writeFile(join(folder, 'train'), encodeProgram(built.programs.trainStep));
    await writeFile(join(folder, 'update'), encodeProgram(built.programs.update));
    const child = fileURLToPath(new URL('lib/plan-child.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [child, folder], { env: { ...process.env, MUSTER_EXECUTOR: name } });
    return JSON.parse(stdout) as { before: number; most: number };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const ratio = (ours: number, theirs: number): number => Math.round((100 * ours) / theirs) / 100;
const megabytes = (bytes: number): number => Math.round(bytes / 1e4) / 100;

/** Executor and threads of every pass over the models. */
const ways = [
  { MUSTER_EXECUTOR: 'auto', MUSTER_THREADS: '1' },
  { MUSTER_EXECUTOR: 'auto', MUSTER_THREADS: String(availableParallelism()) },
  { MUSTER_EXECUTOR: 'wasm', MUSTER_THREADS: '1' },
];

/** Rows of the suite, each as soon as it is measured. */
export async function* planSuite(): AsyncGenerator<Row> {
  const models = await Promise.all(Object.entries(specs).map(async ([name, spec]) => ({ name, spec, built: await buildModel(spec) })));
  for (const way of ways) {
    const training = await openTraining(way);
    const machine = thisMachine(training);
    for (const { name, spec, built } of models) {
      const inputs = stepInputs(built);
      const estimate = estimateModel(spec);
      const { step, state, memory } = estimate;
      const label = `plan ${name}, ${machine.executor}`;
      const predicted = stepTime(estimate, machine, training);
      const calls = predictStep(samplingExecutor(training, memory.total), machine.calibration, step, true);
      const actual = measured(training.executor, built.programs.trainStep, state, inputs);
      yield plainRow(`${label}: time of a step, predicted`, 'ms', 1000 * predicted.seconds, {
        measured: Math.round(1e5 * actual.seconds) / 100,
        'predicted ÷ measured': ratio(predicted.seconds, actual.seconds),
        'by kernel calls ÷ measured': ratio(calls.seconds, actual.seconds),
        'by speeds ÷ measured': ratio(predictStep(null, machine.calibration, step, false).seconds, actual.seconds),
      });
      // Natively, scratch belongs to the process and is no part of what the program asked for.
      const bytes = actual.bytes + (machine.executor.startsWith('native') ? machine.overheadBytes : 0);
      const ours = memory.total + machine.overheadBytes;
      yield plainRow(`${label}: memory of a step, predicted`, 'MB', megabytes(ours), {
        measured: megabytes(bytes),
        'predicted ÷ measured': ratio(ours, bytes),
      });
      if (machine.threads > 1) continue;
      const { before, most } = await processBytes(built, way.MUSTER_EXECUTOR);
      const whole = before + machine.overheadBytes + memory.total + taskBytes(memory);
      yield plainRow(`${label}: memory of a trainer's process, predicted`, 'MB', megabytes(whole), {
        measured: megabytes(most),
        'predicted ÷ measured': ratio(whole, most),
        'before there is a program': megabytes(before),
      });
    }
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
