// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Digests} from "../../src/libraries/Digests.sol";
import {Rewards} from "../../src/libraries/Rewards.sol";
import {Slots} from "../../src/libraries/Slots.sol";
import {Slot, SlotStatus} from "../../src/types/ComputeTypes.sol";
import {Job, RewardTerms} from "../../src/types/JobTypes.sol";

/// A job, and a task of it, to work rewards out for.
struct RewardCase {
    uint128 budget;
    uint64 rounds;
    uint32 tasks;
    uint32 redundancy;
    uint16 bestAccuracy;
    uint16 accuracy;
    uint32 score;
    RewardTerms terms;
}

/// What the library says of a case.
struct RewardResult {
    uint128 base;
    uint128 bonus;
    uint128 evenShare;
    uint128 exposure;
    uint128 roundBudget;
    uint256 multiplier;
}

/// A place, and what is hashed for it.
struct DigestCase {
    bytes32 job;
    uint64 round;
    uint32 task;
    uint32 slot;
    bytes32 node;
    address operator;
    bytes32 salt;
    bytes32 resultRoot;
}

struct DigestResult {
    bytes32 roundKey;
    address holder;
    bytes32 leaf;
    bytes32 commitment;
}

/// A slot's life, as far as its word tells.
struct SlotCase {
    address holder;
    bytes32 commitment;
    uint40 revealedAt;
    uint40 rewardedAt;
    uint128 reward;
    bytes32 node;
    uint8 root;
}

struct SlotResult {
    SlotStatus[6] statuses;
    address holder;
    uint256 committedWord;
    Slot revealed;
    Slot rewarded;
    Slot credited;
    Slot convicted;
    Slot convictedUnpaid;
    Slot missed;
    uint128 rewardOf;
    address operator;
    uint8[5] roots;
}

/// The libraries of settlement on many cases in one call.
contract SettlementProbe {
    using Slots for Slots.State;

    Slots.State private state;

    function rewards(RewardCase[] calldata cases) external pure returns (RewardResult[] memory results) {
        results = new RewardResult[](cases.length);
        for (uint256 index = 0; index < cases.length; index++) {
            RewardCase calldata given = cases[index];
            Job memory job;
            job.budget = given.budget;
            job.rounds = given.rounds;
            job.tasks = given.tasks;
            job.redundancy = given.redundancy;
            job.bestAccuracy = given.bestAccuracy;
            job.reward = given.terms;
            uint128 base = Rewards.slotReward(job, given.score);
            results[index] = RewardResult({
                base: base,
                bonus: Rewards.accuracyBonus(job, base, given.score, given.accuracy),
                evenShare: Rewards.evenShare(job),
                exposure: Rewards.exposure(job),
                roundBudget: Rewards.roundBudget(job),
                multiplier: Rewards.batchMultiplier(given.terms.batchSize)
            });
        }
    }

    function digests(DigestCase[] calldata cases) external pure returns (DigestResult[] memory results) {
        results = new DigestResult[](cases.length);
        for (uint256 index = 0; index < cases.length; index++) {
            DigestCase calldata given = cases[index];
            bytes32 key = Digests.roundKey(given.job, given.round);
            address holder = Digests.holder(given.node, given.operator);
            results[index] = DigestResult({
                roundKey: key,
                holder: holder,
                leaf: Digests.assignmentLeaf(key, given.task, given.slot, holder),
                commitment: Digests.commitment(key, given.task, given.slot, holder, given.salt, given.resultRoot)
            });
        }
    }

    function seeds(bytes32 blockHash, bytes32 job, uint64 round, address manager, address owner, uint256 nonce)
        external
        view
        returns (bytes32 beacon, bytes32 jobId)
    {
        return (Digests.beacon(blockHash, job, round), Digests.jobId(manager, owner, nonce, job));
    }

    /// Leads a slot through its life; what is stored of it is the same again afterwards.
    function slots(SlotCase[] calldata cases) external returns (SlotResult[] memory results) {
        results = new SlotResult[](cases.length);
        for (uint256 index = 0; index < cases.length; index++) results[index] = lifeOf(cases[index]);
    }

    function lifeOf(SlotCase calldata given) private returns (SlotResult memory result) {
        delete state;
        result.statuses[0] = state.status();
        state.word = Slots.reassigned(given.holder);
        result.statuses[1] = state.show().status;
        result.holder = Slots.holderIn(state.word);
        state.word = Slots.closed();
        result.statuses[2] = Slots.statusIn(state.word);
        state.word = Slots.committed(given.commitment);
        result.statuses[3] = state.status();
        result.committedWord = state.word;
        state.word = Slots.changed(state.word, SlotStatus.Missed);
        result.missed = state.show();
        result.statuses[4] = state.status();
        state.word = Slots.revealed(given.revealedAt, given.holder, given.root);
        state.node = given.node;
        result.revealed = state.show();
        result.operator = Slots.operatorIn(state.word);
        uint256 revealedWord = state.word;
        result.roots[0] = Slots.rootIn(revealedWord);
        state.word = Slots.convicted(revealedWord);
        result.convictedUnpaid = state.show();
        result.roots[1] = Slots.rootIn(state.word);
        state.word = Slots.rewarded(revealedWord, given.rewardedAt, given.reward);
        result.rewarded = state.show();
        result.roots[2] = Slots.rootIn(state.word);
        state.word = Slots.credited(state.word);
        result.credited = state.show();
        result.rewardOf = state.rewardOf();
        result.roots[3] = Slots.rootIn(state.word);
        state.word = Slots.convicted(state.word);
        result.convicted = state.show();
        result.roots[4] = Slots.rootIn(state.word);
        result.statuses[5] = state.status();
    }
}
