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

/// How far the execution in a slot has come. `Reassigned` waits for its new holder, `Closed` takes no commitment any more. `Convicted`
/// and `Missed` are final; `Rewarded` may still become `Convicted`.
enum SlotStatus {
    Empty,
    Reassigned,
    Closed,
    Committed,
    Revealed,
    Rewarded,
    Convicted,
    Missed
}

/// One execution of a task by one node. `node` and `resultRoot` are 0 before the reveal.
struct Slot {
    SlotStatus status;
    uint64 revealedAt;
    uint64 rewardedAt;
    uint128 rewardWei;
    bool credited;
    bytes32 node;
    bytes32 resultRoot;
}

/// Where a slot is.
struct SlotPlace {
    bytes32 jobId;
    uint64 round;
    uint32 task;
    uint32 slot;
}

/// A task whose result enters the round. `score` is its contribution; `evidence` is empty, or a verdict for `resultRoot` where no
/// majority revealed it.
struct AcceptedTask {
    uint32 task;
    uint32 score;
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
    uint256 reward;
    uint64 rewardedAt;
}
