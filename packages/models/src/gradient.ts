/** Loss and gradients of a model as a program of their own, for whoever compares them with another implementation. */
import { type Array as JaxArray, numpy as np, valueAndGrad } from '@jax-js/jax';
import { type NamedType, type Program, traceProgram } from '@muster/engine';
import type { ModelDefinition, ParameterDefinition } from './definition.ts';

const typesOf = (definitions: readonly ParameterDefinition[]): NamedType[] =>
  definitions.map(({ name, shape }) => ({ name, dtype: 'float32', shape: [...shape] }));

function byName(types: readonly NamedType[], arrays: readonly JaxArray[]): Record<string, JaxArray> {
  return Object.fromEntries(types.map((type, index) => [type.name, arrays[index] as JaxArray]));
}

/**
 * Inputs: parameters, frozen tensors, `x`, `y` (both [batchSize, …]) and, with dropout in use, `key` uint32[2]; outputs: `loss`, the mean
 * over the records, then `gradient.…` of every parameter. The program of `trainStep` without its optimizer. Without dropout
 * (`training` false) there is no key. Throws as `traceProgram`.
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
  const gradients = (...arrays: JaxArray[]): JaxArray[] => {
    const fixed = byName(frozen, arrays.slice(count));
    const [x, y, key = null] = arrays.slice(given) as [JaxArray, JaxArray, JaxArray?];
    const meanLoss = (trained: Record<string, JaxArray>): JaxArray =>
      np.mean(definition.loss.perRecord(definition.apply({ ...trained, ...fixed }, x, { key }), y));
    const [loss, slopes] = valueAndGrad(meanLoss)(byName(parameters, arrays));
    return [loss, ...parameters.map(({ name }) => slopes[name] as JaxArray)];
  };
  return traceProgram(`${definition.name}.gradient`, gradients, inputs, ['loss', ...parameters.map(({ name }) => `gradient.${name}`)]);
}
