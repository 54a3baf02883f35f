import type { Offence } from '@muster/protocol';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { divideSlash, HEARTBEATS_TO_SLASH, OFFENCES_TO_DEACTIVATE, penaltyOf, type SlashShares, slashingTable } from '../src/slashing.ts';

const offences = Object.keys(slashingTable) as Offence[];
const offence = fc.constantFrom(...offences);
const wei = fc.oneof(fc.bigInt({ min: 0n, max: 30_000n }), fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }));
const shares: fc.Arbitrary<SlashShares> = fc
  .tuple(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 0, max: 10_000 }))
  .map(([one, two]) => ({ challenger: Math.min(one, two), insurance: Math.abs(one - two), burn: 10_000 - Math.max(one, two) }));

test('the table says what the sources say', () => {
  expect(Object.fromEntries(offences.map((name) => [name, penaltyOf(name, 100n, 1, 7n).amountWei]))).toEqual({
    missedHeartbeats: 10n,
    failedJob: 7n,
    gradientMismatch: 10n,
    invalidProof: 10n,
    fakeGradients: 50n,
    provenCheating: 100n,
  });
  expect(offences.filter((name) => slashingTable[name].counts)).toEqual([
    'gradientMismatch',
    'invalidProof',
    'fakeGradients',
    'provenCheating',
  ]);
  expect([HEARTBEATS_TO_SLASH, OFFENCES_TO_DEACTIVATE]).toEqual([3, 3]);
});

test('no offence takes more than the stake, and one that deactivates takes all of it', () => {
  fc.assert(
    fc.property(offence, wei, fc.nat(255), wei, (name, stake, count, share) => {
      const { amountWei, deactivated } = penaltyOf(name, stake, count, share);
      expect(amountWei >= 0n && amountWei <= stake).toBe(true);
      if (deactivated) expect(amountWei).toBe(stake);
      expect(deactivated).toBe(name === 'provenCheating' || (slashingTable[name].counts && count >= OFFENCES_TO_DEACTIVATE));
    }),
  );
});

test('a larger stake never loses less, and one offence more never costs less', () => {
  fc.assert(
    fc.property(offence, wei, wei, fc.nat(10), wei, (name, stake, more, count, share) => {
      const { amountWei } = penaltyOf(name, stake, count, share);
      expect(penaltyOf(name, stake + more, count, share).amountWei >= amountWei).toBe(true);
      expect(penaltyOf(name, stake, count + 1, share).amountWei >= amountWei).toBe(true);
    }),
  );
});

test('only a failed job takes by the share of the job', () => {
  fc.assert(
    fc.property(offence, wei, fc.nat(5), wei, wei, (name, stake, count, one, two) => {
      const [first, second] = [penaltyOf(name, stake, count, one), penaltyOf(name, stake, count, two)];
      if (name !== 'failedJob') expect(first).toEqual(second);
      else expect(first).toEqual({ amountWei: one < stake ? one : stake, deactivated: false });
    }),
  );
});

test('what is taken is divided to the wei, and without a challenger its part is the fund’s', () => {
  fc.assert(
    fc.property(wei, shares, (amount, divided) => {
      const [alone, together] = [divideSlash(amount, divided, false), divideSlash(amount, divided, true)];
      for (const part of [alone, together]) expect(part.challengerWei + part.insuranceWei + part.burnedWei).toBe(amount);
      expect(alone).toEqual({
        challengerWei: 0n,
        insuranceWei: together.insuranceWei + together.challengerWei,
        burnedWei: together.burnedWei,
      });
      // Rounding is at most one wei for each of the two parts that are rounded down.
      const exactBurn = amount * BigInt(divided.burn);
      expect(together.burnedWei * 10_000n >= exactBurn).toBe(true);
      expect(together.burnedWei * 10_000n < exactBurn + 20_000n).toBe(true);
    }),
  );
});
