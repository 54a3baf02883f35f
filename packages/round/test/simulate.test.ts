import { describe, expect, it } from 'vitest';
import { countedResult, majority, simulatedSpec, type SimulationOptions, type SimulationResult, simulateJob } from '@muster/round';

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

  it('with a live validator accepts the honest result of every task that an honest node showed, and convicts every lie it saw', () => {
    let lies = 0;
    let overruled = 0;
    for (let seed = 200; seed < 300; seed++) {
      const result = simulate({
        seed,
        nodes: 5 + (seed % 4),
        spec: { redundancy: seed % 7 === 0 ? 5 : 3, minimumNodes: 1 },
        faults: {
          liars: 1 + (seed % 3),
          collude: seed % 2 === 0,
          withhold: seed % 5 === 0,
          crashing: seed % 3 === 0 ? 1 : 0,
          killed: seed % 4 === 0 ? 1 : 0,
          dropPercent: seed % 4 === 1 ? 20 : 0,
          duplicatePercent: 20,
          maxDelayMs: 40 + (seed % 3) * 250,
          coordinatorCrashes: seed % 2,
        },
      });
      expect(result.ended).toBe(true);
      const fooled = new Set<string>();
      for (const { round, task, honestRoot, state } of result.tasks) {
        const honestShown = state.slots.some((slot) => countedResult(slot)?.resultRoot === honestRoot);
        if (honestShown) expect(state.accepted?.resultRoot, `seed ${seed}, round ${round}, task ${task}`).toBe(honestRoot);
        if (state.accepted?.resultRoot !== honestRoot) fooled.add(`${round}/${task}`);
        if (state.verdict !== null && majority(state.slots, result.state.spec.redundancy)?.resultRoot !== honestRoot) overruled++;
      }
      for (const lie of result.seenLies) {
        const [round, task, , node] = lie.split('/');
        if (fooled.has(`${round}/${task}`)) continue;
        lies++;
        expect(result.convicted, `seed ${seed}: ${lie}`).toContain(node);
      }
    }
    expect(lies).toBeGreaterThan(100);
    expect(overruled).toBeGreaterThan(10);
  });

  it('without a validator lets majorities rule and convicts nobody', () => {
    for (let seed = 300; seed < 340; seed++) {
      const result = simulate({
        seed,
        nodes: 6,
        faults: {
          liars: 1 + (seed % 2),
          collude: seed % 3 !== 0,
          validator: 'silent',
          crashing: seed % 2,
          dropPercent: 10,
          maxDelayMs: 300,
        },
      });
      expect(result.ended).toBe(true);
      expect(result.convicted).toEqual([]);
      for (const { state } of result.tasks) {
        expect(state.verdict).toBeNull();
        expect(majority(state.slots, 3)?.resultRoot ?? null).toBe(state.accepted?.resultRoot ?? null);
      }
    }
  });

  it('ends within the bound of its timeouts per round though nodes hang, and whatever is lost', () => {
    const { roundTimeoutMs, revealTimeoutMs, verdictTimeoutMs } = simulatedSpec;
    for (let seed = 400; seed < 430; seed++) {
      const faults = {
        hung: 1 + (seed % 4),
        dropPercent: (seed % 4) * 10,
        duplicatePercent: 50,
        maxDelayMs: 1500,
        crashing: 1,
        coordinatorCrashes: 2,
        validator: seed % 2 === 0 ? 'live' : 'silent',
      } as const;
      const result = simulate({ seed, nodes: 5, spec: { minimumNodes: 1 }, faults });
      expect(result.ended, `seed ${seed}`).toBe(true);
      // What stands around the work of a round, conviction and bookkeeping, takes a few messages and one outage.
      expect(result.virtualMs).toBeLessThan(3 * (roundTimeoutMs + 2 * revealTimeoutMs + verdictTimeoutMs + 20_000));
    }
  });

  it('stands still while it is paused and ends the same', () => {
    for (let seed = 500; seed < 530; seed++) {
      const result = simulate({ seed, nodes: 6, faults: { pauses: 3, liars: seed % 2, crashing: 1, dropPercent: 10, maxDelayMs: 500 } });
      expect(result.ended).toBe(true);
      expect(acceptedSet(result)).toBe(acceptedSet(reference));
    }
  });

  it('that is cancelled pays what was accepted, keeps the share of its open round and returns the rest', () => {
    const roundWei = (1_000_003n + 2n) / 3n;
    for (let seed = 600; seed < 630; seed++) {
      const result = simulate({
        seed,
        nodes: 6,
        faults: { cancelAtMs: 1000 + 500 * (seed - 600), pauses: 1, dropPercent: 10, maxDelayMs: 1000 },
      });
      expect(result.ended).toBe(true);
      if (result.state.status !== 'stopped') continue;
      const leftWei = 1_000_003n - result.rewardWei * BigInt(result.paid.length);
      expect(result.refundWei).toBe(leftWei - result.reserveWei);
      expect([0n, roundWei, leftWei]).toContain(result.reserveWei);
    }
  });

  it('runs with fewer nodes than the redundancy, by verdicts or with one node per task', () => {
    for (let seed = 700; seed < 715; seed++) {
      const alone = simulate({ seed, nodes: 1, spec: { minimumNodes: 1 } });
      expect(alone.ended).toBe(true);
      expect(acceptedSet(alone)).toBe(acceptedSet(reference));
      const single = simulate({ seed, nodes: 3, spec: { redundancy: 1 } });
      expect(acceptedSet(single)).toBe(acceptedSet(reference));
      expect(single.paid).toHaveLength(12);
    }
  });

  it('keeps its record: every step but the last is followed by the next, and time never goes back', () => {
    const { steps } = simulate({
      seed: 8,
      nodes: 6,
      faults: { coordinatorCrashes: 3, pauses: 1, dropPercent: 20, duplicatePercent: 50, maxDelayMs: 800 },
    });
    for (const [index, { at }] of steps.entries()) expect(at).toBeGreaterThanOrEqual(steps[index - 1]?.at ?? 0);
  });

  it('runs two hundred nodes', () => {
    const result = simulate({
      seed: 1,
      nodes: 200,
      spec: { rounds: 1, tasks: 60 },
      faults: { liars: 5, killed: 10, crashing: 10, maxDelayMs: 200 },
    });
    expect(result.ended).toBe(true);
    expect(result.finalized[0]?.accepted).toHaveLength(60);
  });
});
