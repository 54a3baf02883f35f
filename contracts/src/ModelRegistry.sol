// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Job} from "./types/JobTypes.sol";
import {Checkpoint, Model} from "./types/ModelTypes.sol";

/// Models and their checkpoints. See IModelRegistry.
contract ModelRegistry is IModelRegistry {
    IAIJobManager private immutable jobManager;

    mapping(bytes32 modelId => Model) private models;
    mapping(bytes32 modelId => mapping(bytes32 jobId => mapping(uint64 round => bool))) private added;
    /// The job a checkpoint came from last; one checkpoint may come from several rounds.
    mapping(bytes32 modelId => mapping(bytes32 checkpointCid => bytes32 jobId)) private origin;

    constructor(IAIJobManager jobManager_) {
        jobManager = jobManager_;
    }

    function registerModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid) external {
        if (modelCid == 0) revert ModelCidMissing(modelId);
        Model storage entry = models[modelId];
        if (entry.owner != address(0)) revert ModelAlreadyRegistered(modelId);
        entry.owner = msg.sender;
        entry.registeredAt = uint64(block.timestamp);
        entry.modelCid = modelCid;
        entry.datasetCid = datasetCid;
        emit ModelRegistered(modelId, msg.sender, modelCid, datasetCid);
    }

    function addCheckpoint(bytes32 modelId, bytes32 jobId, uint64 round, bytes32 checkpointCid) external {
        Model storage entry = known(modelId);
        Job memory job = jobManager.job(jobId);
        if (job.modelId != modelId) revert JobNotForModel(modelId, jobId);
        requireOwnerOrCoordinator(modelId, entry, job);
        if (round >= job.nextRound) revert RoundNotFinalized(jobId, round, job.nextRound);
        if (added[modelId][jobId][round]) revert CheckpointAlreadyAdded(modelId, jobId, round);

        added[modelId][jobId][round] = true;
        origin[modelId][checkpointCid] = jobId;
        entry.checkpoints.push(
            Checkpoint({jobId: jobId, round: round, addedAt: uint64(block.timestamp), checkpointCid: checkpointCid})
        );
        emit CheckpointAdded(modelId, jobId, round, checkpointCid);
    }

    function publishModel(bytes32 modelId, bytes32 checkpointCid) external {
        Model storage entry = known(modelId);
        bytes32 jobId = origin[modelId][checkpointCid];
        if (jobId == 0) revert CheckpointUnknown(modelId, checkpointCid);
        requireOwnerOrCoordinator(modelId, entry, jobManager.job(jobId));
        entry.publishedCid = checkpointCid;
        entry.publishedAt = uint64(block.timestamp);
        emit ModelPublished(modelId, checkpointCid);
    }

    function model(bytes32 modelId) external view returns (Model memory) {
        return known(modelId);
    }

    function known(bytes32 modelId) private view returns (Model storage entry) {
        entry = models[modelId];
        if (entry.owner == address(0)) revert ModelUnknown(modelId);
    }

    /// A stranger's job may name any model: its coordinator may write only where the model's owner opened the job.
    function requireOwnerOrCoordinator(bytes32 modelId, Model storage entry, Job memory job) private view {
        if (msg.sender == entry.owner || (msg.sender == job.coordinator && job.owner == entry.owner)) return;
        revert NotModelOwner(modelId, msg.sender);
    }
}
