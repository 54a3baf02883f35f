/**
 * What roles need from the network, as interfaces: adapters fill them in, tests run them in memory.
 */
import type { BlobStore, Clock } from '@muster/ports';
import { type CidText, MusterError } from '@muster/protocol';
import type { ReadBlock } from '@muster/round';

/** A connection to a coordinator. */
export interface CoordinatorLink {
  /** JSON of a public route. */
  get(path: string): Promise<unknown>;
  /** Sends a signed request and returns the answer. A refusal throws `MusterError` with the coordinator's code. */
  message(kind: string, body: unknown): Promise<unknown>;
  readonly blobs: BlobStore;
}

/** Ways to wait: a role's loop sleeps here, tests drive it. */
export interface Scheduler extends Clock {
  /** Resolves after `milliseconds`, or at once when `signal` aborts. */
  sleep(milliseconds: number, signal: StopSignal): Promise<void>;
  /** Lets other work of the process run: called between training steps. */
  breathe(): Promise<void>;
}

/** The part of AbortSignal the roles use. */
export interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** What happens in a role, for people and `--json`: one flat object with an `event` field. */
export type Report = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/** Reads verified blocks of `blobs`; throws OBJECT_MISSING. */
export function reader(blobs: BlobStore): ReadBlock {
  return async (cid: CidText) => {
    const bytes = await blobs.get(cid);
    if (bytes === null) throw new MusterError('OBJECT_MISSING', `the store has no object ${cid}`, { object: cid });
    return bytes;
  };
}

/** Runs a generator to its end, letting other work in at least every `sliceMs`. */
export async function drive<T>(work: Generator<unknown, T, undefined>, scheduler: Scheduler, sliceMs = 15): Promise<T> {
  let since = scheduler.now();
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    if (scheduler.now() - since >= sliceMs) {
      await scheduler.breathe();
      since = scheduler.now();
    }
  }
}

/** Why something failed, for a report. */
export function reasonOf(error: unknown): string {
  if (error instanceof MusterError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

/** Takes turns until the signal aborts, sleeping `pollMs` after a turn that found nothing to do. */
export async function takeTurns(
  { scheduler, signal, pollMs }: { readonly scheduler: Scheduler; readonly signal: StopSignal; readonly pollMs: number },
  turn: () => Promise<boolean>,
): Promise<void> {
  while (!signal.aborted) {
    const busy = await turn();
    if (!busy) await scheduler.sleep(pollMs, signal);
  }
}
