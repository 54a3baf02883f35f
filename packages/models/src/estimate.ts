/**
 * What training a model takes, before anything is built: parameters from the specification alone, memory and arithmetic of one step from its
 * program. A step too large to be traced is traced small and resized (`resizeProgram`); nothing of a model's size is ever allocated.
 *
 * Seconds and verdicts are the command line's business: they need a clock and a machine. Spec: `docs/spec/19-planner.md`.
 */
import {
  bytesOf,
  costOf,
  optimizeProgram,
  type NamedType,
  plannedMemory,
  type PlannedMemory,
  type Program,
  type ProgramCost,
  rematerialise,
  reorder,
  resizeProgram,
  type Sized,
  traceProgram,
} from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { definitionOf } from './families.ts';
import { type ModelHeader, programSignatures } from './model.ts';
import { slotTypes } from './optimizers.ts';
import { type CompleteModelSpec, decodeModelSpec, type ModelSpec, trainingOf } from './spec.ts';
import { tracedTrainStep } from './train-step.ts';

/** Bytes that one training step holds at its fullest, by what they are. */
export interface StepMemory {
  readonly parameters: number;
  readonly optimizer: number;
  /** The next parameters and optimizer state, made beside the present ones. */
  readonly nextState: number;
  readonly gradients: number;
  /** Frozen weights, batch and constants. */
  readonly given: number;
  /** All else: what the backward pass waits for, and copies that kernels need. */
  readonly activations: number;
  /** Offset tables and tapes of the executor. */
  readonly tables: number;
  readonly total: number;
}

export interface ModelEstimate {
  /** Trained numbers. */
  readonly parameters: number;
  readonly cost: ProgramCost;
  readonly memory: StepMemory;
  /** The same with values computed again instead of kept, as far as that goes. */
  readonly rematerialised: { readonly memory: StepMemory; readonly flops: number };
  /** State tensors of the step's program. */
  readonly state: number;
  /** The step. Executable if `traced`, else for costs only. */
  readonly step: Program;
  /** Whether the step was traced at its own sizes. */
  readonly traced: boolean;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((size, extent) => size * extent, 1);

/** Trained numbers of `spec`, exactly, from its definition: nothing is traced. Throws MODEL_INVALID. */
export function parameterCount(spec: ModelSpec): number {
  return definitionOf(decodeModelSpec(spec)).parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** `500M`, `1.5B`, `125000000` as a number. Throws MODEL_INVALID. */
export function parseParameters(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMB]?)$/i.exec(text.trim());
  const unit = { '': 1, K: 1e3, M: 1e6, B: 1e9 }[match?.[2]?.toUpperCase() ?? ''] ?? 1;
  const value = Math.round(Number(match?.[1] ?? Number.NaN) * unit);
  if (!(value >= 1e5 && value <= 1e12)) {
    throw new MusterError('MODEL_INVALID', `"${text.slice(0, 40)}" is no number of parameters like 500M, 1B or 3B`, { field: 'params' });
  }
  return value;
}

/** What a GPT of a given size is trained with, unless told otherwise. */
const gptTraining = {
  family: 'gpt',
  vocabulary: 50_257,
  context: 1024,
  norm: 'layer',
  bias: false,
  tied: true,
  hiddenMultiple: 4,
  activation: 'gelu',
  dropout: 0,
  generationBatch: 1,
  optimizer: { kind: 'adamw', learningRate: 3e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
} as const;
const headWidth = 64;
/** Width ÷ layers of the models of the GPT-2 and GPT-3 papers, about. */
const aspect = 64;

/**
 * A GPT with about `parameters` parameters: width a multiple of 64, layers so that 12 · layers · width² + (vocabulary + context) · width comes
 * closest, of all widths the one whose width ÷ layers is closest to 64. Heads are 64 wide. 124M, 500M, 1B and 3B come within 3 %.
 */
export function gptOfSize(parameters: number, batchSize: number, context: number = gptTraining.context): ModelSpec {
  let best: { readonly width: number; readonly layers: number; readonly distance: number } | null = null;
  for (let width = headWidth; width <= 16_384; width += headWidth) {
    const perLayer = 12 * width ** 2 + 2 * width;
    const layers = Math.round((parameters - (gptTraining.vocabulary + context + 1) * width) / perLayer);
    if (layers < 1 || layers > 256) continue;
    const distance = Math.abs(Math.log(width / layers / aspect));
    if (best === null || distance < best.distance) best = { width, layers, distance };
  }
  if (best === null) {
    throw new MusterError('MODEL_INVALID', `no GPT with a vocabulary of ${gptTraining.vocabulary} has ${parameters} parameters`, {
      field: 'params',
    });
  }
  const { width, layers } = best;
  return { ...gptTraining, context, layers, width, heads: width / headWidth, batchSize, evaluationBatch: batchSize };
}

interface TracedStep {
  readonly step: Program;
  readonly header: ModelHeader;
}

function headerOf(spec: CompleteModelSpec): ModelHeader {
  const definition = definitionOf(spec);
  const types = (list: typeof definition.parameters): NamedType[] =>
    list.map(({ name, shape }) => ({ name, dtype: 'float32', shape: [...shape] }));
  const parameters = types(definition.parameters);
  return {
    version: 1,
    name: definition.name,
    parameters,
    slots: slotTypes(spec.optimizer, parameters),
    frozen: types(definition.frozen),
    frozenValues: definition.frozenValues,
    cache: [],
    batch: {
      x: { dtype: definition.input.dtype, shape: [spec.batchSize, ...definition.input.shape] },
      y: { dtype: definition.target.dtype, shape: [spec.batchSize, ...definition.target.shape] },
    },
    evaluationBatch: spec.evaluationBatch,
  };
}

function traceStep(spec: CompleteModelSpec): TracedStep {
  const header = headerOf(spec);
  const { inputs, outputs } = programSignatures(header).trainStep;
  const fn = tracedTrainStep(definitionOf(spec), trainingOf(spec), header);
  const names = outputs.map(({ name }) => name);
  return { step: traceProgram(`${header.name}.trainStep`, fn, inputs, names), header };
}

/** Terms of the largest matrix product of a step, roughly; tracing writes its operands out at first, which has a limit. */
function largestProduct(spec: CompleteModelSpec): number {
  if (spec.family !== 'gpt' && spec.family !== 'mamba') return 0;
  const hidden = spec.family === 'gpt' ? spec.hiddenMultiple : 2 * spec.expansion;
  return (spec.batchSize / spec.accumulation) * spec.context * spec.width * Math.max(hidden * spec.width, spec.vocabulary);
}

/** `spec` at small sizes: `batch` records in each micro-batch, and `context` units and `vocabulary` where the family has them. */
function smaller(spec: CompleteModelSpec, batch: number, context: number, vocabulary: number): Sized & { readonly header: ModelHeader } {
  const batchSize = batch * spec.accumulation;
  const changed =
    spec.family === 'gpt' || spec.family === 'mamba'
      ? { ...spec, batchSize, context: context * unitOf(spec), vocabulary }
      : { ...spec, batchSize };
  const { step, header } = traceStep(changed);
  return { program: step, header, sizes: sizesOf(changed) };
}

/** Positions that a context consists of at least. */
const unitOf = (spec: CompleteModelSpec): number => (spec.family === 'mamba' ? spec.chunk : 1);

function sizesOf(spec: CompleteModelSpec): Sized['sizes'] {
  const { batchSize } = spec;
  return spec.family === 'gpt' || spec.family === 'mamba'
    ? { batch: batchSize, context: spec.context, vocabulary: spec.vocabulary }
    : { batch: batchSize };
}

/** The step at its own sizes without tracing it there. Small sizes are primes, so that no two extents are equal by chance. */
function resizedStep(spec: CompleteModelSpec): TracedStep {
  const small = spec.family === 'mamba' ? 2 : 7;
  const base = smaller(spec, 3, small, 101);
  const target = sizesOf(spec);
  const variants = [smaller(spec, 5, small, 101)];
  if ('context' in target) variants.push(smaller(spec, 3, spec.family === 'mamba' ? 3 : 11, 101), smaller(spec, 3, small, 131));
  return { step: resizeProgram(base, variants, target), header: headerOf(spec) };
}

const total = (types: readonly NamedType[]): number => types.reduce((sum, type) => sum + bytesOf(type), 0);

function memoryOf({ step, header }: TracedStep, { bufferBytes: peak, tableBytes: tables }: PlannedMemory): StepMemory {
  const parameters = total(header.parameters);
  const optimizer = total(header.slots);
  const given = total(step.inputs) - parameters - optimizer + step.constants.reduce((sum, type) => sum + bytesOf(type), 0);
  const nextState = parameters + optimizer;
  const gradients = Math.min(parameters, Math.max(peak - given - 2 * nextState, 0));
  const activations = Math.max(peak - given - 2 * nextState - gradients, 0);
  return { parameters, optimizer, nextState, gradients, given, activations, tables, total: peak + tables };
}

/**
 * The estimate for `spec`. Takes a few seconds for a model of billions of parameters and well under one for small ones. Throws MODEL_INVALID,
 * PRIMITIVE_UNKNOWN.
 */
export function estimateModel(given: ModelSpec): ModelEstimate {
  const spec = decodeModelSpec(given);
  const traced = largestProduct(spec) <= 2 ** 30;
  const made = traced ? traceStep(spec) : resizedStep(spec);
  const { header } = made;
  const state = header.parameters.length + header.slots.length;
  const { program: step } = traced ? optimizeProgram(made.step, { memoryLimitBytes: null, state }) : reorder(made.step);
  const cost = costOf(step, state);
  const again = rematerialise(step, 0, state).program;
  const leaner = costOf(again, state);
  // The executor's own plan where the program is the one that it would get.
  const planned = (program: Program, peakBytes: number): PlannedMemory =>
    traced ? plannedMemory(program, state) : { bufferBytes: peakBytes, tableBytes: 0 };
  return {
    parameters: header.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    cost,
    memory: memoryOf({ step, header }, planned(step, cost.peakBytes)),
    rematerialised: { memory: memoryOf({ step: again, header }, planned(again, leaner.peakBytes)), flops: leaner.flops },
    state,
    step,
    traced,
  };
}
