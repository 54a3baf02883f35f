/** One test per fault found in the machine. */
import { describe, expect, it } from 'vitest';
import { countedResult, dutyKey, nextDeadline, simulateJob, stepJob } from '@muster/round';
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

describe('a pause', () => {
  it('does not lengthen deadlines of what happens during it', () => {
    const machine = Machine.working(3).apply({ type: 'jobPaused' });
    machine.now += 700;
    machine.commit(0, 1).apply({ type: 'commitsClosed', round: 0, task: 0 });
    machine.now += 300;
    machine.apply({ type: 'jobResumed' });
    expect(machine.task).toMatchObject({ phase: 'reveal', since: machine.now });
  });

  it('is over when the job is stopped, and a late resume does not start it again', () => {
    const machine = Machine.working(3).apply({ type: 'jobPaused' }, { type: 'jobStopped' });
    expect(machine.state).toMatchObject({ status: 'stopped', pausedAt: null });
    machine.apply({ type: 'jobResumed' });
    expect(machine.state.status).toBe('stopped');
  });
});

describe('events that come twice or too late', () => {
  it('change nothing when a job ends', () => {
    for (const end of ['jobStopped', 'jobCompleted'] as const) {
      const { state } = Machine.working(3).apply({ type: end });
      for (const type of ['jobStopped', 'jobCompleted', 'jobPaused', 'jobResumed', 'modelPublished', 'tick'] as const) {
        expect(stepJob(state, { type }, { now: 2_000_000 }).state, `${type} after ${end}`).toBe(state);
      }
    }
  });

  it('do not prepare a job that was stopped before', () => {
    const machine = new Machine().apply({ type: 'jobStopped' });
    const { state } = machine;
    expect(machine.prepare().state).toBe(state);
  });

  it('change nothing when the model is published again, or while rounds run', () => {
    const { state, now } = Machine.working(3);
    expect(stepJob(state, { type: 'modelPublished' }, { now }).state).toBe(state);
  });

  it('do not give a slot to the node that has it, so that a block read again after a restart replaces nobody', () => {
    const machine = Machine.working(4).apply({ type: 'nodeAbsent', node: node(0) });
    const event = { type: 'slotReassigned', round: 0, task: 0, slot: 0, node: node(3) } as const;
    machine.apply(event);
    const { state } = machine;
    machine.now += 10;
    expect(machine.apply(event).state).toBe(state);
    expect(state.replaced).toEqual([node(0)]);
  });

  it('show no result while commitments are open', () => {
    const machine = Machine.working(3).commit(0);
    const { state } = machine;
    expect(machine.show(0, honest).state).toBe(state);
  });
});

describe('a step', () => {
  it('applies every rule that follows, so that no progress waits for an unrelated event', () => {
    const machine = Machine.working(3)
      .commit(0, 1)
      .apply({ type: 'nodeAbsent', node: node(0) });
    machine.commit(2);
    expect(machine.task.slots[0]?.phase).toBe('silent');
  });
});

describe('while a job is paused', () => {
  it('nothing is due that the contracts refuse until it is resumed', () => {
    const machine = Machine.working(4).apply({ type: 'jobPaused' }, { type: 'nodeAbsent', node: node(0) });
    expect(machine.duties).toEqual([]);
    machine.apply({ type: 'jobResumed' });
    expect(machine.effects.map(dutyKey)).toEqual([`reassign/0/0/0/${node(3)}`]);
  });

  it('verdicts and convictions go on', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, honest).apply({ type: 'jobPaused' });
    expect(machine.duties).toEqual(['judge/0/0']);
    expect(machine.verdict(honest).duties).toEqual([`convict/0/0/0/${node(0)}`]);
  });
});

const crossed = (): Machine => {
  const machine = Machine.working(4).apply({ type: 'nodeAbsent', node: node(0) });
  // Under way to the chain: slot 0 to node 3. It leaves and comes back, and is meant for slot 1 by now.
  machine.apply({ type: 'nodeAbsent', node: node(3) }, { type: 'nodePresent', node: node(0) });
  machine.apply({ type: 'nodeAbsent', node: node(1) }, { type: 'nodePresent', node: node(3) });
  expect(machine.duties).toEqual([`reassign/0/0/1/${node(3)}`]);
  return machine.apply({ type: 'slotReassigned', round: 0, task: 0, slot: 0, node: node(3) });
};

describe('reassignments that cross on the way', () => {
  it('withdraw a substitute that holds another slot of the task by now', () => {
    expect(crossed().duties).toEqual([`reassign/0/0/1/${node(0)}`]);
  });

  it('take a second slot of a task from its node again at once', () => {
    const machine = crossed().apply({ type: 'slotReassigned', round: 0, task: 0, slot: 1, node: node(3) });
    expect(machine.duties).toEqual([`reassign/0/0/1/${node(0)}`]);
    machine.commit(1);
    expect(machine.duties).toEqual([`reassign/0/0/0/${node(0)}`]);
  });
});

describe('a conviction', () => {
  it('is taken note of only where a verdict contradicts the slot', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, honest);
    const { state } = machine;
    machine.apply({ type: 'convicted', round: 0, task: 0, slot: 0, node: node(0) });
    expect(machine.state).toBe(state);
  });
});

describe('a coordinator that was away', () => {
  it('gives the validator its full time again: no deadline runs while nobody can be heard', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, wrong).show(2, honest).wait(1000);
    machine.now += 60_000;
    machine.apply({ type: 'coordinatorReturned', awayMs: 60_000 });
    expect(machine.task.phase).toBe('judge');
    expect(nextDeadline(machine.state)).toBe(machine.now + 2000);
  });

  it('moves nothing while the job is paused, which moves its deadlines itself, or when no work runs', () => {
    const away = { type: 'coordinatorReturned', awayMs: 60_000 } as const;
    const paused = Machine.working(3).apply({ type: 'jobPaused' });
    const idle = new Machine().prepare();
    for (const machine of [paused, idle]) {
      const { state } = machine;
      expect(machine.apply(away).state).toBe(state);
    }
  });

  it('ends with the honest results however long it was away', () => {
    for (let seed = 0; seed < 25; seed++) {
      const faults = { liars: 2, collude: true, coordinatorCrashes: 4, coordinatorAwayMs: 40_000, crashing: 1, maxDelayMs: 300 };
      const { ended, violations, tasks } = simulateJob({ seed, nodes: 7, spec: { minimumNodes: 1 }, faults });
      expect({ ended, violations }).toEqual({ ended: true, violations: [] });
      for (const { honestRoot, state } of tasks) {
        if (state.slots.some((slot) => countedResult(slot)?.resultRoot === honestRoot))
          expect(state.accepted?.resultRoot, `seed ${seed}`).toBe(honestRoot);
      }
    }
  });
});
