// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Model} from "../types/ModelTypes.sol";

/// Models, where they came from, and which checkpoint is published. Content ids only.
/// @dev Model ids are first come, first served: whoever depends on one checks its owner.
interface IModelRegistry {
    event ModelRegistered(bytes32 indexed modelId, address indexed owner, bytes32 modelCid, bytes32 datasetCid);
    event CheckpointAdded(bytes32 indexed modelId, bytes32 indexed job, uint64 round, bytes32 checkpointCid);
    event ModelPublished(bytes32 indexed modelId, bytes32 checkpointCid);

    error ModelAlreadyRegistered(bytes32 modelId);
    error ModelUnknown(bytes32 modelId);
    error ModelCidMissing(bytes32 modelId);
    error NotModelOwner(bytes32 modelId, address caller);
    error JobNotForModel(bytes32 modelId, bytes32 job);
    error RoundNotFinalized(bytes32 job, uint64 round, uint64 nextRound);
    error CheckpointAlreadyAdded(bytes32 modelId, bytes32 job, uint64 round);
    error CheckpointUnknown(bytes32 modelId, bytes32 checkpointCid);

    function registerModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid) external;

    /// Records the checkpoint of a finalized round of a job that names this model, once per round. The model's owner, or the coordinator of such a job
    /// if the model's owner owns the job too.
    function addCheckpoint(bytes32 modelId, bytes32 jobId, uint64 round, bytes32 checkpointCid) external;

    /// Names the recorded checkpoint to use; may be repeated. The model's owner, or the coordinator that may have added the checkpoint.
    function publishModel(bytes32 modelId, bytes32 checkpointCid) external;

    /// Reverts ModelUnknown.
    function model(bytes32 modelId) external view returns (Model memory);
}
