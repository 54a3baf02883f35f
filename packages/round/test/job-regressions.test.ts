/** One test per fault found in the machine. */
import { describe, expect, it } from 'vitest';
import { simulateJob } from '@muster/round';
import { honest, Machine, node, wrong } from './support.ts';

describe('a round always ends', () => {
  it('though every substitute says it is there and never commits', () => {
    for (const validator of ['live', 'silent'] as const) {
      const { ended, violations } = simulateJob({ seed: 1, nodes: 5, faults: { hung: 3, validator }, limitMs: 600_000 });
      expect({ ended, violations }).toEqual({ ended: true, violations: [] });
    }
  });

  it('by closing the commitments there are when the time of the round is over', () => {
    const machine = Machine.working(6).commit(0);
    machine.pass(19_999);
    expect(machine.task.phase).toBe('commit');
    machine.pass(1);
    expect(machine.task.phase).toBe('closing');
    expect(machine.duties).toEqual(['closeCommits/0/0']);
  });
});

describe('a lying majority', () => {
  it('cannot use up the time of the validator: a verdict is waited for even when the round is over', () => {
    const machine = Machine.working(3, { roundTimeoutMs: 3000 }).pass(900).commit(0, 1, 2).pass(1900);
    machine.show(0, wrong).show(1, wrong).show(2, honest);
    expect(machine.task.phase).toBe('judge');
    machine.pass(2999);
    expect(machine.task.phase).toBe('judge');
    machine.verdict(honest);
    expect(machine.task.accepted?.resultRoot).toBe(honest);
    expect(machine.duties).toEqual(['convict/0/0/0/' + node(0), 'convict/0/0/1/' + node(1)]);
  });
});

describe('a root revealed on chain that differs', () => {
  it('goes to the validator although its opening is withheld', () => {
    const machine = Machine.working(3).commit(0, 1, 2).reveal(0, wrong).show(1, honest).show(2, honest);
    expect(machine.task.phase).toBe('reveal');
    machine.pass(2000);
    expect(machine.task.phase).toBe('judge');
    machine.verdict(honest);
    expect(machine.duties).toEqual([`convict/0/0/0/${node(0)}`]);
  });

  it('is left alone without a validator: the majority stands', () => {
    const machine = Machine.working(3).commit(0, 1, 2).reveal(0, wrong).show(1, honest).show(2, honest).pass(5000);
    expect(machine.task).toMatchObject({ phase: 'accepted', verdict: null, accepted: { resultRoot: honest, evidence: '0x' } });
  });
});
