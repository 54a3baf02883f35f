/**
 * The job machine: `stepJob(state, event, {now}) → {state, effects}`, without I/O, clock or randomness of its own.
 *
 * Coordinator and simulator run this same function; a crash is a replay of the recorded events. Events that no
 * longer apply (a late commitment, an old round) change nothing. `docs/spec/10-rounds.md` draws the states.
 */
import type { JobId, JobSpec, NodeId, Settlement } from '@muster/protocol';
import { substituteOrder } from './assign.ts';
import { acceptedTasks, convictions, dutiesOf, dutyKey } from './duties.ts';
import { carriedStates } from './publish.ts';
import type { BatchState, Duty, JobEvent, JobState, RoundState, SlotState, StepEnvironment, TaskState } from './state.ts';
import { acceptGroup, acceptVerdict, countedResult, majority, outliers, validateTask } from './validate.ts';

export function initialJobState(job: JobId, spec: JobSpec, settlement: Settlement = 'direct'): JobState {
  return {
    job,
    spec,
    settlement,
    status: 'running',
    pausedAt: null,
    trainers: [],
    slashed: [],
    replaced: [],
    base: null,
    shardSizes: [],
    slotStates: Array.from({ length: spec.tasks }, () => null),
    round: null,
    published: false,
  };
}

/** The next state, and the duties that are new in it. */
export function stepJob(
  state: JobState,
  event: JobEvent,
  environment: StepEnvironment,
): { readonly state: JobState; readonly effects: readonly Duty[] } {
  const next = settle(applyEvent(state, event, environment.now), environment.now);
  if (next === state) return { state, effects: [] };
  const before = new Set(dutiesOf(state).map(dutyKey));
  return { state: next, effects: dutiesOf(next).filter((duty) => !before.has(dutyKey(duty))) };
}

/** When a `tick` would change something, ms; null while only events can. */
export function nextDeadline(state: JobState): number | null {
  const { round, spec } = state;
  if (round === null || round.phase !== 'work' || state.pausedAt !== null) return null;
  const overdueAt = round.startedAt + spec.roundTimeoutMs;
  const times: number[] = [];
  for (const task of round.tasks) {
    if (round.batch !== null && (task.phase === 'commit' || task.phase === 'closing')) {
      if (task.phase === 'commit') times.push(listDue(state, round.batch));
      if (round.batch.closesAt !== null) times.push(round.batch.closesAt);
    } else if (task.phase === 'commit') {
      times.push(overdueAt);
      for (const slot of task.slots) if (slot.phase === 'working') times.push(slot.since + spec.commitTimeoutMs);
    } else if (task.phase === 'closing') times.push(Math.max(overdueAt, task.since + spec.revealTimeoutMs));
    else if (task.phase === 'reveal') times.push(task.since + spec.revealTimeoutMs);
    else if (task.phase === 'judge') times.push(task.since + spec.verdictTimeoutMs);
  }
  return times.length === 0 ? null : Math.min(...times);
}

const emptyRound = (round: number): RoundState => ({
  round,
  phase: 'gather',
  nodes: [],
  beacon: null,
  assignmentCid: null,
  startedAt: 0,
  tasks: [],
  checkpoint: null,
  batch: null,
});

function applyEvent(state: JobState, event: JobEvent, now: number): JobState {
  if (state.status === 'stopped' || state.status === 'completed') return state;
  if ('round' in event) {
    // Time stands still for the round while the job is paused.
    return state.round?.round === event.round ? applyRoundEvent(state, state.round, event, state.pausedAt ?? now) : state;
  }
  switch (event.type) {
    case 'prepared':
      if (state.base !== null) return state;
      return {
        ...state,
        base: { checkpoint: null, parameters: event.parameters },
        shardSizes: event.shardSizes,
        round: emptyRound(0),
      };
    case 'nodePresent':
      if (state.trainers.includes(event.node) || state.slashed.includes(event.node)) return state;
      return { ...state, trainers: [...state.trainers, event.node].sort() };
    case 'nodeAbsent':
      return withoutTrainer(state, event.node);
    case 'nodeSlashed':
      if (state.slashed.includes(event.node)) return state;
      return { ...withoutTrainer(state, event.node), slashed: [...state.slashed, event.node] };
    case 'jobPaused':
      return state.status === 'running' ? { ...state, status: 'paused', pausedAt: now } : state;
    case 'jobResumed':
      return state.pausedAt === null
        ? state
        : { ...state, status: 'running', pausedAt: null, round: delayed(state.round, now - state.pausedAt) };
    case 'coordinatorReturned':
      if (state.pausedAt !== null || state.round?.phase !== 'work' || event.awayMs <= 0) return state;
      return { ...state, round: delayed(state.round, event.awayMs) };
    case 'jobStopped':
      return { ...state, status: 'stopped', pausedAt: null, round: null };
    case 'jobCompleted':
      return { ...state, status: 'completed', pausedAt: null, round: null };
    case 'modelPublished':
      return state.published || state.base === null || state.round !== null ? state : { ...state, published: true };
    case 'tick':
      return state;
    default:
      return event satisfies never;
  }
}

type RoundEvent = Extract<JobEvent, { readonly round: number }>;

function applyRoundEvent(state: JobState, round: RoundState, event: RoundEvent, now: number): JobState {
  const withRound = (change: Partial<RoundState>): JobState => ({ ...state, round: { ...round, ...change } });
  switch (event.type) {
    case 'nodesClosed':
      return round.phase === 'close' ? withRound({ phase: 'draw' }) : state;
    case 'beaconDrawn':
      return round.phase === 'draw' ? withRound({ phase: 'assign', beacon: event.beacon }) : state;
    case 'roundAssigned':
      if (round.phase !== 'assign') return state;
      return withRound({
        phase: 'work',
        assignmentCid: event.assignmentCid,
        startedAt: now,
        tasks: event.tasks.map((nodes) => ({
          phase: 'commit',
          since: now,
          slots: nodes.map((node) => freshSlot(node, now)),
          verdict: null,
          accepted: null,
        })),
        batch: event.commitDeadline === undefined ? null : { deadline: 1000 * event.commitDeadline, closesAt: null, registered: false },
      });
    case 'batchCommitted':
      if (round.batch === null || round.batch.closesAt === 1000 * event.closesAt) return state;
      return withRound({ batch: { ...round.batch, closesAt: 1000 * event.closesAt } });
    case 'aggregated':
      if (round.phase !== 'aggregate') return state;
      return {
        ...withRound({ phase: 'finalize', checkpoint: event.checkpoint }),
        base: { checkpoint: event.checkpoint, parameters: event.parameters },
      };
    case 'roundFinalized':
      return round.phase === 'finalize' ? withRound({ phase: 'publish' }) : state;
    case 'checkpointAdded':
      if (round.phase !== 'publish' || round.batch?.registered === true) return state;
      return round.batch === null ? endRound(state, round) : withRound({ batch: { ...round.batch, registered: true } });
    case 'slotReassigned':
    case 'committed':
    case 'commitsClosed':
    case 'sent':
    case 'opened':
    case 'openedInBatch':
    case 'revealed':
    case 'verdict':
    case 'convicted': {
      const task = round.tasks[event.task];
      if (task === undefined) return state;
      const applied = applyTaskEvent(task, event, now);
      if (applied === task) return state;
      const complete = round.batch === null && applied.phase === 'commit' && applied.slots.length === state.spec.redundancy;
      // Nothing on chain says so: a reveal is taken once every slot has committed.
      const changed = complete && applied.slots.every(({ phase }) => phase === 'committed') ? openReveal(applied, now) : applied;
      const replaced = event.type === 'slotReassigned' ? [...state.replaced, task.slots[event.slot]?.node ?? event.node] : state.replaced;
      return { ...withRound({ tasks: round.tasks.with(event.task, changed) }), replaced };
    }
    default:
      return event satisfies never;
  }
}

type TaskEvent = Extract<JobEvent, { readonly task: number }>;

function applyTaskEvent(task: TaskState, event: TaskEvent, now: number): TaskState {
  if (event.type === 'commitsClosed') {
    if (task.phase !== 'commit' && task.phase !== 'closing') return task;
    return openReveal(task, now);
  }
  if (event.type === 'verdict') return task.verdict === null && task.phase === 'judge' ? { ...task, verdict: event.verdict } : task;
  const slot = task.slots[event.slot];
  if (slot === undefined) return task;
  const withSlot = (change: Partial<SlotState>): TaskState => ({ ...task, slots: task.slots.with(event.slot, { ...slot, ...change }) });
  switch (event.type) {
    case 'slotReassigned':
      return slot.phase === 'working' && slot.node !== event.node ? withSlot(freshSlot(event.node, now)) : task;
    case 'committed':
      return slot.node === event.node && slot.phase === 'working' ? withSlot({ phase: 'committed', substitute: null }) : task;
    case 'sent':
      return slot.node === event.node && slot.phase === 'working' && task.phase === 'commit'
        ? withSlot({ phase: 'committed', sent: event.sent })
        : task;
    case 'openedInBatch':
      return canShow(task, slot, event.node) && slot.opened === null
        ? withSlot({ opened: event.result, revealedRoot: event.result.resultRoot, opening: event.opening })
        : task;
    case 'opened':
      return canShow(task, slot, event.node) && slot.opened === null ? withSlot({ opened: event.result }) : task;
    case 'revealed':
      return canShow(task, slot, event.node) && slot.revealedRoot === null ? withSlot({ revealedRoot: event.resultRoot }) : task;
    case 'convicted':
      return slot.node === event.node && !slot.convicted && outliers(task).includes(event.slot) ? withSlot({ convicted: true }) : task;
    default:
      return event satisfies never;
  }
}

/** Whether `node` may show the result of `slot`: it committed, and commitments are closed. */
const canShow = (task: TaskState, slot: SlotState, node: NodeId): boolean =>
  slot.node === node && slot.phase !== 'working' && task.phase !== 'commit' && task.phase !== 'closing';

const freshSlot = (node: NodeId, now: number): SlotState => ({
  node,
  since: now,
  phase: 'working',
  opened: null,
  revealedRoot: null,
  sent: null,
  opening: null,
  substitute: null,
  convicted: false,
});

/** Commits are closed: who has not committed is out of the task. */
const openReveal = (task: TaskState, now: number): TaskState => ({
  ...task,
  phase: 'reveal',
  since: now,
  slots: task.slots.map((slot) => (slot.phase === 'working' ? { ...slot, phase: 'silent', substitute: null } : slot)),
});

function withoutTrainer(state: JobState, node: NodeId): JobState {
  return state.trainers.includes(node) ? { ...state, trainers: state.trainers.filter((other) => other !== node) } : state;
}

/** `round` with every running deadline `byMs` later. */
function delayed(round: RoundState | null, byMs: number): RoundState | null {
  if (round === null) return null;
  const tasks = round.tasks.map((task) => ({
    ...task,
    since: task.since + byMs,
    slots: task.slots.map((slot) => ({ ...slot, since: slot.since + byMs })),
  }));
  return { ...round, startedAt: round.startedAt + byMs, tasks };
}

function endRound(state: JobState, round: RoundState): JobState {
  const slotStates = carriedStates(state.slotStates, acceptedTasks(state, round));
  const last = round.round + 1 === state.spec.rounds;
  return { ...state, slotStates, round: last ? null : emptyRound(round.round + 1) };
}

/** Applies the rules that hold by themselves, given the time, until none has anything left to do. */
function settle(state: JobState, time: number): JobState {
  const now = state.pausedAt ?? time;
  let settled = state;
  for (let next = settleOnce(settled, now); next !== settled; next = settleOnce(settled, now)) settled = next;
  return settled;
}

function settleOnce(state: JobState, now: number): JobState {
  const { round } = state;
  if (round === null) return state;
  if (round.phase === 'gather') {
    if (state.status !== 'running' || state.trainers.length < neededNodes(state)) return state;
    return { ...state, round: { ...round, phase: 'close', nodes: state.trainers } };
  }
  if (round.phase === 'publish' && round.batch?.registered === true && convictions(round).length === 0) return endRound(state, round);
  if (round.phase !== 'work') return state;
  const overdue = now >= round.startedAt + state.spec.roundTimeoutMs;
  const working = workload(round);
  let changed = false;
  const tasks = round.tasks.map((task) => {
    const settled = settleTask(state, round, task, working, now, overdue);
    changed ||= settled !== task;
    return settled;
  });
  const ended = tasks.every((task) => taskEnded(task, round));
  if (!changed && !ended) return state;
  return { ...state, round: { ...round, tasks, phase: ended ? 'aggregate' : 'work' } };
}

/** A task has ended when its result is known, or given up, and whoever lied about it is convicted; in batches that follows. */
function taskEnded(task: TaskState, { batch }: RoundState): boolean {
  if (task.phase !== 'accepted' && task.phase !== 'failed') return false;
  if (batch !== null) return true;
  return outliers(task).every((slot) => task.slots[slot]?.convicted === true);
}

function settleTask(
  state: JobState,
  round: RoundState,
  task: TaskState,
  working: Map<NodeId, number>,
  now: number,
  overdue: boolean,
): TaskState {
  const { spec } = state;
  switch (task.phase) {
    case 'commit': {
      if (round.batch !== null) return settleBatchedCommits(state, task, round.batch, now);
      const assigned = settleCommits(state, round, task, working, now);
      if (assigned.slots.every((slot) => slot.phase === 'committed') && assigned.slots.length === spec.redundancy) {
        return openReveal(assigned, now);
      }
      const stuck = assigned.slots.every(
        (slot) => slot.phase === 'committed' || (slot.substitute === null && slotDue(state, task, slot, now)),
      );
      if (!stuck && !overdue) return assigned;
      const any = assigned.slots.some((slot) => slot.phase === 'committed');
      const slots = assigned.slots.map((slot) => (slot.substitute === null ? slot : { ...slot, substitute: null }));
      return { ...assigned, slots, phase: any ? 'closing' : 'judge', since: now };
    }
    case 'closing':
      if (round.batch !== null) return round.batch.closesAt !== null && now >= round.batch.closesAt ? openReveal(task, now) : task;
      if (task.slots.length === spec.redundancy && task.slots.every((slot) => slot.phase === 'committed')) return openReveal(task, now);
      // Whoever committed gets the time to reveal, even if the round is over.
      return overdue && now >= task.since + spec.revealTimeoutMs ? { ...task, phase: 'judge', since: now } : task;
    case 'reveal': {
      const late = now >= task.since + spec.revealTimeoutMs;
      const opened: TaskState = {
        ...task,
        slots: task.slots.map((slot) =>
          slot.phase === 'committed' && countedResult(slot) === null && (late || !state.trainers.includes(slot.node))
            ? { ...slot, phase: 'silent' }
            : slot,
        ),
      };
      const result = validateTask(opened, spec.redundancy);
      if (result === null) return opened.slots.every((slot, index) => slot === task.slots[index]) ? task : opened;
      return result === 'judge'
        ? { ...opened, phase: 'judge', since: now }
        : { ...opened, phase: 'accepted', since: now, accepted: result };
    }
    case 'judge': {
      const judged = acceptVerdict(task, spec.redundancy);
      if (judged !== null) return { ...task, phase: 'accepted', since: now, accepted: judged };
      // The full time, even if the round is over: else a lying majority would win by being slow.
      if (now < task.since + spec.verdictTimeoutMs) return task;
      const winner = majority(task.slots, spec.redundancy);
      if (winner !== null) return { ...task, phase: 'accepted', since: now, accepted: acceptGroup(winner) };
      return overdue ? { ...task, phase: 'failed', since: now } : task;
    }
    case 'accepted':
    case 'failed':
      return task;
    default:
      return task.phase satisfies never;
  }
}

/** Nodes that must be present before a round is drawn. A batch settles every slot of every task, so each must have a node of its own. */
const neededNodes = ({ spec, settlement }: JobState): number =>
  settlement === 'batched' ? Math.max(spec.minimumNodes, spec.redundancy) : spec.minimumNodes;

/** In batches a task waits for the list once all of its slots have committed, are gone, or the list is due. */
function settleBatchedCommits(state: JobState, task: TaskState, batch: BatchState, now: number): TaskState {
  const waiting = task.slots.some(({ phase, node }) => phase === 'working' && state.trainers.includes(node));
  const due = !waiting || batch.closesAt !== null || now >= listDue(state, batch);
  return due ? { ...task, phase: 'closing', since: now } : task;
}

/** When the list of commitments is to be sent at the latest: a quarter of the time for commitments before the deadline. */
const listDue = ({ spec }: JobState, { deadline }: BatchState): number => deadline - Math.floor(spec.commitTimeoutMs / 4);

/** A working slot is due for another node when its node is gone, too slow, or holds another slot of the task. */
function slotDue(state: JobState, task: TaskState, slot: SlotState, now: number): boolean {
  if (!state.trainers.includes(slot.node) || now >= slot.since + state.spec.commitTimeoutMs) return true;
  const other =
    task.slots.find(({ node, phase }) => node === slot.node && phase === 'committed') ?? task.slots.find(({ node }) => node === slot.node);
  return other !== slot;
}

/** Names substitutes for slots that are due: present, not in the task, the least busy first, then in the beacon's order. */
function settleCommits(state: JobState, round: RoundState, task: TaskState, working: Map<NodeId, number>, now: number): TaskState {
  const held = new Set(task.slots.map(({ node }) => node));
  const taken = new Set(task.slots.flatMap((slot) => (slot.substitute === null ? [slot.node] : [slot.node, slot.substitute])));
  let changed = false;
  const slots = task.slots.map((slot) => {
    if (slot.phase !== 'working' || !slotDue(state, task, slot, now)) {
      if (slot.substitute === null || slot.phase !== 'working') return slot;
      changed = true;
      return { ...slot, substitute: null };
    }
    if (slot.substitute !== null && state.trainers.includes(slot.substitute) && !held.has(slot.substitute)) return slot;
    const order = substituteOrder(state.trainers, round.beacon ?? state.spec.seed, round.tasks.indexOf(task));
    const candidates = order.filter((node) => !taken.has(node)).sort((a, b) => loadOf(working, a) - loadOf(working, b));
    const substitute = candidates[0] ?? null;
    if (substitute === slot.substitute) return slot;
    if (substitute !== null) {
      taken.add(substitute);
      working.set(substitute, loadOf(working, substitute) + 1);
    }
    changed = true;
    return { ...slot, substitute };
  });
  return changed ? { ...task, slots } : task;
}

const loadOf = (working: ReadonlyMap<NodeId, number>, node: NodeId): number => working.get(node) ?? 0;

/** Slots each node still works on. */
function workload(round: RoundState): Map<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const task of round.tasks) {
    for (const slot of task.slots) {
      const node = slot.substitute ?? slot.node;
      if (slot.phase === 'working') counts.set(node, (counts.get(node) ?? 0) + 1);
    }
  }
  return counts;
}
