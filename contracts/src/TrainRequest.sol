// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {ITrainRequest} from "./interfaces/ITrainRequest.sol";
import {Digests} from "./libraries/Digests.sol";
import {HyperParameters} from "./libraries/HyperParameters.sol";
import {JobTerms} from "./types/JobTypes.sol";
import {TrainingParameters} from "./types/RequestTypes.sol";

/// The door through which trainings are requested. See ITrainRequest. Holds no money.
/// @dev Its code must be the same whether a constructor ran or a genesis put it there, so nothing is immutable: configuration is in
/// storage slots 0 to 4, in the order of declaration, which the genesis fills in (packages/adapters/src/evm/embedded/predeploy.ts).
contract TrainRequest is ITrainRequest, ERC2771Context {
    address public jobManager;
    address private forwarder;
    address public owner;
    address public coordinator;
    address public validator;

    /// The base contract's immutable forwarder is never read, and so is no part of the code.
    constructor(address jobManager_, address forwarder_, address owner_, address coordinator_, address validator_)
        ERC2771Context(address(0))
    {
        jobManager = jobManager_;
        forwarder = forwarder_;
        owner = owner_;
        coordinator = coordinator_;
        validator = validator_;
    }

    function requestTraining(
        bytes32 baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes calldata hyperParameters
    ) external payable returns (bytes32 jobId) {
        if (baseModel == 0) revert BaseModelMissing();
        if (dataset == 0) revert DatasetMissing();
        if (totalRounds == 0) revert RoundsMissing();
        if (minParticipants == 0) revert ParticipantsMissing();
        TrainingParameters memory parameters = HyperParameters.decode(hyperParameters);
        address requester = _msgSender();
        jobId = IAIJobManager(jobManager).submitRequest{value: msg.value}(
            requester,
            termsOf(baseModel, totalRounds, minParticipants, parameters),
            digestOf(baseModel, dataset, totalRounds, minParticipants, hyperParameters)
        );
        emit TrainingRequested(
            jobId, requester, baseModel, dataset, totalRounds, minParticipants, hyperParameters, msg.value
        );
    }

    function setOperator(address coordinator_, address validator_) external onlyOwner {
        if (coordinator_ == address(0) || validator_ == address(0)) revert OperatorMissing(coordinator_, validator_);
        coordinator = coordinator_;
        validator = validator_;
        emit OperatorSet(coordinator_, validator_);
    }

    function transferOwnership(address newOwner) external onlyOwner {
        emit OwnershipTransferred(owner, newOwner);
        owner = newOwner;
    }

    function predictJobId(
        address owner_,
        bytes32 baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes calldata hyperParameters
    ) external view returns (bytes32) {
        bytes32 digest = digestOf(baseModel, dataset, totalRounds, minParticipants, hyperParameters);
        return Digests.jobId(jobManager, owner_, IAIJobManager(jobManager).jobCount(owner_), digest);
    }

    function trustedForwarder() public view override returns (address) {
        return forwarder;
    }

    modifier onlyOwner() {
        if (_msgSender() != owner) revert NotRequestOwner(_msgSender());
        _;
    }

    /// The specification is not known yet: the coordinator names it when it takes the job.
    function termsOf(bytes32 baseModel, uint32 totalRounds, uint32 minParticipants, TrainingParameters memory parameters)
        private
        view
        returns (JobTerms memory)
    {
        return JobTerms({
            specCid: 0,
            modelId: baseModel,
            rounds: totalRounds,
            tasks: parameters.tasks,
            redundancy: parameters.redundancy,
            coordinator: coordinator,
            validator: validator,
            kind: parameters.jobKind,
            settlement: parameters.settlement,
            minParticipants: minParticipants,
            roundTimeout: parameters.roundTimeout,
            reward: HyperParameters.rewardTerms(parameters)
        });
    }

    /// What was asked for, as one word.
    function digestOf(
        bytes32 baseModel,
        bytes32 dataset,
        uint32 totalRounds,
        uint32 minParticipants,
        bytes calldata hyperParameters
    ) private pure returns (bytes32) {
        return keccak256(abi.encode(baseModel, dataset, totalRounds, minParticipants, keccak256(hyperParameters)));
    }
}
