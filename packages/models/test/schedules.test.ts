/** Learning rates by step, against their formulas in double precision. */
import type { Array as JaxArray } from '@jax-js/jax';
import { referenceExecutor, traceProgram, wasmExecutor } from '@muster/engine';
import { describe, expect, test } from 'vitest';
import { type CompleteSchedule, rateAt, scheduleSchema } from '../src/schedules.ts';
import { stepNumber } from './fixtures.ts';

/** The rate at each of `steps`, by both executors. */
function ratesOf(schedule: CompleteSchedule, highest: number, steps: readonly number[]): number[] {
  const traced = (step: JaxArray): JaxArray[] => [rateAt(schedule, highest, step) as JaxArray];
  const program = traceProgram('rate', traced, [{ name: 'step', dtype: 'int32', shape: [] }], ['rate']);
  const [reference, wasm] = [referenceExecutor, wasmExecutor].map((executor) => {
    const prepared = executor.prepare(program);
    return steps.map((step) => prepared.run([stepNumber(step)])[0]?.data[0] as number);
  }) as [number[], number[]];
  expect(wasm).toEqual(reference);
  return reference;
}

const close = (actual: readonly number[], expected: readonly number[], scale: number): void =>
  actual.forEach((value, index) => expect(Math.abs(value - (expected[index] as number)) / scale, `at ${index}`).toBeLessThan(3e-7));

const steps = [...Array.from({ length: 40 }, (_, step) => step), 999, 2 ** 31 - 1];

describe('a schedule', () => {
  test('that is constant is a number of the program', () => {
    expect(typeof rateAt({ kind: 'constant' }, 0.25, undefined as never)).toBe('number');
  });

  test.each(['cosine', 'linear'] as const)('that falls as a %s rises first, falls to its minimum and stays there', (kind) => {
    const [warmup, total, minimum, highest] = [7, 31, 0.01, 0.3];
    const schedule = scheduleSchema({ kind, warmupSteps: warmup, totalSteps: total, minimumRate: minimum }, 'schedule');
    const expected = steps.map((step) => {
      if (step < warmup) return (highest * (step + 1)) / (warmup + 1);
      const share = Math.min(1, (step - warmup) / (total - warmup));
      return minimum + (highest - minimum) * (kind === 'cosine' ? (1 + Math.cos(Math.PI * share)) / 2 : 1 - share);
    });
    const rates = ratesOf(schedule, highest, steps);
    close(rates, expected, highest);
    expect(rates[warmup]).toBe(Math.fround(highest));
    expect(rates.at(-1)).toBe(rates[total]);
  });

  test.each(['cosine', 'linear'] as const)('that falls as a %s without warm-up begins at the highest rate and ends near zero', (kind) => {
    const rates = ratesOf(scheduleSchema({ kind, totalSteps: 10 }, 'schedule'), 1, [0, 5, 10, 11]);
    close(rates, [1, 0.5, 0, 0], 1);
  });

  test('in steps falls by its factor at every milestone', () => {
    const schedule = scheduleSchema({ kind: 'step', milestones: [0, 3, 5], factor: 0.5 }, 'schedule');
    expect(ratesOf(schedule, 1, [0, 2, 3, 4, 5, 100])).toEqual([0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
  });

  test('is refused by field where it is wrong', () => {
    const wrong: readonly [unknown, string][] = [
      [{ kind: 'cosine' }, 'totalSteps'],
      [{ kind: 'cosine', warmupSteps: 5, totalSteps: 5 }, 'totalSteps'],
      [{ kind: 'linear', totalSteps: 5, minimumRate: -1 }, 'minimumRate'],
      [{ kind: 'step', milestones: [], factor: 0.5 }, 'milestones'],
      [{ kind: 'step', milestones: [4, 4], factor: 0.5 }, 'milestones'],
      [{ kind: 'step', milestones: [4], factor: 1.5 }, 'factor'],
      [{ kind: 'constant', rate: 1 }, 'rate'],
      [null, 'kind'],
    ];
    for (const [value, field] of wrong) expect(() => scheduleSchema(value, 'schedule')).toThrow(field);
  });
});
