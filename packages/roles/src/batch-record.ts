/**
 * What the chain says about a round that settles in batches, folded from its events. Judges nothing: docs/spec/25-batches.md.
 */
import type { ChainEvent, ChainEventName } from '@muster/ports';
import type { Root } from '@muster/protocol';

type EventOf<N extends ChainEventName> = Extract<ChainEvent, { readonly event: N }>;

/** Events of rounds that settle in batches. */
export const batchEvents = [
  'BatchCommitted',
  'CommitForced',
  'RevealForced',
  'VerdictSettled',
  'TasksSettled',
  'BatchFinalized',
  'BatchRewardClaimed',
  'BatchConvicted',
  'BatchRewardVoided',
  'BatchExpired',
  'TrainProofsRecorded',
] as const satisfies readonly ChainEventName[];

export type BatchEvent = EventOf<(typeof batchEvents)[number]>;

/** A round that settles in batches; maps are by slot index, `verdicts` by task. */
export interface BatchRecord {
  /** The last list of commitments. */
  committed: EventOf<'BatchCommitted'> | null;
  /** In the order in which the chain recorded them. */
  readonly forcedCommits: Map<number, EventOf<'CommitForced'>>;
  readonly forcedReveals: Map<number, EventOf<'RevealForced'>>;
  readonly verdicts: Map<number, EventOf<'VerdictSettled'>>;
  taskRoots: readonly Root[] | null;
  /** The last record of training proofs before the round was final; where it can be read are the round's openings. */
  proofs: EventOf<'TrainProofsRecorded'> | null;
  finalized: EventOf<'BatchFinalized'> | null;
  readonly claims: Map<number, EventOf<'BatchRewardClaimed'>>;
  readonly convictions: Map<number, EventOf<'BatchConvicted'>>;
  readonly voided: Map<number, EventOf<'BatchRewardVoided'>>;
  expired: EventOf<'BatchExpired'> | null;
}

export const emptyBatch = (): BatchRecord => ({
  committed: null,
  forcedCommits: new Map(),
  forcedReveals: new Map(),
  verdicts: new Map(),
  taskRoots: null,
  proofs: null,
  finalized: null,
  claims: new Map(),
  convictions: new Map(),
  voided: new Map(),
  expired: null,
});

const names = new Set<string>(batchEvents);
export const isBatchEvent = (event: ChainEvent): event is BatchEvent => names.has(event.event);

export function applyBatchEvent(batch: BatchRecord, event: BatchEvent): void {
  switch (event.event) {
    case 'BatchCommitted':
      batch.committed = event;
      return;
    case 'CommitForced':
      batch.forcedCommits.set(event.slotIndex, event);
      return;
    case 'RevealForced':
      batch.forcedReveals.set(event.slotIndex, event);
      return;
    case 'VerdictSettled':
      batch.verdicts.set(event.task, event);
      return;
    case 'TasksSettled':
      batch.taskRoots = event.taskRoots;
      return;
    case 'TrainProofsRecorded':
      if (batch.finalized === null) batch.proofs = event;
      return;
    case 'BatchFinalized':
      batch.finalized = event;
      return;
    case 'BatchRewardClaimed':
      batch.claims.set(event.slotIndex, event);
      return;
    case 'BatchConvicted':
      batch.convictions.set(event.slotIndex, event);
      return;
    case 'BatchRewardVoided':
      batch.voided.set(event.slotIndex, event);
      return;
    case 'BatchExpired':
      batch.expired = event;
      return;
    default:
      event satisfies never;
  }
}

/** Where the money of a settled round is: what it earned is either claimed, with the job's owner, or still the contract's credit. */
export function batchMoney({ finalized, claims, voided, expired }: BatchRecord): {
  readonly earnedWei: bigint;
  readonly claimedWei: bigint;
  readonly returnedWei: bigint;
  readonly unclaimedWei: bigint;
} {
  const earnedWei = finalized?.amountWei ?? 0n;
  let claimedWei = 0n;
  for (const { amountWei } of claims.values()) claimedWei += amountWei;
  let returnedWei = expired?.amountWei ?? 0n;
  for (const [index, event] of voided) {
    // What was claimed is made good by the insurance fund; what had expired was the owner's already.
    const late = expired !== null && (event.block > expired.block || (event.block === expired.block && event.index > expired.index));
    if (!claims.has(index) && !late) returnedWei += event.amountWei;
  }
  return { earnedWei, claimedWei, returnedWei, unclaimedWei: earnedWei - claimedWei - returnedWei };
}
