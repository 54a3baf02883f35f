// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Job, RewardModel} from "../types/JobTypes.sol";

/// What work is worth (R38). Everything is multiplied before it is divided, once, rounded down; what rounding leaves goes back to the
/// job's owner. Twin: packages/round/src/reward.ts.
///
/// Per slot, with R = rounds, N = tasks, r = redundancy, S = scoreTotal, s = the task's score:
/// - PerRound:          budget · s ÷ (R · S · r)
/// - PerBatch:          gpuSeconds · 0.001 ether · multiplier(batchSize) ÷ (10 000 · r), at most the slot's even share of the budget
/// - PerGradientUpdate: budget · s ÷ (R · S · r), where s is steps · quality and S the same of all tasks at full quality
/// - PerAccuracyGain:   as PerRound on the budget without the bonus part; and where a round gains `target` or more over the best
///                      accuracy before it, base · gain ÷ target on top, at most the slot's part of the bonus
library Rewards {
    uint256 internal constant ALL_BASIS_POINTS = 10_000;
    /// 0.001 of the coin for a GPU-second.
    uint256 internal constant WEI_PER_GPU_SECOND = 1e15;
    /// Doubling the batch beyond this many records earns 5 % more, five times at most.
    uint256 internal constant PLAIN_BATCH = 32;
    uint256 internal constant BONUS_PER_DOUBLING = 500;
    uint256 internal constant MOST_DOUBLINGS = 5;

    /// Wei for one slot of a task with contribution `score`, without the accuracy bonus.
    function slotReward(Job memory job, uint256 score) internal pure returns (uint128) {
        if (job.reward.model == RewardModel.PerBatch) return perBatch(job);
        uint256 share = uint256(job.budget) * score;
        uint256 parts = uint256(job.rounds) * job.reward.scoreTotal * job.redundancy;
        if (job.reward.model == RewardModel.PerAccuracyGain) {
            share *= ALL_BASIS_POINTS - job.reward.bonusBasisPoints;
            parts *= ALL_BASIS_POINTS;
        }
        // At most the budget, because `score` is at most `scoreTotal`: fits 128 bits. Products stay below 2^128 · 2^32 · 2^14.
        return uint128(share / parts);
    }

    /// Wei on top of a slot's `base` in a round that ended at `accuracy` (basis points).
    function accuracyBonus(Job memory job, uint256 base, uint256 score, uint256 accuracy) internal pure returns (uint128) {
        if (job.reward.model != RewardModel.PerAccuracyGain || accuracy <= job.bestAccuracy) return 0;
        uint256 gain = accuracy - job.bestAccuracy;
        uint256 target = job.reward.targetGainBasisPoints;
        if (gain < target) return 0;
        uint256 most = uint256(job.budget) * job.reward.bonusBasisPoints * score
            / (ALL_BASIS_POINTS * job.rounds * job.reward.scoreTotal * job.redundancy);
        uint256 bonus = base * gain / target;
        return uint128(bonus < most ? bonus : most);
    }

    /// An even share of the budget for one slot: what settling an ended job pays.
    function evenShare(Job memory job) internal pure returns (uint128) {
        return uint128(uint256(job.budget) / (uint256(job.rounds) * job.tasks * job.redundancy));
    }

    /// What one slot's work puts at stake: an even share of the budget, rounded up.
    function exposure(Job memory job) internal pure returns (uint128) {
        uint256 slots = uint256(job.rounds) * job.tasks * job.redundancy;
        return uint128((uint256(job.budget) + slots - 1) / slots);
    }

    /// The most that one round can pay, rounded up.
    function roundBudget(Job memory job) internal pure returns (uint128) {
        return uint128((uint256(job.budget) + job.rounds - 1) / job.rounds);
    }

    /// Wei for one slot by compute time.
    function perBatch(Job memory job) private pure returns (uint128) {
        uint256 earned = uint256(job.reward.gpuSecondsPerTask) * WEI_PER_GPU_SECOND * batchMultiplier(job.reward.batchSize)
            / (ALL_BASIS_POINTS * job.redundancy);
        uint256 most = evenShare(job);
        return uint128(earned < most ? earned : most);
    }

    /// Basis points: 10 000 up to `PLAIN_BATCH` records, 500 more for every doubling, 12 500 at most.
    function batchMultiplier(uint256 batchSize) internal pure returns (uint256) {
        uint256 doublings = 0;
        while (doublings < MOST_DOUBLINGS && batchSize >= PLAIN_BATCH << (doublings + 1)) doublings++;
        return ALL_BASIS_POINTS + doublings * BONUS_PER_DOUBLING;
    }
}
