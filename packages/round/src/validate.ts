/**
 * Stage 5, validate (open lane): which result a task ends with.
 *
 * Equal roots are counted; the largest agreeing group must hold more than half of the redundancy (R24). Agreement of all
 * settles a task. Any difference, or too few results, sends it to a validator, whose verdict names the root; only a verdict
 * convicts. If no verdict comes in time, a majority still stands, without blame for anybody.
 */
import type { Root } from '@muster/protocol';
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
