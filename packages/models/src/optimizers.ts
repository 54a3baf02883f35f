/**
 * Optimizers as pure updates over jax-js arrays, with PyTorch's definitions. All their state is in slots: float32 tensors that start
 * as zeros and travel with the task, so that whoever takes the task over gets the same next step.
 *
 * With p a parameter, g its gradient, η the learning rate of the step, λ the weight decay, μ the momentum:
 * - `sgd`: p ← p − η g (with g + λp for g).
 * - `momentum` (Polyak, 1964): v ← μv + g; p ← p − ηv (with g + λp for g).
 * - `nesterov` (Sutskever et al., 2013, as PyTorch writes it): v ← μv + g; p ← p − η (g + μv) (with g + λp for g).
 * - `adam` (Kingma and Ba, 2015): m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; p ← p − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
 *   (with g + λp for g).
 * - `adamw` (Loshchilov and Hutter, 2019): p ← p − ηλp first, then as `adam` without λ.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import type { NamedType } from '@muster/engine';
import { finite, type Infer, literal, oneOf, struct, variant } from '@muster/protocol';
import { type Given, withDefaults } from './defaults.ts';
import { unexpected } from './definition.ts';
import type { Rate } from './schedules.ts';

const fraction = finite(0, 0.999999);
const common = { learningRate: finite(0, 1e6), weightDecay: finite(0, 1e3), decayed: oneOf('all', 'matrices') };
const moments = { beta1: fraction, beta2: fraction, epsilon: finite(1e-12, 1) };
const undecayed = { weightDecay: 0, decayed: 'all' } as const;

/**
 * Decoder of the optimizer part of a model specification. Rates are rounded to float32 when the program is built. `decayed` says
 * which parameters lose weight: `all`, or only those of rank 2 and more (`matrices`: neither biases nor norms, as nanoGPT does).
 * May be missing: `weightDecay` (0; `adamw` 0.01), `decayed` (`all`; `adamw` `matrices`).
 */
export const optimizerSchema = variant('kind', {
  sgd: withDefaults(struct({ kind: literal('sgd'), ...common }), undecayed),
  momentum: withDefaults(struct({ kind: literal('momentum'), ...common, momentum: fraction }), undecayed),
  nesterov: withDefaults(struct({ kind: literal('nesterov'), ...common, momentum: fraction }), undecayed),
  adam: withDefaults(struct({ kind: literal('adam'), ...common, ...moments }), undecayed),
  adamw: withDefaults(struct({ kind: literal('adamw'), ...common, ...moments }), { weightDecay: 0.01, decayed: 'matrices' }),
});
/** An optimizer, decoded. */
export type CompleteOptimizer = Infer<typeof optimizerSchema>;
/** An optimizer as an organizer writes it. */
export type OptimizerSpec = Given<CompleteOptimizer, 'weightDecay' | 'decayed'>;

const scalar = (name: string): NamedType => ({ name, dtype: 'float32', shape: [] });

/** Types of the slots of `optimizer` for `parameters`, in slot order. */
export function slotTypes(optimizer: OptimizerSpec, parameters: readonly NamedType[]): NamedType[] {
  const perParameter = (prefix: string): NamedType[] =>
    parameters.map((parameter) => ({ ...parameter, name: `${prefix}.${parameter.name}` }));
  const { kind } = optimizer;
  switch (kind) {
    case 'sgd':
      return [];
    case 'momentum':
    case 'nesterov':
      return perParameter('momentum');
    case 'adam':
    case 'adamw':
      return [...perParameter('first'), ...perParameter('second'), scalar('weight.first'), scalar('weight.second')];
    default:
      throw unexpected(kind);
  }
}

export interface OptimizerStep {
  readonly parameters: JaxArray[];
  readonly slots: JaxArray[];
}

/** value · rate · factor. */
function scaled(value: JaxArray, rate: Rate, factor: number): JaxArray {
  return value.mul(typeof rate === 'number' ? rate * factor : rate.ref.mul(factor));
}

/**
 * One step at learning rate `rate`. `parameters`, `gradients` in parameter order, `slots` in slot order; all three are consumed.
 */
export function optimizerStep(
  optimizer: CompleteOptimizer,
  rate: Rate,
  parameters: readonly JaxArray[],
  slots: readonly JaxArray[],
  gradients: readonly JaxArray[],
): OptimizerStep {
  const { weightDecay, decayed } = optimizer;
  const loses = (parameter: JaxArray): boolean => weightDecay > 0 && (decayed === 'all' || parameter.shape.length > 1);
  if (optimizer.kind === 'adamw') {
    const kept = typeof rate === 'number' ? 1 - rate * weightDecay : rate.ref.mul(-weightDecay).add(1);
    const smaller = parameters.map((p) => (loses(p) ? p.mul(typeof kept === 'number' ? kept : kept.ref) : p));
    return adamStep(optimizer, rate, smaller, slots, gradients);
  }
  const slopes = parameters.map((p, i) => (loses(p) ? (gradients[i] as JaxArray).add(p.ref.mul(weightDecay)) : (gradients[i] as JaxArray)));
  switch (optimizer.kind) {
    case 'sgd':
      return { parameters: parameters.map((p, i) => p.add(scaled(slopes[i] as JaxArray, rate, -1))), slots: [] };
    case 'momentum':
    case 'nesterov': {
      const { kind, momentum } = optimizer;
      const velocities = slots.map((slot, i) => slot.mul(momentum).add((slopes[i] as JaxArray).ref));
      const directions = velocities.map((velocity, i) =>
        kind === 'momentum' ? velocity.ref : (slopes[i] as JaxArray).add(velocity.ref.mul(momentum)),
      );
      return { parameters: parameters.map((p, i) => p.add(scaled(directions[i] as JaxArray, rate, -1))), slots: velocities };
    }
    case 'adam':
      return adamStep(optimizer, rate, parameters, slots, slopes);
    default:
      throw unexpected(optimizer);
  }
}

/** β · mean + (1 − β) · value. */
function runningMean(mean: JaxArray, value: JaxArray | number, beta: number): JaxArray {
  return mean.mul(beta).add(typeof value === 'number' ? value * (1 - beta) : value.mul(1 - beta));
}

/**
 * Adam without its decay. Moments are running means that start at zero, and the bias correction divides them by the running mean of
 * ones: the weight they have gathered, 1 − βᵗ, kept in a slot instead of computed as a power. t counts the steps since the slots were zero.
 */
function adamStep(
  { beta1, beta2, epsilon }: Extract<CompleteOptimizer, { kind: 'adam' | 'adamw' }>,
  rate: Rate,
  parameters: readonly JaxArray[],
  slots: readonly JaxArray[],
  gradients: readonly JaxArray[],
): OptimizerStep {
  const count = parameters.length;
  const weightFirst = runningMean(slots[2 * count] as JaxArray, 1, beta1);
  const weightSecond = runningMean(slots[2 * count + 1] as JaxArray, 1, beta2);
  const correctFirst = scaled(np.reciprocal(weightFirst.ref), rate, -1);
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
