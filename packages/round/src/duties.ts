/**
 * Duties: what the world must still do, read off the state.
 */
import type { AcceptedTask, Duty, JobState, RoundState } from './state.ts';
import { outliers } from './validate.ts';

/** Duties that the contracts refuse while a job is paused. */
const suspended: ReadonlySet<Duty['duty']> = new Set([
  'closeNodes',
  'drawBeacon',
  'assign',
  'reassign',
  'closeCommits',
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
      return workDuties(round);
    case 'aggregate':
      return [{ duty: 'aggregate', round: round.round, accepted: acceptedTasks(state, round) }];
    case 'finalize':
      return round.checkpoint === null
        ? []
        : [{ duty: 'finalize', round: round.round, checkpoint: round.checkpoint, accepted: acceptedTasks(state, round) }];
    case 'publish':
      return round.checkpoint === null ? [] : [{ duty: 'addCheckpoint', round: round.round, checkpoint: round.checkpoint }];
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
    else if (state.phase === 'accepted' && state.verdict !== null) {
      for (const slot of outliers(state)) {
        const { node, convicted } = state.slots[slot] ?? { node: null, convicted: true };
        if (!convicted && node !== null) duties.push({ duty: 'convict', round: round.round, task, slot, node, verdict: state.verdict });
      }
    }
  }
  return duties;
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
