// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Slot, SlotStatus} from "../types/ComputeTypes.sol";

/// A slot's state in one word while it matters most what it costs: status in the top byte, and below it what the status needs.
/// Reassigned: the new holder. Committed: the commitment without its last byte, which leaves 124 bits against collisions. From Revealed on:
/// reward in bits 0-127, time of the reward in bits 128-167, time of the reveal in bits 168-207.
library Slots {
    uint256 private constant STATUS_SHIFT = 248;

    struct State {
        uint256 word;
        bytes32 node;
        bytes32 resultRoot;
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

    function revealed(uint256 time) internal pure returns (uint256) {
        return with(SlotStatus.Revealed, time << 168);
    }

    function rewarded(uint256 word, uint256 time, uint128 rewardWei) internal pure returns (uint256) {
        return with(SlotStatus.Rewarded, (word & (uint256(type(uint40).max) << 168)) | time << 128 | rewardWei);
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

    /// The slot for readers.
    function show(State storage slot) internal view returns (Slot memory shown) {
        uint256 word = slot.word;
        shown.status = statusIn(word);
        shown.node = slot.node;
        shown.resultRoot = slot.resultRoot;
        if (shown.node == 0) return shown;
        shown.rewardWei = uint128(word);
        shown.rewardedAt = uint40(word >> 128);
        shown.revealedAt = uint40(word >> 168);
    }

    function with(SlotStatus status_, uint256 payload) private pure returns (uint256) {
        return uint256(uint8(status_)) << STATUS_SHIFT | payload;
    }
}
