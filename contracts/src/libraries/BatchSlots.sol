// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchResult} from "../types/BatchTypes.sol";

/// From the list of a batched round's slots to everything that has to be hashed over it: assignment, commitments, settlement.
/// @dev Pure. A thousand slots go through here in one call, so each slot's fields stand in memory as they are hashed.
library BatchSlots {
    uint256 internal constant HOLDER_BYTES = 20;
    uint256 internal constant SALT_BYTES = 16;
    uint256 internal constant SLOT_BYTES = HOLDER_BYTES + SALT_BYTES;

    /// Lists with one entry per slot, and what was counted on the way.
    struct Opened {
        bytes32[] assignmentLeaves;
        bytes32[] commitments;
        bytes32[] settlementLeaves;
        /// Per task, how many slots opened the accepted root.
        uint256[] openedPerTask;
        uint256 opened;
        uint256 committed;
    }

    /// One slot as it is hashed: the first four words are its assignment leaf, the first six its commitment, the next four its settlement
    /// leaf. Behind them, where the lists are being read and written.
    struct Frame {
        bytes32 roundKey;
        uint256 task;
        uint256 slot;
        uint256 holder;
        bytes32 salt;
        bytes32 resultRoot;
        uint256 index;
        uint256 holderAgain;
        bytes32 commitment;
        uint256 earned;
        uint256 amountWei;
        uint256 position;
        uint256 closedAt;
        uint256 leafAt;
        uint256 toCommitments;
        uint256 toSettlement;
        uint256 committed;
    }

    error SlotListLength(uint256 length, uint256 expected);
    error ClosedCommitmentsLength(uint256 length, uint256 used);
    error TaskOpensNothing(uint256 task);
    error HolderTwiceInTask(uint256 task);

    /// Reads and hashes every slot. `amountWei` is what an opened slot earns.
    function open(bytes32 roundKey, uint256 redundancy, uint256 amountWei, BatchResult calldata result)
        internal
        pure
        returns (Opened memory opened)
    {
        bytes32[] calldata taskRoots = result.taskRoots;
        opened.openedPerTask = new uint256[](taskRoots.length);
        Frame memory frame = start(opened, taskRoots.length * redundancy, result);
        frame.roundKey = roundKey;
        frame.amountWei = amountWei;
        for (uint256 task = 0; task < taskRoots.length; task++) {
            bytes32 resultRoot = taskRoots[task];
            frame.task = task;
            frame.resultRoot = resultRoot;
            uint256 count = openTask(frame, redundancy);
            if (count != 0 && resultRoot == 0) revert TaskOpensNothing(task);
            opened.openedPerTask[task] = count;
            opened.opened += count;
        }
        opened.committed = frame.committed;
        uint256 closed = taskRoots.length * redundancy - opened.opened;
        if (closed != result.closedCommitments.length) revert ClosedCommitmentsLength(result.closedCommitments.length, closed);
    }

    /// Whether slot number `index` of a list that `open` has taken has a salt.
    function isOpened(bytes calldata packedSlots, uint256 index) internal pure returns (bool) {
        uint256 from = index * SLOT_BYTES + HOLDER_BYTES;
        return bytes16(packedSlots[from:from + SALT_BYTES]) != 0;
    }

    /// Leaf of the settlement tree.
    function settlementLeaf(uint256 index, address holder, bytes32 commitment, uint256 amountWei) internal pure returns (bytes32) {
        return keccak256(abi.encode(index, holder, commitment, amountWei));
    }

    /// Makes the lists, and a frame that stands before the first slot.
    function start(Opened memory opened, uint256 slots, BatchResult calldata result) private pure returns (Frame memory frame) {
        bytes calldata packedSlots = result.packedSlots;
        bytes32[] calldata closedCommitments = result.closedCommitments;
        if (packedSlots.length != slots * SLOT_BYTES) revert SlotListLength(packedSlots.length, slots * SLOT_BYTES);
        bytes32[] memory leaves = new bytes32[](slots);
        bytes32[] memory commitments = new bytes32[](slots);
        bytes32[] memory settlement = new bytes32[](slots);
        (opened.assignmentLeaves, opened.commitments, opened.settlementLeaves) = (leaves, commitments, settlement);
        uint256[5] memory places;
        // Memory-safe: writes to `places`. Differences of pointers wrap around, and so does adding them again.
        assembly ("memory-safe") {
            mstore(places, packedSlots.offset)
            mstore(add(places, 0x20), closedCommitments.offset)
            mstore(add(places, 0x40), add(leaves, 0x20))
            mstore(add(places, 0x60), sub(commitments, leaves))
            mstore(add(places, 0x80), sub(settlement, leaves))
        }
        (frame.position, frame.closedAt, frame.leafAt) = (places[0], places[1], places[2]);
        (frame.toCommitments, frame.toSettlement) = (places[3], places[4]);
    }

    /// Reads and hashes the slots of `frame.task`; how many have a salt.
    /// @dev In assembly, because a round has a thousand slots and a checked loop would cost three times as much. Memory-safe: writes to
    /// the frame, and to three lists of which it fills one word per slot; `start` has made them as long as there are slots, and
    /// `open` comes here once per task. It reads calldata at the slots, whose length was checked, and at the closed commitments, of
    /// which `open` checks afterwards that exactly those that were read are there.
    function openTask(Frame memory frame, uint256 redundancy) private pure returns (uint256 count) {
        bool twice = false;
        assembly ("memory-safe") {
            let first := mload(add(frame, 0x160))
            let end := add(first, mul(redundancy, 36))
            let leafAt := mload(add(frame, 0x1a0))
            mstore(add(frame, 0x40), 0)
            for { let position := first } lt(position, end) { position := add(position, 36) } {
                let holder := shr(96, calldataload(position))
                for { let other := first } lt(other, position) { other := add(other, 36) } {
                    if eq(shr(96, calldataload(other)), holder) { twice := 1 }
                }
                mstore(add(frame, 0x60), holder)
                mstore(leafAt, keccak256(frame, 0x80))
                // The 16 bytes behind the holder are the last 16 of the word that begins 4 bytes after it.
                let salt := shl(128, calldataload(add(position, 4)))
                let commitment
                switch salt
                case 0 {
                    let closedAt := mload(add(frame, 0x180))
                    commitment := calldataload(closedAt)
                    mstore(add(frame, 0x180), add(closedAt, 0x20))
                    mstore(add(frame, 0x120), 0)
                }
                default {
                    mstore(add(frame, 0x80), salt)
                    commitment := keccak256(frame, 0xc0)
                    mstore(add(frame, 0x120), mload(add(frame, 0x140)))
                    count := add(count, 1)
                }
                mstore(add(leafAt, mload(add(frame, 0x1c0))), commitment)
                mstore(add(frame, 0x200), add(mload(add(frame, 0x200)), iszero(iszero(commitment))))
                mstore(add(frame, 0xe0), holder)
                mstore(add(frame, 0x100), commitment)
                mstore(add(leafAt, mload(add(frame, 0x1e0))), keccak256(add(frame, 0xc0), 0x80))
                mstore(add(frame, 0xc0), add(mload(add(frame, 0xc0)), 1))
                mstore(add(frame, 0x40), add(mload(add(frame, 0x40)), 1))
                leafAt := add(leafAt, 0x20)
            }
            mstore(add(frame, 0x160), end)
            mstore(add(frame, 0x1a0), leafAt)
        }
        if (twice) revert HolderTwiceInTask(frame.task);
    }
}
