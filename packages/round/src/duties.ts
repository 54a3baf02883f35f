/**
 * Duties: what the world must still do, read off the state.
 */
import type { AcceptedTask, Duty, JobState, RoundState, TaskState } from './state.ts';
import { outliers } from './validate.ts';

/** Duties that the contracts refuse while a job is paused. */
const suspended: ReadonlySet<Duty['duty']> = new Set([
  'closeNodes',
  'drawBeacon',
  'assign',
  'reassign',
  'closeCommits',
  'commitBatch',
  'finalize',
  'completeJob',
]);

/** Everything that is due in `state`, in a fixed order. */
export function dutiesOf(state: JobState): Duty[] {
  if (state.status === 'stopped' || state.status === 'completed') return [];
  const duties = pendingDuties(state);
  return state.status === 'paused' ? duties.filter(({ duty }) => !suspended.has(duty)) : duties;
}

function pendingDuties(state: JobState): Duty[] {
  if (state.base === null) return [{ duty: 'prepare' }];
  const { round } = state;
  if (round === null) {
    if (!state.published && state.base.checkpoint !== null) return [{ duty: 'publishModel', checkpoint: state.base.checkpoint }];
    return [{ duty: 'completeJob' }];
  }
  switch (round.phase) {
    case 'gather':
      return [];
    case 'close':
      return [{ duty: 'closeNodes', round: round.round, nodes: round.nodes }];
    case 'draw':
      return [{ duty: 'drawBeacon', round: round.round }];
    case 'assign':
      return round.beacon === null ? [] : [{ duty: 'assign', round: round.round, nodes: round.nodes, beacon: round.beacon }];
    case 'work':
      return round.batch === null ? workDuties(round) : batchWorkDuties(round);
    case 'aggregate':
      return [{ duty: 'aggregate', round: round.round, accepted: acceptedTasks(state, round) }];
    case 'finalize':
      return round.checkpoint === null
        ? []
        : [{ duty: 'finalize', round: round.round, checkpoint: round.checkpoint, accepted: acceptedTasks(state, round) }];
    case 'publish':
      return [
        ...(round.checkpoint === null || round.batch?.registered === true
          ? []
          : [{ duty: 'addCheckpoint', round: round.round, checkpoint: round.checkpoint } as const]),
        // In batches a slot can be convicted once the round is final.
        ...(round.batch === null ? [] : convictions(round)),
      ];
    default:
      return round.phase satisfies never;
  }
}

function workDuties(round: RoundState): Duty[] {
  const duties: Duty[] = [];
  for (const [task, state] of round.tasks.entries()) {
    if (state.phase === 'commit') {
      for (const [slot, { substitute }] of state.slots.entries()) {
        if (substitute !== null) duties.push({ duty: 'reassign', round: round.round, task, slot, node: substitute });
      }
    } else if (state.phase === 'closing') duties.push({ duty: 'closeCommits', round: round.round, task });
    else if (state.phase === 'judge') duties.push({ duty: 'judge', round: round.round, task });
    else duties.push(...taskConvictions(round.round, task, state));
  }
  return duties;
}

/** One list for the whole round, when no task waits for commitments any more; no slot is given to another node. */
function batchWorkDuties({ round, tasks, batch }: RoundState): Duty[] {
  const listed = batch?.closesAt !== null || tasks.some(({ phase }) => phase !== 'closing');
  const judged = tasks.flatMap(({ phase }, task): Duty[] => (phase === 'judge' ? [{ duty: 'judge', round, task }] : []));
  return listed ? judged : [{ duty: 'commitBatch', round }];
}

/** Whoever lied in the round and is not convicted yet. */
export function convictions(round: RoundState): Duty[] {
  return round.tasks.flatMap((task, index) => taskConvictions(round.round, index, task));
}

function taskConvictions(round: number, task: number, { phase, verdict, slots, ...state }: TaskState): Duty[] {
  if (phase !== 'accepted' || verdict === null) return [];
  return outliers({ phase, verdict, slots, ...state }).flatMap((slot): Duty[] => {
    const { node, convicted } = slots[slot] ?? { node: null, convicted: true };
    return convicted || node === null ? [] : [{ duty: 'convict', round, task, slot, node, verdict }];
  });
}

/**
 * The tasks a round ends with, ascending. Below the quorum none counts: the round ends without changing the model.
 */
export function acceptedTasks(state: JobState, round: RoundState): AcceptedTask[] {
  const accepted = round.tasks.flatMap((task, index): AcceptedTask[] =>
    task.accepted === null ? [] : [{ task: index, weight: state.shardSizes[index] ?? 1, ...task.accepted }],
  );
  return 100 * accepted.length >= state.spec.quorumPercent * round.tasks.length ? accepted : [];
}

/** Two duties with the same key are the same duty. */
export function dutyKey(duty: Duty): string {
  const parts: (string | number)[] = [duty.duty];
  if ('round' in duty) parts.push(duty.round);
  if ('task' in duty) parts.push(duty.task);
  if ('slot' in duty) parts.push(duty.slot);
  if (duty.duty === 'reassign' || duty.duty === 'convict') parts.push(duty.node);
  return parts.join('/');
}
