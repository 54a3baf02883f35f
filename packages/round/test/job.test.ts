import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  acceptedTasks,
  carriedStates,
  checkInvariants,
  dutiesOf,
  dutyKey,
  evenShare,
  initialJobState,
  type JobEvent,
  type JobState,
  nextDeadline,
  simulatedSpec,
  simulateJob,
  stepJob,
} from '@muster/round';
import { cid, deadlinesHold, honest, job, Machine, node, openedAs, root, wrong } from './support.ts';

const settled = (): Machine => Machine.working(3).commit(0, 1, 2).show(0, honest).show(1, honest).show(2, honest);

describe('a job', () => {
  it('is prepared first, then waits for enough nodes', () => {
    const machine = new Machine({ minimumNodes: 3 });
    expect(machine.duties).toEqual(['prepare']);
    machine.prepare();
    expect(machine.duties).toEqual([]);
    machine.present(2);
    expect(machine.round.phase).toBe('gather');
    machine.apply({ type: 'nodePresent', node: node(2) });
    expect(machine.duties).toEqual(['closeNodes/0']);
    expect(machine.round.nodes).toEqual([node(0), node(1), node(2)]);
  });

  it('goes through every stage of a round, with one duty at each', () => {
    const machine = new Machine().prepare().present(3);
    expect(machine.duties).toEqual(['closeNodes/0']);
    machine.apply({ type: 'nodesClosed', round: 0 });
    expect(machine.duties).toEqual(['drawBeacon/0']);
    machine.apply({ type: 'beaconDrawn', round: 0, beacon: root(5) });
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'assign', round: 0, nodes: machine.round.nodes, beacon: root(5) }]);
    machine.apply({ type: 'roundAssigned', round: 0, assignmentCid: cid(2), tasks: [[node(0), node(1), node(2)]] });
    expect(machine.duties).toEqual([]);
    machine.commit(0, 1, 2);
    expect(machine.task.phase).toBe('reveal');
    machine.show(0, honest).show(1, honest).show(2, honest);
    const accepted = [{ task: 0, weight: 10, resultRoot: honest, outcome: openedAs(honest).outcome, evidence: '0x' }];
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'aggregate', round: 0, accepted }]);
    machine.apply({ type: 'aggregated', round: 0, checkpoint: cid(7), parameters: cid(8) });
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'finalize', round: 0, checkpoint: cid(7), accepted }]);
    machine.apply({ type: 'roundFinalized', round: 0 });
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'addCheckpoint', round: 0, checkpoint: cid(7) }]);
    machine.apply({ type: 'checkpointAdded', round: 0 });
    expect(machine.round).toMatchObject({ round: 1, phase: 'close' });
    expect(machine.state.base).toEqual({ checkpoint: cid(7), parameters: cid(8) });
  });

  it('publishes the last checkpoint, completes, and then nothing is due', () => {
    const machine = settled();
    const finish = (round: number): Machine =>
      machine.apply(
        { type: 'aggregated', round, checkpoint: cid(20 + round), parameters: cid(30 + round) },
        { type: 'roundFinalized', round },
        { type: 'checkpointAdded', round },
      );
    finish(0);
    machine
      .assign([[node(0), node(1), node(2)]])
      .commit(0, 1, 2)
      .show(0, honest)
      .show(1, honest)
      .show(2, honest);
    finish(1);
    expect(machine.state.round).toBeNull();
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'publishModel', checkpoint: cid(21) }]);
    machine.apply({ type: 'modelPublished' });
    expect(machine.duties).toEqual(['completeJob']);
    machine.apply({ type: 'jobCompleted' });
    expect(machine.duties).toEqual([]);
    expect(nextDeadline(machine.state)).toBeNull();
  });

  it('that is stopped has nothing due and takes nothing up again', () => {
    const machine = Machine.working(3).commit(0).apply({ type: 'jobStopped' });
    expect(machine.state).toMatchObject({ status: 'stopped', round: null });
    expect(machine.duties).toEqual([]);
  });

  it('carries what accepted tasks carry, and what was there before where a task failed or ended in a fault', () => {
    const update = { kind: 'update', update: cid(1), slotState: cid(2) } as const;
    expect(
      carriedStates(
        [null, cid(5), cid(6)],
        [
          { task: 0, outcome: update },
          { task: 2, outcome: { kind: 'fault', step: 1, operation: 4 } },
        ],
      ),
    ).toEqual([cid(2), cid(5), cid(6)]);
    expect(carriedStates([cid(5)], [{ task: 0, outcome: { ...update, slotState: null } }])).toEqual([null]);
  });

  it('pays the budget over all executions, rounded down', () => {
    expect(evenShare({ budgetWei: 1000n, rounds: 3, tasks: 4, redundancy: 3 })).toBe(27n);
    expect(evenShare({ budgetWei: 10n ** 18n, rounds: 1, tasks: 1, redundancy: 1 })).toBe(10n ** 18n);
    expect(evenShare({ budgetWei: 5n, rounds: 2, tasks: 2, redundancy: 2 })).toBe(0n);
  });
});

describe('a slot', () => {
  it('goes to another node when its node is gone', () => {
    const machine = Machine.working(5).apply({ type: 'nodeAbsent', node: node(1) });
    const [duty] = dutiesOf(machine.state);
    expect(duty).toMatchObject({ duty: 'reassign', task: 0, slot: 1 });
    const substitute = machine.task.slots[1]?.substitute ?? node(11);
    expect([node(3), node(4)]).toContain(substitute);
    machine.now += 5;
    machine.apply({ type: 'slotReassigned', round: 0, task: 0, slot: 1, node: substitute });
    expect(machine.task.slots[1]).toMatchObject({ node: substitute, since: machine.now, substitute: null });
    expect(machine.state.replaced).toEqual([node(1)]);
  });

  it('goes to another node when its time to commit is over, not before', () => {
    const machine = Machine.working(4);
    expect(machine.wait(999).duties).toEqual([]);
    expect(machine.wait(1).duties).toHaveLength(1);
  });

  it('stays with its node if that comes back or commits before the chain has given it away', () => {
    const machine = Machine.working(4).apply({ type: 'nodeAbsent', node: node(0) });
    expect(machine.duties).toEqual([`reassign/0/0/0/${node(3)}`]);
    machine.apply({ type: 'nodePresent', node: node(0) });
    expect(machine.duties).toEqual([]);
    machine.apply({ type: 'nodeAbsent', node: node(0) }).commit(0);
    expect(machine.duties).toEqual([]);
  });

  it('gets another substitute if the first one leaves', () => {
    const machine = Machine.working(5).apply({ type: 'nodeAbsent', node: node(0) });
    const first = machine.task.slots[0]?.substitute ?? node(11);
    machine.apply({ type: 'nodeAbsent', node: first });
    expect([node(3), node(4)].filter((id) => id !== first)).toEqual([machine.task.slots[0]?.substitute]);
  });

  it('gets the least busy substitute, one that joined late as well, never one that holds a slot of the task', () => {
    const machine = new Machine({ tasks: 2 }).prepare().present(4);
    machine.assign([
      [node(0), node(1), node(2)],
      [node(3), node(1), node(2)],
    ]);
    machine.apply({ type: 'nodePresent', node: node(7) }, { type: 'nodeAbsent', node: node(0) });
    expect(machine.duties).toEqual([`reassign/0/0/0/${node(7)}`]);
  });

  it('is never given to a slashed node, and a slashed node is not present again', () => {
    const machine = Machine.working(4).apply(
      { type: 'nodeSlashed', node: node(3) },
      { type: 'nodePresent', node: node(3) },
      { type: 'nodeAbsent', node: node(0) },
    );
    expect(machine.state.trainers).not.toContain(node(3));
    expect(machine.duties).toEqual([]);
    expect(machine.state.slashed).toEqual([node(3)]);
  });

  it('ignores commitments, openings and reveals of a node that does not hold it', () => {
    const machine = Machine.working(4);
    const { state } = machine;
    machine.apply({ type: 'committed', round: 0, task: 0, slot: 0, node: node(1) });
    expect(machine.state).toBe(state);
    machine.commit(0, 1, 2);
    const open = machine.state;
    machine.apply(
      { type: 'opened', round: 0, task: 0, slot: 0, node: node(1), result: openedAs(honest) },
      { type: 'revealed', round: 0, task: 0, slot: 0, node: node(1), resultRoot: honest },
      { type: 'convicted', round: 0, task: 0, slot: 0, node: node(1) },
    );
    expect(machine.state).toBe(open);
  });
});

describe('the time to commit', () => {
  it('closes with the commitments there are when nobody is left to take over', () => {
    const machine = Machine.working(3).commit(0, 1).wait(1000);
    expect(machine.task.phase).toBe('closing');
    expect(machine.duties).toEqual(['closeCommits/0/0']);
    machine.apply({ type: 'commitsClosed', round: 0, task: 0 });
    expect(machine.task.slots.map(({ phase }) => phase)).toEqual(['committed', 'committed', 'silent']);
    machine.show(0, honest).show(1, honest);
    expect(machine.round.phase).toBe('aggregate');
  });

  it('lets a straggler in while the chain still takes commitments', () => {
    const machine = Machine.working(3).commit(0, 1).wait(1000).commit(2);
    expect(machine.task.phase).toBe('reveal');
  });

  it('asks the validator where nobody committed', () => {
    const machine = Machine.working(3).wait(1000);
    expect(machine.duties).toEqual(['judge/0/0']);
    machine.verdict(honest);
    expect(machine.round.phase).toBe('aggregate');
    expect(acceptedTasks(machine.state, machine.round)).toMatchObject([{ task: 0, evidence: '0xab' }]);
  });

  it('closes by hand where fewer nodes than the redundancy are there', () => {
    const machine = new Machine()
      .prepare()
      .present(2)
      .assign([[node(0), node(1)]])
      .commit(0, 1);
    expect(machine.task.phase).toBe('closing');
    machine.apply({ type: 'commitsClosed', round: 0, task: 0 }).show(0, honest).show(1, honest);
    expect(machine.round.phase).toBe('aggregate');
  });
});

describe('the time to reveal', () => {
  it('makes silent who has not shown a result, without blame', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, honest).show(1, honest);
    expect(machine.wait(1999).task.phase).toBe('reveal');
    machine.wait(1);
    expect(machine.task.slots.map(({ phase }) => phase)).toEqual(['committed', 'committed', 'silent']);
    expect(machine.task.phase).toBe('accepted');
    expect(machine.state.slashed).toEqual([]);
  });

  it('is not waited for where the node is gone', () => {
    const machine = Machine.working(3)
      .commit(0, 1, 2)
      .show(0, honest)
      .show(1, honest)
      .apply({ type: 'nodeAbsent', node: node(2) });
    expect(machine.round.phase).toBe('aggregate');
  });

  it('sends a task to the validator when too few results came', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, honest).wait(2000);
    expect(machine.task.phase).toBe('judge');
    machine.show(1, honest);
    expect(machine.task.phase).toBe('judge');
    expect(machine.wait(3000).task.accepted).toMatchObject({ resultRoot: honest, evidence: '0x' });
  });
});

describe('a verdict', () => {
  it('convicts who revealed another root, and the round waits until the chain says so', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, honest);
    expect(machine.duties).toEqual(['judge/0/0']);
    machine.verdict(honest);
    expect(machine.task.phase).toBe('accepted');
    expect(machine.duties).toEqual([`convict/0/0/0/${node(0)}`]);
    machine.apply({ type: 'convicted', round: 0, task: 0, slot: 0, node: node(0) }, { type: 'nodeSlashed', node: node(0) });
    expect(machine.round.phase).toBe('aggregate');
    expect(machine.state.trainers).toEqual([node(1), node(2)]);
  });

  it('overrules a majority', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, wrong).show(2, honest).verdict(honest);
    expect(machine.task.accepted).toMatchObject({ resultRoot: honest, evidence: '0xab' });
  });

  it('counts once, and only for a task that waits for it', () => {
    const machine = Machine.working(3);
    const { state } = machine;
    expect(machine.verdict(honest).state).toBe(state);
    machine.commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, honest).verdict(honest);
    const judged = machine.state;
    expect(machine.verdict(wrong).state).toBe(judged);
  });

  it('that does not come in time leaves a majority standing, and blames nobody', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, honest);
    expect(machine.wait(2999).task.phase).toBe('judge');
    machine.wait(1);
    expect(machine.round.phase).toBe('aggregate');
    expect(machine.task).toMatchObject({ verdict: null, accepted: { resultRoot: honest, evidence: '0x' } });
  });

  it('is waited for to the end of the round where there is no majority; then the task fails', () => {
    const machine = Machine.working(3).commit(0, 1, 2).show(0, wrong).show(1, honest).show(2, root(1002));
    expect(machine.wait(3000).task.phase).toBe('judge');
    expect(machine.wait(16_999).task.phase).toBe('judge');
    expect(machine.wait(1).task.phase).toBe('failed');
    expect(dutiesOf(machine.state)).toEqual([{ duty: 'aggregate', round: 0, accepted: [] }]);
  });
});

/** A round of four tasks of which the third got no result in time. */
const ended = (quorumPercent: number): Machine => {
  const machine = new Machine({ tasks: 4, quorumPercent }).prepare().present(3);
  machine.assign(Array.from({ length: 4 }, () => [node(0), node(1), node(2)]));
  for (const task of [0, 1, 3]) {
    for (const slot of [0, 1, 2]) machine.apply({ type: 'committed', round: 0, task, slot, node: node(slot) });
    for (const slot of [0, 1, 2]) {
      machine.apply(
        { type: 'opened', round: 0, task, slot, node: node(slot), result: openedAs(root(task)) },
        { type: 'revealed', round: 0, task, slot, node: node(slot), resultRoot: root(task) },
      );
    }
  }
  return machine.wait(20_000).wait(3000);
};

describe('the quorum', () => {
  it('lets a round end with the tasks that were accepted, in ascending order with their weights', () => {
    const machine = ended(75);
    expect(machine.round.phase).toBe('aggregate');
    expect(acceptedTasks(machine.state, machine.round).map(({ task, weight }) => [task, weight])).toEqual([
      [0, 10],
      [1, 11],
      [3, 13],
    ]);
  });

  it('that is missed ends the round without changing the model', () => {
    const machine = ended(76);
    expect(machine.round.phase).toBe('aggregate');
    expect(acceptedTasks(machine.state, machine.round)).toEqual([]);
  });
});

describe('a pause', () => {
  it('stops every deadline and moves it by its length', () => {
    const machine = Machine.working(4).wait(600).apply({ type: 'jobPaused' });
    expect(nextDeadline(machine.state)).toBeNull();
    const paused = machine.state;
    expect(machine.wait(100_000).state).toBe(paused);
    machine.apply({ type: 'jobResumed' });
    expect(nextDeadline(machine.state)).toBe(machine.now + 400);
    expect(machine.wait(399).duties).toEqual([]);
    expect(machine.wait(1).duties).toHaveLength(3 - 2);
  });

  it('keeps a round from beginning', () => {
    const machine = new Machine().prepare().apply({ type: 'jobPaused' }).present(3);
    expect(machine.round.phase).toBe('gather');
    expect(machine.apply({ type: 'jobResumed' }).duties).toEqual(['closeNodes/0']);
  });
});

describe('a step', () => {
  const runs = [1, 2, 3, 4, 5].map((seed) =>
    simulateJob({
      seed,
      nodes: 6,
      faults: { liars: 1, crashing: 1, killed: 1, pauses: 1, dropPercent: 10, duplicatePercent: 30, maxDelayMs: 600 },
    }),
  );
  const states: readonly JobState[] = runs.flatMap(({ steps }) => steps.map(({ state }) => state));
  const events: readonly JobEvent[] = runs.flatMap(({ steps }) => steps.map(({ event }) => event));

  it('gives the same result again, and a replay of the record every state on the way', () => {
    for (const { steps } of runs) {
      let state = initialJobState(steps[0]?.state.job ?? job, steps[0]?.state.spec ?? simulatedSpec);
      for (const step of steps) {
        state = stepJob(state, step.event, { now: step.at }).state;
        expect(state).toEqual(step.state);
        expect(dutiesOf(state)).toEqual(dutiesOf(step.state));
      }
    }
  });

  it('keeps the invariants and changes no state in place, whatever event comes when', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...states),
        fc.array(fc.constantFrom(...events), { maxLength: 12 }),
        fc.nat(30_000),
        (start, sequence, wait) => {
          let state = start;
          let now = 60_000;
          for (const event of sequence) {
            now += wait;
            const before = JSON.stringify(state);
            const again = stepJob(state, event, { now });
            expect(JSON.stringify(state)).toBe(before);
            expect(stepJob(state, event, { now })).toEqual(again);
            const known = new Set(dutiesOf(state).map(dutyKey));
            expect(again.effects).toEqual(dutiesOf(again.state).filter((duty) => !known.has(dutyKey(duty))));
            state = again.state;
            expect(checkInvariants(state), JSON.stringify(event)).toEqual([]);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('ignores events of other rounds, tasks and slots', () => {
    for (const state of states) {
      const { round } = state;
      if (round === null) continue;
      for (const event of events) {
        if (!('round' in event) || event.round === round.round) continue;
        expect(stepJob(state, event, { now: round.startedAt }).state.round?.round).toBe(round.round);
      }
    }
    const { state, now } = Machine.working(3);
    for (const place of [
      { round: 1, task: 0, slot: 0 },
      { round: 0, task: 1, slot: 0 },
      { round: 0, task: 0, slot: 3 },
    ]) {
      expect(stepJob(state, { type: 'committed', ...place, node: node(0) }, { now }).state).toBe(state);
    }
  });

  it('changes nothing on a tick before the next deadline', () => {
    for (const { steps } of runs) for (const { state, at } of steps) deadlinesHold(state, at);
  });
});
