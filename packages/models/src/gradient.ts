/** Loss and gradients of a model as a program of their own, for whoever compares them with another implementation. */
import type { Array as JaxArray } from '@jax-js/jax';
import { type NamedType, type Program, traceProgram } from '@muster/engine';
import { type ModelDefinition, typesOf } from './definition.ts';
import { lossAndGradients } from './train-step.ts';

/**
 * The program of `trainStep` up to its gradients, in one micro-batch and without augmentation. Inputs: parameters, frozen tensors, `x`,
 * `y` (both [batchSize, …]) and, if `training`, the step's `key` uint32[2], without which there is no dropout. Outputs: `loss`, the mean
 * over the records, then `gradient.…` of every parameter. Throws as `traceProgram`.
 */
export function gradientProgram(definition: ModelDefinition, batchSize: number, training = false): Program {
  const parameters = typesOf(definition.parameters);
  const frozen = typesOf(definition.frozen);
  const count = parameters.length;
  const given = count + frozen.length;
  const inputs: NamedType[] = [
    ...parameters,
    ...frozen,
    { name: 'x', dtype: definition.input.dtype, shape: [batchSize, ...definition.input.shape] },
    { name: 'y', dtype: definition.target.dtype, shape: [batchSize, ...definition.target.shape] },
    ...(training ? [{ name: 'key', dtype: 'uint32', shape: [2] } as const] : []),
  ];
  const traced = (...arrays: JaxArray[]): JaxArray[] => {
    const [x, y, key = null] = arrays.slice(given) as [JaxArray, JaxArray, JaxArray?];
    const plain = { accumulation: 1, augment: null };
    const fixed = arrays.slice(count, given);
    const { loss, gradients } = lossAndGradients(
      definition,
      plain,
      { parameters, frozen },
      { trained: arrays.slice(0, count), fixed, x, y, key },
    );
    return [loss, ...gradients];
  };
  return traceProgram(`${definition.name}.gradient`, traced, inputs, ['loss', ...parameters.map(({ name }) => `gradient.${name}`)]);
}
