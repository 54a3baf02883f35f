// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {JobKind, RewardModel, Settlement} from "./JobTypes.sol";

/// How a trainer moves its parameters. The definitions are those of the model specification.
enum Optimizer {
    Sgd,
    Momentum,
    Nesterov,
    Adam,
    AdamW
}

/// How a round's updates become the next model.
enum Strategy {
    FederatedAveraging
}

/// What a TRAIN_REQUEST says about how to train and how to pay, in the order it is encoded. Bounds stand in the library HyperParameters.
/// @param version 1; another layout gets another number
/// @param tasks tasks per round
/// @param redundancy nodes that execute each task
/// @param localSteps optimizer steps of one task
/// @param batchSize records per step
/// @param learningRate in 1e-9: 1_000_000 is 0.001
/// @param gpuSecondsPerTask rewards per batch: compute time of a task; otherwise 0
/// @param bonusBasisPoints rewards per accuracy gain: the part of the budget kept for the bonus; otherwise 0
/// @param targetGainBasisPoints rewards per accuracy gain: the gain that earns the bonus; otherwise 0
/// @param roundTimeout seconds without progress after which the job may be called failed
/// @param seed where all of the job's randomness begins
struct TrainingParameters {
    uint16 version;
    uint32 tasks;
    uint8 redundancy;
    uint32 localSteps;
    uint32 batchSize;
    uint64 learningRate;
    Optimizer optimizer;
    Strategy strategy;
    JobKind jobKind;
    Settlement settlement;
    RewardModel rewardModel;
    uint32 gpuSecondsPerTask;
    uint16 bonusBasisPoints;
    uint16 targetGainBasisPoints;
    uint64 roundTimeout;
    uint64 seed;
}
