/**
 * The model object: the content id of everything a job needs to start, train, evaluate, apply and aggregate one model.
 * Programs are linked, not embedded. Their signatures follow from the model's types (`programSignatures`).
 */
import { type NamedType, namedTypeSchema, type Program, sameType, tensorTypeSchema, type TensorType } from '@muster/engine';
import {
  type CidText,
  decodeCanonical,
  encodeObject,
  integer,
  link,
  linkOf,
  list,
  literal,
  MusterError,
  nullable,
  struct,
  text,
} from '@muster/protocol';

export const programRoles = ['init', 'trainStep', 'evaluate', 'apply', 'update', 'fold', 'finish'] as const;
/** What a program of every model is for. A model may have one more, `generate`. */
export type ProgramRole = (typeof programRoles)[number];

export interface ModelObject {
  readonly version: 1;
  readonly name: string;
  /** Trained tensors, float32, in program order. */
  readonly parameters: readonly NamedType[];
  /** Optimizer state, float32; starts as zeros. */
  readonly slots: readonly NamedType[];
  /** Tensors that programs read and nobody trains, float32: an adapter's base weights. */
  readonly frozen: readonly NamedType[];
  /** The tensor set of the frozen tensors, in order; null where there are none. */
  readonly frozenValues: CidText | null;
  /** What generation carries from token to token; starts as zeros. Empty for a model that does not generate. */
  readonly cache: readonly NamedType[];
  /** Input and target of one training step; the first axis of both is the batch. */
  readonly batch: { readonly x: TensorType; readonly y: TensorType };
  /** Records per run of `evaluate` and `apply`. */
  readonly evaluationBatch: number;
  readonly programs: { readonly [R in ProgramRole]: CidText } & { readonly generate: CidText | null };
}

export interface Signature {
  readonly inputs: readonly NamedType[];
  readonly outputs: readonly NamedType[];
}

const modelNamePattern = /^[A-Za-z_][A-Za-z0-9_.-]{0,39}$/;
const modelName = text(40, modelNamePattern);
const named = list(namedTypeSchema, 1024);
const modelSchema = struct({
  version: literal(1),
  name: modelName,
  parameters: list(namedTypeSchema, 1024, 1),
  slots: named,
  frozen: named,
  frozenValues: nullable(link),
  cache: named,
  batch: struct({ x: tensorTypeSchema, y: tensorTypeSchema }),
  evaluationBatch: integer(1, 65_536),
  programs: struct({
    init: link,
    trainStep: link,
    evaluate: link,
    apply: link,
    update: link,
    fold: link,
    finish: link,
    generate: nullable(link),
  }),
});

function invalid(field: string, message: string): never {
  throw new MusterError('MODEL_INVALID', `${field}: ${message}`, { field });
}

/** Names that programs give to tensors of their own. */
const reserved = new Set(['x', 'y', 'key', 'keys', 'step', 'mask', 'loss', 'weight', 'total', 'token', 'position', 'logits']);
/** Longest name of a tensor of a model: programs put `update.` and the like before it. */
export const maxTensorName = 56;

/** What a model object says besides its programs. */
export type ModelHeader = Omit<ModelObject, 'programs'>;

/**
 * Throws MODEL_INVALID unless the name is one, tensor names are distinct and free, state and frozen tensors are float32, values
 * are linked exactly where tensors are frozen, both batches share a first axis, and all of the cache does.
 */
export function checkModel(model: ModelHeader): void {
  if (!modelNamePattern.test(model.name)) invalid('name', `not a name: "${model.name.slice(0, 60)}"`);
  if (model.parameters.length === 0) invalid('parameters', 'a model needs at least one');
  const seen = new Set<string>();
  for (const [kind, types] of [
    ['parameters', model.parameters],
    ['slots', model.slots],
    ['frozen', model.frozen],
    ['cache', model.cache],
  ] as const) {
    for (const { name, dtype } of types) {
      if (reserved.has(name)) invalid(kind, `the name "${name}" is reserved`);
      if (seen.has(name)) invalid(kind, `"${name}" appears twice`);
      if (name.length > maxTensorName) invalid(kind, `the name "${name}" is longer than ${maxTensorName}`);
      if (dtype !== 'float32' && kind !== 'cache') invalid(kind, `"${name}" is ${dtype}, not float32`);
      seen.add(name);
    }
  }
  if ((model.frozen.length === 0) !== (model.frozenValues === null)) invalid('frozenValues', 'a link exactly where tensors are frozen');
  const sequences = model.cache[0]?.shape[0];
  if (model.cache.some(({ shape }) => shape[0] !== sequences || shape[0] === undefined || shape[0] === 0)) {
    invalid('cache', 'its tensors do not share a first axis');
  }
  const { x, y } = model.batch;
  if (x.shape[0] === undefined || x.shape[0] !== y.shape[0] || x.shape[0] === 0) invalid('batch', 'x and y do not share a first axis');
}

/** Canonical bytes and content id of `model`. Throws MODEL_INVALID. */
export function encodeModel(model: ModelObject): { readonly cid: CidText; readonly bytes: Uint8Array } {
  checkModel(model);
  checkGenerates(model);
  const programs = Object.fromEntries(programRoles.map((role) => [role, linkOf(model.programs[role])]));
  const { generate } = model.programs;
  return encodeObject({
    ...model,
    frozenValues: model.frozenValues === null ? null : linkOf(model.frozenValues),
    programs: { ...programs, generate: generate === null ? null : linkOf(generate) },
  });
}

/** The model object in `bytes`. Throws BYTES_TOO_LARGE, BYTES_MALFORMED, BYTES_NOT_CANONICAL, FIELD_INVALID, MODEL_INVALID. */
export function decodeModel(bytes: Uint8Array): ModelObject {
  const model = modelSchema(decodeCanonical(bytes), 'model');
  checkModel(model);
  checkGenerates(model);
  return model;
}

function checkGenerates({ cache, programs }: ModelObject): void {
  if ((cache.length === 0) !== (programs.generate === null)) invalid('programs.generate', 'a link exactly where there is a cache');
}

const scalar = (name: string): NamedType => ({ name, dtype: 'float32', shape: [] });
const integerScalar = (name: string): NamedType => ({ name, dtype: 'int32', shape: [] });

/** Inputs and outputs, in order, that each program of `model` must have. The output type of `apply` is the program's own. */
export function programSignatures(model: ModelHeader): { readonly [R in ProgramRole]: Signature } {
  const { parameters, slots, frozen, batch, evaluationBatch } = model;
  const prefixed = (prefix: string): NamedType[] => parameters.map((parameter) => ({ ...parameter, name: `${prefix}.${parameter.name}` }));
  const evaluated = (name: string, type: TensorType): NamedType => ({
    name,
    dtype: type.dtype,
    shape: [evaluationBatch, ...type.shape.slice(1)],
  });
  const x: NamedType = { name: 'x', ...batch.x };
  const y: NamedType = { name: 'y', ...batch.y };
  return {
    init: { inputs: [{ name: 'keys', dtype: 'uint32', shape: [parameters.length, 2] }], outputs: parameters },
    trainStep: {
      inputs: [...parameters, ...slots, ...frozen, x, y, { name: 'key', dtype: 'uint32', shape: [2] }, integerScalar('step')],
      outputs: [...parameters, ...slots, scalar('loss')],
    },
    evaluate: {
      inputs: [
        ...parameters,
        ...frozen,
        evaluated('x', batch.x),
        evaluated('y', batch.y),
        { name: 'mask', dtype: 'float32', shape: [evaluationBatch] },
      ],
      outputs: [scalar('lossSum'), integerScalar('correct')],
    },
    apply: { inputs: [...parameters, ...frozen, evaluated('x', batch.x)], outputs: [] },
    update: { inputs: [...prefixed('final'), ...prefixed('base')], outputs: parameters },
    fold: { inputs: [...prefixed('acc'), ...prefixed('update'), scalar('weight')], outputs: parameters },
    finish: { inputs: [...prefixed('base'), ...prefixed('acc'), scalar('total')], outputs: parameters },
  };
}

/**
 * Inputs of the program `generate`, and its outputs before the last, `logits`, whose type is the program's own. Null for a model
 * that does not generate. G, the number of sequences, is the first axis of the cache.
 */
export function generateSignature({ parameters, frozen, cache }: ModelHeader): Signature | null {
  const sequences = cache[0]?.shape[0];
  if (sequences === undefined) return null;
  const token: NamedType = { name: 'token', dtype: 'int32', shape: [sequences] };
  return { inputs: [...parameters, ...frozen, ...cache, token, integerScalar('position')], outputs: cache };
}

/** Types of the outputs of `program`, with their names. */
export function outputTypes(program: Program): NamedType[] {
  const types: TensorType[] = [...program.inputs, ...program.constants, ...program.operations.flatMap((operation) => operation.outputs)];
  return program.outputs.map(({ name, value }) => {
    const type = types[value];
    if (type === undefined) invalid(`outputs.${name}`, 'refers to no value');
    return { name, dtype: type.dtype, shape: type.shape };
  });
}

function checkTypes(field: string, actual: readonly NamedType[], expected: readonly NamedType[]): void {
  if (actual.length !== expected.length) invalid(field, `${actual.length} tensors, expected ${expected.length}`);
  expected.forEach((type, index) => {
    const own = actual[index];
    if (own === undefined || own.name !== type.name || !sameType(own, type)) {
      invalid(
        `${field}[${index}]`,
        `expected ${type.name} ${type.dtype}[${type.shape.join(',')}], got ${own === undefined ? 'nothing' : `${own.name} ${own.dtype}[${own.shape.join(',')}]`}`,
      );
    }
  });
}

/**
 * Throws MODEL_INVALID, naming program and place, unless every program has the signature that `model` asks for. `generate` is
 * null exactly where the model does not generate.
 */
export function checkModelPrograms(
  model: ModelHeader,
  programs: Readonly<Record<ProgramRole, Program>>,
  generate: Program | null = null,
): void {
  checkModel(model);
  const signatures = programSignatures(model);
  for (const role of programRoles) {
    const program = programs[role];
    checkTypes(`programs.${role}.inputs`, program.inputs, signatures[role].inputs);
    const outputs = outputTypes(program);
    if (role !== 'apply') checkTypes(`programs.${role}.outputs`, outputs, signatures[role].outputs);
    else if (outputs.length !== 1 || outputs[0]?.name !== 'output') invalid('programs.apply.outputs', 'expected one tensor named output');
  }
  const signature = generateSignature(model);
  if ((signature === null) !== (generate === null)) invalid('programs.generate', 'expected exactly where there is a cache');
  if (signature === null || generate === null) return;
  checkTypes('programs.generate.inputs', generate.inputs, signature.inputs);
  const outputs = outputTypes(generate);
  checkTypes('programs.generate.outputs', outputs.slice(0, -1), signature.outputs);
  const last = outputs.at(-1);
  if (last?.name !== 'logits' || last.dtype !== 'float32' || last.shape[0] !== signature.outputs[0]?.shape[0]) {
    invalid('programs.generate.outputs', 'expected logits, float32, one row per sequence, as the last');
  }
}
