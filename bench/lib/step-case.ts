/** One training step of a model: its program, a state to start from and a batch, the same for our executors and for PyTorch. */
import {
  elementCount,
  type Executor,
  type NamedTensor,
  prepareLoop,
  type Program,
  type Tensor,
  type TensorData,
  type TensorType,
  wasmExecutor,
} from '../../packages/engine/src/index.ts';
import { buildModel, type BuiltModel, type ModelSpec } from '../../packages/models/src/index.ts';
import { type Candidate, local } from './alternate.ts';
import { writeTensorFile } from './tensor-file.ts';

export interface StepCase {
  readonly name: string;
  readonly spec: ModelSpec;
  readonly built: BuiltModel;
  readonly program: Program;
  /** Parameters and optimizer slots. */
  readonly state: readonly Tensor[];
  /** What a step takes besides its state: x, y, the key and the number of the step. */
  readonly inputs: readonly Tensor[];
}

/** Numbers 0 ≤ x < 1, the same in every run. */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

/** Values of `type` made by `value`; integers are rounded down. */
export function filled({ dtype, shape }: TensorType, value: () => number): Tensor {
  const length = elementCount(shape);
  const make = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array, bool: Uint8Array }[dtype];
  const data: TensorData = new make(length);
  for (let i = 0; i < length; i++) data[i] = value();
  return { dtype, shape, data };
}

/** Number of classes or tokens that targets of `spec` are drawn from; 0 for real targets. */
function targetsOf(spec: ModelSpec): number {
  if ('vocabulary' in spec) return spec.vocabulary;
  return 'classes' in spec ? spec.classes : 0;
}

const zero = (): number => 0;

/** A random batch: uniform inputs; uniform tokens where the input is integers. */
export function randomBatch(spec: ModelSpec, { x, y }: { readonly x: TensorType; readonly y: TensorType }): { x: Tensor; y: Tensor } {
  const random = uniforms(20_261_121);
  const tokens = targetsOf(spec);
  const values = (type: TensorType): Tensor => filled(type, () => random() * (type.dtype === 'float32' ? 1 : tokens));
  return { x: values(x), y: values(y) };
}

/** The parameters that the model's `init` draws from fixed keys, by name. */
export function initialParameters({ model, programs }: BuiltModel): NamedTensor[] {
  const random = uniforms(7);
  const keys = filled({ dtype: 'uint32', shape: [model.parameters.length, 2] }, () => random() * 2 ** 32);
  const init = wasmExecutor.prepare(programs.init);
  const values = init.run([keys]);
  init.dispose();
  return model.parameters.map(({ name }, index) => ({ name, ...(values[index] as Tensor) }));
}

/** The training step of the model that `spec` names. Its frozen tensors must be none. */
export async function stepCase(name: string, spec: ModelSpec): Promise<StepCase> {
  const built = await buildModel(spec);
  const { model, programs } = built;
  const { x, y } = randomBatch(spec, model.batch);
  const given: Readonly<Record<string, Tensor>> = { x, y };
  return {
    name,
    spec,
    built,
    program: programs.trainStep,
    state: [...initialParameters(built), ...model.slots.map((slot) => filled(slot, zero))],
    inputs: programs.trainStep.inputs
      .slice(model.parameters.length + model.slots.length)
      .map((type) => given[type.name] ?? filled(type, zero)),
  };
}

/** Steps of `step` one after the other on `executor`, under `name`. */
export function ourStep({ program, state, inputs }: StepCase, name: string, executor: Executor): Candidate {
  const loop = prepareLoop(executor, program, state.length);
  loop.setState(state);
  return local(
    name,
    () => loop.step(inputs),
    () => loop.dispose(),
  );
}

/** The losses before each of the first `count` steps. */
export function ourLosses({ program, state, inputs }: StepCase, executor: Executor, count: number): number[] {
  const loop = prepareLoop(executor, program, state.length);
  loop.setState(state);
  const losses = Array.from({ length: count }, () => loop.step(inputs)[0]?.data[0] ?? Number.NaN);
  loop.dispose();
  return losses;
}

/** Writes parameters and batch to `path` for a Python peer. */
export function writeStepFile({ built: { model }, state, inputs }: StepCase, path: string): void {
  const [x, y] = inputs as [Tensor, Tensor];
  const parameters = model.parameters.map(({ name }, index): NamedTensor => ({ name, ...(state[index] as Tensor) }));
  writeTensorFile(path, [...parameters, { name: 'x', ...x }, { name: 'y', ...y }]);
}
