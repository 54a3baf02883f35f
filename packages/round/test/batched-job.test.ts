/** The job machine where a job settles in batches: one list for the whole round, no substitutes, convictions after the settlement. */
import { describe, expect, it } from 'vitest';
import { dutiesOf, dutyKey, initialJobState, type JobEvent, nextDeadline, type SentOpening } from '@muster/round';
import { cid, deadlinesHold, honest, job, Machine, node, openedAs, root, wrong } from './support.ts';

const spec = { tasks: 2, minimumNodes: 1 } as const;
const opening: SentOpening = {
  salt: root(9),
  proof: { step: 1, lossDigest: root(1), gradientDigest: root(2), weightsDigest: root(3), timestamp: 1, signature: '0x01' },
};

/** At work on two tasks; the list must be on chain 1000 ms from now, commitments take 1000 ms. */
function working(): Machine {
  const machine = new Machine(spec);
  machine.state = initialJobState(job, machine.state.spec, 'batched');
  machine.prepare().present(3);
  const tasks = [
    [node(0), node(1), node(2)],
    [node(1), node(2), node(0)],
  ];
  machine.apply(
    { type: 'nodesClosed', round: 0 },
    { type: 'beaconDrawn', round: 0, beacon: root(5) },
    { type: 'roundAssigned', round: 0, assignmentCid: cid(2), tasks, commitDeadline: machine.now / 1000 + 1 },
  );
  return machine;
}

const places = [0, 1].flatMap((task) => [0, 1, 2].map((slot) => ({ task, slot })));
const holder = (machine: Machine, task: number, slot: number) => machine.round.tasks[task]?.slots[slot]?.node ?? node(0);

function send(machine: Machine, task: number, slot: number): Machine {
  const sent = { commitment: root(100 + 3 * task + slot), signature: '0xaa' } as const;
  return machine.apply({ type: 'sent', round: 0, task, slot, node: holder(machine, task, slot), sent });
}

function open(machine: Machine, task: number, slot: number, resultRoot = honest): Machine {
  const at = { round: 0, task, slot, node: holder(machine, task, slot) };
  return machine.apply({ type: 'openedInBatch', ...at, result: openedAs(resultRoot), opening });
}

/** All have committed, the list is on chain and commitments are closed. */
function closed(): Machine {
  const machine = working();
  for (const { task, slot } of places) send(machine, task, slot);
  machine.apply({ type: 'batchCommitted', round: 0, closesAt: machine.now / 1000 + 2 });
  return machine.pass(2000);
}

describe('a round of a batched job', () => {
  it('is not drawn before every slot of a task can have a node of its own', () => {
    const machine = new Machine(spec);
    machine.state = initialJobState(job, machine.state.spec, 'batched');
    machine.prepare().present(2);
    expect(machine.round.phase).toBe('gather');
    machine.present(3);
    expect(machine.duties).toEqual(['closeNodes/0']);
  });

  it('lists commitments once all are there, and takes openings when no commitment can follow', () => {
    const machine = working();
    for (const { task, slot } of places) {
      expect(machine.duties).toEqual([]);
      send(machine, task, slot);
    }
    expect(machine.duties).toEqual(['commitBatch/0']);
    open(machine, 0, 0);
    expect(machine.task.slots[0]).toMatchObject({ opened: null, revealedRoot: null });
    machine.apply({ type: 'batchCommitted', round: 0, closesAt: machine.now / 1000 + 2 });
    expect(machine.duties).toEqual([]);
    expect(nextDeadline(machine.state)).toBe(machine.now + 2000);
    deadlinesHold(machine.state, machine.now);
    machine.pass(2000);
    expect(machine.round.tasks.map(({ phase }) => phase)).toEqual(['reveal', 'reveal']);
    for (const { task, slot } of places) open(machine, task, slot);
    expect(machine.duties).toEqual(['aggregate/0']);
    expect(machine.task.slots[1]).toMatchObject({ revealedRoot: honest, opening, sent: { commitment: root(101) } });
  });

  it('lists what is there a quarter of the time before the deadline, gives no slot to another node and waits for nobody who is gone', () => {
    const machine = working();
    machine.apply({ type: 'nodePresent', node: node(5) });
    send(machine, 0, 0);
    send(machine, 0, 1);
    machine.apply({ type: 'nodeAbsent', node: node(2) });
    expect(machine.round.tasks.map(({ phase }) => phase)).toEqual(['closing', 'commit']);
    expect(machine.duties).toEqual([]);
    machine.pass(749);
    expect(machine.duties).toEqual([]);
    machine.pass(1);
    expect(machine.duties).toEqual(['commitBatch/0']);
    expect(machine.state.replaced).toEqual([]);
    send(machine, 1, 0);
    expect(machine.round.tasks[1]?.slots[0]).toMatchObject({ phase: 'working', sent: null });
    // A commitment on chain counts until commitments close.
    machine.apply({ type: 'committed', round: 0, task: 1, slot: 0, node: node(1) });
    expect(machine.round.tasks[1]?.slots[0]).toMatchObject({ phase: 'committed', sent: null });
  });

  it('convicts after the settlement, and lasts until the checkpoint is registered and every liar is convicted', () => {
    const ends: readonly (readonly JobEvent['type'][])[] = [
      ['checkpointAdded', 'convicted'],
      ['convicted', 'checkpointAdded'],
    ];
    for (const order of ends) {
      const machine = closed();
      for (const { task, slot } of places) open(machine, task, slot, task === 0 && slot === 2 ? wrong : honest);
      expect(machine.duties).toEqual(['judge/0/0']);
      machine.verdict(honest);
      expect(machine.duties).toEqual(['aggregate/0']);
      machine.apply({ type: 'aggregated', round: 0, checkpoint: cid(7), parameters: cid(8) }, { type: 'roundFinalized', round: 0 });
      expect(machine.duties).toEqual(['addCheckpoint/0', `convict/0/0/2/${node(2)}`]);
      for (const type of order) {
        expect(machine.round.round).toBe(0);
        machine.apply(type === 'convicted' ? { type, round: 0, task: 0, slot: 2, node: node(2) } : { type: 'checkpointAdded', round: 0 });
      }
      expect(machine.round.round).toBe(1);
    }
  });

  it('is not changed by hearing the same from the chain again', () => {
    const machine = closed();
    const before = machine.state;
    machine.apply({ type: 'batchCommitted', round: 0, closesAt: (machine.round.batch?.closesAt ?? 0) / 1000 });
    send(machine, 0, 0);
    expect(machine.state).toBe(before);
    expect(dutiesOf(before).map(dutyKey)).toEqual([]);
  });
});
