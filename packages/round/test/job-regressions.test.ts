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
