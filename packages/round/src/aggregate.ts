/**
 * Stage 6, aggregate: FedAvg over the accepted updates in ascending task order, in exact arithmetic.
 *
 * `fold` adds weight · update to the sum, `finish` adds the mean to the base; both are programs of the model, so an
 * aggregation is re-executed and disputed like a training step. Weights are the sample counts of the assignment
 * (McMahan et al. 2017), never a client's claim. One update is in memory at a time.
 */
import type { LoopingProgram, NamedType, PreparedProgram, Tensor } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { firstNotFinite } from './tensors.ts';
import { zeros } from './train.ts';

export interface AggregatePrograms {
  /** sum…, update…, weight → sum…; the sum is its state. Used by one average at a time. */
  readonly fold: LoopingProgram;
  /** base…, sum…, total weight → parameters…. */
  readonly finish: PreparedProgram;
}

/** Sums weighted updates; `add` them in ascending task order. */
export class FederatedAverage {
  readonly #programs: AggregatePrograms;
  #total = 0;

  constructor(programs: AggregatePrograms, parameters: readonly NamedType[]) {
    this.#programs = programs;
    programs.fold.setState(parameters.map(zeros));
  }

  /** Adds `update` with `weight`, an integer below 2²⁴. */
  add(update: readonly Tensor[], weight: number): void {
    this.#total += weight;
    if (this.#total >= 2 ** 24) throw new MusterError('JOB_INVALID', `sample counts add up to ${this.#total}, float32 holds 2^24 exactly`);
    this.#programs.fold.step([...update, scalar(weight)]);
  }

  /** The new parameters; `base` itself if nothing was added. Throws NUMERIC_FAULT if they are not finite. */
  finish(base: readonly Tensor[]): readonly Tensor[] {
    if (this.#total === 0) return base;
    const parameters = this.#programs.finish.run([...base, ...this.#programs.fold.readState(), scalar(this.#total)]);
    if (parameters.some((tensor) => firstNotFinite(tensor) !== null)) {
      throw new MusterError('NUMERIC_FAULT', 'the averaged parameters are not finite');
    }
    return parameters;
  }
}

const scalar = (value: number): Tensor => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) });
