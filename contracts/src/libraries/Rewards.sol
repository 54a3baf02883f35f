// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Job} from "../types/JobTypes.sol";

/// What work is worth.
library Rewards {
    /// Wei for one slot: the budget shared evenly over every slot of every round, rounded down; the remainder goes back to the owner.
    function perSlot(Job memory job) internal pure returns (uint128) {
        // The quotient is at most `budget`, which is a uint128; three factors of 64, 32 and 32 bits cannot overflow 256.
        return uint128(uint256(job.budget) / (uint256(job.rounds) * job.tasks * job.redundancy));
    }
}
