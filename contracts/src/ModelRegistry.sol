// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IReputationRegistry} from "./interfaces/IReputationRegistry.sol";
import {Relayed} from "./Relayed.sol";
import {Job} from "./types/JobTypes.sol";
import {Checkpoint, Model} from "./types/ModelTypes.sol";
import {Outcome} from "./types/ReputationTypes.sol";

/// Models, their lineage and their checkpoints. See IModelRegistry.
/// @dev Holds no money. A parent is registered before its child and never changes, so lineages have no cycles.
contract ModelRegistry is IModelRegistry, Relayed {
    uint16 private constant MAX_GENERATION = 64;
    uint256 private constant MAX_LICENCE_BYTES = 64;
    address private constant BURN = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant LINEAGE_PRICE_WEI = 0.01 ether;

    IAIJobManager private immutable jobManager;
    IReputationRegistry private immutable reputation;

    mapping(bytes32 modelId => Model) private models;
    mapping(bytes32 modelId => bytes32[]) private jobs;
    /// A job names one model, so this also says whether a round's checkpoint is recorded.
    mapping(bytes32 jobId => mapping(uint64 round => bytes32)) public globalModelOf;
    /// Whether a job is in its model's list.
    mapping(bytes32 jobId => bool) private listed;
    /// The job a checkpoint came from last; one checkpoint may come from several rounds.
    mapping(bytes32 modelId => mapping(bytes32 checkpointCid => bytes32 jobId)) private origin;
    mapping(bytes32 modelId => mapping(bytes32 checkpointCid => mapping(bytes32 node => bool))) private credited;

    constructor(address forwarder, IAIJobManager jobManager_, IReputationRegistry reputation_) Relayed(forwarder) {
        jobManager = jobManager_;
        reputation = reputation_;
    }

    function registerModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid) external {
        register(modelId, modelCid, datasetCid);
    }

    function registerDerivedModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid, bytes32 parentModel) external {
        uint16 generation = known(parentModel).generation;
        if (generation == MAX_GENERATION) revert LineageTooDeep(parentModel, MAX_GENERATION);
        Model storage entry = register(modelId, modelCid, datasetCid);
        entry.parentModel = parentModel;
        entry.generation = generation + 1;
        emit ModelDerived(modelId, parentModel);
    }

    function setLicence(bytes32 modelId, string calldata licence, bytes32 licenceCid) external {
        Model storage entry = owned(modelId);
        uint256 length = bytes(licence).length;
        if ((length == 0) == (licenceCid == 0) || length > MAX_LICENCE_BYTES) revert LicenceInvalid(modelId, length, licenceCid);
        entry.licence = licence;
        entry.licenceCid = licenceCid;
        emit LicenceSet(modelId, licence, licenceCid);
    }

    function transferModel(bytes32 modelId, address newOwner) external {
        Model storage entry = owned(modelId);
        if (newOwner == address(0)) revert NewOwnerMissing(modelId);
        entry.owner = newOwner;
        emit ModelTransferred(modelId, _msgSender(), newOwner);
    }

    function addCheckpoint(bytes32 modelId, bytes32 jobId, uint64 round, bytes32 checkpointCid) external {
        Model storage entry = known(modelId);
        Job memory job = jobManager.job(jobId);
        if (job.modelId != modelId) revert JobNotForModel(modelId, jobId);
        requireOwnerOrCoordinator(modelId, entry, job);
        if (checkpointCid == 0) revert CheckpointCidMissing(modelId);
        if (round >= job.nextRound) revert RoundNotFinalized(jobId, round, job.nextRound);
        if (globalModelOf[jobId][round] != 0) revert CheckpointAlreadyAdded(modelId, jobId, round);

        globalModelOf[jobId][round] = checkpointCid;
        origin[modelId][checkpointCid] = jobId;
        if (!listed[jobId]) {
            listed[jobId] = true;
            jobs[modelId].push(jobId);
        }
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

    function creditLineage(bytes32 modelId, bytes32 node) external payable {
        bytes32 checkpointCid = owned(modelId).publishedCid;
        if (checkpointCid == 0) revert ModelNotPublished(modelId);
        if (msg.value != LINEAGE_PRICE_WEI) revert LineagePriceWrong(msg.value, LINEAGE_PRICE_WEI);
        if (credited[modelId][checkpointCid][node]) revert LineageAlreadyCredited(modelId, node, checkpointCid);
        credited[modelId][checkpointCid][node] = true;
        emit LineageCredited(modelId, node, checkpointCid);
        reputation.record(node, Outcome.LineageContribution, 1);
        (bool sent,) = BURN.call{value: msg.value}("");
        if (!sent) revert BurnFailed(msg.value);
    }

    function model(bytes32 modelId) external view returns (Model memory) {
        return known(modelId);
    }

    function lineageOf(bytes32 modelId) external view returns (bytes32[] memory ancestors) {
        Model storage entry = known(modelId);
        ancestors = new bytes32[](entry.generation);
        for (uint256 index = 0; index < ancestors.length; index++) {
            ancestors[index] = entry.parentModel;
            entry = models[entry.parentModel];
        }
    }

    function jobsOf(bytes32 modelId) external view returns (bytes32[] memory) {
        known(modelId);
        return jobs[modelId];
    }

    function lineagePriceWei() external pure returns (uint256) {
        return LINEAGE_PRICE_WEI;
    }

    function register(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid) private returns (Model storage entry) {
        if (modelCid == 0) revert ModelCidMissing(modelId);
        entry = models[modelId];
        if (entry.owner != address(0)) revert ModelAlreadyRegistered(modelId);
        entry.owner = _msgSender();
        entry.registeredAt = uint64(block.timestamp);
        entry.modelCid = modelCid;
        entry.datasetCid = datasetCid;
        emit ModelRegistered(modelId, _msgSender(), modelCid, datasetCid);
    }

    function known(bytes32 modelId) private view returns (Model storage entry) {
        entry = models[modelId];
        if (entry.owner == address(0)) revert ModelUnknown(modelId);
    }

    function owned(bytes32 modelId) private view returns (Model storage entry) {
        entry = known(modelId);
        if (_msgSender() != entry.owner) revert NotModelOwner(modelId, _msgSender());
    }

    /// A stranger's job may name any model: its coordinator may write only where the model's owner opened the job.
    function requireOwnerOrCoordinator(bytes32 modelId, Model storage entry, Job memory job) private view {
        address caller = _msgSender();
        if (caller == entry.owner || (caller == job.coordinator && job.owner == entry.owner)) return;
        revert NotModelOwner(modelId, caller);
    }
}
