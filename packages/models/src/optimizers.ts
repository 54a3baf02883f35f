/**
 * Optimizers as pure updates over jax-js arrays. All their state is in slots: float32 tensors that start as zeros and travel
 * with the task, so that whoever takes the task over gets the same next step.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import type { NamedType } from '@muster/engine';
import { finite, type Infer, literal, struct, variant } from '@muster/protocol';
import { unexpected } from './definition.ts';

const learningRate = finite(0, 1e6);
const decay = finite(0, 0.999999);

/** Decoder of the optimizer part of a model specification. Rates are rounded to float32 when the program is built. */
export const optimizerSchema = variant('kind', {
  sgd: struct({ kind: literal('sgd'), learningRate }),
  momentum: struct({ kind: literal('momentum'), learningRate, momentum: decay }),
  adam: struct({ kind: literal('adam'), learningRate, beta1: decay, beta2: decay, epsilon: finite(1e-12, 1) }),
});
export type OptimizerSpec = Infer<typeof optimizerSchema>;

const scalar = (name: string): NamedType => ({ name, dtype: 'float32', shape: [] });

/** Types of the slots of `optimizer` for `parameters`, in slot order. */
export function slotTypes(optimizer: OptimizerSpec, parameters: readonly NamedType[]): NamedType[] {
  const perParameter = (prefix: string): NamedType[] =>
    parameters.map((parameter) => ({ ...parameter, name: `${prefix}.${parameter.name}` }));
  switch (optimizer.kind) {
    case 'sgd':
      return [];
    case 'momentum':
      return perParameter('momentum');
    case 'adam':
      return [...perParameter('first'), ...perParameter('second'), scalar('weight.first'), scalar('weight.second')];
    default:
      throw unexpected(optimizer);
  }
}

export interface OptimizerStep {
  readonly parameters: JaxArray[];
  readonly slots: JaxArray[];
}

/** One step. `parameters`, `gradients` in parameter order, `slots` in slot order; all are consumed. */
export function optimizerStep(
  optimizer: OptimizerSpec,
  parameters: readonly JaxArray[],
  slots: readonly JaxArray[],
  gradients: readonly JaxArray[],
): OptimizerStep {
  switch (optimizer.kind) {
    case 'sgd':
      return { parameters: parameters.map((p, i) => p.add((gradients[i] as JaxArray).mul(-optimizer.learningRate))), slots: [] };
    case 'momentum': {
      const velocities = slots.map((slot, i) => slot.mul(optimizer.momentum).add(gradients[i] as JaxArray));
      return {
        parameters: parameters.map((p, i) => p.add((velocities[i] as JaxArray).ref.mul(-optimizer.learningRate))),
        slots: velocities,
      };
    }
    case 'adam':
      return adamStep(optimizer, parameters, slots, gradients);
    default:
      throw unexpected(optimizer);
  }
}

/** β · mean + (1 − β) · value. */
function runningMean(mean: JaxArray, value: JaxArray | number, beta: number): JaxArray {
  return mean.mul(beta).add(typeof value === 'number' ? value * (1 - beta) : value.mul(1 - beta));
}

/**
 * Adam (Kingma and Ba, 2015). Moments are running means that start at zero, and the bias correction divides them by the running
 * mean of ones: the weight they have gathered, 1 − βᵗ, kept in a slot instead of computed as a power.
 */
function adamStep(
  { learningRate, beta1, beta2, epsilon }: Extract<OptimizerSpec, { kind: 'adam' }>,
  parameters: readonly JaxArray[],
  slots: readonly JaxArray[],
  gradients: readonly JaxArray[],
): OptimizerStep {
  const count = parameters.length;
  const weightFirst = runningMean(slots[2 * count] as JaxArray, 1, beta1);
  const weightSecond = runningMean(slots[2 * count + 1] as JaxArray, 1, beta2);
  const correctFirst = np.reciprocal(weightFirst.ref).mul(-learningRate);
  const correctSecond = np.reciprocal(weightSecond.ref);
  const firsts: JaxArray[] = [];
  const seconds: JaxArray[] = [];
  const next = parameters.map((parameter, i) => {
    const gradient = gradients[i] as JaxArray;
    const first = runningMean(slots[i] as JaxArray, gradient.ref, beta1);
    const second = runningMean(slots[count + i] as JaxArray, gradient.ref.mul(gradient), beta2);
    firsts.push(first.ref);
    seconds.push(second.ref);
    const scale = np.reciprocal(np.sqrt(second.mul(correctSecond.ref)).add(epsilon));
    return parameter.add(first.mul(correctFirst.ref).mul(scale));
  });
  return { parameters: next, slots: [...firsts, ...seconds, weightFirst, weightSecond] };
}
