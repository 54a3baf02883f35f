export { finishProgram, foldProgram, updateProgram } from './aggregation.ts';
export { buildModel, buildModelFromDefinition, type BuiltModel } from './build.ts';
export type { Initial, LossDefinition, ModelDefinition, ParameterDefinition, RecordType } from './definition.ts';
export { definitionOf } from './families.ts';
export { crossEntropy, meanSquaredError } from './losses.ts';
export {
  checkModel,
  checkModelPrograms,
  decodeModel,
  encodeModel,
  type ModelObject,
  outputTypes,
  type ProgramRole,
  programRoles,
  programSignatures,
  type Signature,
} from './model.ts';
export { type OptimizerSpec, optimizerSchema, slotTypes } from './optimizers.ts';
export { decodeModelSpec, type ModelSpec, modelSpecSchema, type TrainingSpec, trainingSpecSchema } from './spec.ts';
