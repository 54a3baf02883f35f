// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Credits} from "./Credits.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IProofOfCompute} from "./interfaces/IProofOfCompute.sol";
import {Digests} from "./libraries/Digests.sol";
import {
    JobEnded,
    JobNotRunning,
    JobUnknown,
    NodeNotActive,
    NotCoordinator,
    RoundNotAssigned,
    RoundOutOfOrder
} from "./types/Errors.sol";
import {Job, JobStatus, JobTerms, Round} from "./types/JobTypes.sol";

/// Jobs, escrow and assignments. See IAIJobManager.
/// @dev Holds exactly the unpaid budgets of open jobs and all credits.
contract AIJobManager is IAIJobManager, Credits {
    /// Keeps one task's slots countable in one transaction.
    uint32 private constant MAX_REDUNDANCY = 64;
    /// How far back the EVM knows block hashes.
    uint256 private constant BLOCK_HASHES = 256;

    INodeCertRegistry private immutable registry;
    IProofOfCompute public immutable proofOfCompute;

    mapping(address owner => uint256) public jobCount;
    mapping(bytes32 jobId => Job) private jobs;
    mapping(bytes32 jobId => mapping(uint64 round => Round)) private rounds;
    mapping(bytes32 jobId => mapping(uint64 round => mapping(uint32 task => mapping(uint32 slot => bytes32 node)))) public
        slotOverride;

    constructor(INodeCertRegistry registry_, IProofOfCompute proofOfCompute_) {
        registry = registry_;
        proofOfCompute = proofOfCompute_;
    }

    modifier onlyProofOfCompute() {
        if (msg.sender != address(proofOfCompute)) revert NotProofOfCompute(msg.sender);
        _;
    }

    // Jobs

    function submitJob(JobTerms calldata terms) external payable returns (bytes32 jobId) {
        if (terms.rounds == 0 || terms.tasks == 0 || terms.redundancy == 0 || terms.redundancy > MAX_REDUNDANCY) {
            revert JobShapeInvalid(terms.rounds, terms.tasks, terms.redundancy);
        }
        if (terms.coordinator == address(0)) revert CoordinatorMissing();
        if (msg.value > type(uint128).max) revert BudgetTooLarge(msg.value);
        jobId = Digests.jobId(address(this), msg.sender, jobCount[msg.sender]++, terms.specCid);
        jobs[jobId] = Job({
            owner: msg.sender,
            submittedAt: uint64(block.timestamp),
            redundancy: terms.redundancy,
            coordinator: terms.coordinator,
            rounds: terms.rounds,
            tasks: terms.tasks,
            validator: terms.validator,
            nextRound: 0,
            status: JobStatus.Running,
            specCid: terms.specCid,
            modelId: terms.modelId,
            budget: uint128(msg.value),
            paid: 0
        });
        emit JobSubmitted(
            jobId,
            msg.sender,
            terms.specCid,
            terms.modelId,
            terms.rounds,
            terms.tasks,
            terms.redundancy,
            terms.coordinator,
            terms.validator,
            msg.value
        );
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
        emit JobResumed(jobId);
    }

    function cancelJob(bytes32 jobId) external {
        Job storage job_ = known(jobId);
        if (msg.sender != job_.owner) revert NotOwner(jobId, msg.sender);
        if (job_.status != JobStatus.Running && job_.status != JobStatus.Paused) revert JobEnded(jobId);
        job_.status = JobStatus.Cancelled;
        emit JobCancelled(jobId, refund(job_));
    }

    function completeJob(bytes32 jobId) external {
        Job storage job_ = coordinatedAndRunning(jobId);
        if (job_.nextRound != job_.rounds) revert RoundsRemaining(jobId, job_.nextRound, job_.rounds);
        job_.status = JobStatus.Completed;
        emit JobCompleted(jobId, refund(job_));
    }

    // Rounds

    function closeNodes(bytes32 jobId, uint64 round_, bytes32 nodeSetRoot, uint32 nodeCount) external {
        Round storage state = unassigned(jobId, round_);
        if (nodeCount == 0) revert NodeSetEmpty(jobId, round_);
        state.closedBlock = uint64(block.number);
        state.nodeSetRoot = nodeSetRoot;
        state.nodeCount = nodeCount;
        emit NodesClosed(jobId, round_, nodeSetRoot, nodeCount);
    }

    function assign(bytes32 jobId, uint64 round_, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline) external {
        Round storage state = unassigned(jobId, round_);
        bytes32 drawn = beacon(jobId, round_);
        state.assigned = true;
        state.beacon = drawn;
        state.assignmentRoot = assignmentRoot;
        state.assignmentCid = assignmentCid;
        state.commitDeadline = commitDeadline;
        emit RoundAssigned(jobId, round_, drawn, assignmentRoot, assignmentCid, commitDeadline);
    }

    function reassign(bytes32 jobId, uint64 round_, uint32 task, uint32 slot, bytes32 newNode) external {
        Job storage job_ = coordinatedAndRunning(jobId);
        if (round_ != job_.nextRound) revert RoundOutOfOrder(jobId, round_, job_.nextRound);
        if (!rounds[jobId][round_].assigned) revert RoundNotAssigned(jobId, round_);
        (, bool active) = registry.operatorOf(newNode);
        if (!active) revert NodeNotActive(newNode);
        if (!proofOfCompute.slotOpen(jobId, round_, task, slot)) revert SlotTaken(task, slot);
        slotOverride[jobId][round_][task][slot] = newNode;
        emit SlotReassigned(jobId, round_, task, slot, newNode);
    }

    // Called by ProofOfCompute

    function payReward(bytes32 jobId, address operator, uint128 amountWei) external onlyProofOfCompute {
        Job storage job_ = jobs[jobId];
        if (amountWei > job_.budget - job_.paid) revert BudgetExceeded(jobId, job_.budget - job_.paid, amountWei);
        job_.paid += amountWei;
        credits[operator] += amountWei;
    }

    function advanceRound(bytes32 jobId) external onlyProofOfCompute {
        jobs[jobId].nextRound++;
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

    function known(bytes32 jobId) private view returns (Job storage job_) {
        job_ = jobs[jobId];
        if (job_.status == JobStatus.None) revert JobUnknown(jobId);
    }

    function ownedOrCoordinated(bytes32 jobId) private view returns (Job storage job_) {
        job_ = known(jobId);
        if (msg.sender != job_.owner && msg.sender != job_.coordinator) revert NotCoordinator(jobId, msg.sender);
    }

    function coordinatedAndRunning(bytes32 jobId) private view returns (Job storage job_) {
        job_ = known(jobId);
        if (msg.sender != job_.coordinator) revert NotCoordinator(jobId, msg.sender);
        if (job_.status != JobStatus.Running) revert JobNotRunning(jobId);
    }

    /// The state of the job's next round, which must be `round_` and not assigned yet.
    function unassigned(bytes32 jobId, uint64 round_) private view returns (Round storage state) {
        Job storage job_ = coordinatedAndRunning(jobId);
        if (job_.nextRound == job_.rounds) revert AllRoundsFinalized(jobId);
        if (round_ != job_.nextRound) revert RoundOutOfOrder(jobId, round_, job_.nextRound);
        state = rounds[jobId][round_];
        if (state.assigned) revert RoundAlreadyAssigned(jobId, round_);
    }

    function refund(Job storage job_) private returns (uint128 refundWei) {
        refundWei = job_.budget - job_.paid;
        credits[job_.owner] += refundWei;
    }
}
