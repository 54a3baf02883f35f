/**
 * Which records a training step takes: drawn by the seed, so that a validator draws the same.
 *
 * Each epoch is its own Fisher–Yates shuffle of the shard, named by (seed, round, task, epoch); the steps take consecutive records
 * of the endless row of epochs. Reading the records is `reader.ts`.
 */
import { integer } from '@muster/protocol';
import { RandomStream, type Seed } from './random.ts';

export interface BatchSource {
  readonly seed: Seed;
  readonly round: number;
  readonly task: number;
  /** Record indices of the task's slot, at least one. Its order matters; `splitRecords` gives it ascending. */
  readonly shard: Uint32Array;
  readonly batchSize: number;
}

/** The batches of one task. Any step may be asked for; a shuffle of O(shard) is made per epoch entered, not per step. */
export class BatchSampler {
  readonly #source: BatchSource;
  #epoch = -1;
  #order: Uint32Array = new Uint32Array(0);

  /** Throws FIELD_INVALID for an empty shard, a batch size below 1 or a negative round or task. */
  constructor(source: BatchSource) {
    integer(1)(source.shard.length, 'shard.length');
    integer(1, 1 << 24)(source.batchSize, 'batchSize');
    integer()(source.round, 'round');
    integer()(source.task, 'task');
    this.#source = source;
  }

  /** uint32 [batchSize]: record indices of step `step`, counted from 0; positions step · batchSize … of the row of epochs. */
  batch(step: number): Uint32Array {
    const { shard, batchSize } = this.#source;
    integer(0, Math.floor(Number.MAX_SAFE_INTEGER / batchSize) - 1)(step, 'step');
    const batch = new Uint32Array(batchSize);
    for (let i = 0; i < batchSize; i++) {
      const position = step * batchSize + i;
      const epoch = Math.floor(position / shard.length);
      batch[i] = this.#shuffled(epoch)[position - epoch * shard.length] ?? 0;
    }
    return batch;
  }

  #shuffled(epoch: number): Uint32Array {
    if (epoch !== this.#epoch) {
      const { seed, round, task, shard } = this.#source;
      this.#order = new RandomStream(seed, 'batch', round, task, epoch).shuffle(shard.slice());
      this.#epoch = epoch;
    }
    return this.#order;
  }
}

/** One batch alone, as `BatchSampler` gives it: O(shard). */
export function batchIndices(request: BatchSource & { readonly step: number }): Uint32Array {
  return new BatchSampler(request).batch(request.step);
}
