import { describe, expect, it } from 'vitest';
import { type SimulationOptions, type SimulationResult, simulateJob } from '@muster/round';

/** Accepted roots by round and task: what the model follows from. */
const acceptedSet = (result: SimulationResult): string =>
  result.finalized
    .map(({ round, accepted }) => `${round}: ${accepted.map(({ task, resultRoot }) => `${task}=${resultRoot}`).join()}`)
    .join('\n');

function simulate(options: SimulationOptions): SimulationResult {
  const result = simulateJob(options);
  expect(result.violations, JSON.stringify(options)).toEqual([]);
  return result;
}

const reference = simulate({ seed: 0, nodes: 8 });

describe('a simulated job', () => {
  it('ends, pays every slot of every task and returns the rest of the budget', () => {
    expect(reference.ended).toBe(true);
    expect(reference.paid).toHaveLength(3 * 4 * 3);
    expect(reference.rewardWei).toBe(1_000_003n / 36n);
    expect(reference.refundWei).toBe(1_000_003n - 36n * (1_000_003n / 36n));
  });

  it('runs the same way again for the same options', () => {
    const options: SimulationOptions = {
      seed: 11,
      nodes: 7,
      faults: { liars: 1, killed: 1, dropPercent: 10, maxDelayMs: 400, coordinatorCrashes: 1 },
    };
    expect(simulate(options)).toEqual(simulate(options));
  });

  it('ends with the same model whoever took part, lied, was killed or was slow, for any seed', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const faults = {
        dropPercent: (seed % 3) * 10,
        duplicatePercent: 20,
        maxDelayMs: 40 + (seed % 5) * 150,
        liars: seed % 3 === 0 ? 1 : 0,
        killed: seed % 2,
        crashing: seed % 4 === 0 ? 1 : 0,
        late: seed % 5 === 0 ? 1 : 0,
        coordinatorCrashes: seed % 4,
        pauses: seed % 6 === 0 ? 1 : 0,
      };
      const result = simulate({ seed, nodes: seed % 2 === 0 ? 8 : 5, faults });
      expect(result.ended).toBe(true);
      expect(acceptedSet(result)).toBe(acceptedSet(reference));
    }
  });
});
