// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IAIJobManager} from "../interfaces/IAIJobManager.sol";
import {JobKind, JobTerms, RewardModel} from "../types/JobTypes.sol";

/// Which jobs make sense. Errors are those of IAIJobManager.
library JobRules {
    /// Keeps one task's slots countable in one transaction.
    uint32 internal constant MAX_REDUNDANCY = 64;
    uint64 internal constant MIN_TIMEOUT = 60;
    uint64 internal constant MAX_TIMEOUT = 365 days;
    uint16 private constant ALL_BASIS_POINTS = 10_000;

    function check(JobTerms calldata terms) internal pure {
        if (terms.rounds == 0 || terms.tasks == 0 || terms.redundancy == 0 || terms.redundancy > MAX_REDUNDANCY) {
            revert IAIJobManager.JobShapeInvalid(terms.rounds, terms.tasks, terms.redundancy);
        }
        // One node alone has one task; data parallelism needs data in parallel. Redundancy checks either.
        bool fits = terms.kind == JobKind.SingleNode ? terms.tasks == 1 : terms.kind == JobKind.Federated || terms.tasks > 1;
        if (!fits) revert IAIJobManager.KindNeedsOtherShape(terms.kind, terms.tasks, terms.minParticipants);
        if (terms.coordinator == address(0)) revert IAIJobManager.CoordinatorMissing();
        if (terms.roundTimeout < MIN_TIMEOUT || terms.roundTimeout > MAX_TIMEOUT) revert IAIJobManager.TimeoutInvalid(terms.roundTimeout);
        if (terms.reward.scoreTotal == 0) revert IAIJobManager.RewardTermsInvalid();
        if (terms.reward.model == RewardModel.PerBatch && (terms.reward.gpuSecondsPerTask == 0 || terms.reward.batchSize == 0)) {
            revert IAIJobManager.RewardTermsInvalid();
        }
        if (terms.reward.model == RewardModel.PerGradientUpdate && terms.reward.stepsPerTask == 0) {
            revert IAIJobManager.RewardTermsInvalid();
        }
        if (
            terms.reward.model == RewardModel.PerAccuracyGain
                && (terms.reward.bonusBasisPoints > ALL_BASIS_POINTS || terms.reward.targetGainBasisPoints == 0)
        ) revert IAIJobManager.RewardTermsInvalid();
    }
}
