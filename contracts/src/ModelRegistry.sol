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
    mapping(bytes32 modelId => mapping(bytes32 checkpointCid => bool)) private added;

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
        // A stranger's job may name any model: its coordinator may write only where the model's owner opened the job.
        bool coordinates = msg.sender == job.coordinator && job.owner == entry.owner;
        if (msg.sender != entry.owner && !coordinates) revert NotModelOwner(modelId, msg.sender);
        if (round >= job.nextRound) revert RoundNotFinalized(jobId, round, job.nextRound);
        if (added[modelId][checkpointCid]) revert CheckpointAlreadyAdded(modelId, checkpointCid);

        added[modelId][checkpointCid] = true;
        entry.checkpoints.push(
            Checkpoint({jobId: jobId, round: round, addedAt: uint64(block.timestamp), checkpointCid: checkpointCid})
        );
        emit CheckpointAdded(modelId, jobId, round, checkpointCid);
    }

    function publishModel(bytes32 modelId, bytes32 checkpointCid) external {
        Model storage entry = known(modelId);
        if (msg.sender != entry.owner) revert NotModelOwner(modelId, msg.sender);
        if (!added[modelId][checkpointCid]) revert CheckpointUnknown(modelId, checkpointCid);
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
}
