/**
 * Suite `gradients`: the gradient of every family, and ten steps of every optimizer, against PyTorch in float64 on the same numbers.
 *
 * A figure is the largest difference of any parameter tensor, relative to the tensor's norm; beside it, under `element`, the largest
 * of any element (relative to the element, but at least to a thousandth of the tensor's largest), and the same for PyTorch's own float32.
 */
import { join } from 'node:path';
import type { NamedTensor, Tensor } from '../packages/engine/src/index.ts';
import { type Executor, prepareLoop, wasmExecutor } from '../packages/engine/src/index.ts';
import {
  adaptedDefinition,
  type AdapterOptions,
  decodeModelSpec,
  definitionOf,
  gradientProgram,
  type ModelDefinition,
  type ModelSpec,
  type ParameterDefinition,
} from '../packages/models/src/index.ts';
import { missingRow, type Row, round } from './lib/measure.ts';
import { type PythonPeer, startPython } from './lib/python.ts';
import { adapterCases, gradientCases, optimizerCases } from './lib/specs.ts';
import { filled, stepCase, type StepCase, uniforms, writeStepFile } from './lib/step-case.ts';
import { inTemporaryFolder, writeTensorFile } from './lib/tensor-file.ts';

/** The project's promise: relative difference of gradients on every model. */
const limit = 1e-4;
const optimizerSteps = 10;

interface Difference {
  readonly norm: number;
  readonly element: number;
}
interface Compared {
  readonly name: string;
  readonly ours: Difference;
  readonly float32: Difference;
}

/** `step` with every parameter moved a little, so that none is zero, one or the same everywhere. */
function perturbed(step: StepCase): StepCase {
  const random = uniforms(99);
  const move = ({ dtype, shape, data }: Tensor): Tensor => ({
    dtype,
    shape,
    data: Float32Array.from(data as Float32Array, (value) => value + 0.1 * (random() - 0.5)),
  });
  const count = step.built.model.parameters.length;
  return { ...step, state: step.state.map((tensor, index) => (index < count ? move(tensor) : tensor)) };
}

const most = (values: readonly number[]): number => round(Math.max(...values));

function comparisonRow(bench: string, compared: readonly Compared[]): Row {
  const worst = (of: (one: Compared) => number): Compared => compared.reduce((a, b) => (of(b) > of(a) ? b : a));
  const norm = worst(({ ours }) => ours.norm);
  const element = worst(({ ours }) => ours.element);
  return {
    bench: `${bench}: largest difference from float64 (${norm.name})`,
    unit: 'relative',
    ours: round(norm.ours.norm),
    peers: {
      'pytorch float32': most(compared.map(({ float32 }) => float32.norm)),
      [`element (${element.name})`]: round(element.ours.element),
      'pytorch float32, element': most(compared.map(({ float32 }) => float32.element)),
      verdict: norm.ours.norm <= limit ? `within ${limit}` : `MISSED: more than ${limit}`,
    },
    ratio: null,
  };
}

function named(definitions: readonly ParameterDefinition[], tensors: readonly Tensor[]): NamedTensor[] {
  return definitions.map(({ name }, index) => ({ name, ...(tensors[index] as Tensor) }));
}

/** Compares the gradients of `definition` at `values` (trained, then frozen tensors) and the batch of `step`. */
async function compareGradients(
  title: string,
  definition: ModelDefinition,
  values: readonly Tensor[],
  step: StepCase,
  python: PythonPeer,
  executor: Executor,
  adapterScale: number | null,
): Promise<Row> {
  const { spec } = step;
  const [x, y] = step.inputs as [Tensor, Tensor];
  const prepared = executor.prepare(gradientProgram(definition, spec.batchSize));
  const [loss, ...gradients] = prepared.run([...values, x, y]) as [Tensor, ...Tensor[]];
  prepared.dispose();
  return inTemporaryFolder(async (folder) => {
    const [file, gradientFile] = [join(folder, 'step'), join(folder, 'gradients')];
    const given = named([...definition.parameters, ...definition.frozen], values);
    writeTensorFile(file, [...given, { name: 'x', ...x }, { name: 'y', ...y }]);
    writeTensorFile(gradientFile, [{ name: 'loss', ...loss }, ...named(definition.parameters, gradients)]);
    const adapter = adapterScale === null ? {} : { adapterScale };
    const answer = await python.ask({ do: 'gradients', spec, file, gradients: gradientFile, ...adapter });
    return comparisonRow(`gradients of ${title}`, answer['parameters'] as Compared[]);
  });
}

async function gradientRow(name: string, spec: ModelSpec, python: PythonPeer, executor: Executor): Promise<Row> {
  const step = perturbed(await stepCase(name, spec));
  const values = step.state.slice(0, step.built.model.parameters.length);
  return compareGradients(name, definitionOf(decodeModelSpec(spec)), values, step, python, executor, null);
}

/** Gradients of the factors of low-rank adapters on the model that `spec` names; the second factors do not start at zero here. */
async function adapterRow(name: string, spec: ModelSpec, options: AdapterOptions, python: PythonPeer, executor: Executor): Promise<Row> {
  const step = perturbed(await stepCase(name, spec));
  const base = definitionOf(decodeModelSpec(spec));
  const definition = adaptedDefinition(base, options, step.built.cid);
  const random = uniforms(5);
  const factors = definition.parameters.map(({ shape }) => filled({ dtype: 'float32', shape }, () => 0.4 * (random() - 0.5)));
  const values = [...factors, ...step.state.slice(0, base.parameters.length)];
  return compareGradients(`adapters on ${name}`, definition, values, step, python, executor, options.alpha / options.rank);
}

async function optimizerRow(name: string, spec: ModelSpec, python: PythonPeer, executor: Executor): Promise<Row> {
  const step = perturbed(await stepCase(name, spec));
  const loop = prepareLoop(executor, step.program, step.state.length);
  loop.setState(step.state);
  const number = step.program.inputs.slice(step.state.length).findIndex((input) => input.name === 'step');
  for (let index = 0; index < optimizerSteps; index++) {
    loop.step(step.inputs.map((input, at) => (at === number ? { ...input, data: Int32Array.of(index) } : input)));
  }
  const after = step.built.model.parameters.map((parameter, index): NamedTensor => {
    return { name: parameter.name, ...(loop.readState()[index] as Tensor) };
  });
  loop.dispose();
  return inTemporaryFolder(async (folder) => {
    const [file, afterFile] = [join(folder, 'step'), join(folder, 'after')];
    writeStepFile(step, file);
    writeTensorFile(afterFile, after);
    const answer = await python.ask({ do: 'optimizer', spec, file, after: afterFile, steps: optimizerSteps });
    return comparisonRow(`${optimizerSteps} steps of ${name}, change of parameters`, answer['parameters'] as Compared[]);
  });
}

/** Rows of the suite. Without PyTorch there is one row that says so. */
export async function* gradientsSuite(): AsyncGenerator<Row> {
  const python = await startPython(1);
  if (typeof python === 'string' || !python.hasTorch) {
    yield missingRow('gradients', typeof python === 'string' ? python : 'missing: torch');
    return;
  }
  for (const [name, spec] of Object.entries(gradientCases)) yield await gradientRow(name, spec, python, wasmExecutor);
  for (const [name, { spec, options }] of Object.entries(adapterCases)) yield await adapterRow(name, spec, options, python, wasmExecutor);
  for (const [name, spec] of Object.entries(optimizerCases)) yield await optimizerRow(name, spec, python, wasmExecutor);
  await python.close();
}
