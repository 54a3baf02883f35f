// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Every hash that code off chain recomputes: `keccak256(abi.encode(...))` over static words.
library Digests {
    /// Id of `owner`'s job number `nonce` in the job manager `manager`. `digest` is the job's specCid, or the digest of its request.
    function jobId(address manager, address owner, uint256 nonce, bytes32 digest) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, manager, owner, nonce, digest));
    }

    /// Seed of a round's draw.
    function beacon(bytes32 closedBlockHash, bytes32 job, uint64 round) internal pure returns (bytes32) {
        return keccak256(abi.encode(closedBlockHash, job, round));
    }

    /// Key of a round; every digest of the round is bound to its job through it.
    function roundKey(bytes32 job, uint64 round) internal pure returns (bytes32) {
        return keccak256(abi.encode(job, round));
    }

    /// Who holds a slot: a node and the account that operates it, in 20 bytes.
    function holder(bytes32 node, address operator) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(node, operator)))));
    }

    /// Leaf of the assignment tree.
    function assignmentLeaf(bytes32 roundKey_, uint32 task, uint32 slot, address holder_) internal pure returns (bytes32) {
        return keccak256(abi.encode(roundKey_, task, slot, holder_));
    }

    /// Commitment to a result: bound to node, operator and slot, hidden by `salt`.
    function commitment(bytes32 roundKey_, uint32 task, uint32 slot, address holder_, bytes32 salt, bytes32 resultRoot)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(roundKey_, task, slot, holder_, salt, resultRoot));
    }
}
