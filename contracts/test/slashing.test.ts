/** What offences cost and who has it: the library against its twin, the registry's doors, and convictions of real work. */
import { packCapabilities, unpackCapabilities } from '@muster/adapters';
import type { ResultOffence, Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { divideSlash, penaltyOf, slashingTable } from '../../packages/round/src/slashing.ts';
import { accountOf, deploy, type Handle } from './handles.ts';
import { ether, JobDriver, nodeOf, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { burnAddress, deployed, doors, loneRegistry, loneSettings } from './lone.ts';
import { offenceNames } from './registry-model.ts';

let chain: TestChain;
let probe: Handle;
let lone: Handle;
let reputation: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  probe = await deploy(chain, 0, 'CoreProbe', []);
  ({ registry: lone, reputation } = await loneRegistry(chain));
}, 120_000);
afterAll(() => chain.close());

const BATCH = 250;
const ofBatch = { minLength: BATCH, maxLength: BATCH } as const;
const wei = fc.oneof(fc.constantFrom(0n, 1n, 9_999n, 10_000n, 10_001n, 2n ** 128n - 1n), fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }));
const shares = fc
  .tuple(fc.nat(10_000), fc.nat(10_000))
  .map(([one, two]) => ({ challenger: Math.min(one, two), insurance: Math.abs(one - two), burn: 10_000 - Math.max(one, two) }));

test('penalties are the same in Solidity and in TypeScript', async () => {
  const one = fc.record({ offence: fc.nat(5), stake: wei, offences: fc.oneof(fc.nat(4), fc.nat(255)), shareWei: wei });
  await fc.assert(
    fc.asyncProperty(fc.array(one, ofBatch), async (cases) => {
      const found = await probe.read('penalties', [cases.map((entry) => ({ ...entry, offences: BigInt(entry.offences) }))]);
      const expected = cases.map(({ offence, stake, offences, shareWei }) => {
        const name = offenceNames[offence] ?? 'failedJob';
        const { basisPoints, counts } = slashingTable[name];
        return { ...penaltyOf(name, stake, offences, shareWei), counts, basisPoints: BigInt(basisPoints) };
      });
      expect(found).toEqual(expected);
    }),
    { numRuns: 8 },
  );
}, 60_000);

test('what is taken is divided the same in Solidity and in TypeScript', async () => {
  const one = fc.record({ amountWei: wei, shares, hasChallenger: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(one, ofBatch), async (cases) => {
      const expected = cases.map((entry) => {
        const { challengerWei, insuranceWei, burnedWei } = divideSlash(entry.amountWei, entry.shares, entry.hasChallenger);
        return { challengerWei, insuranceWei, burnWei: burnedWei };
      });
      expect(await probe.read('divisions', [cases])).toEqual(expected);
    }),
    { numRuns: 8 },
  );
}, 60_000);

test('the capability word means the same in Solidity and in TypeScript', async () => {
  const uint32 = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.nat(0xffff_ffff));
  const caps = fc.record({ hasGPU: fc.boolean(), hasTEE: fc.boolean(), diskGB: uint32, bandwidthMbps: uint32, computeUnits: uint32 });
  const word = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }).map((bits) => toHex(bits, { size: 32 }) as Root);
  await fc.assert(
    fc.asyncProperty(fc.array(caps, ofBatch), fc.array(word, ofBatch), async (packed, words) => {
      expect(await probe.read('pack', [packed])).toEqual(packed.map(packCapabilities));
      expect(await probe.read('unpack', [words])).toEqual(words.map(unpackCapabilities));
      expect(packed.map((one) => unpackCapabilities(packCapabilities(one)))).toEqual(packed);
      const [first = zeroRoot] = words;
      expect(await probe.read('withTee', [first])).toBe(toHex(BigInt(first) | 2n, { size: 32 }));
    }),
    { numRuns: 4 },
  );
}, 60_000);

test('a capability that does not fit its bits is refused', () => {
  const caps = { hasGPU: false, hasTEE: false, diskGB: 2 ** 32, bandwidthMbps: 0, computeUnits: 0 };
  expect(() => packCapabilities(caps)).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
});

test('only the contracts that settle rounds guard, release and slash, whatever they are asked', async () => {
  const registry = deployed(chain, 'nodeCertRegistry');
  const extreme = fc.oneof(fc.constantFrom(0n, 1n, 2n ** 256n - 1n), fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(0, 1, 5, 11), extreme, fc.nat(5), async (actor, amountWei, offence) => {
      const account = accountOf(chain, actor);
      const node = nodeOf('anybody’s');
      for (const [name, args] of [
        ['guard', [node, amountWei]],
        ['release', [node, amountWei, amountWei]],
        ['slash', [node, offence, account, account]],
        ['slashFailedJob', [node, amountWei, account]],
      ] as const) {
        for (const one of [registry, lone]) expect(await one.refused(actor, name, args)).toEqual(['NotThroughItsDoor', account]);
      }
    }),
    { numRuns: 20 },
  );
});

/** Registers a node and returns a slash by the settlement contract, as what it told. */
async function slashable(name: string, stakeWei: bigint) {
  const node = nodeOf(name);
  await lone.call(1, 'registerNode', [node, 0, '', zeroRoot, zeroRoot], stakeWei);
  const zero = `0x${'00'.repeat(20)}`;
  const slash = async (offence: number, challenger: string = zero, judge: string = zero) =>
    (await lone.call(doors.settlement, 'slash', [node, offence, challenger, judge])).events;
  return { node, slash };
}
const mismatch = 2;
const invalidProof = 3;
const fakeGradients = 4;
const provenCheating = 5;

test('every wei that is taken goes to the challenger, the insurance fund or nobody', async () => {
  const stake = 10_007n;
  const { node, slash } = await slashable('split', stake);
  const [challenger, judge] = [accountOf(chain, 3), accountOf(chain, 4)];
  const { insuranceFund } = chain.info.contracts;
  const sums = async () =>
    Promise.all([
      chain.reader.credit(challenger as never),
      chain.reader.balance(insuranceFund),
      chain.reader.balance(burnAddress),
      chain.reader.balance(lone.address),
    ]);
  const before = await sums();
  // A tenth of 10 007 is 1000; 40 % of it each, and the rest.
  const told = await slash(mismatch, challenger, judge);
  expect(told).toEqual([
    { event: 'NodeSlashed', node, amountWei: 1_000n, active: true, offence: mismatch },
    { event: 'SlashDivided', node, challenger, challengerWei: 400n, insuranceWei: 400n, burnedWei: 200n },
  ]);
  const after = await sums();
  expect(after.map((sum, index) => sum - (before[index] ?? 0n))).toEqual([400n, 400n, 200n, -1_000n]);
  // Half of the 9 007 left, rounded down; 40 % of 4 503 are 1 801, rounded down, and what is left over is burned.
  expect(await slash(fakeGradients, challenger, judge)).toMatchObject([
    { amountWei: 4_503n, active: true },
    { challengerWei: 1_801n, insuranceWei: 1_801n, burnedWei: 901n },
  ]);
});

test('a challenger that is the judge, or nobody, leaves its share to the insurance fund', async () => {
  const { node, slash } = await slashable('judged', 10_000n);
  const judge = accountOf(chain, 3);
  const nobody = `0x${'00'.repeat(20)}`;
  const divided = { event: 'SlashDivided', node, challenger: nobody, challengerWei: 0n };
  const before = await chain.reader.credit(judge as never);
  expect((await slash(mismatch, judge, judge))[1]).toEqual({ ...divided, insuranceWei: 800n, burnedWei: 200n });
  expect((await slash(mismatch, nobody, judge))[1]).toEqual({ ...divided, insuranceWei: 720n, burnedWei: 180n });
  expect(await chain.reader.credit(judge as never)).toBe(before);
});

test('a challenger that operates the node itself has no share, whatever it was slashed for', async () => {
  const { node, slash } = await slashable('own accuser', 10_000n);
  const own = accountOf(chain, 1);
  const before = await chain.reader.credit(own as never);
  const divided = { event: 'SlashDivided', node, challenger: `0x${'00'.repeat(20)}`, challengerWei: 0n };
  expect((await slash(mismatch, own, accountOf(chain, 3)))[1]).toEqual({ ...divided, insuranceWei: 800n, burnedWei: 200n });
  const { events } = await lone.call(doors.batched, 'slashFailedJob', [node, 1_000n, own]);
  expect(events[1]).toEqual({ ...divided, insuranceWei: 800n, burnedWei: 200n });
  expect(await chain.reader.credit(own as never)).toBe(before);
});

test('shares of nothing send nothing', async () => {
  await chain.reverting(async () => {
    const { slash } = await slashable('all burned', 10_000n);
    await lone.call(0, 'setSlashShares', [{ challenger: 0, insurance: 0, burn: 10_000 }]);
    expect((await slash(mismatch, accountOf(chain, 3)))[1]).toMatchObject({ challengerWei: 0n, insuranceWei: 0n, burnedWei: 1_000n });
    await lone.call(0, 'setSlashShares', [{ challenger: 10_000, insurance: 0, burn: 0 }]);
    expect((await slash(mismatch, accountOf(chain, 3)))[1]).toMatchObject({ challengerWei: 900n, insuranceWei: 0n, burnedWei: 0n });
  });
});

test('the third offence that counts takes everything and ends the node for good', async () => {
  const { node, slash } = await slashable('thrice', 10_000n);
  expect(await slash(0)).toMatchObject([{ amountWei: 1_000n, active: true }, {}]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ offences: 0 });
  expect(await slash(invalidProof)).toMatchObject([{ amountWei: 900n, active: true }, {}]);
  expect(await slash(fakeGradients)).toMatchObject([{ amountWei: 4_050n, active: true }, {}]);
  expect(await slash(mismatch)).toMatchObject([{ amountWei: 4_050n, active: false }, {}]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ offences: 3, status: 5, stake: 0n });
  // A node without stake loses nothing; its offences are still counted.
  expect(await slash(provenCheating)).toEqual([]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ offences: 4 });
  for (const name of ['topUp', 'startUnbonding', 'cancelUnbonding', 'withdrawStake']) {
    expect(await lone.refused(1, name, [node])).toEqual(['NodeDeactivated', node]);
  }
  expect(await lone.refused(1, 'heartbeat', [node])).toEqual(['NodeNotActive', node]);
  expect(await lone.refused(doors.settlement, 'guard', [node, 0n])).toEqual(['NodeDeactivated', node]);
  const again = [node, 0, '', zeroRoot, zeroRoot];
  expect(await lone.refused(1, 'registerNode', again, 10_000n)).toEqual(['NodeAlreadyRegistered', node]);
  expect(await reputation.read('countersOf', [node])).toMatchObject({ violations: 4, slashes: 4 });
});

test('offences are counted to 255 and no further', async () => {
  await chain.reverting(async () => {
    const { node, slash } = await slashable('notorious', 10_000n);
    for (let count = 1; count <= 257; count++) await slash(mismatch);
    expect(await lone.read('nodeCert', [node])).toMatchObject({ offences: 255 });
  });
}, 60_000);

test('offences are remembered over leaving and coming back', async () => {
  const { node, slash } = await slashable('returned', 10_000n);
  await slash(mismatch);
  await slash(mismatch);
  await lone.call(1, 'startUnbonding', [node]);
  await chain.elapse(loneSettings.times.unbonding);
  await lone.call(1, 'withdrawStake', [node]);
  await lone.call(1, 'registerNode', [node, 0, '', zeroRoot, zeroRoot], 10_000n);
  expect(await slash(mismatch)).toMatchObject([{ amountWei: 10_000n, active: false }, {}]);
});

test('work for a job that failed costs its share of the budget, or all there is', async () => {
  const { node } = await slashable('failed job', 10_000n);
  const challenger = accountOf(chain, 3);
  const fail = async (shareWei: bigint) => (await lone.call(doors.batched, 'slashFailedJob', [node, shareWei, challenger])).events;
  expect(await fail(3_333n)).toEqual([
    { event: 'NodeSlashed', node, amountWei: 3_333n, active: true, offence: 1 },
    { event: 'SlashDivided', node, challenger, challengerWei: 1_333n, insuranceWei: 1_333n, burnedWei: 667n },
  ]);
  expect(await fail(2n ** 256n - 1n)).toMatchObject([{ amountWei: 6_667n, active: false }, {}]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ offences: 0, status: 2, stake: 0n });
  expect(await fail(1n)).toEqual([]);
  const missing = nodeOf('never registered');
  expect(await lone.refused(doors.batched, 'slashFailedJob', [missing, 1n, challenger])).toEqual(['NodeNotRegistered', missing]);
  expect(await lone.refused(doors.batched, 'release', [missing, 1n, 0n])).toEqual(['NodeNotRegistered', missing]);
});

test('more silent heartbeats than reputation can count are as many as it can', async () => {
  await chain.reverting(async () => {
    const { node } = await slashable('long silent', 10_000n);
    await lone.call(0, 'setTimes', [{ ...loneSettings.times, heartbeat: 1 }]);
    await chain.elapse(2 ** 33);
    await lone.call(5, 'reportMissedHeartbeats', [node]);
    expect(await reputation.read('countersOf', [node])).toMatchObject({ heartbeatsMissed: 2 ** 24 - 1 });
  });
});

const percentOf: Readonly<Record<ResultOffence, bigint>> = {
  gradientMismatch: 10n,
  invalidProof: 10n,
  fakeGradients: 50n,
  provenCheating: 100n,
};

test('a conviction costs what its verdict says the node is guilty of', async () => {
  for (const [offence, percent] of Object.entries(percentOf) as [ResultOffence, bigint][]) {
    const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 100n }, `guilty ${offence}`);
    await driver.open(0);
    await driver.commit(0, 0, 0, rootOf('wrong'));
    await driver.reveal(0, 0, 0, rootOf('wrong'));
    const challenger = await chain.actor(11);
    const before = await chain.reader.credit(challenger.account);
    const { events } = await driver.convict(0, 0, 0, rootOf('right'), challenger, offence);
    const amountWei = (ether * percent) / 100n;
    expect(events).toMatchObject([
      { event: 'Convicted', offence },
      { event: 'NodeSlashed', amountWei, active: false, offence },
      { event: 'SlashDivided', challenger: challenger.account, challengerWei: (amountWei * 4n) / 10n },
      { event: 'InsuranceDeposited', amountWei: (amountWei * 4n) / 10n },
    ]);
    expect((await chain.reader.credit(challenger.account)) - before).toBe((amountWei * 4n) / 10n);
    const status = offence === 'provenCheating' ? 'deactivated' : 'suspended';
    expect(await chain.reader.node(driver.seat(0, 0).node)).toMatchObject({ status, offences: 1 });
  }
});

test('a validator that convicts has nothing from it', async () => {
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 100n }, 'own judge');
  await driver.open(0);
  await driver.commit(0, 0, 0, rootOf('wrong'));
  await driver.reveal(0, 0, 0, rootOf('wrong'));
  const before = await chain.reader.credit(driver.validator.account);
  const { events } = await driver.convict(0, 0, 0, rootOf('right'), driver.validator);
  expect(events[2]).toMatchObject({ event: 'SlashDivided', challenger: null, challengerWei: 0n, insuranceWei: (ether * 8n) / 10n });
  expect(await chain.reader.credit(driver.validator.account)).toBe(before);
});

test('who committed to a job that failed and did not deliver loses its share', async () => {
  const shape = { rounds: 1, tasks: 1, redundancy: 2, budgetWei: ether, policy: { roundTimeout: 600 } };
  const driver = await JobDriver.submit(chain, shape, 'undelivered');
  await driver.open(0);
  await driver.commit(0, 0, 0, rootOf('r'));
  await chain.elapse(601);
  const anyone = await chain.actor(11);
  await anyone.send({ call: 'failJob', job: driver.job });
  await chain.elapse(601);
  const { node } = driver.seat(0, 0);
  const { events } = await anyone.send({
    call: 'reportUnrevealed',
    job: driver.job,
    round: 0,
    task: 0,
    slot: 0,
    node,
    proof: driver.proof(0, 0, 0),
  });
  expect(events.find(({ event }) => event === 'NodeSlashed')).toMatchObject({ node, amountWei: ether / 2n, offence: 'failedJob' });
  expect(await refusal(driver.reveal(0, 0, 0, rootOf('r')))).toMatchObject({ error: 'AlreadyRevealed' });
});
