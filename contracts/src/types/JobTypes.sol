// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// `None` is a job that does not exist.
enum JobStatus {
    None,
    Running,
    Paused,
    Completed,
    Cancelled
}

/// A training job and its escrow. `budget - paid` is held for it while it is running or paused.
struct Job {
    address owner;
    uint64 submittedAt;
    uint32 redundancy;
    address coordinator;
    uint64 rounds;
    uint32 tasks;
    address validator;
    uint64 nextRound;
    JobStatus status;
    bytes32 specCid;
    bytes32 modelId;
    uint128 budget;
    uint128 paid;
}

/// What `submitJob` is told. Content ids are SHA-256 digests.
struct JobTerms {
    bytes32 specCid;
    bytes32 modelId;
    uint64 rounds;
    uint32 tasks;
    uint32 redundancy;
    address coordinator;
    address validator;
}

/// A round's node set and assignment. `closedBlock` is 0 before `closeNodes`; `assigned` is false before `assign`.
struct Round {
    uint64 closedBlock;
    uint32 nodeCount;
    uint64 commitDeadline;
    bool assigned;
    bytes32 nodeSetRoot;
    bytes32 beacon;
    bytes32 assignmentRoot;
    bytes32 assignmentCid;
}
