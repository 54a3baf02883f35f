/**
 * Learning rates that change with the number of the step, computed inside the training program: exact like everything else in it.
 *
 * Steps are those of the job, from 0: a task of round r starts at r · localSteps, whoever executes it.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { fieldError, finite, type Infer, integer, list, literal, type Schema, struct, variant } from '@muster/protocol';
import { type Given, withDefaults } from './defaults.ts';
import { unexpected } from './definition.ts';

const steps = integer(0, 2 ** 30);
const decaying = { warmupSteps: steps, totalSteps: steps, minimumRate: finite(0, 1e6) };
const fromStart = { warmupSteps: 0, minimumRate: 0 };

/** Throws FIELD_INVALID unless the decay has steps of its own. */
function withRoom<T extends { readonly warmupSteps: number; readonly totalSteps: number }>(schema: Schema<T>): Schema<T> {
  return (value, path) => {
    const read = schema(value, path);
    if (read.totalSteps <= read.warmupSteps)
      throw fieldError(`${path}.totalSteps`, `more than the ${read.warmupSteps} warm-up steps`, read.totalSteps);
    return read;
  };
}

function ascending(schema: Schema<readonly number[]>): Schema<readonly number[]> {
  return (value, path) => {
    const read = schema(value, path);
    if (read.some((step, index) => index > 0 && step <= (read[index - 1] as number))) throw fieldError(path, 'ascending steps', value);
    return read;
  };
}

/**
 * Decoder of a schedule. With s the step, η the optimizer's rate, W, T, η′ the warm-up steps, total steps and minimum rate:
 * - `constant`: η.
 * - `cosine`, `linear`: η (s + 1) / (W + 1) while s < W; then with q = min(1, (s − W) / (T − W)):
 *   η′ + (η − η′) (1 + cos πq) / 2 (Loshchilov and Hutter, 2017, one cycle) or η′ + (η − η′) (1 − q).
 * - `step`: η times `factor` once for each of `milestones` with milestone ≤ s.
 *
 * `warmupSteps` and `minimumRate` may be missing: 0.
 */
export const scheduleSchema = variant('kind', {
  constant: struct({ kind: literal('constant') }),
  cosine: withDefaults(withRoom(struct({ kind: literal('cosine'), ...decaying })), fromStart),
  linear: withDefaults(withRoom(struct({ kind: literal('linear'), ...decaying })), fromStart),
  step: struct({ kind: literal('step'), milestones: ascending(list(steps, 64, 1)), factor: finite(0, 1) }),
});
/** A schedule, decoded. */
export type CompleteSchedule = Infer<typeof scheduleSchema>;
/** A schedule as an organizer writes it. */
export type ScheduleSpec = Given<CompleteSchedule, 'warmupSteps' | 'minimumRate'>;

/** A learning rate: a number known when the program is built, or float32[] computed in it, borrowed (use `.ref`). */
export type Rate = number | JaxArray;

/** The rate at `step` int32[] (borrowed) of `schedule` whose highest rate is `highest`. */
export function rateAt(schedule: CompleteSchedule, highest: number, step: JaxArray): Rate {
  switch (schedule.kind) {
    case 'constant':
      return highest;
    case 'step': {
      const factors = schedule.milestones.map((milestone) => np.where(np.less(step.ref, milestone), 1, schedule.factor));
      return factors.reduce((rate, factor) => rate.mul(factor), np.array(highest));
    }
    case 'cosine':
    case 'linear': {
      const { kind, warmupSteps, totalSteps, minimumRate } = schedule;
      const length = totalSteps - warmupSteps;
      const after = np.clip(step.ref.sub(warmupSteps), 0, length).astype(np.float32);
      const range = highest - minimumRate;
      // What the rate has lost: nothing at first, to the bit, and never more than the range.
      const lost =
        kind === 'cosine'
          ? np
              .cos(after.mul(Math.PI / length))
              .mul(-range / 2)
              .add(range / 2)
          : after.mul(range / length);
      const decayed = np.maximum(lost.mul(-1).add(highest), minimumRate);
      if (warmupSteps === 0) return decayed;
      const rising = step.ref
        .add(1)
        .astype(np.float32)
        .mul(highest / (warmupSteps + 1));
      return np.where(np.less(step.ref, warmupSteps), rising, decayed);
    }
    default:
      throw unexpected(schedule);
  }
}
