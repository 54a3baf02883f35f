/** The one kind of error that verification throws: AUDIT_FAILED naming the object that does not hold. */
import { MusterError } from '@muster/protocol';

/** `object` is what a reader can look for: "block 17", "log 3 of block 17", "trie node 0x…", "chain file …". */
export const fault = (object: string, problem: string, cause?: unknown): MusterError =>
  new MusterError('AUDIT_FAILED', `${object}: ${problem}`, { object, problem }, cause === undefined ? {} : { cause });

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 200);
