/** From a definition or a specification to a model object and its programs. Runs where the organizer is, never on a contributor. */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { encodeProgram, type NamedType, type Program, traceProgram } from '@muster/engine';
import { type CidText, cidOfBytes, MusterError } from '@muster/protocol';
import { finishProgram, foldProgram, updateProgram } from './aggregation.ts';
import { checkAugment } from './augment.ts';
import { type GenerationDefinition, type ModelDefinition, typesOf } from './definition.ts';
import { definitionOf } from './families.ts';
import { initialValue } from './initialization.ts';
import {
  checkModel,
  checkModelPrograms,
  encodeModel,
  generateSignature,
  type ModelHeader,
  type ModelObject,
  type ProgramRole,
  programRoles,
  programSignatures,
} from './model.ts';
import { slotTypes } from './optimizers.ts';
import { type CompleteTraining, decodeModelSpec, decodeTrainingSpec, type ModelSpec, trainingOf, type TrainingSpec } from './spec.ts';
import { byName, tracedTrainStep } from './train-step.ts';

/** A model ready to publish: every object with its content id, programs first and the model object last. */
export interface BuiltModel {
  readonly model: ModelObject;
  readonly cid: CidText;
  readonly objects: readonly { readonly cid: CidText; readonly bytes: Uint8Array }[];
  readonly programs: Readonly<Record<ProgramRole, Program>>;
  /** Null for a model that does not generate. */
  readonly generate: Program | null;
}

type Traced = (...inputs: JaxArray[]) => JaxArray[];

const namesOf = (types: readonly NamedType[]): string[] => types.map((type) => type.name);

function tracedFunctions(
  definition: ModelDefinition,
  training: CompleteTraining,
  header: ModelHeader,
): Pick<Record<ProgramRole, Traced>, 'init' | 'trainStep' | 'evaluate' | 'apply'> {
  const { loss } = definition;
  const given = [...header.parameters, ...header.frozen];
  const untrained = { key: null };
  return {
    init: (keys) => definition.parameters.map((parameter, index) => initialValue(parameter, keys.ref.slice(index))),
    trainStep: tracedTrainStep(definition, training, header),
    evaluate: (...inputs) => {
      const [x, y, mask] = inputs.slice(given.length) as [JaxArray, JaxArray, JaxArray];
      const output = definition.apply(byName(given, inputs), x, untrained);
      const counted = np.greater(mask, 0);
      const lossSum = np.where(counted.ref, loss.perRecord(output.ref, y.ref), 0).sum();
      if (loss.correct === null) return [lossSum, np.zeros([], { dtype: np.int32 })];
      return [lossSum, np.where(counted, loss.correct(output, y), false).astype(np.int32).sum()];
    },
    apply: (...inputs) => [definition.apply(byName(given, inputs), inputs[given.length] as JaxArray, untrained)],
  };
}

function tracedGeneration(
  generation: GenerationDefinition,
  { parameters, frozen, cache }: Pick<ModelHeader, 'parameters' | 'frozen' | 'cache'>,
): Traced {
  const given = [...parameters, ...frozen];
  return (...inputs) => {
    const [token, position] = inputs.slice(given.length + cache.length) as [JaxArray, JaxArray];
    const next = generation.step(byName(given, inputs), byName(cache, inputs.slice(given.length)), token, position);
    return [...next.cache, next.logits];
  };
}

/**
 * The model that `definition` trained as `given` describes. The same arguments give the same content ids.
 * Throws MODEL_INVALID for a definition that contradicts itself, PRIMITIVE_UNKNOWN for one that leaves the closed list.
 */
export async function buildModelFromDefinition(definition: ModelDefinition, given: TrainingSpec): Promise<BuiltModel> {
  const training = decodeTrainingSpec(given);
  const { batchSize, accumulation } = training;
  if (batchSize % accumulation !== 0) {
    throw new MusterError('MODEL_INVALID', `accumulation: ${batchSize} records cannot be cut into ${accumulation} equal parts`, {
      field: 'accumulation',
    });
  }
  if (training.augment !== null) checkAugment(training.augment, definition.input);
  const { name } = definition;
  const parameters = typesOf(definition.parameters);
  const header = {
    version: 1,
    name,
    parameters,
    slots: slotTypes(training.optimizer, parameters),
    frozen: typesOf(definition.frozen),
    frozenValues: definition.frozenValues,
    cache: definition.generation?.cache ?? [],
    batch: {
      x: { dtype: definition.input.dtype, shape: [training.batchSize, ...definition.input.shape] },
      y: { dtype: definition.target.dtype, shape: [training.batchSize, ...definition.target.shape] },
    },
    evaluationBatch: training.evaluationBatch,
  } as const;
  checkModel(header);
  const signatures = programSignatures(header);
  const traced = tracedFunctions(definition, training, header);
  const traceAs = (role: string, fn: Traced, inputs: readonly NamedType[], outputs: readonly string[]): Program => {
    try {
      return traceProgram(`${name}.${role}`, fn, inputs, outputs);
    } catch (cause) {
      if (cause instanceof MusterError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new MusterError('MODEL_INVALID', `${name}.${role}: ${message}`, { field: role }, { cause });
    }
  };
  const trace = (role: keyof typeof traced, outputs: readonly string[]): Program =>
    traceAs(role, traced[role], signatures[role].inputs, outputs);
  const programs: Record<ProgramRole, Program> = {
    init: trace('init', namesOf(parameters)),
    trainStep: trace('trainStep', namesOf(signatures.trainStep.outputs)),
    evaluate: trace('evaluate', namesOf(signatures.evaluate.outputs)),
    apply: trace('apply', ['output']),
    update: updateProgram(`${name}.update`, parameters),
    fold: foldProgram(`${name}.fold`, parameters),
    finish: finishProgram(`${name}.finish`, parameters),
  };
  const generation = generateSignature(header);
  const generate =
    generation === null || definition.generation === null
      ? null
      : traceAs('generate', tracedGeneration(definition.generation, header), generation.inputs, [...namesOf(header.cache), 'logits']);
  checkModelPrograms(header, programs, generate);
  return publish(header, programs, generate);
}

function encoding(program: Program): { readonly cid: CidText; readonly bytes: Uint8Array } {
  const bytes = encodeProgram(program);
  return { cid: cidOfBytes(bytes, 'dag-cbor'), bytes };
}

function publish(header: ModelHeader, programs: Readonly<Record<ProgramRole, Program>>, generate: Program | null): BuiltModel {
  const encoded = programRoles.map((role) => ({ role, ...encoding(programs[role]) }));
  const links = Object.fromEntries(encoded.map(({ role, cid }) => [role, cid])) as Record<ProgramRole, CidText>;
  const generating = generate === null ? [] : [encoding(generate)];
  const model: ModelObject = { ...header, programs: { ...links, generate: generating[0]?.cid ?? null } };
  const object = encodeModel(model);
  const objects = [...encoded.map(({ cid, bytes }) => ({ cid, bytes })), ...generating, object];
  return { model, cid: object.cid, objects, programs, generate };
}

/** The model that `spec` names; `spec` is decoded first. Throws MODEL_INVALID naming the field. */
export async function buildModel(spec: ModelSpec): Promise<BuiltModel> {
  const decoded = decodeModelSpec(spec);
  return buildModelFromDefinition(definitionOf(decoded), trainingOf(decoded));
}
