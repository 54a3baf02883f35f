/** A job machine driven by hand. Not a test itself. */
import { expect } from 'vitest';
import { cidOfRoot, type CidText, type JobId, type JobSpec, keccakOfWords, type NodeId, type Root } from '@muster/protocol';
import {
  checkInvariants,
  deepFreeze,
  type Duty,
  dutiesOf,
  dutyKey,
  initialJobState,
  type JobEvent,
  type JobState,
  nextDeadline,
  type OpenedResult,
  type RoundState,
  simulatedNode,
  simulatedSpec,
  stepJob,
  type TaskState,
} from '@muster/round';

export const job = keccakOfWords([77]) as string as JobId;
export const root = (label: number): Root => keccakOfWords([label]);
export const cid = (label: number): CidText => cidOfRoot(root(label), 'dag-cbor');

/** Node ids in ascending order, so that `node(0)` is the first trainer. */
const nodes = Array.from({ length: 12 }, (_, index) => simulatedNode(index)).sort();
export const node = (index: number): NodeId => nodes[index] as NodeId;

export const honest = root(1000);
export const wrong = root(1001);
export const openedAs = (resultRoot: Root): OpenedResult => ({
  resultRoot,
  resultCid: cidOfRoot(resultRoot, 'dag-cbor'),
  outcome: { kind: 'update', update: cidOfRoot(resultRoot, 'dag-cbor'), slotState: null },
});

/** Applies events in order, holding the invariants and that no state is changed in place. */
export class Machine {
  now = 1_000_000;
  state: JobState;
  effects: readonly Duty[] = [];

  constructor(spec: Partial<JobSpec> = {}) {
    this.state = deepFreeze(
      initialJobState(job, {
        ...simulatedSpec,
        rounds: 2,
        tasks: 1,
        minimumNodes: 1,
        commitTimeoutMs: 1000,
        revealTimeoutMs: 2000,
        verdictTimeoutMs: 3000,
        roundTimeoutMs: 20_000,
        ...spec,
      }),
    );
  }

  get round(): RoundState {
    if (this.state.round === null) throw new Error('no round runs');
    return this.state.round;
  }

  get task(): TaskState {
    return this.round.tasks[0] as TaskState;
  }

  get duties(): string[] {
    return dutiesOf(this.state).map(dutyKey);
  }

  apply(...events: readonly JobEvent[]): this {
    for (const event of events) {
      const { state, effects } = stepJob(this.state, deepFreeze(event), { now: this.now });
      expect(checkInvariants(state), JSON.stringify(event)).toEqual([]);
      this.state = deepFreeze(state);
      this.effects = effects;
    }
    return this;
  }

  /** Lets time pass; ticks once at the end. */
  wait(milliseconds: number): this {
    this.now += milliseconds;
    return this.apply({ type: 'tick' });
  }

  /** Lets time pass as the coordinator does: a tick at every deadline on the way. */
  pass(milliseconds: number): this {
    const end = this.now + milliseconds;
    for (let deadline = nextDeadline(this.state); deadline !== null && deadline <= end; deadline = nextDeadline(this.state)) {
      const before = this.state;
      this.now = Math.max(this.now, deadline);
      this.apply({ type: 'tick' });
      if (this.state === before) break;
    }
    this.now = end;
    return this.apply({ type: 'tick' });
  }

  present(count: number): this {
    for (let index = 0; index < count; index++) this.apply({ type: 'nodePresent', node: node(index) });
    return this;
  }

  prepare(): this {
    return this.apply({
      type: 'prepared',
      parameters: cid(1),
      shardSizes: Array.from({ length: this.state.spec.tasks }, (_, task) => 10 + task),
    });
  }

  /** From a closed node set to work on `tasks`. */
  assign(tasks: readonly (readonly NodeId[])[]): this {
    const { round } = this.round;
    return this.apply(
      { type: 'nodesClosed', round },
      { type: 'beaconDrawn', round, beacon: root(500 + round) },
      { type: 'roundAssigned', round, assignmentCid: cid(2 + round), tasks },
    );
  }

  /** At work on one task of slots 0, 1, 2 = nodes 0, 1, 2 of `present`. */
  static working(present: number, spec: Partial<JobSpec> = {}): Machine {
    return new Machine(spec)
      .prepare()
      .present(present)
      .assign([[node(0), node(1), node(2)]]);
  }

  commit(...slots: readonly number[]): this {
    const { round } = this.round;
    for (const slot of slots) this.apply({ type: 'committed', round, task: 0, slot, node: this.task.slots[slot]?.node ?? node(slot) });
    return this;
  }

  open(slot: number, resultRoot: Root): this {
    const { round } = this.round;
    return this.apply({ type: 'opened', round, task: 0, slot, node: this.holder(slot), result: openedAs(resultRoot) });
  }

  reveal(slot: number, resultRoot: Root): this {
    const { round } = this.round;
    return this.apply({ type: 'revealed', round, task: 0, slot, node: this.holder(slot), resultRoot });
  }

  /** Opens and reveals. */
  show(slot: number, resultRoot: Root): this {
    return this.open(slot, resultRoot).reveal(slot, resultRoot);
  }

  verdict(resultRoot: Root): this {
    const { outcome, resultCid } = openedAs(resultRoot);
    return this.apply({
      type: 'verdict',
      round: this.round.round,
      task: 0,
      verdict: { resultRoot, verdictCid: resultCid, evidence: '0xab', outcome },
    });
  }

  holder(slot: number): NodeId {
    return this.task.slots[slot]?.node ?? node(slot);
  }
}

/** A tick at any time from `at` until just before the next deadline changes nothing in `state`. */
export function deadlinesHold(state: JobState, at: number): void {
  const deadline = nextDeadline(state);
  const until = deadline ?? at + 10_000_000;
  for (const now of [at, Math.floor((at + until) / 2), until - 1]) {
    if (now >= at && now < until) expect(stepJob(state, { type: 'tick' }, { now }).state).toBe(state);
  }
}
