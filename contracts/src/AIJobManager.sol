// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Credits} from "./Credits.sol";
import {Relayed} from "./Relayed.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IProofOfCompute} from "./interfaces/IProofOfCompute.sol";
import {Digests} from "./libraries/Digests.sol";
import {JobRules} from "./libraries/JobRules.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {
    JobEnded,
    JobNotRunning,
    JobUnknown,
    NodeNotActive,
    NotCoordinator,
    NotThroughItsDoor,
    RoundNotAssigned,
    RoundOutOfOrder
} from "./types/Errors.sol";
import {Job, JobStatus, JobTerms, Round, Settlement} from "./types/JobTypes.sol";

/// The contracts that the job manager works with, fixed at deployment.
struct JobManagerDoors {
    INodeCertRegistry registry;
    IProofOfCompute proofOfCompute;
    address batchedProofOfCompute;
    address trainRequest;
    address emissionPool;
}

/// Jobs, escrow and assignments. See IAIJobManager.
/// @dev Holds exactly all credits, the unpaid budgets of running and paused jobs, and the reserves of ended ones. No running total of these
/// is kept: it would cost every payment, and follows from the jobs.
contract AIJobManager is IAIJobManager, Credits {
    /// How far back the EVM knows block hashes.
    uint256 private constant BLOCK_HASHES = 256;

    INodeCertRegistry private immutable registry;
    IProofOfCompute public immutable proofOfCompute;
    address public immutable batchedProofOfCompute;
    address public immutable trainRequest;
    address public immutable emissionPool;

    mapping(address owner => uint256) public jobCount;
    mapping(bytes32 jobId => Job) private jobs;
    mapping(bytes32 jobId => mapping(uint64 round => Round)) private rounds;

    constructor(address forwarder, JobManagerDoors memory doors) Relayed(forwarder) {
        registry = doors.registry;
        proofOfCompute = doors.proofOfCompute;
        batchedProofOfCompute = doors.batchedProofOfCompute;
        trainRequest = doors.trainRequest;
        emissionPool = doors.emissionPool;
    }

    // Jobs

    function submitJob(JobTerms calldata terms) external payable returns (bytes32 jobId) {
        return open(_msgSender(), terms, terms.specCid);
    }

    function submitRequest(address owner, JobTerms calldata terms, bytes32 requestDigest) external payable returns (bytes32 jobId) {
        if (msg.sender != trainRequest) revert NotThroughItsDoor(msg.sender);
        return open(owner, terms, requestDigest);
    }

    function specifyJob(bytes32 jobId, bytes32 specCid) external {
        Job storage job_ = coordinatedAndRunning(jobId);
        if (job_.specCid != 0) revert SpecAlreadySet(jobId);
        if (specCid == 0) revert SpecMissing(jobId);
        job_.specCid = specCid;
        emit JobSpecified(jobId, specCid);
    }

    function sponsorJob(bytes32 jobId) external payable {
        if (msg.sender != emissionPool) revert NotThroughItsDoor(msg.sender);
        Job storage job_ = known(jobId);
        requireOpen(jobId, job_);
        uint256 budget = uint256(job_.budget) + msg.value;
        if (budget > type(uint128).max) revert BudgetTooLarge(budget);
        job_.budget = uint128(budget);
        // Part of the budget, so it fits as well.
        job_.sponsored += uint128(msg.value);
        emit JobSponsored(jobId, msg.value);
    }

    function pauseJob(bytes32 jobId) external {
        Job storage job_ = ownedOrCoordinated(jobId);
        if (job_.status != JobStatus.Running) revert JobNotRunning(jobId);
        job_.status = JobStatus.Paused;
        emit JobPaused(jobId);
    }

    function resumeJob(bytes32 jobId) external {
        Job storage job_ = ownedOrCoordinated(jobId);
        if (job_.status != JobStatus.Paused) revert JobNotPaused(jobId);
        job_.status = JobStatus.Running;
        job_.progressAt = uint40(block.timestamp);
        emit JobResumed(jobId);
    }

    function cancelJob(bytes32 jobId) external {
        Job storage job_ = known(jobId);
        if (_msgSender() != job_.owner) revert NotOwner(jobId, _msgSender());
        (uint256 refundWei, uint256 reserveWei) = end(jobId, job_, JobStatus.Cancelled);
        emit JobCancelled(jobId, refundWei, reserveWei);
    }

    function failJob(bytes32 jobId) external {
        Job storage job_ = known(jobId);
        uint256 until = uint256(job_.progressAt) + job_.roundTimeout;
        if (block.timestamp <= until) revert StillInTime(jobId, until);
        (uint256 refundWei, uint256 reserveWei) = end(jobId, job_, JobStatus.Failed);
        emit JobFailed(jobId, refundWei, reserveWei);
    }

    function completeJob(bytes32 jobId) external {
        Job storage job_ = known(jobId);
        if (job_.status != JobStatus.Running) revert JobNotRunning(jobId);
        if (job_.nextRound != job_.rounds) revert RoundsRemaining(jobId, job_.nextRound, job_.rounds);
        (uint256 refundWei,) = end(jobId, job_, JobStatus.Completed);
        emit JobCompleted(jobId, refundWei);
    }

    function releaseReserve(bytes32 jobId) external {
        Job storage job_ = known(jobId);
        uint128 amountWei = job_.reserve;
        if (amountWei == 0) revert NothingReserved(jobId);
        uint256 until = uint256(job_.endedAt) + job_.roundTimeout;
        if (block.timestamp <= until) revert StillInTime(jobId, until);
        job_.reserve = 0;
        refund(job_, amountWei);
        emit ReserveReleased(jobId, amountWei);
    }

    // Rounds

    function closeNodes(bytes32 jobId, uint64 round_, bytes32 nodeSetRoot, uint32 nodeCount) external {
        (Job storage job_, Round storage state) = unassigned(jobId, round_);
        if (job_.specCid == 0) revert SpecMissing(jobId);
        if (nodeCount == 0 || nodeCount < job_.minParticipants) revert NodesTooFew(jobId, round_, nodeCount, job_.minParticipants);
        state.closedBlock = uint64(block.number);
        state.nodeCount = nodeCount;
        emit NodesClosed(jobId, round_, nodeSetRoot, nodeCount);
    }

    function assign(bytes32 jobId, uint64 round_, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline) external {
        (Job storage job_, Round storage state) = unassigned(jobId, round_);
        uint256 latest = block.timestamp + job_.roundTimeout / 2;
        if (commitDeadline > latest) revert DeadlineTooFar(commitDeadline, latest);
        bytes32 drawn = beacon(jobId, round_);
        state.assigned = true;
        state.beacon = drawn;
        state.assignmentRoot = assignmentRoot;
        state.commitDeadline = commitDeadline;
        job_.progressAt = uint40(block.timestamp);
        emit RoundAssigned(jobId, round_, drawn, assignmentRoot, assignmentCid, commitDeadline);
        if (job_.settlement == Settlement.Direct) {
            proofOfCompute.openRound(jobId, round_, assignmentRoot, commitDeadline, job_);
        }
    }

    function reassign(bytes32 jobId, uint64 round_, uint32 task, uint32 slot, bytes32 newNode) external {
        Job storage job_ = coordinatedAndRunning(jobId);
        if (round_ != job_.nextRound) revert RoundOutOfOrder(jobId, round_, job_.nextRound);
        if (!rounds[jobId][round_].assigned) revert RoundNotAssigned(jobId, round_);
        if (job_.settlement != Settlement.Direct) revert SlotsCannotBeReassigned(jobId);
        (address operator, bool active) = registry.operatorOf(newNode);
        if (!active) revert NodeNotActive(newNode);
        emit SlotReassigned(jobId, round_, task, slot, newNode);
        proofOfCompute.reassignSlot(jobId, round_, task, slot, Digests.holder(newNode, operator));
    }

    // Called by the job's settlement contract

    function payReward(bytes32 jobId, address account, uint128 amountWei) external {
        spend(jobId, settled(jobId), amountWei);
        credits[account] += amountWei;
    }

    function payRewards(bytes32 jobId, address[] calldata accounts, uint128 amountWei) external {
        spend(jobId, settled(jobId), uint256(amountWei) * accounts.length);
        for (uint256 i = 0; i < accounts.length; i++) credits[accounts[i]] += amountWei;
    }

    function payReserved(bytes32 jobId, address[] calldata accounts, uint128 amountWei) external {
        Job storage job_ = settled(jobId);
        if (job_.endedAt == 0 || block.timestamp > uint256(job_.endedAt) + job_.roundTimeout) revert SettlementOver(jobId);
        uint256 totalWei = uint256(amountWei) * accounts.length;
        if (totalWei > job_.reserve) revert BudgetExceeded(jobId, job_.reserve, totalWei);
        // At most the reserve.
        job_.reserve -= uint128(totalWei);
        job_.paid += uint128(totalWei);
        for (uint256 i = 0; i < accounts.length; i++) credits[accounts[i]] += amountWei;
    }

    function advanceRound(bytes32 jobId, uint16 accuracy) external {
        Job storage job_ = settled(jobId);
        if (job_.status != JobStatus.Running) revert JobNotRunning(jobId);
        job_.nextRound++;
        job_.progressAt = uint40(block.timestamp);
        if (accuracy > job_.bestAccuracy) job_.bestAccuracy = accuracy;
    }

    // Reading

    function beacon(bytes32 jobId, uint64 round_) public view returns (bytes32) {
        Round storage state = rounds[jobId][round_];
        if (state.assigned) return state.beacon;
        if (state.closedBlock == 0) revert NodesNotClosed(jobId, round_);
        if (block.number <= state.closedBlock) revert BeaconNotReady(jobId, round_, state.closedBlock);
        if (block.number - state.closedBlock > BLOCK_HASHES) revert BeaconExpired(jobId, round_, state.closedBlock);
        return Digests.beacon(blockhash(state.closedBlock), jobId, round_);
    }

    function job(bytes32 jobId) external view returns (Job memory) {
        return known(jobId);
    }

    function round(bytes32 jobId, uint64 round_) external view returns (Round memory) {
        return rounds[jobId][round_];
    }

    function nextJobId(address owner, bytes32 digest) external view returns (bytes32) {
        return Digests.jobId(address(this), owner, jobCount[owner], digest);
    }

    // Inside

    function open(address owner, JobTerms calldata terms, bytes32 digest) private returns (bytes32 jobId) {
        JobRules.check(terms);
        if (msg.value > type(uint128).max) revert BudgetTooLarge(msg.value);
        jobId = Digests.jobId(address(this), owner, jobCount[owner]++, digest);
        Job storage job_ = jobs[jobId];
        job_.owner = owner;
        job_.status = JobStatus.Running;
        job_.kind = terms.kind;
        job_.settlement = terms.settlement;
        job_.redundancy = terms.redundancy;
        job_.minParticipants = terms.minParticipants;
        job_.coordinator = terms.coordinator;
        job_.tasks = terms.tasks;
        job_.submittedAt = uint40(block.timestamp);
        job_.validator = terms.validator;
        job_.rounds = terms.rounds;
        job_.progressAt = uint40(block.timestamp);
        job_.roundTimeout = terms.roundTimeout;
        job_.budget = uint128(msg.value);
        job_.specCid = terms.specCid;
        job_.modelId = terms.modelId;
        job_.reward = terms.reward;
        emit JobSubmitted(
            jobId,
            owner,
            terms.specCid,
            terms.modelId,
            terms.rounds,
            terms.tasks,
            terms.redundancy,
            terms.coordinator,
            terms.validator,
            msg.value
        );
        emit JobTermsSet(jobId, terms);
    }

    /// Ends an open job: what was not paid goes back, except what the open round may still have to be paid from.
    function end(bytes32 jobId, Job storage job_, JobStatus status) private returns (uint256 refundWei, uint256 reserveWei) {
        requireOpen(jobId, job_);
        job_.status = status;
        job_.endedAt = uint40(block.timestamp);
        uint128 left = job_.budget - job_.paid;
        uint128 kept = 0;
        if (job_.nextRound < job_.rounds && rounds[jobId][job_.nextRound].assigned) {
            kept = Rewards.roundBudget(job_);
            if (kept > left) kept = left;
        }
        job_.reserve = kept;
        refund(job_, left - kept);
        return (left - kept, kept);
    }

    /// What a sponsor gave and nobody earned goes back to the emission pool first, the rest to the owner.
    function refund(Job storage job_, uint128 amountWei) private {
        uint128 sponsoredWei = job_.sponsored < amountWei ? job_.sponsored : amountWei;
        if (sponsoredWei > 0) {
            job_.sponsored -= sponsoredWei;
            credits[emissionPool] += sponsoredWei;
        }
        if (amountWei > sponsoredWei) credits[job_.owner] += amountWei - sponsoredWei;
    }

    function spend(bytes32 jobId, Job storage job_, uint256 amountWei) private {
        requireOpen(jobId, job_);
        uint128 paid = job_.paid;
        uint256 left = job_.budget - paid;
        if (amountWei > left) revert BudgetExceeded(jobId, left, amountWei);
        // At most the budget.
        job_.paid = paid + uint128(amountWei);
    }

    /// The job, whose settlement contract must be the caller.
    function settled(bytes32 jobId) private view returns (Job storage job_) {
        job_ = known(jobId);
        address settlement = job_.settlement == Settlement.Direct ? address(proofOfCompute) : batchedProofOfCompute;
        if (msg.sender != settlement) revert NotProofOfCompute(msg.sender);
    }

    function known(bytes32 jobId) private view returns (Job storage job_) {
        job_ = jobs[jobId];
        if (job_.status == JobStatus.None) revert JobUnknown(jobId);
    }

    function requireOpen(bytes32 jobId, Job storage job_) private view {
        if (job_.status != JobStatus.Running && job_.status != JobStatus.Paused) revert JobEnded(jobId);
    }

    function ownedOrCoordinated(bytes32 jobId) private view returns (Job storage job_) {
        job_ = known(jobId);
        address caller = _msgSender();
        if (caller != job_.owner && caller != job_.coordinator) revert NotCoordinator(jobId, caller);
    }

    function coordinatedAndRunning(bytes32 jobId) private view returns (Job storage job_) {
        job_ = known(jobId);
        if (_msgSender() != job_.coordinator) revert NotCoordinator(jobId, _msgSender());
        if (job_.status != JobStatus.Running) revert JobNotRunning(jobId);
    }

    /// The job and the state of its next round, which must be `round_` and not assigned yet.
    function unassigned(bytes32 jobId, uint64 round_) private view returns (Job storage job_, Round storage state) {
        job_ = coordinatedAndRunning(jobId);
        if (job_.nextRound == job_.rounds) revert AllRoundsFinalized(jobId);
        if (round_ != job_.nextRound) revert RoundOutOfOrder(jobId, round_, job_.nextRound);
        state = rounds[jobId][round_];
        if (state.assigned) revert RoundAlreadyAssigned(jobId, round_);
    }
}
