export { adaptedDefinition, type AdapterOptions, adapterSchema, type AdapterSpec, mergeProgram } from './adapters.ts';
export { finishProgram, foldProgram, updateProgram } from './aggregation.ts';
export { type AugmentSpec, augmentSchema } from './augment.ts';
export { buildModel, buildModelFromDefinition, type BuiltModel } from './build.ts';
export {
  type ApplyContext,
  type GenerationDefinition,
  type Initial,
  type LossDefinition,
  type ModelDefinition,
  type ParameterDefinition,
  type RecordType,
  uniformLimit,
} from './definition.ts';
export { dropout } from './dropout.ts';
export { estimateModel, gptOfSize, type ModelEstimate, parameterCount, parseParameters, type StepMemory } from './estimate.ts';
export * from './families.ts';
export { generateTokens, generationLimit, Generator, type RandomWords, Sampler, type SamplingOptions } from './generation.ts';
export { gradientProgram } from './gradient.ts';
export { delegatedKeys, initialKeys, initialTree, partialInit, seedTreeFanout } from './initialization.ts';
export { crossEntropy, meanSquaredError, tokenCrossEntropy } from './losses.ts';
export {
  checkModel,
  checkModelPrograms,
  decodeModel,
  encodeModel,
  generateSignature,
  type ModelHeader,
  type ModelObject,
  outputTypes,
  type ProgramRole,
  programRoles,
  programSignatures,
  type Signature,
} from './model.ts';
export { type CompleteOptimizer, type OptimizerSpec, optimizerSchema, slotTypes } from './optimizers.ts';
export { type CompleteSchedule, type ScheduleSpec, scheduleSchema } from './schedules.ts';
export {
  type CompleteModelSpec,
  type CompleteTraining,
  decodeModelSpec,
  decodeTrainingSpec,
  type ModelSpec,
  modelSpecSchema,
  trainingOf,
  type TrainingSpec,
} from './spec.ts';
export {
  decodeSafetensors,
  encodeSafetensors,
  maxSafetensorsHeader,
  type NamedTensor,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsTensor,
} from './safetensors.ts';
export {
  floatsOf,
  type ParameterMapping,
  parametersFromSafetensors,
  parametersToSafetensors,
  sameNames,
} from './safetensors-parameters.ts';
export {
  byteTokenizer,
  characterTokenizer,
  huggingFaceTokenizer,
  loadTokenizer,
  maxTokenizerBytes,
  type Tokenizer,
  type TokenizerObject,
} from './tokenizer.ts';
export { onnxOperatorSet, programToOnnx } from './onnx.ts';
