// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Reputation} from "../src/libraries/Reputation.sol";
import {Rewards} from "../src/libraries/Rewards.sol";
import {Slashing} from "../src/libraries/Slashing.sol";
import {Offence, SlashShares} from "../src/types/SlashTypes.sol";

/// What `node contracts/prove.ts` has a solver prove of the pure libraries: the assertions here, and that nothing overflows, underflows
/// or is divided by zero on the way. Never deployed. What stands in `require` is what callers guarantee.
contract Arithmetic {
    function aPenaltyIsAtMostTheStake(Offence offence, uint128 stake, uint8 offences, uint256 shareWei) external pure {
        (uint256 amountWei, bool deactivated) = Slashing.penalty(offence, stake, offences, shareWei);
        assert(amountWei <= stake);
        assert(!deactivated || amountWei == stake);
    }

    function theSharesOfASlashAddUp(uint128 amountWei, uint16 challenger, uint16 insurance, uint16 burn, bool hasChallenger)
        external
        pure
    {
        require(uint256(challenger) + insurance + burn == 10_000);
        SlashShares memory shares = SlashShares(challenger, insurance, burn);
        (uint256 challengerWei, uint256 insuranceWei, uint256 burnWei) = Slashing.divide(amountWei, shares, hasChallenger);
        assert(challengerWei + insuranceWei + burnWei == amountWei);
        assert(hasChallenger || challengerWei == 0);
    }

    function largeBatchesEarnAQuarterMoreAtMost(uint32 batchSize) external pure {
        uint256 multiplier = Rewards.batchMultiplier(batchSize);
        assert(multiplier >= 10_000 && multiplier <= 12_500);
    }

    function aWeightIsAtMostTheStake(uint128 stakeWei, uint32 score) external pure {
        require(score <= 1_000_000);
        assert(Reputation.weight(stakeWei, score) <= stakeWei);
    }
}
