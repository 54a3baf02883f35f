import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Root } from '@muster/protocol';
import {
  acceptVerdict,
  agreeingGroups,
  countedResult,
  majority,
  outliers,
  type SlotState,
  type TaskState,
  validateTask,
} from '@muster/round';
import { cid, node, openedAs, root } from './support.ts';

const a = root(1);
const b = root(2);
const c = root(3);

/** A committed slot that opened one root and revealed another, null for not at all. */
const slot = (index: number, opened: Root | null, revealed: Root | null = opened, phase: SlotState['phase'] = 'committed'): SlotState => ({
  node: node(index),
  since: 0,
  phase,
  opened: opened === null ? null : openedAs(opened),
  revealedRoot: revealed,
  sent: null,
  opening: null,
  substitute: null,
  convicted: false,
});

const task = (slots: readonly SlotState[], verdict: Root | null = null): TaskState => ({
  phase: 'reveal',
  since: 0,
  slots,
  verdict: verdict === null ? null : { resultRoot: verdict, verdictCid: cid(1), evidence: '0xab', outcome: openedAs(verdict).outcome },
  accepted: null,
});

describe('a result', () => {
  it('counts once the same root is opened in the store and revealed on chain', () => {
    expect(countedResult(slot(0, a, null))).toBeNull();
    expect(countedResult(slot(0, null, a))).toBeNull();
    expect(countedResult(slot(0, a, b))).toBeNull();
    expect(countedResult(slot(0, a, a))).toEqual(openedAs(a));
  });

  it('is counted by root, the largest group first, equal groups by root', () => {
    const groups = agreeingGroups([slot(0, b), slot(1, a), slot(2, c), slot(3, c)]);
    const [first, second] = a < b ? [a, b] : [b, a];
    expect(groups.map(({ resultRoot, count }) => [resultRoot, count])).toEqual([
      [c, 2],
      [first, 1],
      [second, 1],
    ]);
  });
});

describe('a majority', () => {
  it('is more than half of the redundancy, however many results there are', () => {
    expect(majority([slot(0, a)], 1)?.resultRoot).toBe(a);
    expect(majority([slot(0, a)], 2)).toBeNull();
    expect(majority([slot(0, a), slot(1, a)], 3)?.count).toBe(2);
    expect(majority([slot(0, a), slot(1, a)], 4)).toBeNull();
    expect(majority([slot(0, a), slot(1, a), slot(2, b), slot(3, c), slot(4, null)], 5)).toBeNull();
    expect(majority([], 3)).toBeNull();
  });

  it('does not depend on the order of the slots and never holds for two roots', () => {
    const slots = fc.array(fc.constantFrom(a, b, c, null), { minLength: 1, maxLength: 15 });
    fc.assert(
      fc.property(slots, (roots) => {
        const listed = roots.map((one, index) => slot(index, one));
        const winner = majority(listed, listed.length);
        expect(majority(listed.toReversed(), listed.length)?.resultRoot).toBe(winner?.resultRoot);
        const counts = [a, b, c].map((one) => roots.filter((other) => other === one).length);
        expect(winner !== null).toBe(counts.some((count) => 2 * count > listed.length));
      }),
    );
  });
});

describe('a task', () => {
  it('waits while a committed slot has not shown its result', () => {
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, a, null)]), 3)).toBeNull();
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, null, a)]), 3)).toBeNull();
  });

  it('is settled by agreement without evidence, and does not wait for silent slots', () => {
    const settled = { resultRoot: a, outcome: openedAs(a).outcome, evidence: '0x' };
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, a)]), 3)).toEqual(settled);
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, null, null, 'silent')]), 3)).toEqual(settled);
  });

  it('is judged where results differ, are too few, or nobody shows any', () => {
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, b)]), 3)).toBe('judge');
    expect(validateTask(task([slot(0, a), slot(1, null, null, 'silent'), slot(2, null, null, 'silent')]), 3)).toBe('judge');
    expect(validateTask(task([slot(0, null, null, 'silent')]), 1)).toBe('judge');
    expect(validateTask(task([slot(0, a), slot(1, a), slot(2, null, b, 'silent')]), 3)).toBe('judge');
  });

  it('ends with the verdict once there is one, with evidence unless a majority says the same', () => {
    expect(acceptVerdict(task([slot(0, a)]), 3)).toBeNull();
    expect(acceptVerdict(task([slot(0, a), slot(1, b), slot(2, b)], a), 3)).toMatchObject({ resultRoot: a, evidence: '0xab' });
    expect(acceptVerdict(task([slot(0, a), slot(1, b), slot(2, b)], b), 3)).toMatchObject({ resultRoot: b, evidence: '0x' });
    expect(acceptVerdict(task([slot(0, a), slot(1, b), slot(2, b)], c), 3)).toMatchObject({ resultRoot: c, evidence: '0xab' });
  });

  it('blames exactly the slots that revealed another root than the verdict', () => {
    const slots = [slot(0, a), slot(1, b), slot(2, null, c, 'silent'), slot(3, b, null), slot(4, null)];
    expect(outliers(task(slots))).toEqual([]);
    expect(outliers(task(slots, a))).toEqual([1, 2]);
    expect(outliers(task(slots, c))).toEqual([0, 1]);
  });
});
