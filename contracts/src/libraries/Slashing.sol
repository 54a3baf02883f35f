// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Offence, SlashShares} from "../types/SlashTypes.sol";

/// What every offence costs (R34). This is the one table; docs/spec/16-reward.md shows it, packages/round/src/slashing.ts mirrors it.
///
/// | offence          | takes                                   | counts to the three | proven by |
/// |------------------|-----------------------------------------|---------------------|-----------|
/// | MissedHeartbeats | 10 % (one or two missed: a warning)     | no                  | the block's time |
/// | FailedJob        | the slot's share of the job's budget    | no                  | commitment without reveal in a failed job |
/// | GradientMismatch | 10 %                                    | yes                 | the fault verifier |
/// | InvalidProof     | 10 %                                    | yes                 | the fault verifier |
/// | FakeGradients    | 50 %                                    | yes                 | the fault verifier |
/// | ProvenCheating   | 100 %, deactivated for good             | yes                 | the fault verifier |
/// | the third counted| 100 %, deactivated for good             |                     | |
library Slashing {
    uint256 internal constant ALL_BASIS_POINTS = 10_000;
    /// The offence, of those that count, that takes everything.
    uint256 internal constant OFFENCES_TO_DEACTIVATE = 3;
    /// Heartbeats missed in a row that cost stake; fewer are a warning.
    uint256 internal constant HEARTBEATS_TO_SLASH = 3;

    /// Basis points of the stake; 0 for FailedJob, whose amount follows from the job.
    function basisPoints(Offence offence) internal pure returns (uint256) {
        if (offence == Offence.ProvenCheating) return ALL_BASIS_POINTS;
        if (offence == Offence.FakeGradients) return 5_000;
        if (offence == Offence.FailedJob) return 0;
        return 1_000;
    }

    /// Whether the offence is one of dishonesty, three of which take everything.
    function counts(Offence offence) internal pure returns (bool) {
        return offence != Offence.MissedHeartbeats && offence != Offence.FailedJob;
    }

    /// What an offence takes from `stake`, and whether it deactivates the node. `offences` includes this one.
    /// @param shareWei the slot's share of its job's budget; only FailedJob uses it
    function penalty(Offence offence, uint256 stake, uint256 offences, uint256 shareWei)
        internal
        pure
        returns (uint256 amountWei, bool deactivated)
    {
        deactivated = offence == Offence.ProvenCheating || (counts(offence) && offences >= OFFENCES_TO_DEACTIVATE);
        if (deactivated) return (stake, true);
        if (offence == Offence.FailedJob) return (shareWei < stake ? shareWei : stake, false);
        return (stake * basisPoints(offence) / ALL_BASIS_POINTS, false);
    }

    /// `amountWei` divided by `shares`; the insurance fund takes the challenger's part where there is nobody to give it to. What rounding
    /// leaves is burned.
    function divide(uint256 amountWei, SlashShares memory shares, bool hasChallenger)
        internal
        pure
        returns (uint256 challengerWei, uint256 insuranceWei, uint256 burnWei)
    {
        challengerWei = amountWei * shares.challenger / ALL_BASIS_POINTS;
        insuranceWei = amountWei * shares.insurance / ALL_BASIS_POINTS;
        burnWei = amountWei - challengerWei - insuranceWei;
        if (!hasChallenger) (challengerWei, insuranceWei) = (0, insuranceWei + challengerWei);
    }
}
