// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Model} from "../types/ModelTypes.sol";

/// Models: where they came from, under which licence, which job made which checkpoint, and which is published. Content ids only.
/// @dev Model ids are first come, first served: whoever depends on one checks its owner. That a checkpoint is what the round's finalize
/// named is not checked here: both are public, and an audit compares them.
interface IModelRegistry {
    event ModelRegistered(bytes32 indexed modelId, address indexed owner, bytes32 modelCid, bytes32 datasetCid);
    event ModelDerived(bytes32 indexed modelId, bytes32 indexed parentModel);
    event LicenceSet(bytes32 indexed modelId, string licence, bytes32 licenceCid);
    event ModelTransferred(bytes32 indexed modelId, address indexed from, address indexed to);
    event CheckpointAdded(bytes32 indexed modelId, bytes32 indexed job, uint64 round, bytes32 checkpointCid);
    event ModelPublished(bytes32 indexed modelId, bytes32 checkpointCid);
    event LineageCredited(bytes32 indexed modelId, bytes32 indexed node, bytes32 checkpointCid);

    error ModelAlreadyRegistered(bytes32 modelId);
    error ModelUnknown(bytes32 modelId);
    error ModelCidMissing(bytes32 modelId);
    error LineageTooDeep(bytes32 modelId, uint256 maximum);
    error LicenceInvalid(bytes32 modelId, uint256 length, bytes32 licenceCid);
    error NewOwnerMissing(bytes32 modelId);
    error NotModelOwner(bytes32 modelId, address caller);
    error JobNotForModel(bytes32 modelId, bytes32 job);
    error RoundNotFinalized(bytes32 job, uint64 round, uint64 nextRound);
    error CheckpointCidMissing(bytes32 modelId);
    error CheckpointAlreadyAdded(bytes32 modelId, bytes32 job, uint64 round);
    error CheckpointUnknown(bytes32 modelId, bytes32 checkpointCid);
    error ModelNotPublished(bytes32 modelId);
    error LineageAlreadyCredited(bytes32 modelId, bytes32 node, bytes32 checkpointCid);
    error LineagePriceWrong(uint256 sentWei, uint256 priceWei);
    error BurnFailed(uint256 amountWei);

    function registerModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid) external;

    /// Registers a model that was made from `parentModel`, which must be registered, at most 64 steps from a model without a parent.
    /// Anyone: a claim of descent that the parent's owner has no part in, and that earns nothing.
    function registerDerivedModel(bytes32 modelId, bytes32 modelCid, bytes32 datasetCid, bytes32 parentModel) external;

    /// Replaces the licence by an SPDX expression of at most 64 bytes or by the content id of a text: exactly one of the two. What it was
    /// before stays in the events. The model's owner.
    function setLicence(bytes32 modelId, string calldata licence, bytes32 licenceCid) external;

    /// Gives the model to another account. Jobs that the old owner opened give their coordinators no right to it any more. The model's
    /// owner.
    function transferModel(bytes32 modelId, address newOwner) external;

    /// Records the checkpoint of a finalized round of a job that names this model, once per round. The model's owner, or the coordinator
    /// of such a job if the model's owner owns the job too.
    function addCheckpoint(bytes32 modelId, bytes32 jobId, uint64 round, bytes32 checkpointCid) external;

    /// Names the recorded checkpoint to use; may be repeated. The model's owner, or the coordinator that may have added the checkpoint.
    function publishModel(bytes32 modelId, bytes32 checkpointCid) external;

    /// Vouches that `node` contributed to the published checkpoint, once per node and checkpoint, which raises the node's lineage metric.
    /// The model's owner, for exactly `lineagePriceWei`, which is burnt. Whoever owns models, jobs and nodes can arrange every other sign
    /// of a contribution for itself and gets its money back; only what is burnt costs it something. The whole metric, a tenth of a
    /// score, costs 100 times the price.
    function creditLineage(bytes32 modelId, bytes32 node) external payable;

    /// Reverts ModelUnknown.
    function model(bytes32 modelId) external view returns (Model memory);

    /// The model's ancestors, its parent first; at most 64. Reverts ModelUnknown.
    function lineageOf(bytes32 modelId) external view returns (bytes32[] memory ancestors);

    /// The jobs that have given the model a checkpoint, in the order of their first. Reverts ModelUnknown.
    function jobsOf(bytes32 modelId) external view returns (bytes32[] memory);

    /// Hash of the global model after a finalized round, as recorded by `addCheckpoint`; 0 before.
    function globalModelOf(bytes32 jobId, uint64 round) external view returns (bytes32 checkpointCid);

    function lineagePriceWei() external view returns (uint256);
}
