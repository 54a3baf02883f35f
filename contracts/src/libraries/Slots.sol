// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Slot, SlotStatus} from "../types/ComputeTypes.sol";

/// A slot's state in one word while it matters most what it costs: status in the top byte, and below it what the status needs.
/// Reassigned: the new holder. Committed: the commitment without its last byte, which leaves 124 bits against collisions. Revealed: the
/// operator in bits 0-159, time of the reveal in bits 160-199. Rewarded and Convicted: reward in bits 0-127, time of the reward in bits
/// 128-167, time of the reveal in bits 168-207, whether the node has been credited in bit 208. From Revealed on: which of the task's result
/// roots in bits 240-247.
library Slots {
    uint256 private constant STATUS_SHIFT = 248;
    uint256 private constant CREDITED = 1 << 208;
    uint256 private constant ROOT_SHIFT = 240;
    uint256 private constant ROOT_BITS = uint256(type(uint8).max) << ROOT_SHIFT;

    struct State {
        uint256 word;
        bytes32 node;
    }

    function status(State storage slot) internal view returns (SlotStatus) {
        return SlotStatus(slot.word >> STATUS_SHIFT);
    }

    /// The word of a slot that waits for `holder`.
    function reassigned(address holder) internal pure returns (uint256) {
        return with(SlotStatus.Reassigned, uint160(holder));
    }

    function closed() internal pure returns (uint256) {
        return with(SlotStatus.Closed, 0);
    }

    function committed(bytes32 commitment) internal pure returns (uint256) {
        return with(SlotStatus.Committed, uint256(commitment) >> 8);
    }

    /// @param root which of the task's result roots
    function revealed(uint256 time, address operator, uint8 root) internal pure returns (uint256) {
        return with(SlotStatus.Revealed, uint256(root) << ROOT_SHIFT | time << 160 | uint160(operator));
    }

    /// Which of the task's result roots, from Revealed on.
    function rootIn(uint256 word) internal pure returns (uint8) {
        return uint8(word >> ROOT_SHIFT);
    }

    /// Of a Revealed word.
    function operatorIn(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    /// The word after a reward; `word` is Revealed.
    function rewarded(uint256 word, uint256 time, uint128 rewardWei) internal pure returns (uint256) {
        return with(SlotStatus.Rewarded, (word & ROOT_BITS) | uint256(uint40(word >> 160)) << 168 | time << 128 | rewardWei);
    }

    /// The word after a conviction; `word` is Revealed or Rewarded.
    function convicted(uint256 word) internal pure returns (uint256) {
        return statusIn(word) == SlotStatus.Rewarded
            ? changed(word, SlotStatus.Convicted)
            : with(SlotStatus.Convicted, (word & ROOT_BITS) | uint256(uint40(word >> 160)) << 168);
    }

    /// Of a Rewarded word.
    function isCredited(uint256 word) internal pure returns (bool) {
        return word & CREDITED != 0;
    }

    /// The Rewarded word of a node that has been credited.
    function credited(uint256 word) internal pure returns (uint256) {
        return word | CREDITED;
    }

    /// The same payload under another status.
    function changed(uint256 word, SlotStatus status_) internal pure returns (uint256) {
        return with(status_, word & ((1 << STATUS_SHIFT) - 1));
    }

    function rewardOf(State storage slot) internal view returns (uint128) {
        return uint128(slot.word);
    }

    /// The holder in a Reassigned word.
    function holderIn(uint256 word) internal pure returns (address) {
        return address(uint160(word));
    }

    function statusIn(uint256 word) internal pure returns (SlotStatus) {
        return SlotStatus(word >> STATUS_SHIFT);
    }

    /// When a Revealed, Rewarded or Convicted slot was revealed.
    function revealedAtIn(uint256 word) internal pure returns (uint256) {
        return uint40(statusIn(word) == SlotStatus.Revealed ? word >> 160 : word >> 168);
    }

    /// The slot for readers, without its result root.
    function show(State storage slot) internal view returns (Slot memory shown) {
        uint256 word = slot.word;
        shown.status = statusIn(word);
        shown.node = slot.node;
        if (shown.node == 0) return shown;
        shown.revealedAt = uint64(revealedAtIn(word));
        if (shown.status == SlotStatus.Revealed) return shown;
        shown.rewardWei = uint128(word);
        shown.rewardedAt = uint40(word >> 128);
        shown.credited = isCredited(word);
    }

    function with(SlotStatus status_, uint256 payload) private pure returns (uint256) {
        return uint256(uint8(status_)) << STATUS_SHIFT | payload;
    }
}
