// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// The root of a whole list: the keccak tree with sorted pairs that OpenZeppelin's MerkleProof checks single leaves against. An odd node
/// at the end of a level moves up unchanged.
library MerkleRoots {
    error LeavesMissing();

    /// The root over `leaves`, in the order given; of one leaf, that leaf. Overwrites `leaves`.
    function root(bytes32[] memory leaves) internal pure returns (bytes32 result) {
        if (leaves.length == 0) revert LeavesMissing();
        // Memory-safe: reads and writes only the elements of `leaves` and the scratch space. Assembly, because a thousand leaves
        // are hashed in one call and bounds checks would cost more than the hashing. Parents overwrite leaves that were already read:
        // parent i is written after leaves 2i and 2i + 1 were.
        assembly ("memory-safe") {
            let start := add(leaves, 0x20)
            let count := mload(leaves)
            for {} gt(count, 1) {} {
                let end := add(start, shl(5, and(count, not(1))))
                let to := start
                for { let from := start } lt(from, end) { from := add(from, 0x40) } {
                    let left := mload(from)
                    let right := mload(add(from, 0x20))
                    // The smaller one to 0x00, the other one to 0x20.
                    let place := shl(5, gt(left, right))
                    mstore(place, left)
                    mstore(xor(place, 0x20), right)
                    mstore(to, keccak256(0x00, 0x40))
                    to := add(to, 0x20)
                }
                if and(count, 1) { mstore(to, mload(end)) }
                count := shr(1, add(count, 1))
            }
            result := mload(start)
        }
    }
}
