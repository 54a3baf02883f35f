/**
 * Which records each trainer slot trains on.
 *
 * A pure function of (kind, targets, seed) in integers only, so that every node computes the same shards. The Dirichlet split
 * samples no Gamma variates, whose logarithms and powers differ between engines: a Pólya urn with integer weights draws from the
 * same law (Dirichlet-multinomial) exactly. It decides who trains on what, not in which order (`batches.ts`).
 */
import { fieldError, integer, MusterError, type SplitSpec, splitSchema } from '@muster/protocol';
import { indexRange, RandomStream, type Seed } from './random.ts';

/** Finest step of alpha: thousandths, the integer weight of the urn. */
const alphaScale = 1000;
const maxSlots = 65_536;

/**
 * Record indices of each slot, ascending; together they are 0 … recordCount − 1, each once, and no slot is empty.
 * `targets`: class index per record, needed by every kind but `equal`. Throws FIELD_INVALID for a wrong kind or slot count,
 * DATA_MALFORMED if there are fewer records (for `class`: classes) than slots, DATA_UNLABELLED without the targets needed.
 */
export function splitRecords(kind: SplitSpec, targets: Int32Array | null, recordCount: number, slots: number, seed: Seed): Uint32Array[] {
  splitSchema(kind, 'split');
  integer(1, maxSlots)(slots, 'slots');
  integer(0, 0xffff_ffff)(recordCount, 'recordCount');
  if (recordCount < slots) throw tooFew(`${recordCount} records`, slots);
  const random = new RandomStream(seed, 'shards', kind.kind);
  const order = random.shuffle(indexRange(recordCount));
  if (kind.kind === 'equal') return finished(cutEvenly(order, slots));
  if (targets === null) throw new MusterError('DATA_UNLABELLED', `the ${kind.kind} split needs class labels`, { split: kind.kind });
  if (targets.length !== recordCount) throw fieldError('targets', `${recordCount} targets`, `${targets.length} targets`);
  const classes = groupByClass(order, targets);
  switch (kind.kind) {
    case 'dirichlet':
      return finished(fillEmpty(dealByUrn(classes, slots, Math.floor(kind.alpha * alphaScale + 0.5), random)));
    case 'label': {
      const shards = slots * kind.shardsPerSlot;
      if (recordCount < shards) throw tooFew(`${recordCount} records`, shards);
      return finished(deal(cutEvenly(Uint32Array.from(classes.flat()), shards), slots, random));
    }
    case 'class':
      if (classes.length < slots) throw tooFew(`${classes.length} classes`, slots);
      return finished(deal(classes, slots, random));
    default:
      kind satisfies never;
      throw fieldError('split.kind', 'a known kind', kind);
  }
}

function tooFew(what: string, needed: number): MusterError {
  return new MusterError('DATA_MALFORMED', `${what} cannot be divided into ${needed} non-empty parts`, { parts: needed });
}

/** Record indices in the order of `order`, grouped by class, classes ascending. */
function groupByClass(order: Uint32Array, targets: Int32Array): number[][] {
  const groups = new Map<number, number[]>();
  for (const record of order) {
    const label = targets[record] ?? 0;
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [record]);
    else group.push(record);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** `parts` contiguous runs whose lengths differ by at most one, the longer ones first. */
function cutEvenly(order: Uint32Array, parts: number): Uint32Array[] {
  const short = Math.floor(order.length / parts);
  const longer = order.length - short * parts;
  const cut: Uint32Array[] = [];
  for (let part = 0, start = 0; part < parts; part++) {
    const end = start + short + (part < longer ? 1 : 0);
    cut.push(order.subarray(start, end));
    start = end;
  }
  return cut;
}

/** Deals the groups in random order to the slots in turn. */
function deal(groups: readonly (readonly number[] | Uint32Array)[], slots: number, random: RandomStream): number[][] {
  const dealt: number[][] = Array.from({ length: slots }, () => []);
  random.shuffle(indexRange(groups.length)).forEach((group, turn) => {
    const slot = dealt[turn % slots];
    for (const record of groups[group] ?? []) slot?.push(record);
  });
  return dealt;
}

/**
 * Pólya urn per class: with `weight` thousandths for each slot and 1000 for each record already dealt, the next record goes to a
 * slot in proportion. One draw decides: below slots · weight a slot outright, above it the slot of an earlier record.
 */
function dealByUrn(classes: readonly (readonly number[])[], slots: number, weight: number, random: RandomStream): number[][] {
  const dealt: number[][] = Array.from({ length: slots }, () => []);
  for (const records of classes) {
    const slotOf = new Uint32Array(records.length);
    records.forEach((record, count) => {
      const drawn = random.below(slots * weight + count * alphaScale);
      const slot = drawn < slots * weight ? Math.floor(drawn / weight) : (slotOf[Math.floor((drawn - slots * weight) / alphaScale)] ?? 0);
      slotOf[count] = slot;
      dealt[slot]?.push(record);
    });
  }
  return dealt;
}

/** Gives each empty slot, in order, the last record of the slot that then has most (the first of equals). Needs records ≥ slots. */
function fillEmpty(dealt: number[][]): number[][] {
  for (const slot of dealt) {
    if (slot.length > 0) continue;
    let largest = slot;
    for (const other of dealt) if (other.length > largest.length) largest = other;
    const moved = largest.pop();
    if (moved !== undefined) slot.push(moved);
  }
  return dealt;
}

function finished(dealt: readonly (readonly number[] | Uint32Array)[]): Uint32Array[] {
  return dealt.map((slot) => Uint32Array.from(slot).sort());
}
