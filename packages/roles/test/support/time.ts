/**
 * Time in the test's hand: nothing waits for a clock, sleepers wake when the test lets time pass.
 */
import type { Scheduler } from '../../src/index.ts';
import type { Life } from './life.ts';

export interface HandTime {
  now(): number;
  /** Moves the clock and wakes whoever's time has come. */
  advance(milliseconds: number): void;
  /** A scheduler of one process. */
  scheduler(life: Life): Scheduler;
}

export function handTime(startMs = 1_800_000_000_000): HandTime {
  let time = startMs;
  let sleepers: { readonly until: number; readonly wake: () => void }[] = [];
  return {
    now: () => time,
    advance(milliseconds) {
      time += milliseconds;
      const due = sleepers.filter(({ until }) => until <= time);
      sleepers = sleepers.filter(({ until }) => until > time);
      for (const { wake } of due) wake();
    },
    scheduler: (life) => ({
      now: () => time,
      breathe: () => life.hold(() => new Promise((resolve) => setImmediate(resolve))),
      sleep: (milliseconds, signal) =>
        new Promise((resolve) => {
          if (signal.aborted) return resolve();
          sleepers.push({
            until: time + milliseconds,
            wake: () => {
              if (!life.dead) resolve();
            },
          });
        }),
    }),
  };
}
