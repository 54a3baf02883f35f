// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {JobKind, RewardModel, RewardTerms, Settlement} from "../types/JobTypes.sol";
import {Optimizer, Strategy, TrainingParameters} from "../types/RequestTypes.sol";

/// Decodes the hyper-parameters of a TRAIN_REQUEST: `abi.encode(TrainingParameters)`, and nothing that only looks like it. Every set of
/// parameters has exactly one encoding, so its hash names it. Twin: packages/protocol/src/hyper-parameters.ts.
library HyperParameters {
    uint16 internal constant VERSION = 1;
    /// So that `SCORE_PER_TASK` for each still fits 32 bits.
    uint32 internal constant MAX_TASKS = 400_000;
    uint8 internal constant MAX_REDUNDANCY = 64;
    /// 10, in 1e-9.
    uint64 internal constant MAX_LEARNING_RATE = 10e9;
    uint64 internal constant MIN_ROUND_TIMEOUT = 60;
    uint64 internal constant MAX_ROUND_TIMEOUT = 30 days;
    uint16 internal constant ALL_BASIS_POINTS = 10_000;
    uint32 internal constant SCORE_PER_TASK = 10_000;

    /// 16 words.
    uint256 private constant ENCODED_BYTES = 512;

    error HyperParametersLengthInvalid(uint256 length, uint256 expected);
    error HyperParameterInvalid(string field, uint256 value, uint256 minimum, uint256 maximum);

    /// Reverts HyperParametersLengthInvalid, or HyperParameterInvalid with the first field that is out of its range.
    function decode(bytes calldata encoded) internal pure returns (TrainingParameters memory parameters) {
        if (encoded.length != ENCODED_BYTES) revert HyperParametersLengthInvalid(encoded.length, ENCODED_BYTES);
        // Each cast is of a value that has just been held against a bound within the type.
        parameters.version = uint16(word(encoded, 0, "version", VERSION, VERSION));
        parameters.tasks = uint32(word(encoded, 1, "tasks", 1, MAX_TASKS));
        parameters.redundancy = uint8(word(encoded, 2, "redundancy", 1, MAX_REDUNDANCY));
        parameters.localSteps = uint32(word(encoded, 3, "localSteps", 1, type(uint32).max));
        parameters.batchSize = uint32(word(encoded, 4, "batchSize", 1, type(uint32).max));
        parameters.learningRate = uint64(word(encoded, 5, "learningRate", 1, MAX_LEARNING_RATE));
        parameters.optimizer = Optimizer(word(encoded, 6, "optimizer", 0, uint8(type(Optimizer).max)));
        parameters.strategy = Strategy(word(encoded, 7, "strategy", 0, uint8(type(Strategy).max)));
        parameters.jobKind = JobKind(word(encoded, 8, "jobKind", 0, uint8(type(JobKind).max)));
        parameters.settlement = Settlement(word(encoded, 9, "settlement", 0, uint8(type(Settlement).max)));
        parameters.rewardModel = RewardModel(word(encoded, 10, "rewardModel", 0, uint8(type(RewardModel).max)));
        // What the reward model does not ask for is 0, so that nobody believes to have agreed on it.
        bool perBatch = parameters.rewardModel == RewardModel.PerBatch;
        bool perGain = parameters.rewardModel == RewardModel.PerAccuracyGain;
        parameters.gpuSecondsPerTask =
            uint32(word(encoded, 11, "gpuSecondsPerTask", perBatch ? 1 : 0, perBatch ? type(uint32).max : 0));
        parameters.bonusBasisPoints = uint16(word(encoded, 12, "bonusBasisPoints", 0, perGain ? ALL_BASIS_POINTS : 0));
        parameters.targetGainBasisPoints =
            uint16(word(encoded, 13, "targetGainBasisPoints", perGain ? 1 : 0, perGain ? ALL_BASIS_POINTS : 0));
        parameters.roundTimeout = uint64(word(encoded, 14, "roundTimeout", MIN_ROUND_TIMEOUT, MAX_ROUND_TIMEOUT));
        parameters.seed = uint64(word(encoded, 15, "seed", 0, type(uint64).max));
    }

    /// The terms of payment: each task's score is in basis points of an equal share.
    function rewardTerms(TrainingParameters memory parameters) internal pure returns (RewardTerms memory terms) {
        terms.model = parameters.rewardModel;
        // At most 4e9.
        terms.scoreTotal = SCORE_PER_TASK * parameters.tasks;
        terms.gpuSecondsPerTask = parameters.gpuSecondsPerTask;
        if (parameters.rewardModel == RewardModel.PerBatch) terms.batchSize = parameters.batchSize;
        if (parameters.rewardModel == RewardModel.PerGradientUpdate) terms.stepsPerTask = parameters.localSteps;
        terms.bonusBasisPoints = parameters.bonusBasisPoints;
        terms.targetGainBasisPoints = parameters.targetGainBasisPoints;
    }

    /// Word number `index`, whole: bits above the field's type make it larger than any bound.
    function word(bytes calldata encoded, uint256 index, string memory field, uint256 minimum, uint256 maximum)
        private
        pure
        returns (uint256 value)
    {
        value = uint256(bytes32(encoded[32 * index:32 * index + 32]));
        if (value < minimum || value > maximum) revert HyperParameterInvalid(field, value, minimum, maximum);
    }
}
