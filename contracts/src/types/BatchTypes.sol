// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// A round settled in batches. `closesAt` is 0 before `commitBatch`, `finalizedAt` 0 before `finalizeBatch`. `unclaimedWei` is what nobody
/// has claimed yet of what the round has earned.
struct BatchRound {
    bytes32 commitmentsHash;
    bytes32 settlementRoot;
    uint64 closesAt;
    uint64 finalizedAt;
    uint32 commitments;
    uint32 redundancy;
    uint128 unclaimedWei;
}

/// What `finalizeBatch` is told. A slot's index is `task · redundancy + slot`.
struct BatchResult {
    bytes32 checkpointCid;
    uint16 accuracyBasisPoints;
    /// Per task the accepted result root, or 0.
    bytes32[] taskRoots;
    /// Per slot 20 bytes of holder and 16 bytes of salt. Salt 0: the slot has not opened the accepted root and earns nothing.
    bytes packedSlots;
    /// Commitments of the slots with salt 0, in order; 0 where there is none.
    bytes32[] closedCommitments;
    /// What the committed list has for the slots of `forcedCommits`, in that order.
    bytes32[] listedCommitments;
}

/// A slot of a settled round, and the proof that it is in the settlement tree.
struct BatchSlot {
    uint32 index;
    bytes32 node;
    bytes32 commitment;
    uint256 amountWei;
    bytes32[] proof;
}

/// What convicts a slot: how its commitment opens, who committed, and what the result should have been.
struct BatchCharge {
    bytes32 salt;
    bytes32 resultRoot;
    /// The operator's EIP-712 signature over BatchCommitment(bytes32 commitment), or empty.
    bytes signature;
    /// For the fault verifier.
    bytes evidence;
}

/// What a slot of a settled round has come to.
struct BatchReceipt {
    uint32 task;
    uint32 slot;
    address operator;
    uint256 amountWei;
    uint64 finalizedAt;
    bool claimed;
    bool voided;
    bool convicted;
}

/// A result that a node has opened on chain because the coordinator did not list it.
struct ForcedReveal {
    bytes32 commitment;
    bytes32 resultRoot;
}

/// Training proofs of a job recorded together. `packed`: the tree is over the first 20 bytes of the hashes.
struct ProofBatch {
    bytes32 root;
    bytes32 blobHash;
    uint64 round;
    uint64 recordedAt;
    uint32 count;
    bool packed;
}
