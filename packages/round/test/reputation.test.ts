import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  assignmentWeight,
  counterMaxima,
  countOutcome,
  entryScore,
  maxScore,
  noReputation,
  type ReputationCounters,
  reputationMetrics,
  reputationScore,
  taskOutcomes,
  withBandwidth,
} from '../src/reputation.ts';

const today = 20_000;
const veteran: ReputationCounters = {
  ...noReputation,
  accepted: 980,
  bandwidth: 8_000,
  lineage: 3,
  lastActive: today,
  cleanSince: today - 40,
};

const volume = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 1_000_000 }));
const few = fc.integer({ min: 0, max: 40 });
const counters: fc.Arbitrary<ReputationCounters> = fc.record({
  accepted: volume,
  rejected: volume,
  missed: volume,
  heartbeatsMissed: few,
  violations: few,
  slashes: few,
  bandwidth: fc.integer({ min: 0, max: 10_000 }),
  lineage: fc.integer({ min: 0, max: 120 }),
  lastActive: fc.integer({ min: today - 130, max: today }),
  cleanSince: fc.integer({ min: today - 130, max: today }),
});

test('a node of which nothing is counted has no score and the weight of a newcomer', () => {
  expect(reputationScore(noReputation, today)).toBe(0);
  expect(assignmentWeight(1_000n, 0)).toBe(10n);
  expect(assignmentWeight(1_000n, entryScore)).toBe(10n);
  expect(assignmentWeight(999n, maxScore)).toBe(999n);
  expect(assignmentWeight(7n, 500_000)).toBe(3n);
});

test('the metrics of a faultless node are those worked out by hand', () => {
  const metrics = { uptime: 9_800, penalty: 0, proofSuccess: 9_800, bandwidth: 8_000, lineage: 300, slashFree: 4_000, completion: 9_800 };
  expect(reputationMetrics(veteran, today)).toEqual(metrics);
  expect(reputationScore(veteran, today)).toBe(65 * 9_800 + 15 * 8_000 + 10 * 300 + 10 * 4_000);
});

test('each kind of failure lowers the metrics it belongs to', () => {
  const after = (outcome: (typeof taskOutcomes)[number], count: number) =>
    reputationMetrics(countOutcome(veteran, outcome, count, today), today);
  expect(after('TaskRejected', 1_000)).toMatchObject({ uptime: 4_900, proofSuccess: 4_900, completion: 9_800 });
  expect(after('TaskMissed', 1_000)).toMatchObject({ uptime: 4_900, proofSuccess: 9_800, completion: 4_900 });
  expect(after('HeartbeatMissed', 1_000)).toMatchObject({ uptime: 4_900, proofSuccess: 9_800, completion: 9_800 });
  // 500 · 100 ÷ 980 = 51.02…, and 1 500 · 100 ÷ 980 = 153.06…
  expect(after('Violation', 1)).toMatchObject({ penalty: 52, slashFree: 0 });
  expect(after('Slashed', 1)).toMatchObject({ penalty: 154, slashFree: 0 });
  expect(after('Slashed', 70)).toMatchObject({ penalty: 10_000 });
  expect(after('LineageContribution', 200)).toMatchObject({ lineage: 10_000 });
  expect(reputationMetrics(countOutcome(noReputation, 'Violation', 1, today), today).penalty).toBe(10_000);
});

test('the first accepted task starts the time without offences, an offence starts it again', () => {
  const begun = countOutcome(noReputation, 'TaskAccepted', 1, today);
  expect(begun).toMatchObject({ accepted: 1, lastActive: today, cleanSince: today });
  const later = countOutcome(begun, 'TaskAccepted', 2, today + 9);
  expect(later).toMatchObject({ accepted: 3, lastActive: today + 9, cleanSince: today });
  expect(reputationMetrics(later, today + 200).slashFree).toBe(10_000);
  expect(countOutcome(later, 'Slashed', 1, today + 10)).toMatchObject({ cleanSince: today + 10, lastActive: today + 9 });
  expect(countOutcome(begun, 'Slashed', 0, today + 1)).toBe(begun);
});

test('a week of rest is free, then each idle day takes one percent until nothing is left', () => {
  const still = { ...veteran, cleanSince: today - 200 };
  const full = reputationScore(still, today);
  expect(reputationScore(still, today + 7)).toBe(full);
  expect(reputationScore(still, today + 8)).toBe(Math.floor((full * 99) / 100));
  expect(reputationScore(still, today + 106)).toBe(Math.floor(full / 100));
  for (const day of [107, 108, 5_000]) expect(reputationScore(still, today + day)).toBe(0);
});

test('counters stop at what the contract can hold', () => {
  const full = { ...noReputation, ...counterMaxima };
  for (const outcome of taskOutcomes) {
    expect(countOutcome(full, outcome, 2 ** 32 - 1, today)).toMatchObject(counterMaxima);
  }
  expect(withBandwidth(noReputation, 65_535).bandwidth).toBe(10_000);
  expect(reputationScore({ ...full, bandwidth: 10_000, lastActive: today, cleanSince: 1 }, today)).toBeLessThanOrEqual(maxScore);
});

test('no record scores more than the cap', () => {
  fc.assert(
    fc.property(counters, (node) => {
      const score = reputationScore(node, today);
      expect(Number.isSafeInteger(score) && score >= 0 && score <= maxScore).toBe(true);
    }),
  );
});

test('more accepted work never lowers a score, and a failure never raises one', () => {
  fc.assert(
    fc.property(counters, fc.constantFrom(...taskOutcomes), fc.integer({ min: 1, max: 1_000 }), (node, outcome, count) => {
      const before = reputationScore(node, today);
      const after = reputationScore(countOutcome(node, outcome, count, today), today);
      const good = outcome === 'TaskAccepted' || outcome === 'LineageContribution';
      expect(good ? after >= before : after <= before).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

/** Splits `total` at random into as many parts as there are weights. */
function shares(total: bigint, weights: readonly number[]): bigint[] {
  const sum = weights.reduce((left, right) => left + right, 0);
  const parts = weights.map((weight) => (sum === 0 ? 0n : (total * BigInt(weight)) / BigInt(sum)));
  const rest = parts.reduce((left, part) => left - part, total);
  return parts.map((part, index) => (index === 0 ? part + rest : part));
}

interface Split {
  readonly node: ReputationCounters;
  readonly stakeWei: bigint;
  readonly parts: readonly { readonly stakeWei: bigint; readonly node: ReputationCounters }[];
}

/** A node and a fair split of it: work and stake divided at will, each part with at least its share of failures. */
const splits: fc.Arbitrary<Split> = fc
  .record({
    node: counters,
    stakeWei: fc.bigInt({ min: 1n, max: 10n ** 24n }),
    parts: fc.array(
      fc.record({
        work: fc.integer({ min: 0, max: 1_000 }),
        stake: fc.integer({ min: 0, max: 1_000 }),
        extra: fc.array(few, { minLength: 5, maxLength: 5 }),
        worse: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100 })), { minLength: 4, maxLength: 4 }),
      }),
      { minLength: 1, maxLength: 8 },
    ),
  })
  .map(({ node, stakeWei, parts }) => {
    const work = shares(
      BigInt(node.accepted),
      parts.map((part) => part.work),
    ).map(Number);
    const stakes = shares(
      stakeWei,
      parts.map((part) => part.stake),
    );
    return {
      node,
      stakeWei,
      parts: parts.map(({ extra, worse }, index) => {
        const accepted = work[index] ?? 0;
        // Rounded up: at least the proportional share. A part without work needs none, and gains nothing by that.
        const share = (failures: number, more = 0) =>
          (node.accepted === 0 ? failures : Math.ceil((failures * accepted) / node.accepted)) + more;
        return {
          stakeWei: stakes[index] ?? 0n,
          node: {
            accepted,
            rejected: share(node.rejected, extra[0]),
            missed: share(node.missed, extra[1]),
            heartbeatsMissed: share(node.heartbeatsMissed, extra[2]),
            violations: share(node.violations, extra[3]),
            slashes: share(node.slashes, extra[4]),
            bandwidth: Math.max(0, node.bandwidth - (worse[0] ?? 0)),
            lineage: Math.max(0, node.lineage - (worse[1] ?? 0)),
            lastActive: node.lastActive - (worse[2] ?? 0),
            cleanSince: Math.min(today, node.cleanSince + (worse[3] ?? 0)),
          },
        };
      }),
    };
  });

test('splitting a stake and its work fairly among several nodes never raises the total weight', () => {
  fc.assert(
    fc.property(splits, ({ node, stakeWei, parts }) => {
      const whole = assignmentWeight(stakeWei, reputationScore(node, today));
      const total = parts.reduce((sum, part) => sum + assignmentWeight(part.stakeWei, reputationScore(part.node, today)), 0n);
      expect(total).toBeLessThanOrEqual(whole);
    }),
    { numRuns: 5_000 },
  );
});

test('dumping all failures on one of two nodes is what the score cannot prevent', () => {
  const node = { ...veteran, rejected: 400 };
  const clean = { ...veteran, accepted: 490 };
  const whole = assignmentWeight(1_000n, reputationScore(node, today));
  expect(assignmentWeight(900n, reputationScore(clean, today))).toBeGreaterThan(whole);
});
