/**
 * What became of recent messages, so that a sender whose answer was lost can be told when it sends the same bytes again.
 *
 * In memory only: after a restart the outcome of an earlier message is `unknown`, and its sender has to look.
 */
import type { ErrorCode } from '@muster/protocol';

/** `accepted`: its handler finished. A code: it was refused with it. `running`: not finished yet. */
export type MessageOutcome = 'accepted' | 'running' | 'unknown' | ErrorCode;

export interface OutcomeMemory {
  record(message: string, outcome: MessageOutcome): void;
  of(message: string): MessageOutcome;
}

/** Remembers the `maxMessages` newest messages, each named by node and nonce. */
export function createOutcomeMemory(maxMessages = 16_384): OutcomeMemory {
  const outcomes = new Map<string, MessageOutcome>();
  return {
    record(message, outcome) {
      outcomes.delete(message);
      outcomes.set(message, outcome);
      const oldest = outcomes.size > maxMessages ? outcomes.keys().next().value : undefined;
      if (oldest !== undefined) outcomes.delete(oldest);
    },
    of: (message) => outcomes.get(message) ?? 'unknown',
  };
}
