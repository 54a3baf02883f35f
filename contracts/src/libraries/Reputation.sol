// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Counters, Metrics, Outcome} from "../types/ReputationTypes.sol";

/// Counters of a node in one storage word, the seven metrics, and the score. Twin of packages/round/src/reputation.ts.
///
/// Ratios are smoothed: `accepted × 10 000 ÷ (total + SMOOTHING)`, rounded down to a basis point. The penalty is a rate too: offences in
/// basis points, in full at OFFENCE_TASKS accepted tasks, more below, less above, rounded up. The score is one product of whole numbers
/// and one floor.
///
/// Splitting. Call a split of a node with stake s and work a into parts with stakes sᵢ and work aᵢ *fair* if every part carries at least
/// its proportional share of each kind of failure (failuresᵢ ≥ failures · aᵢ ÷ a), is no longer without an offence, was not active later,
/// and has no more bandwidth and lineage. Then Σ weight(sᵢ, i) ≤ weight(s):
/// - a ratio is at most aᵢ ÷ (aᵢ(1 + failures ÷ a) + SMOOTHING), which grows with aᵢ, and aᵢ ≤ a;
/// - offences ÷ work of a part is at least that of the whole, and so is the penalty;
/// - a part without work scores 0, and all other terms are no better by assumption; every floor and ceiling keeps the order, so no
///   part scores above the whole;
/// - Σ sᵢ · scoreᵢ ≤ s · score, and the floor of each weight only takes away.
/// A penalty per offence that does not look at the work would break this: ten parts with one offence each would lose less than one node
/// with ten. So would a newcomer's bonus in the ratios, and a metric that rejected work raises.
///
/// What a registry alone cannot prevent: that all failures are dumped on one part, which is left with a low score while the others look
/// better than the whole. That part pays with its stake (see Slashing), and a new identity starts at the bottom with a new stake.
/// The premise also leaves out counters that have reached their largest value.
library Reputation {
    /// Tasks that an identity must have behind it before half of a perfect ratio counts.
    uint256 internal constant SMOOTHING = 20;
    /// Accepted tasks over which an offence weighs exactly its basis points.
    uint256 internal constant OFFENCE_TASKS = 100;
    uint256 internal constant VIOLATION_BASIS_POINTS = 500;
    uint256 internal constant SLASH_BASIS_POINTS = 1_500;
    uint256 internal constant LINEAGE_BASIS_POINTS = 100;
    uint256 internal constant SLASH_FREE_BASIS_POINTS_PER_DAY = 100;
    /// Idle days that cost nothing, and what each further one takes from the score.
    uint256 internal constant GRACE_DAYS = 7;
    uint256 internal constant DECAY_BASIS_POINTS_PER_DAY = 100;
    uint256 internal constant MAX_SCORE = 1_000_000;
    /// What a lower score counts as in a weight.
    uint256 internal constant ENTRY_SCORE = 10_000;

    uint256 private constant ALL_BASIS_POINTS = 10_000;
    // Percent; together 100, so that the weighted sum of basis points runs to 1 000 000.
    uint256 private constant UPTIME_WEIGHT = 30;
    uint256 private constant PROOF_WEIGHT = 25;
    uint256 private constant BANDWIDTH_WEIGHT = 15;
    uint256 private constant LINEAGE_WEIGHT = 10;
    uint256 private constant SLASH_FREE_WEIGHT = 10;
    uint256 private constant COMPLETION_WEIGHT = 10;

    // Lowest bit of each counter in the word, then widths.
    uint256 private constant ACCEPTED = 0;
    uint256 private constant REJECTED = 40;
    uint256 private constant MISSED = 72;
    uint256 private constant HEARTBEATS_MISSED = 104;
    uint256 private constant VIOLATIONS = 128;
    uint256 private constant SLASHES = 144;
    uint256 private constant BANDWIDTH = 160;
    uint256 private constant LINEAGE = 176;
    uint256 private constant LAST_ACTIVE = 192;
    uint256 private constant CLEAN_SINCE = 216;
    uint256 private constant MASK_16 = 0xffff;
    uint256 private constant MASK_24 = 0xffffff;
    uint256 private constant MASK_32 = 0xffffffff;
    uint256 private constant MASK_40 = 0xffffffffff;

    /// The word after `count` times `outcome` on `day`.
    function counted(uint256 word, Outcome outcome, uint32 count, uint256 day) internal pure returns (uint256) {
        if (count == 0) return word;
        if (outcome == Outcome.TaskAccepted) {
            word = raised(word, ACCEPTED, MASK_40, count);
            if (get(word, CLEAN_SINCE, MASK_24) == 0) word = put(word, CLEAN_SINCE, MASK_24, day);
            return put(word, LAST_ACTIVE, MASK_24, day);
        }
        if (outcome == Outcome.TaskRejected) return raised(word, REJECTED, MASK_32, count);
        if (outcome == Outcome.TaskMissed) return raised(word, MISSED, MASK_32, count);
        if (outcome == Outcome.HeartbeatMissed) return raised(word, HEARTBEATS_MISSED, MASK_24, count);
        if (outcome == Outcome.LineageContribution) return raised(word, LINEAGE, MASK_16, count);
        word = raised(word, outcome == Outcome.Violation ? VIOLATIONS : SLASHES, MASK_16, count);
        return put(word, CLEAN_SINCE, MASK_24, day);
    }

    /// The word with its bandwidth replaced; more than 10 000 counts as 10 000.
    function withBandwidth(uint256 word, uint16 basisPoints) internal pure returns (uint256) {
        return put(word, BANDWIDTH, MASK_16, basisPoints > ALL_BASIS_POINTS ? ALL_BASIS_POINTS : basisPoints);
    }

    function unpack(uint256 word) internal pure returns (Counters memory) {
        return Counters({
            accepted: uint40(word >> ACCEPTED),
            rejected: uint32(word >> REJECTED),
            missed: uint32(word >> MISSED),
            heartbeatsMissed: uint24(word >> HEARTBEATS_MISSED),
            violations: uint16(word >> VIOLATIONS),
            slashes: uint16(word >> SLASHES),
            bandwidth: uint16(word >> BANDWIDTH),
            lineage: uint16(word >> LINEAGE),
            lastActive: uint24(word >> LAST_ACTIVE),
            cleanSince: uint24(word >> CLEAN_SINCE)
        });
    }

    /// The seven metrics on `day`, which is not before any day in the counters.
    function metrics(Counters memory node, uint256 day) internal pure returns (Metrics memory) {
        uint256 accepted = node.accepted;
        uint256 delivered = accepted + node.rejected;
        return Metrics({
            uptime: smoothed(accepted, delivered + node.missed + node.heartbeatsMissed),
            penalty: penalty(node),
            proofSuccess: smoothed(accepted, delivered),
            bandwidth: node.bandwidth,
            lineage: capped(uint256(node.lineage) * LINEAGE_BASIS_POINTS),
            slashFree: node.cleanSince == 0 ? 0 : capped((day - node.cleanSince) * SLASH_FREE_BASIS_POINTS_PER_DAY),
            completion: smoothed(accepted, accepted + node.missed)
        });
    }

    /// The score on `day`, decay included: 0 to MAX_SCORE, and 0 without an accepted task.
    function score(Counters memory node, uint256 day) internal pure returns (uint32) {
        if (node.accepted == 0) return 0;
        Metrics memory metric = metrics(node, day);
        uint256 sum = UPTIME_WEIGHT * metric.uptime + PROOF_WEIGHT * metric.proofSuccess + BANDWIDTH_WEIGHT * metric.bandwidth
            + LINEAGE_WEIGHT * metric.lineage + SLASH_FREE_WEIGHT * metric.slashFree + COMPLETION_WEIGHT * metric.completion;
        uint256 kept = (ALL_BASIS_POINTS - metric.penalty) * (ALL_BASIS_POINTS - decay(node.lastActive, day));
        // The sum is at most MAX_SCORE and `kept` at most the divisor, so this fits and needs no cap of its own.
        return uint32(sum * kept / (ALL_BASIS_POINTS * ALL_BASIS_POINTS));
    }

    /// What a stake weighs in assignment at a score, rounded down.
    function weight(uint256 stakeWei, uint256 score_) internal pure returns (uint256) {
        return stakeWei * (score_ < ENTRY_SCORE ? ENTRY_SCORE : score_) / MAX_SCORE;
    }

    function penalty(Counters memory node) private pure returns (uint16) {
        uint256 offences = node.violations * VIOLATION_BASIS_POINTS + node.slashes * SLASH_BASIS_POINTS;
        if (offences == 0) return 0;
        if (node.accepted == 0) return uint16(ALL_BASIS_POINTS);
        return capped((offences * OFFENCE_TASKS + node.accepted - 1) / node.accepted);
    }

    function decay(uint256 lastActive, uint256 day) private pure returns (uint256) {
        uint256 idle = day - lastActive;
        return idle <= GRACE_DAYS ? 0 : capped((idle - GRACE_DAYS) * DECAY_BASIS_POINTS_PER_DAY);
    }

    function smoothed(uint256 accepted, uint256 total) private pure returns (uint16) {
        // Below 10 000, since `accepted` is at most `total`.
        return uint16(accepted * ALL_BASIS_POINTS / (total + SMOOTHING));
    }

    function capped(uint256 basisPoints) private pure returns (uint16) {
        return uint16(basisPoints > ALL_BASIS_POINTS ? ALL_BASIS_POINTS : basisPoints);
    }

    function raised(uint256 word, uint256 shift, uint256 mask, uint256 count) private pure returns (uint256) {
        uint256 sum = get(word, shift, mask) + count;
        return put(word, shift, mask, sum > mask ? mask : sum);
    }

    function get(uint256 word, uint256 shift, uint256 mask) private pure returns (uint256) {
        return (word >> shift) & mask;
    }

    /// `value` must not exceed `mask`; a day does so in the year 47 900.
    function put(uint256 word, uint256 shift, uint256 mask, uint256 value) private pure returns (uint256) {
        return (word & ~(mask << shift)) | (value << shift);
    }
}
