/**
 * The held-out split of a set that comes without one: a fraction of the records, drawn by a seed.
 *
 * Sets with test files of their own keep them. For text see `text.ts`: overlapping windows may not be drawn.
 */
import { finite, integer } from '@muster/protocol';
import { dataError, type RawDataset, selectRecords } from './dataset.ts';
import { indexRange, RandomStream } from './random.ts';

export interface HeldOut {
  /** Part of the records that becomes the test split, in [0, 1); 0 keeps one split. At least one record if > 0. */
  readonly fraction: number;
  readonly seed: number;
}

export const noHeldOut: HeldOut = { fraction: 0, seed: 0 };

/** Records (or bytes of text) held out of `count`: ⌊count · fraction + ½⌋, at least 1 and at most count − 1. Throws DATA_MALFORMED. */
export function heldOutCount(count: number, heldOut: HeldOut, file: string): number {
  finite(0, 0.999)(heldOut.fraction, 'testFraction');
  integer()(heldOut.seed, 'seed');
  if (heldOut.fraction === 0) return 0;
  if (count < 2) throw dataError('DATA_MALFORMED', file, null, `${count} record cannot be divided into train and test`);
  return Math.min(count - 1, Math.max(1, Math.floor(count * heldOut.fraction + 0.5)));
}

/** `dataset` with a test split, if it has none and `heldOut` asks for it. Both splits keep the order of the records. */
export function holdOut(dataset: RawDataset, heldOut: HeldOut): RawDataset {
  const [train, ...others] = dataset.splits;
  if (train === undefined || others.length > 0) return dataset;
  const count = heldOutCount(train.records, heldOut, dataset.name);
  if (count === 0) return dataset;
  const order = new RandomStream(heldOut.seed, 'held-out').shuffle(indexRange(train.records));
  return {
    ...dataset,
    splits: [
      selectRecords(train, order.slice(count).sort(), dataset.record, 'train'),
      selectRecords(train, order.slice(0, count).sort(), dataset.record, 'test'),
    ],
  };
}
