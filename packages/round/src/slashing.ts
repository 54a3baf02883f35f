/**
 * What every offence costs (R34). Twin of `Slashing.sol`, whose table is the one that counts.
 */
import type { Offence } from '@muster/protocol';

const ALL_BASIS_POINTS = 10_000n;
/** The offence, of those that count, that takes everything. */
export const OFFENCES_TO_DEACTIVATE = 3;
/** Heartbeats missed in a row that cost stake; fewer are a warning. */
export const HEARTBEATS_TO_SLASH = 3;

/** Basis points of the stake, and whether the offence is one of dishonesty, three of which take everything. */
export const slashingTable: Readonly<Record<Offence, { readonly basisPoints: number; readonly counts: boolean }>> = {
  missedHeartbeats: { basisPoints: 1_000, counts: false },
  /** The slot's share of the job's budget instead. */
  failedJob: { basisPoints: 0, counts: false },
  gradientMismatch: { basisPoints: 1_000, counts: true },
  invalidProof: { basisPoints: 1_000, counts: true },
  fakeGradients: { basisPoints: 5_000, counts: true },
  provenCheating: { basisPoints: 10_000, counts: true },
};

/**
 * What an offence takes from `stakeWei`, and whether it deactivates the node. `offences` are those that count, this one included;
 * `shareWei` the slot's share of its job's budget, which only `failedJob` uses.
 */
export function penaltyOf(
  offence: Offence,
  stakeWei: bigint,
  offences: number,
  shareWei: bigint,
): { readonly amountWei: bigint; readonly deactivated: boolean } {
  const { basisPoints, counts } = slashingTable[offence];
  if (offence === 'provenCheating' || (counts && offences >= OFFENCES_TO_DEACTIVATE)) return { amountWei: stakeWei, deactivated: true };
  if (offence === 'failedJob') return { amountWei: shareWei < stakeWei ? shareWei : stakeWei, deactivated: false };
  return { amountWei: (stakeWei * BigInt(basisPoints)) / ALL_BASIS_POINTS, deactivated: false };
}

/** Where a slashed amount goes, basis points that add up to 10 000. */
export interface SlashShares {
  readonly challenger: number;
  readonly insurance: number;
  readonly burn: number;
}

/** `amountWei` divided by `shares`: the insurance fund has the challenger's part where there is nobody to give it to, rounding is burned. */
export function divideSlash(
  amountWei: bigint,
  shares: SlashShares,
  hasChallenger: boolean,
): { readonly challengerWei: bigint; readonly insuranceWei: bigint; readonly burnedWei: bigint } {
  const challengerWei = (amountWei * BigInt(shares.challenger)) / ALL_BASIS_POINTS;
  const insuranceWei = (amountWei * BigInt(shares.insurance)) / ALL_BASIS_POINTS;
  const burnedWei = amountWei - challengerWei - insuranceWei;
  return hasChallenger
    ? { challengerWei, insuranceWei, burnedWei }
    : { challengerWei: 0n, insuranceWei: insuranceWei + challengerWei, burnedWei };
}
