// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IFaultVerifier} from "./interfaces/IFaultVerifier.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IProofOfCompute} from "./interfaces/IProofOfCompute.sol";
import {Digests} from "./libraries/Digests.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {AcceptedTask, ComputeReceipt, Slot, SlotStatus, Task, TrainProof} from "./types/ComputeTypes.sol";
import {
    JobEnded,
    JobNotRunning,
    NodeNotActive,
    NotCoordinator,
    NotOperator,
    RoundNotAssigned,
    RoundOutOfOrder
} from "./types/Errors.sol";
import {Job, JobStatus, Round} from "./types/JobTypes.sol";

/// Commitments, results and what they earn. See IProofOfCompute.
/// @dev Holds no money. It calls only contracts fixed at deployment, none of which calls an account, so nothing can re-enter.
contract ProofOfCompute is IProofOfCompute {
    uint256 private constant WHOLE_STAKE = 10_000;
    bytes32 private constant PROVEN_CHEATING = "proven cheating";
    uint256 private constant SIGNATURE_BYTES = 64;

    INodeCertRegistry private immutable registry;
    IAIJobManager private immutable jobManager;
    IFaultVerifier public immutable faultVerifier;

    mapping(bytes32 jobId => mapping(uint64 round => mapping(uint32 task => Task))) private tasks;

    constructor(INodeCertRegistry registry_, IAIJobManager jobManager_, IFaultVerifier faultVerifier_) {
        registry = registry_;
        jobManager = jobManager_;
        faultVerifier = faultVerifier_;
    }

    function commit(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 commitment,
        bytes32[] calldata proof
    ) external {
        if (commitment == 0) revert CommitmentMissing(task, slot);
        Job memory job = openJob(jobId, round);
        if (task >= job.tasks || slot >= job.redundancy) revert SlotOutOfRange(task, slot);
        requireActiveOperator(node);
        Task storage state = tasks[jobId][round][task];
        if (state.slots[slot].status != SlotStatus.Empty) revert AlreadyCommitted(task, slot);
        if (state.closed) revert CommitsAreClosed(task);
        requireHoldsSlot(jobId, round, task, slot, node, proof);
        for (uint32 other = 0; other < job.redundancy; other++) {
            if (state.slots[other].node == node) revert NodeAlreadyInTask(node, task, other);
        }

        Slot storage entry = state.slots[slot];
        entry.status = SlotStatus.Committed;
        entry.committedAt = uint64(block.timestamp);
        entry.node = node;
        entry.commitment = commitment;
        emit Committed(jobId, round, task, slot, node, commitment);
        uint32 commits = ++state.commits;
        if (commits == job.redundancy) {
            state.closed = true;
            emit CommitsClosed(jobId, round, task, commits);
        }
    }

    function closeCommits(bytes32 jobId, uint64 round, uint32 task) external {
        Job memory job = coordinatedJob(jobId, round);
        if (task >= job.tasks) revert SlotOutOfRange(task, 0);
        uint64 deadline = assignedRound(jobId, round).commitDeadline;
        if (block.timestamp < deadline) revert DeadlineNotReached(deadline, block.timestamp);
        Task storage state = tasks[jobId][round][task];
        if (state.closed) revert CommitsAreClosed(task);
        state.closed = true;
        emit CommitsClosed(jobId, round, task, state.commits);
    }

    function reveal(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 salt,
        bytes32 resultRoot,
        bytes32 resultCid,
        TrainProof calldata proof
    ) external {
        openJob(jobId, round);
        requireActiveOperator(node);
        Task storage state = tasks[jobId][round][task];
        Slot storage entry = state.slots[slot];
        if (entry.status == SlotStatus.Empty) revert NotCommitted(task, slot);
        if (entry.status != SlotStatus.Committed) revert AlreadyRevealed(task, slot);
        if (!state.closed) revert CommitsStillOpen(task);
        if (resultRoot == 0) revert ResultRootMissing();
        bytes32 commitment = Digests.commitment(jobId, round, task, slot, node, salt, resultRoot);
        if (commitment != entry.commitment) revert CommitmentMismatch(entry.commitment, commitment);
        if (proof.jobId != jobId || proof.nodePubkey != node) revert ProofNotBound(proof.jobId, proof.nodePubkey);
        if (proof.signature.length != SIGNATURE_BYTES) revert SignatureLengthInvalid(proof.signature.length);

        entry.status = SlotStatus.Revealed;
        entry.revealedAt = uint64(block.timestamp);
        entry.resultRoot = resultRoot;
        entry.proofHash = keccak256(abi.encode(proof));
        emit Revealed(jobId, round, task, slot, node, salt, resultRoot, resultCid, proof);
    }

    function convict(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 verdictCid,
        bytes calldata evidence
    ) external {
        Slot storage entry = tasks[jobId][round][task].slots[slot];
        if (entry.status == SlotStatus.Convicted) revert AlreadyConvicted(task, slot);
        if (entry.status != SlotStatus.Revealed && entry.status != SlotStatus.Rewarded) revert NotRevealed(task, slot);
        if (entry.node != node) revert NodeNotInSlot(node, task, slot);
        (bytes32 correctRoot, bytes32 evidenceCid) = settleVerdict(jobId, round, task, evidence);
        if (evidenceCid != verdictCid) revert VerdictCidMismatch(verdictCid, evidenceCid);
        if (correctRoot == entry.resultRoot) revert ResultIsCorrect(correctRoot);

        entry.status = SlotStatus.Convicted;
        emit Convicted(jobId, round, task, slot, node, entry.resultRoot, correctRoot, verdictCid);
        registry.slash(node, WHOLE_STAKE, PROVEN_CHEATING);
    }

    function finalize(bytes32 jobId, uint64 round, bytes32 checkpointCid, AcceptedTask[] calldata accepted) external {
        Job memory job = coordinatedJob(jobId, round);
        assignedRound(jobId, round);
        uint128 reward = Rewards.perSlot(job);
        uint64 firstAllowed = 0;
        for (uint256 i = 0; i < accepted.length; i++) {
            uint32 task = accepted[i].task;
            if (task < firstAllowed) revert TasksNotAscending(task);
            if (task >= job.tasks) revert SlotOutOfRange(task, 0);
            firstAllowed = uint64(task) + 1;
            finalizeTask(jobId, round, job.redundancy, reward, accepted[i]);
        }
        jobManager.advanceRound(jobId);
        emit RoundFinalized(jobId, round, checkpointCid);
    }

    function slotOpen(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (bool) {
        Job memory job = jobManager.job(jobId);
        Task storage state = tasks[jobId][round][task];
        return round == job.nextRound && task < job.tasks && slot < job.redundancy && !state.closed
            && state.slots[slot].status == SlotStatus.Empty;
    }

    function slotOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (Slot memory) {
        return tasks[jobId][round][task].slots[slot];
    }

    function taskOf(bytes32 jobId, uint64 round, uint32 task)
        external
        view
        returns (uint32 commits, bool closed, bytes32 verdictRoot)
    {
        Task storage state = tasks[jobId][round][task];
        return (state.commits, state.closed, state.verdictRoot);
    }

    function receiptOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (ComputeReceipt memory) {
        Slot storage entry = tasks[jobId][round][task].slots[slot];
        if (entry.rewardedAt == 0) revert NotRewarded(task, slot);
        (address operator,) = registry.operatorOf(entry.node);
        return ComputeReceipt({
            jobId: jobId,
            round: round,
            task: task,
            slot: slot,
            node: entry.node,
            operator: operator,
            resultRoot: entry.resultRoot,
            proofHash: entry.proofHash,
            reward: Rewards.perSlot(jobManager.job(jobId)),
            rewardedAt: entry.rewardedAt
        });
    }

    /// Pays every slot that revealed the accepted root and is not convicted.
    function finalizeTask(bytes32 jobId, uint64 round, uint32 redundancy, uint128 reward, AcceptedTask calldata accepted) private {
        uint32 task = accepted.task;
        Task storage state = tasks[jobId][round][task];
        requireAccepted(jobId, round, redundancy, accepted);
        uint32 paid = 0;
        for (uint32 slot = 0; slot < redundancy; slot++) {
            Slot storage entry = state.slots[slot];
            if (entry.status != SlotStatus.Revealed || entry.resultRoot != accepted.resultRoot) continue;
            entry.status = SlotStatus.Rewarded;
            entry.rewardedAt = uint64(block.timestamp);
            paid++;
            bytes32 node = entry.node;
            (address operator,) = registry.operatorOf(node);
            jobManager.payReward(jobId, operator, reward);
            emit RewardCredited(jobId, round, task, slot, node, operator, reward);
        }
        emit TaskFinalized(jobId, round, task, accepted.resultRoot, paid);
    }

    /// Accepted by verdict, old or new; else by strict majority of the task's slots, convicted ones not counted.
    function requireAccepted(bytes32 jobId, uint64 round, uint32 redundancy, AcceptedTask calldata accepted) private {
        Task storage state = tasks[jobId][round][accepted.task];
        if (accepted.resultRoot == 0) revert ResultRootMissing();
        bytes32 verdictRoot = state.verdictRoot;
        if (accepted.evidence.length > 0) (verdictRoot,) = settleVerdict(jobId, round, accepted.task, accepted.evidence);
        if (verdictRoot != 0) {
            if (verdictRoot != accepted.resultRoot) revert VerdictForOtherRoot(accepted.resultRoot, verdictRoot);
            return;
        }
        uint32 count = 0;
        for (uint32 slot = 0; slot < redundancy; slot++) {
            Slot storage entry = state.slots[slot];
            if (entry.status == SlotStatus.Revealed && entry.resultRoot == accepted.resultRoot) count++;
        }
        if (count <= redundancy / 2) revert NoMajority(accepted.task, accepted.resultRoot, count, redundancy);
    }

    /// The root that `evidence` proves; recorded, so that no later verdict can contradict it.
    function settleVerdict(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence)
        private
        returns (bytes32 root, bytes32 verdictCid)
    {
        (root, verdictCid) = faultVerifier.correctRoot(jobId, round, task, evidence);
        if (root == 0) revert VerdictEmpty();
        Task storage state = tasks[jobId][round][task];
        bytes32 earlier = state.verdictRoot;
        if (earlier == 0) state.verdictRoot = root;
        else if (earlier != root) revert VerdictConflict(earlier, root);
    }

    /// The job, which must be running or paused and be in `round`.
    function openJob(bytes32 jobId, uint64 round) private view returns (Job memory job) {
        job = jobManager.job(jobId);
        if (job.status != JobStatus.Running && job.status != JobStatus.Paused) revert JobEnded(jobId);
        if (round != job.nextRound) revert RoundOutOfOrder(jobId, round, job.nextRound);
    }

    /// The job, which must be running, be in `round` and have the caller for coordinator.
    function coordinatedJob(bytes32 jobId, uint64 round) private view returns (Job memory job) {
        job = jobManager.job(jobId);
        if (msg.sender != job.coordinator) revert NotCoordinator(jobId, msg.sender);
        if (job.status != JobStatus.Running) revert JobNotRunning(jobId);
        if (round != job.nextRound) revert RoundOutOfOrder(jobId, round, job.nextRound);
    }

    function assignedRound(bytes32 jobId, uint64 round) private view returns (Round memory state) {
        state = jobManager.round(jobId, round);
        if (!state.assigned) revert RoundNotAssigned(jobId, round);
    }

    function requireActiveOperator(bytes32 node) private view {
        (address operator, bool active) = registry.operatorOf(node);
        if (operator != msg.sender) revert NotOperator(node, msg.sender);
        if (!active) revert NodeNotActive(node);
    }

    function requireHoldsSlot(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 node, bytes32[] calldata proof)
        private
        view
    {
        bytes32 root = assignedRound(jobId, round).assignmentRoot;
        bytes32 override_ = jobManager.slotOverride(jobId, round, task, slot);
        bool holds = override_ != 0
            ? override_ == node
            : MerkleProof.verifyCalldata(proof, root, Digests.assignmentLeaf(jobId, round, task, slot, node));
        if (!holds) revert NodeNotInSlot(node, task, slot);
    }
}
