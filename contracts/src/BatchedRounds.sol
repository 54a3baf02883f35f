// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IBatchedProofOfCompute} from "./interfaces/IBatchedProofOfCompute.sol";
import {IFaultVerifier} from "./interfaces/IFaultVerifier.sol";
import {IInsuranceFund} from "./interfaces/IInsuranceFund.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IReputationRegistry} from "./interfaces/IReputationRegistry.sol";
import {Digests} from "./libraries/Digests.sol";
import {SettlementDoors} from "./ProofOfCompute.sol";
import {Relayed} from "./Relayed.sol";
import {BatchRound, ForcedReveal} from "./types/BatchTypes.sol";
import {JobEnded, JobNotRunning, NodeNotActive, NotCoordinator, NotOperator, RoundNotAssigned, RoundOutOfOrder} from "./types/Errors.sol";
import {Job, JobStatus, Round, Settlement} from "./types/JobTypes.sol";
import {Offence} from "./types/SlashTypes.sol";

/// Rounds that are settled in batches, up to the moment at which they are: the committed list, what nodes have forced in, verdicts. What
/// follows is in BatchedProofOfCompute. See IBatchedProofOfCompute.
abstract contract BatchedRounds is IBatchedProofOfCompute, Relayed {
    using BitMaps for BitMaps.BitMap;

    uint256 private constant LOW_SALT_BITS = 128;
    uint64 private constant TIMEOUT_PARTS = 8;

    INodeCertRegistry internal immutable registry;
    IAIJobManager internal immutable jobManager;
    IFaultVerifier public immutable faultVerifier;
    IReputationRegistry internal immutable reputation;
    IInsuranceFund internal immutable insuranceFund;
    /// How long a node may still commit after the list, and still reveal after the commitments; at most an eighth of a job's time for a
    /// round. Seconds.
    uint64 public immutable forceWindow;

    /// Everything about a round.
    struct State {
        BatchRound batch;
        uint32[] forcedCommits;
        uint32[] forcedReveals;
        /// Tasks with a verdict.
        uint32[] settledTasks;
        mapping(uint32 index => bytes32 commitment) forcedCommitOf;
        mapping(uint32 index => ForcedReveal) forcedRevealOf;
        mapping(uint32 task => bytes32 resultRoot) verdictOf;
        BitMaps.BitMap claimed;
        /// What was earned has gone back to the job's owner.
        BitMaps.BitMap voided;
        BitMaps.BitMap convicted;
    }

    /// What the fault verifier says.
    struct Verdict {
        bytes32 root;
        bytes32 cid;
        Offence offence;
        address judge;
    }

    mapping(bytes32 roundKey => State) private states;

    constructor(address forwarder, SettlementDoors memory doors, uint64 forceWindow_) Relayed(forwarder) {
        registry = doors.registry;
        jobManager = doors.jobManager;
        faultVerifier = doors.faultVerifier;
        reputation = doors.reputation;
        insuranceFund = doors.insuranceFund;
        forceWindow = forceWindow_;
    }

    // Commitments

    function commitBatch(bytes32 jobId, uint64 round, bytes32 commitmentsHash, uint32 commitments, bytes32 contentCid) external {
        Job memory job = coordinatedJob(jobId, round);
        if (job.status != JobStatus.Running) revert JobNotRunning(jobId);
        if (commitmentsHash == 0) revert BatchHashMissing();
        uint64 deadline = assignedRound(jobId, round).commitDeadline;
        if (block.timestamp >= deadline) revert CommitDeadlinePassed(deadline, block.timestamp);
        uint64 closesAt = uint64(block.timestamp) + windowOf(job);
        if (closesAt < deadline) closesAt = deadline;
        BatchRound storage batch = state(jobId, round).batch;
        batch.commitmentsHash = commitmentsHash;
        batch.commitments = commitments;
        batch.closesAt = closesAt;
        emit BatchCommitted(jobId, round, commitmentsHash, commitments, contentCid, closesAt);
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
        if (commitment == 0) revert CommitmentZero();
        requireOpen(jobId);
        uint32 index = ownSlot(jobId, round, task, slot, node, proof);
        State storage state_ = state(jobId, round);
        uint64 deadline = assignedRound(jobId, round).commitDeadline;
        uint64 closesAt = state_.batch.closesAt > deadline ? state_.batch.closesAt : deadline;
        if (block.timestamp >= closesAt) revert CommitmentsClosed(closesAt, block.timestamp);
        if (state_.forcedCommitOf[index] != 0) revert AlreadyForced(index);
        state_.forcedCommitOf[index] = commitment;
        state_.forcedCommits.push(index);
        emit CommitForced(jobId, round, index, node, commitment);
    }

    // Results

    function reveal(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 salt,
        bytes32 resultRoot,
        bytes32[] calldata proof
    ) external {
        if (resultRoot == 0) revert ResultRootZero();
        if (uint256(salt) << LOW_SALT_BITS != 0) revert SaltTooLong(salt);
        uint32 index = ownSlot(jobId, round, task, slot, node, proof);
        State storage state_ = state(jobId, round);
        requireCommitmentsClosed(jobId, round, state_.batch);
        if (state_.forcedRevealOf[index].resultRoot != 0) revert AlreadyForced(index);
        address holder = Digests.holder(node, _msgSender());
        bytes32 commitment = Digests.commitment(Digests.roundKey(jobId, round), task, slot, holder, salt, resultRoot);
        state_.forcedRevealOf[index] = ForcedReveal({commitment: commitment, resultRoot: resultRoot});
        state_.forcedReveals.push(index);
        emit RevealForced(jobId, round, index, node, salt, resultRoot);
    }

    function settleVerdict(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence) external {
        settle(jobId, round, task, evidence);
    }

    // Reading

    function batchOf(bytes32 jobId, uint64 round) external view returns (BatchRound memory) {
        return state(jobId, round).batch;
    }

    function forcedCommits(bytes32 jobId, uint64 round) external view returns (uint32[] memory) {
        return state(jobId, round).forcedCommits;
    }

    function forcedReveals(bytes32 jobId, uint64 round) external view returns (uint32[] memory) {
        return state(jobId, round).forcedReveals;
    }

    function forcedCommitOf(bytes32 jobId, uint64 round, uint32 index) external view returns (bytes32) {
        return state(jobId, round).forcedCommitOf[index];
    }

    function forcedRevealOf(bytes32 jobId, uint64 round, uint32 index) external view returns (ForcedReveal memory) {
        return state(jobId, round).forcedRevealOf[index];
    }

    function verdictOf(bytes32 jobId, uint64 round, uint32 task) external view returns (bytes32) {
        return state(jobId, round).verdictOf[task];
    }

    function isClaimed(bytes32 jobId, uint64 round, uint32 index) external view returns (bool) {
        return state(jobId, round).claimed.get(index);
    }

    function isVoided(bytes32 jobId, uint64 round, uint32 index) external view returns (bool) {
        return state(jobId, round).voided.get(index);
    }

    function isConvicted(bytes32 jobId, uint64 round, uint32 index) external view returns (bool) {
        return state(jobId, round).convicted.get(index);
    }

    // Inside

    /// What `evidence` proves; recorded, so that no later verdict can contradict it.
    function settle(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence) internal returns (Verdict memory verdict) {
        if (task >= batchedJob(jobId).tasks) revert BatchSlotOutOfRange(task, 0);
        (verdict.root, verdict.cid, verdict.offence, verdict.judge) = faultVerifier.correctRoot(jobId, round, task, evidence);
        if (verdict.root == 0) revert VerdictWithoutRoot();
        State storage state_ = state(jobId, round);
        bytes32 earlier = state_.verdictOf[task];
        if (earlier == verdict.root) return verdict;
        if (earlier != 0) revert VerdictContradicted(earlier, verdict.root);
        state_.verdictOf[task] = verdict.root;
        state_.settledTasks.push(task);
        emit VerdictSettled(jobId, round, task, verdict.root, verdict.cid);
    }

    function requireCommitmentsClosed(bytes32 jobId, uint64 round, BatchRound storage batch) internal view {
        uint64 closesAt = batch.closesAt;
        if (closesAt == 0) revert BatchNotCommitted(jobId, round);
        if (block.timestamp < closesAt) revert CommitmentsOpen(closesAt, block.timestamp);
    }

    /// The force window, at most an eighth of the job's time for a round: together with a commit deadline at half of it, the round can be
    /// finalized in time.
    function windowOf(Job memory job) internal view returns (uint64) {
        uint64 most = job.roundTimeout / TIMEOUT_PARTS;
        return forceWindow < most ? forceWindow : most;
    }

    function state(bytes32 jobId, uint64 round) internal view returns (State storage) {
        return states[Digests.roundKey(jobId, round)];
    }

    // Who may

    /// Index of a slot that belongs to `node`, whose operator must be the caller, in the job's running round.
    function ownSlot(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 node, bytes32[] calldata proof)
        private
        view
        returns (uint32 index)
    {
        Job memory job = batchedJob(jobId);
        if (round != job.nextRound) revert RoundOutOfOrder(jobId, round, job.nextRound);
        if (task >= job.tasks || slot >= job.redundancy) revert BatchSlotOutOfRange(task, slot);
        requireHolds(jobId, round, task, slot, ownHolder(node), proof);
        index = task * job.redundancy + slot;
    }

    /// A result may still be opened when a job has ended, since the round may still be settled; a commitment may not be made any more.
    function requireOpen(bytes32 jobId) private view {
        JobStatus status = jobManager.job(jobId).status;
        if (status != JobStatus.Running && status != JobStatus.Paused) revert JobEnded(jobId);
    }

    /// The holder that the caller is with an active node of its own.
    function ownHolder(bytes32 node) private view returns (address) {
        (address operator, bool active) = registry.operatorOf(node);
        if (operator != _msgSender()) revert NotOperator(node, _msgSender());
        if (!active) revert NodeNotActive(node);
        return Digests.holder(node, operator);
    }

    function requireHolds(bytes32 jobId, uint64 round, uint32 task, uint32 slot, address holder, bytes32[] calldata proof) private view {
        bytes32 leaf = Digests.assignmentLeaf(Digests.roundKey(jobId, round), task, slot, holder);
        if (!MerkleProof.verifyCalldata(proof, assignedRound(jobId, round).assignmentRoot, leaf)) {
            revert HolderNotInSlot(holder, task, slot);
        }
    }

    function coordinatedJob(bytes32 jobId, uint64 round) internal view returns (Job memory job) {
        job = batchedJob(jobId);
        if (_msgSender() != job.coordinator) revert NotCoordinator(jobId, _msgSender());
        if (round != job.nextRound) revert RoundOutOfOrder(jobId, round, job.nextRound);
    }

    function batchedJob(bytes32 jobId) private view returns (Job memory job) {
        job = jobManager.job(jobId);
        if (job.settlement != Settlement.Batched) revert JobNotBatched(jobId);
    }

    function assignedRound(bytes32 jobId, uint64 round) internal view returns (Round memory round_) {
        round_ = jobManager.round(jobId, round);
        if (!round_.assigned) revert RoundNotAssigned(jobId, round);
    }
}
