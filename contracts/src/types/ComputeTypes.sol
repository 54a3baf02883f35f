// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// A node's statement about its training; `signature` is Ed25519 by `nodePubkey`, 64 bytes, checked off chain.
struct TrainProof {
    bytes32 jobId;
    uint256 step;
    bytes32 lossDigest;
    bytes32 gradientDigest;
    bytes32 weightsDigest;
    uint64 timestamp;
    bytes32 nodePubkey;
    bytes signature;
}

/// How far the execution in a slot has come. `Convicted` is final; `Rewarded` may still become `Convicted`.
enum SlotStatus {
    Empty,
    Committed,
    Revealed,
    Rewarded,
    Convicted
}

/// One execution of a task by one node.
struct Slot {
    SlotStatus status;
    uint64 committedAt;
    uint64 revealedAt;
    uint64 rewardedAt;
    bytes32 node;
    bytes32 commitment;
    bytes32 resultRoot;
    bytes32 proofHash;
}

/// A task of a round. `verdictRoot` is the root a proven verdict has named, or 0.
struct Task {
    uint32 commits;
    bool closed;
    bytes32 verdictRoot;
    mapping(uint32 slot => Slot) slots;
}

/// A task whose result enters the round. `evidence` is empty, or a verdict for `resultRoot` where no majority revealed it.
struct AcceptedTask {
    uint32 task;
    bytes32 resultRoot;
    bytes evidence;
}

/// What a paid slot was paid for.
struct ComputeReceipt {
    bytes32 jobId;
    uint64 round;
    uint32 task;
    uint32 slot;
    bytes32 node;
    address operator;
    bytes32 resultRoot;
    bytes32 proofHash;
    uint256 reward;
    uint64 rewardedAt;
}
