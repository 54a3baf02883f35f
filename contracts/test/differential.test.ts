/**
 * The contracts against the rules that the simulator runs on (`packages/round/src/simulated-chain.ts`): random histories of one job by its
 * owner, coordinator, validator, five nodes and a stranger. After every call both have answered the same and hold the same money.
 */
import { type JobPolicy, plainPolicy, type ResultOffence, type Root } from '@muster/protocol';
import { commitsClosed, waits } from '../../packages/round/src/simulated-chain.ts';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ether, startTestChain, type TestChain } from './harness.ts';
import { nodes, operatorOf, people, registerNodes, roots, seat, shape, Twin, type TwinCall, type TwinVerdict } from './twin.ts';

const RUNS = 60;
const CALLS = 70;
const TIMEOUT = 200;
const mustHappen = [
  'closeNodes',
  'assign',
  'commit',
  'closeCommits',
  'reveal',
  'convict',
  'finalize',
  'settleTask',
  'completeJob',
  'cancelJob',
];
const offences: readonly ResultOffence[] = ['gradientMismatch', 'invalidProof', 'fakeGradients', 'provenCheating'];

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
  await registerNodes(chain);
});
afterAll(() => chain.close());

/** One random choice: whether to move on or do anything, what, where, by whom, and numbers to fill it in with. */
interface Choice {
  readonly forward: boolean;
  readonly kind: number;
  readonly actor: number;
  readonly task: number;
  readonly slot: number;
  readonly number: number;
  readonly wait: number;
}

const rarely = (usual: number, others: fc.Arbitrary<number>): fc.Arbitrary<number> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: others });

const choice: fc.Arbitrary<Choice> = fc.record({
  forward: fc.integer({ min: 0, max: 9 }).map((number) => number < 6),
  kind: fc.nat(99),
  actor: fc.nat(11),
  task: fc.oneof({ weight: 9, arbitrary: fc.nat(1) }, { weight: 1, arbitrary: fc.nat(3) }),
  slot: fc.oneof({ weight: 9, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(4) }),
  number: fc.nat(2 ** 20),
  wait: rarely(1, fc.constantFrom(30, 120, TIMEOUT + 1)),
});

const policy: fc.Arbitrary<JobPolicy> = fc
  .record({
    model: fc.constantFrom('perRound' as const, 'perBatch' as const, 'perGradientUpdate' as const, 'perAccuracyGain' as const),
    scoreTotal: fc.integer({ min: 2, max: 5 }),
    gpuSecondsPerTask: fc.integer({ min: 1, max: 60 }),
    batchSize: fc.integer({ min: 1, max: 300 }),
    stepsPerTask: fc.integer({ min: 1, max: 9 }),
    bonusBasisPoints: fc.nat(5_000),
    targetGainBasisPoints: fc.integer({ min: 1, max: 2_000 }),
  })
  .map((reward) => ({ ...plainPolicy(shape.tasks), minParticipants: 2, roundTimeout: TIMEOUT, reward }));

/** A verdict that is mostly right, signed mostly by the validator. */
const verdictOf = (number: number): TwinVerdict => ({
  resultRoot: roots[number % 11 === 0 ? 1 : number % 37 === 0 ? 2 : 0],
  offence: offences[number % offences.length] ?? 'provenCheating',
  signer: number % 13 === 0 ? people.stranger : people.validator,
});

/** The root that a task's slots reveal most, and what may be wrong about naming it. */
function rootToName(twin: Twin, round: number, task: number, number: number): Root {
  if (number % 9 === 0) return roots[number % 3] as Root;
  const state = twin.rules.task(round, task);
  if (state?.verdictRoot != null) return state.verdictRoot;
  const count = (root: Root): number => state?.slots.filter((slot) => slot.revealedRoot === root && slot.status === 'revealed').length ?? 0;
  return count(roots[1]) > count(roots[0]) ? roots[1] : roots[0];
}

function acceptedBy(twin: Twin, round: number, { number }: Choice) {
  const accepted = [];
  for (let task = 0; task < shape.tasks + (number % 29 === 0 ? 1 : 0); task++) {
    const state = twin.rules.task(round, task);
    const resultRoot = rootToName(twin, round, task, number + task);
    const revealed = state?.slots.filter((slot) => slot.status === 'revealed' && slot.revealedRoot === resultRoot).length ?? 0;
    const needed = 2 * revealed <= shape.redundancy && state?.verdictRoot == null;
    if (needed && number % 5 !== 0) continue;
    const verdict = needed && number % 2 === 0 ? { ...verdictOf(number + 1), resultRoot } : null;
    accepted.push({ task, score: number % 17 === 0 ? 4 : 1 + (number % 2) * task, resultRoot, verdict });
  }
  return number % 19 === 0 ? accepted.toReversed() : accepted;
}

/** The call that brings the job on, as far as there is one. */
function forward(twin: Twin, given: Choice, time: number): TwinCall | Promise<TwinCall> {
  const { rules } = twin;
  const { number, actor } = given;
  const { owner, coordinator, stranger } = people;
  const round = rules.nextRound;
  if (rules.status === 'paused') return twin.ofJob(coordinator, 'resumeJob');
  if (number % 97 === 0) return twin.ofJob(owner, 'cancelJob');
  const running = rules.status === 'running';
  if (running && round === shape.rounds) return twin.ofJob(actor, 'completeJob');
  const former = round > 0 && number % 3 === 0 ? findSlot(twin, round - 1, (status) => status === 'committed') : null;
  if (former !== null) return twin.reportUnrevealed(round - 1, former.task, former.slot, former.node);
  if (!running && rules.task(round, 0) === null) return anything(twin, { ...given, number: 3 * number }, time);
  if (running && rules.task(round, 0) === null) {
    if (rules.beacon(1000 * time, round) === null) return twin.closeNodes(coordinator, round, 2 + (number % 4));
    return twin.assign(coordinator, round, number % 3 === 0 ? time + 20 : 0);
  }
  for (let task = 0; task < shape.tasks; task++) {
    const state = rules.task(round, task);
    if (state === null) continue;
    for (const [slot, entry] of state.slots.entries()) {
      const node = entry.node ?? state.holders[slot] ?? seat(task, slot);
      const lies = (number + slot) % 4 === 0;
      if (waits(entry) && number % 13 === 0) return twin.closeCommits(actor, round, task);
      if (waits(entry)) return twin.commit(operatorOf(node), round, task, slot, node, roots[lies ? 1 : 0]);
      if (!commitsClosed(state) || entry.status !== 'committed' || (number + slot) % 5 === 0) continue;
      return twin.reveal(operatorOf(node), round, task, slot, node, twin.committedRoot(round, task, slot) ?? roots[0]);
    }
  }
  const liar = findSlot(twin, round, (status, root) => status === 'revealed' && root === roots[1]);
  if (liar !== null && number % 2 === 0) {
    return twin.convict(number % 4 === 0 ? 3 : 8, round, liar.task, liar.slot, liar.node, {
      ...verdictOf(1),
      offence: offences[number % 3] ?? 'provenCheating',
    });
  }
  if (running) return twin.finalize(coordinator, round, (number % 7) * 1_000, acceptedBy(twin, round, given));
  const silent = findSlot(twin, round, (status) => status === 'committed');
  if (silent !== null && number % 2 === 0) return twin.reportUnrevealed(round, silent.task, silent.slot, silent.node);
  if (number % 5 === 0) return twin.ofJob(owner, 'releaseReserve');
  return twin.settleTask(stranger, round, number % shape.tasks, rootToName(twin, round, number % shape.tasks, number));
}

function findSlot(twin: Twin, round: number, wanted: (status: string, root: Root | null) => boolean) {
  for (let task = 0; task < shape.tasks; task++) {
    for (const [slot, entry] of twin.rules.task(round, task)?.slots.entries() ?? []) {
      if (entry.node !== null && wanted(entry.status, entry.revealedRoot)) return { task, slot, node: entry.node };
    }
  }
  return null;
}

/** Any call at all, by anybody, in any round. */
function anything(twin: Twin, given: Choice, time: number): TwinCall | Promise<TwinCall> {
  const { kind, actor, task, slot, number } = given;
  const round = number % 4 === 0 ? number % 3 : twin.rules.nextRound;
  const led = number % 5 === 0 ? actor : people.coordinator;
  const holder = twin.rules.task(round, task)?.holders[slot] ?? seat(task, slot);
  const node = number % 6 === 0 ? (nodes[number % nodes.length] as (typeof nodes)[number]) : holder;
  const by = number % 7 === 0 ? actor : operatorOf(node);
  const before = number % 3 === 0 ? Math.max(0, twin.rules.nextRound - 1) : round;
  if (kind < 4) return twin.closeNodes(led, round, number % 6);
  if (kind < 9) return twin.assign(led, round, time + [0, 20, 100, 101][number % 4]!);
  if (kind < 17) return twin.reassign(led, round, task, slot, nodes[number % nodes.length] as (typeof nodes)[number]);
  if (kind < 28) return twin.commit(by, round, task, slot, node, roots[number % 23 === 0 ? 2 : number % 2] as Root);
  if (kind < 42) {
    const root = number % 8 === 0 ? (roots[number % 3] as Root) : (twin.committedRoot(round, task, slot) ?? roots[0]);
    return twin.reveal(by, round, task, slot, node, root);
  }
  if (kind < 48) return twin.closeCommits(actor, round, task);
  if (kind < 64) return twin.convict(number % 2 === 0 ? 3 : 8, before, task, slot, node, verdictOf(number));
  if (kind < 70) return twin.reportUnrevealed(before, task, slot, node);
  if (kind < 77) return twin.finalize(led, round, number % 31 === 0 ? 10_001 : number % 10_001, acceptedBy(twin, round, given));
  if (kind < 84) return twin.settleTask(actor, before, task, rootToName(twin, before, task, number));
  if (kind < 87) return twin.ofJob(led, 'pauseJob');
  if (kind < 89) return twin.ofJob(led, 'resumeJob');
  if (kind < 91) return twin.ofJob(number % 2 === 0 ? people.owner : actor, 'cancelJob');
  if (kind < 93) return twin.ofJob(actor, 'completeJob');
  return twin.ofJob(actor, kind < 97 ? 'failJob' : 'releaseReserve');
}

test('the contracts answer every call as the simulated chain does, and hold the same money after it', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.bigInt(0n, (3n * ether) / 10n),
      policy,
      fc.array(choice, { minLength: CALLS, maxLength: CALLS }),
      async (budgetWei, terms, choices) => {
        await chain.reverting(async () => {
          const twin = await Twin.submit(chain, budgetWei, terms);
          for (const given of choices) {
            await twin.play(given.wait, (time) => (given.forward ? forward : anything)(twin, given, time));
          }
          for (const [label, count] of twin.seen) seen.set(label, (seen.get(label) ?? 0) + count);
        });
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  // The histories went far enough to say something.
  for (const name of mustHappen) expect(seen.get(`${name} taken`) ?? 0, name).toBeGreaterThan(0);
  expect([...seen.keys()].filter((label) => !label.endsWith(' taken')).length).toBeGreaterThan(25);
});
