import * as fc from 'fast-check';
import { createPublicClient, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  assignmentWeight,
  countOutcome,
  noReputation,
  type ReputationCounters,
  reputationMetrics,
  reputationScore,
  taskOutcomes,
  withBandwidth,
} from '../../packages/round/src/reputation.ts';
import { accountOf, deploy, type Handle } from './handles.ts';
import { nodeOf, refusal, startTestChain, type TestChain } from './harness.ts';

const [accepted, rejected, missed, heartbeat, violation, slashed, lineage] = taskOutcomes.keys();
const writer = 1;
const otherWriter = 2;
const bandwidthWriter = 3;
const stranger = 4;

let chain: TestChain;
let registry: Handle;
let cases: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  const writers = [accountOf(chain, writer), accountOf(chain, otherWriter)];
  registry = await deploy(chain, 0, 'ReputationRegistry', [writers, accountOf(chain, bandwidthWriter)]);
  cases = await deploy(chain, 0, 'ReputationCases', []);
});
afterAll(() => chain.close());

const today = async (): Promise<number> =>
  Math.floor(Number((await createPublicClient({ transport: chain.transport, cacheTime: 0 }).getBlock()).timestamp) / 86_400);

test('only the writers fixed at deployment record outcomes, and only the bandwidth writer bandwidth', async () => {
  const node = nodeOf('doors');
  for (const actor of [0, stranger, bandwidthWriter]) {
    const refusal = ['NotReputationWriter', accountOf(chain, actor)];
    expect(await registry.refused(actor, 'record', [node, accepted, 1])).toEqual(refusal);
    expect(await registry.refused(actor, 'recordTasks', [[node], accepted])).toEqual(refusal);
  }
  for (const actor of [0, stranger, writer]) {
    expect(await registry.refused(actor, 'recordBandwidth', [node, 1])).toEqual(['NotReputationWriter', accountOf(chain, actor)]);
  }
  expect(await registry.read('isWriter', [accountOf(chain, writer)])).toBe(true);
  expect(await registry.read('isWriter', [accountOf(chain, bandwidthWriter)])).toBe(false);
  expect(await registry.read('isWriter', [`0x${'00'.repeat(20)}`])).toBe(false);
  expect(await registry.read('bandwidthWriter')).toBe(accountOf(chain, bandwidthWriter));
  expect(await registry.read('countersOf', [node])).toEqual(noReputation);
});

test('a registry has at most six writers', async () => {
  const writers = Array.from({ length: 7 }, (_, actor) => accountOf(chain, actor));
  const crowded = refusal(deploy(chain, 0, 'ReputationRegistry', [writers, writers[0]]));
  expect(await crowded).toEqual({ error: 'TooManyWriters', writers: 7n, maximum: 6n });
  const full = await deploy(chain, 0, 'ReputationRegistry', [writers.slice(0, 6), writers[0]]);
  for (const [actor, account] of writers.entries()) {
    expect(await full.read('isWriter', [account])).toBe(actor < 6);
  }
  const none = await deploy(chain, 0, 'ReputationRegistry', [[], writers[0]]);
  expect(await none.read('isWriter', [writers[0]])).toBe(false);
});

test('an outcome is counted, announced and shown in metrics, score and weight', async () => {
  const node = nodeOf('counted');
  const { events } = await registry.call(writer, 'record', [node, accepted, 180]);
  expect(events).toEqual([{ event: 'OutcomeRecorded', node, outcome: accepted, count: 180 }]);
  expect((await registry.call(otherWriter, 'recordTasks', [[node, nodeOf('other'), node], rejected])).events).toEqual([
    { event: 'TasksRecorded', outcome: rejected, nodes: [node, nodeOf('other'), node] },
  ]);
  await registry.call(writer, 'record', [node, slashed, 1]);
  expect((await registry.call(bandwidthWriter, 'recordBandwidth', [node, 12_000])).events).toMatchObject([
    { event: 'BandwidthRecorded', node },
  ]);
  await registry.call(writer, 'record', [node, violation, 0]);
  await registry.call(bandwidthWriter, 'recordBandwidth', [nodeOf('other'), 4_321]);
  expect(await registry.read('metricsOf', [nodeOf('other')])).toMatchObject({ bandwidth: 4_321, penalty: 0 });
  expect(await registry.read('scoreOf', [nodeOf('other')])).toBe(0);

  const day = await today();
  const counters: ReputationCounters = {
    ...noReputation,
    accepted: 180,
    rejected: 2,
    slashes: 1,
    bandwidth: 10_000,
    lastActive: day,
    cleanSince: day,
  };
  expect(await registry.read('countersOf', [node])).toEqual(counters);
  expect(await registry.read('metricsOf', [node])).toEqual(reputationMetrics(counters, day));
  const score = reputationScore(counters, day);
  expect(await registry.read('scoreOf', [node])).toBe(score);
  expect(await registry.read('weightOf', [12_345n, node])).toBe(assignmentWeight(12_345n, score));
  expect(await registry.read('weightOf', [12_345n, nodeOf('nobody')])).toBe(123n);
});

test('counters stop at their largest value', async () => {
  const node = nodeOf('saturated');
  const most = 2 ** 32 - 1;
  for (const outcome of [rejected, missed, heartbeat, violation, slashed, lineage]) {
    for (let time = 0; time < 2; time++) await registry.call(writer, 'record', [node, outcome, most]);
  }
  expect(await registry.read('countersOf', [node])).toMatchObject({
    accepted: 0,
    rejected: most,
    missed: most,
    heartbeatsMissed: 2 ** 24 - 1,
    violations: 65_535,
    slashes: 65_535,
    lineage: 65_535,
  });
  // Offences of a node that has done nothing else weigh all there is.
  expect(await registry.read('metricsOf', [node])).toMatchObject({ penalty: 10_000, lineage: 10_000, uptime: 0 });
});

test('a recorded outcome costs little gas on its own and in a list', async () => {
  const nodes = Array.from({ length: 50 }, (_, index) => nodeOf(`gas ${index}`));
  await registry.call(writer, 'recordTasks', [nodes, accepted]);
  const one = await registry.call(writer, 'record', [nodes[0], accepted, 1]);
  const short = await registry.call(writer, 'recordTasks', [nodes.slice(0, 10), accepted]);
  const long = await registry.call(writer, 'recordTasks', [nodes, accepted]);
  // Measured: 29 993 and 6 525. The bounds leave room for the probes of a coverage run.
  expect(one.gas).toBeLessThan(45_000n);
  expect((long.gas - short.gas) / 40n).toBeLessThan(12_000n);
});

interface Entry {
  readonly outcome: number;
  readonly count: number;
  readonly day: number;
}

const start = 20_000;
const count = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const history: fc.Arbitrary<Entry[]> = fc
  .array(
    fc.oneof(
      { arbitrary: fc.record({ outcome: fc.nat(6), count, later: fc.nat(30) }), weight: 8 },
      { arbitrary: fc.record({ outcome: fc.constant(255), count: fc.nat(65_535), later: fc.nat(30) }), weight: 1 },
    ),
    { maxLength: 25 },
  )
  .map((entries) => {
    let day = start;
    return entries.map(({ later, ...entry }) => ({ ...entry, day: (day += later) }));
  });

function replay(entries: readonly Entry[]): ReputationCounters {
  return entries.reduce<ReputationCounters>((node, entry) => {
    const outcome = taskOutcomes[entry.outcome];
    return outcome === undefined ? withBandwidth(node, entry.count) : countOutcome(node, outcome, entry.count, entry.day);
  }, noReputation);
}

test('contract and core count the same in random histories and score them the same', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(history, { minLength: 20, maxLength: 40 }), fc.nat(150), async (histories, later) => {
      const counters = histories.map(replay);
      expect(await cases.read('replay', [histories])).toEqual(counters);
      const day = start + 25 * 30 + later;
      expect(await cases.read('scores', [counters, day])).toEqual([
        counters.map((node) => reputationScore(node, day)),
        counters.map((node) => reputationMetrics(node, day)),
      ]);
    }),
    { numRuns: 40 },
  );
}, 120_000);

const wide = (bits: number) =>
  fc
    .oneof(fc.integer({ min: 0, max: 50 }), fc.nat(5_000), fc.integer({ min: 0, max: 2 ** bits - 1 }))
    .map((value) => Math.min(value, 2 ** bits - 1));

test('contract and core agree on random counters and weights', async () => {
  const any: fc.Arbitrary<ReputationCounters> = fc.record({
    accepted: fc.oneof(
      wide(31),
      fc.maxSafeNat().map((value) => value % 2 ** 40),
    ),
    rejected: wide(31),
    missed: wide(31),
    heartbeatsMissed: wide(24),
    violations: wide(16),
    slashes: wide(16),
    bandwidth: fc.nat(10_000),
    lineage: wide(16),
    lastActive: fc.integer({ min: start - 120, max: start }),
    cleanSince: fc.oneof(fc.constant(0), fc.integer({ min: start - 120, max: start })),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(any, fc.bigInt({ min: 0n, max: 10n ** 30n })), { minLength: 60, maxLength: 100 }),
      fc.nat(60),
      async (rows, later) => {
        const counters = rows.map(([node]) => node);
        const scores = counters.map((node) => reputationScore(node, start + later));
        expect(await cases.read('scores', [counters, start + later])).toEqual([
          scores,
          counters.map((node) => reputationMetrics(node, start + later)),
        ]);
        const stakes = rows.map(([, stakeWei]) => stakeWei);
        expect(await cases.read('weights', [stakes, scores])).toEqual(
          stakes.map((stakeWei, index) => assignmentWeight(stakeWei, scores[index] ?? 0)),
        );
      },
    ),
    { numRuns: 40 },
  );
}, 120_000);

test('the registry counts a random sequence of calls with time as the core does', async () => {
  const step = fc.record({
    outcome: fc.nat(6),
    count: fc.integer({ min: 0, max: 60 }),
    node: fc.nat(3),
    days: fc.nat(12),
    list: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) =>
      chain.reverting(async () => {
        const nodes = Array.from({ length: 4 }, (_, index) => nodeOf(`sequence ${index}`));
        const expected = new Map(nodes.map((node) => [node as string, noReputation]));
        for (const { outcome, count: times, node: index, days, list } of steps) {
          await chain.elapse(days * 86_400);
          const node = nodes[index] ?? nodeOf('none');
          const named = list ? [node, node] : [];
          await (list
            ? registry.call(writer, 'recordTasks', [named, outcome])
            : registry.call(otherWriter, 'record', [node, outcome, times]));
          const name = taskOutcomes[outcome] ?? 'TaskAccepted';
          const before = expected.get(node) ?? noReputation;
          expected.set(node, countOutcome(before, name, list ? 2 : times, await today()));
        }
        await chain.elapse(20 * 86_400);
        const day = await today();
        for (const [node, counters] of expected) {
          expect(await registry.read('countersOf', [node])).toEqual(counters);
          expect(await registry.read('scoreOf', [node])).toBe(reputationScore(counters, day));
        }
      }),
    ),
    { numRuns: 12 },
  );
}, 120_000);

test('every random caller is refused, whatever it asks for', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 4, max: 11 }),
      fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
      fc.nat(6),
      async (actor, id, outcome) => {
        const node = toHex(id, { size: 32 });
        expect(await registry.refused(actor, 'record', [node, outcome, 1])).toEqual(['NotReputationWriter', accountOf(chain, actor)]);
      },
    ),
    { numRuns: 25 },
  );
});
