/**
 * Stage 5, validate (open lane): which result a task ends with.
 *
 * Equal roots are counted; the largest agreeing group must hold more than half of the redundancy (R24). Agreement of all
 * settles a task. Any difference, or too few results, sends it to a validator, whose verdict names the root; only a verdict
 * convicts. If no verdict comes in time, a majority still stands, without blame for anybody.
 */
import type { ResultOffence, Root, TaskOutcome } from '@muster/protocol';
import type { AcceptedResult, OpenedResult, SlotState, TaskState } from './state.ts';

export interface AgreeingGroup {
  readonly resultRoot: Root;
  readonly count: number;
  readonly result: OpenedResult;
}

/** A slot's result counts once it is in the store and the same root was revealed on chain. */
export function countedResult(slot: SlotState): OpenedResult | null {
  return slot.opened !== null && slot.opened.resultRoot === slot.revealedRoot ? slot.opened : null;
}

/** Groups of equal result roots, largest first; equal sizes by root. */
export function agreeingGroups(slots: readonly SlotState[]): AgreeingGroup[] {
  const groups = new Map<Root, AgreeingGroup>();
  for (const slot of slots) {
    const result = countedResult(slot);
    if (result === null) continue;
    const count = (groups.get(result.resultRoot)?.count ?? 0) + 1;
    groups.set(result.resultRoot, { resultRoot: result.resultRoot, count, result: groups.get(result.resultRoot)?.result ?? result });
  }
  return [...groups.values()].sort((a, b) => b.count - a.count || (a.resultRoot < b.resultRoot ? -1 : 1));
}

/** The largest group if it holds more than half of `redundancy`. */
export function majority(slots: readonly SlotState[], redundancy: number): AgreeingGroup | null {
  const largest = agreeingGroups(slots)[0];
  return largest !== undefined && 2 * largest.count > redundancy ? largest : null;
}

/** What `task` ends with now: a result, `judge` where only a validator can tell, or null while openings are awaited. */
export function validateTask(task: TaskState, redundancy: number): AcceptedResult | 'judge' | null {
  const waiting = task.slots.some((slot) => slot.phase === 'committed' && countedResult(slot) === null);
  if (waiting) return null;
  const winner = majority(task.slots, redundancy);
  // A root revealed on chain counts as a difference even where its opening is withheld.
  const agreed = task.slots.every(({ revealedRoot }) => revealedRoot === null || revealedRoot === winner?.resultRoot);
  return winner !== null && agreed ? acceptGroup(winner) : 'judge';
}

export function acceptGroup(group: AgreeingGroup): AcceptedResult {
  return { resultRoot: group.resultRoot, outcome: group.result.outcome, evidence: '0x' };
}

/** Offences of a result, mildest first. */
export const offencesBySeverity = [
  'invalidProof',
  'gradientMismatch',
  'fakeGradients',
  'provenCheating',
] as const satisfies readonly ResultOffence[];

/**
 * What a wrong result is guilty of, by comparing it with the correct one; null where its opening was never shown. Work that began right
 * and went wrong on the way may be a broken machine; a result that shares no step with the correct one, or whose update is not that of its
 * own steps, was never trained.
 */
export function offenceOf(correct: TaskOutcome, shown: TaskOutcome | null): ResultOffence {
  if (shown === null) return 'invalidProof';
  if (correct.kind !== 'update' || shown.kind !== 'update') return 'fakeGradients';
  const length = Math.max(correct.trace.length, shown.trace.length);
  const first = Array.from({ length }).findIndex((_, step) => correct.trace[step] !== shown.trace[step]);
  return first > 0 ? 'gradientMismatch' : 'fakeGradients';
}

/** The mildest offence among the wrong results of a task: one verdict is held against all of them. */
export function mildestOffence(correct: TaskOutcome, shown: readonly (TaskOutcome | null)[]): ResultOffence {
  const found = new Set(shown.map((outcome) => offenceOf(correct, outcome)));
  return offencesBySeverity.find((offence) => found.has(offence)) ?? 'gradientMismatch';
}

/** What a judged task ends with: the verdict's root. A majority behind the same root needs no evidence on chain. */
export function acceptVerdict(task: TaskState, redundancy: number): AcceptedResult | null {
  if (task.verdict === null) return null;
  const { resultRoot, outcome, evidence } = task.verdict;
  const winner = majority(task.slots, redundancy);
  return { resultRoot, outcome, evidence: winner?.resultRoot === resultRoot ? '0x' : evidence };
}

/** Slots whose revealed root the verdict contradicts. */
export function outliers(task: TaskState): number[] {
  const { verdict } = task;
  if (verdict === null) return [];
  return task.slots.flatMap((slot, index) => (slot.revealedRoot !== null && slot.revealedRoot !== verdict.resultRoot ? [index] : []));
}
