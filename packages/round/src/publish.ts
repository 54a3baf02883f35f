/**
 * Stage 7, publish: what a checkpoint says about the slots.
 */
import type { CidText, OutcomeSummary } from '@muster/protocol';

/** What each slot carries after a round: its accepted result's state, or what it carried before. */
export function carriedStates(
  before: readonly (CidText | null)[],
  accepted: readonly { readonly task: number; readonly outcome: OutcomeSummary }[],
): (CidText | null)[] {
  const after = [...before];
  for (const { task, outcome } of accepted) if (outcome.kind === 'update') after[task] = outcome.slotState;
  return after;
}
