/**
 * The platform for the roles: clock, sleeping that can be woken, stopping, reports.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '@muster/adapters';
import type { Report, Scheduler } from '@muster/roles';
import { jsonLine } from './output.ts';

/** A scheduler whose sleepers `wake` can rouse early. */
export interface WakeableScheduler extends Scheduler {
  wake(): void;
}

export function createScheduler(): WakeableScheduler {
  let sleepers = new Set<() => void>();
  return {
    now: () => systemClock.now(),
    breathe: () => new Promise((resolve) => setImmediate(resolve)),
    sleep: (milliseconds, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const done = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', done);
          sleepers.delete(done);
          resolve();
        };
        const timer = setTimeout(done, milliseconds);
        signal.addEventListener('abort', done, { once: true });
        sleepers.add(done);
      }),
    wake() {
      const woken = sleepers;
      sleepers = new Set();
      for (const sleeper of woken) sleeper();
    },
  };
}

/** Aborts on SIGINT and SIGTERM; a second signal ends the process at once. */
export function stopOnSignals(): AbortController {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
    });
  }
  return controller;
}

/** Aborts when the process that started this one is gone, so that a killed demonstration leaves nothing running. */
export function stopWithParent(controller: AbortController): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) controller.abort();
  }, 500);
  timer.unref();
}

/** Reports of a child process: one JSON object per line on stdout. */
export const reportJson: Report = (event, fields) => {
  process.stdout.write(`${jsonLine({ event, ...fields })}\n`);
};

/** Repeats `attempt` until it succeeds or the signal aborts, telling `onFailure` each reason once. */
export async function untilDone<T>(attempt: () => Promise<T>, signal: AbortSignal, onFailure: (error: unknown) => void): Promise<T | null> {
  let last = '';
  for (let wait = 100; !signal.aborted; wait = Math.min(2 * wait, 2000)) {
    try {
      return await attempt();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== last) onFailure(error);
      last = reason;
    }
    await delay(wait, undefined, { signal }).catch(() => undefined);
  }
  return null;
}
