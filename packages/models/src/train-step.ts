/**
 * The training step as a jax-js function: augmentation, loss and gradients over micro-batches, clipping, learning rate, optimizer.
 *
 * What each option means is in `spec.ts`; the order of operations here is the order of the traced program and so part of its bits.
 */
import { type Array as JaxArray, numpy as np, valueAndGrad } from '@jax-js/jax';
import type { NamedType } from '@muster/engine';
import { augment } from './augment.ts';
import type { ModelDefinition } from './definition.ts';
import { keyAt } from './dropout.ts';
import type { ModelHeader } from './model.ts';
import { optimizerStep } from './optimizers.ts';
import { rateAt } from './schedules.ts';
import type { CompleteTraining } from './spec.ts';

/** `arrays` under the names of `types`; more arrays than types are left alone. */
export function byName(types: readonly NamedType[], arrays: readonly JaxArray[]): Record<string, JaxArray> {
  return Object.fromEntries(types.map((type, index) => [type.name, arrays[index] as JaxArray]));
}

const refsOf = (arrays: readonly JaxArray[]): JaxArray[] => arrays.map((array) => array.ref);

/**
 * `gradients` scaled so that their common Euclidean norm is at most `clipNorm`: times min(1, clipNorm / (norm + 10⁻⁶)), as
 * PyTorch's `clip_grad_norm_` (Pascanu et al., 2013). Squares are summed per tensor, then in parameter order.
 */
function clipped(gradients: readonly JaxArray[], clipNorm: number): JaxArray[] {
  const squares = gradients.map((gradient) => gradient.ref.mul(gradient.ref).sum());
  const norm = np.sqrt(squares.reduce((sum, square) => sum.add(square)));
  const share = np.minimum(np.reciprocal(norm.add(1e-6)).mul(clipNorm), 1);
  return gradients.map((gradient) => gradient.mul(share.ref));
}

/** What a loss is computed from. Without a key there is no dropout; augmentation needs one. */
export interface LossInputs {
  readonly trained: readonly JaxArray[];
  readonly fixed: readonly JaxArray[];
  readonly x: JaxArray;
  readonly y: JaxArray;
  readonly key: JaxArray | null;
}

/**
 * Mean loss of a batch and its gradients in parameter order; all arrays are borrowed. Micro-batch m of n holds records
 * m · batch/n …; its dropout draws from key 2m, its augmentation from key 2m + 1 of the step's. Losses and gradients of the
 * micro-batches are added in ascending order and divided by n.
 */
export function lossAndGradients(
  definition: ModelDefinition,
  { accumulation, augment: augmentation }: Pick<CompleteTraining, 'accumulation' | 'augment'>,
  { parameters, frozen }: Pick<ModelHeader, 'parameters' | 'frozen'>,
  given: LossInputs,
): { readonly loss: JaxArray; readonly gradients: readonly JaxArray[] } {
  const size = (given.x.shape[0] as number) / accumulation;
  const part = (array: JaxArray, m: number): JaxArray => (accumulation === 1 ? array.ref : array.ref.slice([m * size, (m + 1) * size]));
  let loss: JaxArray | null = null;
  let sums: readonly JaxArray[] = [];
  for (let m = 0; m < accumulation; m++) {
    const images = part(given.x, m);
    const x = augmentation === null || given.key === null ? images : augment(augmentation, images, keyAt(given.key, 2 * m + 1));
    const context = { key: given.key === null ? null : keyAt(given.key, 2 * m) };
    const meanLoss = (trained: Record<string, JaxArray>): JaxArray => {
      const output = definition.apply({ ...trained, ...byName(frozen, refsOf(given.fixed)) }, x, context);
      return np.mean(definition.loss.perRecord(output, part(given.y, m)));
    };
    const [value, byParameter] = valueAndGrad(meanLoss)(byName(parameters, refsOf(given.trained)));
    const gradients = parameters.map(({ name }) => byParameter[name] as JaxArray);
    sums = m === 0 ? gradients : sums.map((sum, i) => sum.add(gradients[i] as JaxArray));
    loss = loss === null ? value : loss.add(value);
  }
  const sum = loss as JaxArray; // accumulation is at least 1
  if (accumulation === 1) return { loss: sum, gradients: sums };
  return { loss: sum.mul(1 / accumulation), gradients: sums.map((gradient) => gradient.mul(1 / accumulation)) };
}

/** `trainStep` of `definition`: parameters…, slots…, frozen…, x, y, key, step → parameters…, slots…, loss. */
export function tracedTrainStep(
  definition: ModelDefinition,
  training: CompleteTraining,
  header: Pick<ModelHeader, 'parameters' | 'slots' | 'frozen'>,
): (...inputs: JaxArray[]) => JaxArray[] {
  const count = header.parameters.length;
  const given = count + header.slots.length;
  return (...inputs) => {
    const trained = inputs.slice(0, count);
    const fixed = inputs.slice(given, given + header.frozen.length);
    const [x, y, key, step] = inputs.slice(given + header.frozen.length) as [JaxArray, JaxArray, JaxArray, JaxArray];
    const { loss, gradients } = lossAndGradients(definition, training, header, { trained, fixed, x, y, key });
    const { optimizer, schedule, clipNorm } = training;
    const next = optimizerStep(
      optimizer,
      rateAt(schedule, optimizer.learningRate, step),
      trained,
      inputs.slice(count, given),
      clipNorm === null ? gradients : clipped(gradients, clipNorm),
    );
    return [...next.parameters, ...next.slots, loss];
  };
}
