// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Every hash that code off chain recomputes: `keccak256(abi.encode(...))` over static words.
library Digests {
    /// Id of `owner`'s job number `nonce` in the job manager `manager`.
    function jobId(address manager, address owner, uint256 nonce, bytes32 specCid) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, manager, owner, nonce, specCid));
    }

    /// Seed of a round's draw.
    function beacon(bytes32 closedBlockHash, bytes32 job, uint64 round) internal pure returns (bytes32) {
        return keccak256(abi.encode(closedBlockHash, job, round));
    }

    /// Leaf of the assignment tree.
    function assignmentLeaf(bytes32 job, uint64 round, uint32 task, uint32 slot, bytes32 node) internal pure returns (bytes32) {
        return keccak256(abi.encode(job, round, task, slot, node));
    }

    /// Commitment to a result: bound to node and slot, hidden by `salt`.
    function commitment(bytes32 job, uint64 round, uint32 task, uint32 slot, bytes32 node, bytes32 salt, bytes32 resultRoot)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(job, round, task, slot, node, salt, resultRoot));
    }
}
