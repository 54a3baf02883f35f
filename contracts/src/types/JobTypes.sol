// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// `None` is a job that does not exist.
enum JobStatus {
    None,
    Running,
    Paused,
    Completed,
    Cancelled,
    Failed
}

/// How a job spreads its work: over data that stays with its owners, over shards of one dataset, or one node alone.
enum JobKind {
    Federated,
    DataParallel,
    SingleNode
}

/// Which contract settles a job's rounds: every node by its own transactions, or the coordinator for all of them at once.
enum Settlement {
    Direct,
    Batched
}

/// What a job pays for (R38). The formulas stand in the library Rewards.
enum RewardModel {
    PerRound,
    PerBatch,
    PerGradientUpdate,
    PerAccuracyGain
}

/// Terms of payment. What a model does not use is 0, except `scoreTotal`, which is at least 1.
struct RewardTerms {
    RewardModel model;
    /// Contribution scores of all tasks of a round together.
    uint32 scoreTotal;
    /// PerBatch: compute time of one task, estimated by the planner.
    uint32 gpuSecondsPerTask;
    /// PerBatch: records in a batch.
    uint32 batchSize;
    /// PerGradientUpdate: training steps of one task.
    uint32 stepsPerTask;
    /// PerAccuracyGain: the part of the budget that is kept for the bonus, basis points.
    uint16 bonusBasisPoints;
    /// PerAccuracyGain: how much a round must gain over the best before it for the bonus, basis points of accuracy.
    uint16 targetGainBasisPoints;
}

/// A training job and its escrow. `budget - paid` is held for it while it is running or paused; after it was cancelled or has failed,
/// `reserve` is what finished work of the open round can still be paid from.
struct Job {
    address owner;
    JobStatus status;
    JobKind kind;
    Settlement settlement;
    uint32 redundancy;
    uint32 minParticipants;
    address coordinator;
    uint32 tasks;
    uint40 submittedAt;
    address validator;
    uint64 rounds;
    uint64 nextRound;
    uint64 roundTimeout;
    uint40 progressAt;
    uint40 endedAt;
    uint16 bestAccuracy;
    uint128 budget;
    uint128 paid;
    uint128 sponsored;
    uint128 reserve;
    bytes32 specCid;
    bytes32 modelId;
    RewardTerms reward;
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
    JobKind kind;
    Settlement settlement;
    uint32 minParticipants;
    /// Seconds without progress after which anyone may call the job failed, and for which finished work can be settled after its end.
    uint64 roundTimeout;
    RewardTerms reward;
}

/// A round's node set and assignment. `closedBlock` is 0 before `closeNodes`; `assigned` is false before `assign`.
struct Round {
    uint64 closedBlock;
    uint32 nodeCount;
    uint64 commitDeadline;
    bool assigned;
    bytes32 beacon;
    bytes32 assignmentRoot;
}
