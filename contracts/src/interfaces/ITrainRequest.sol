// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// TRAIN_REQUEST (0x14): anybody, a contract too, asks for a training with five parameters and a budget, and gets a job id.
/// @dev On a chain whose genesis is Muster's it stands at address 0x…14, elsewhere at an ordinary address. Calls may be relayed (ERC-2771).
interface ITrainRequest {
    event TrainingRequested(
        bytes32 indexed jobId,
        address indexed requester,
        bytes32 indexed baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes hyperParameters,
        uint256 budgetWei
    );
    event OperatorSet(address coordinator, address validator);
    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    error BaseModelMissing();
    error DatasetMissing();
    error RoundsMissing();
    error ParticipantsMissing();
    error OperatorMissing(address coordinator, address validator);
    error NotRequestOwner(address caller);

    /// Opens a job of the caller with the value sent as its budget. What the job does not use is credited to the caller in the job manager.
    /// @param baseModel id of the model to begin with, in ModelRegistry
    /// @param dataset content id of the dataset's manifest
    /// @param totalRounds rounds to train, at least 1
    /// @param minParticipants nodes that a round needs, at least 1
    /// @param hyperParameters abi.encode(TrainingParameters); see the library HyperParameters for its bounds
    function requestTraining(
        bytes32 baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes calldata hyperParameters
    ) external payable returns (bytes32 jobId);

    /// The id that `owner`'s next request with these parameters would get, if it opens no other job before.
    function predictJobId(
        address owner,
        bytes32 baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes calldata hyperParameters
    ) external view returns (bytes32 jobId);

    /// Says who coordinates and who validates the jobs requested from now on. Owner only.
    function setOperator(address coordinator, address validator) external;

    /// Gives the right to `setOperator` to `newOwner`; to 0: nobody ever changes it again. Owner only.
    function transferOwnership(address newOwner) external;

    function jobManager() external view returns (address);

    function owner() external view returns (address);

    function coordinator() external view returns (address);

    function validator() external view returns (address);
}
