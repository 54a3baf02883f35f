// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

// What a job manager that takes requests knows of a job. To be replaced by JobTypes.sol and IAIJobManager.sol once these say it.

enum JobKind {
    Federated,
    DataParallel,
    SingleNode
}

enum Settlement {
    Direct,
    Batched
}

enum RewardModel {
    PerRound,
    PerBatch,
    PerGradientUpdate,
    PerAccuracyGain
}

struct RewardTerms {
    RewardModel model;
    uint32 scoreTotal;
    uint32 gpuSecondsPerTask;
    uint32 batchSize;
    uint32 stepsPerTask;
    uint16 bonusBasisPoints;
    uint16 targetGainBasisPoints;
}

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
    uint64 roundTimeout;
    RewardTerms reward;
}

interface IRequestDesk {
    function submitRequest(address owner, JobTerms calldata terms, bytes32 requestDigest) external payable returns (bytes32 jobId);
    function jobCount(address owner) external view returns (uint256);
    function cancelJob(bytes32 jobId) external;
    function withdraw() external;
    function credits(address account) external view returns (uint256);
}
