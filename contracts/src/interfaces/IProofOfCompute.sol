// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AcceptedTask, ComputeReceipt, Slot, TrainProof} from "../types/ComputeTypes.sol";

/// Commit, reveal, convict, finalize: what was computed, by whom, and what it earned.
interface IProofOfCompute {
    event Committed(bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node, bytes32 commitment);
    event CommitsClosed(bytes32 indexed job, uint64 round, uint32 task, uint32 commits);
    event Revealed(
        bytes32 indexed job,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 indexed node,
        bytes32 salt,
        bytes32 resultRoot,
        bytes32 resultCid,
        TrainProof proof
    );
    event Convicted(
        bytes32 indexed job,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 indexed node,
        bytes32 revealedRoot,
        bytes32 correctRoot,
        bytes32 verdictCid
    );
    event TaskFinalized(bytes32 indexed job, uint64 round, uint32 task, bytes32 resultRoot, uint32 paid);
    event RewardCredited(
        bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node, address indexed operator, uint256 amountWei
    );
    event RoundFinalized(bytes32 indexed job, uint64 round, bytes32 checkpointCid);

    error SlotOutOfRange(uint32 task, uint32 slot);
    error NodeNotInSlot(bytes32 node, uint32 task, uint32 slot);
    error NodeAlreadyInTask(bytes32 node, uint32 task, uint32 slot);
    error CommitmentMissing(uint32 task, uint32 slot);
    error AlreadyCommitted(uint32 task, uint32 slot);
    error CommitsAreClosed(uint32 task);
    error CommitsStillOpen(uint32 task);
    error DeadlineNotReached(uint64 commitDeadline, uint256 time);
    error NotCommitted(uint32 task, uint32 slot);
    error AlreadyRevealed(uint32 task, uint32 slot);
    error ResultRootMissing();
    error CommitmentMismatch(bytes32 expected, bytes32 actual);
    error ProofNotBound(bytes32 jobId, bytes32 nodePubkey);
    error SignatureLengthInvalid(uint256 length);
    error NotRevealed(uint32 task, uint32 slot);
    error AlreadyConvicted(uint32 task, uint32 slot);
    error ResultIsCorrect(bytes32 resultRoot);
    error VerdictConflict(bytes32 earlierRoot, bytes32 laterRoot);
    error VerdictForOtherRoot(bytes32 resultRoot, bytes32 verdictRoot);
    error VerdictCidMismatch(bytes32 verdictCid, bytes32 evidenceCid);
    error VerdictEmpty();
    error TasksNotAscending(uint32 task);
    error NoMajority(uint32 task, bytes32 resultRoot, uint32 count, uint32 redundancy);
    error NotRewarded(uint32 task, uint32 slot);

    /// Records a commitment to a result. The node's operator only; the node must be active and hold the slot.
    /// When the task's last slot commits, its commits close.
    /// @param proof sorted-pair keccak Merkle proof of Digests.assignmentLeaf; ignored where the slot was reassigned
    function commit(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 commitment,
        bytes32[] calldata proof
    ) external;

    /// Closes a task's commits with what is there, once the deadline has passed. Coordinator only.
    function closeCommits(bytes32 jobId, uint64 round, uint32 task) external;

    /// Opens a commitment, once the task's commits are closed. The node's operator only.
    /// @param resultCid content id of the result's objects
    /// @param proof     stored as its hash, emitted whole; its signature is checked off chain
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
    ) external;

    /// Proves that a revealed result is wrong: the node loses its whole stake and is deactivated. Anyone with evidence, at any time.
    /// The first verdict on a task stands: a later one for another root is refused.
    /// @param node the node in the slot, so that nobody is convicted by a wrong number
    function convict(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 verdictCid,
        bytes calldata evidence
    ) external;

    /// Ends the round. Tasks ascend; each is accepted because more than half of its slots revealed the root, or because evidence names
    /// it. Every slot that revealed an accepted root and is not convicted earns its share. Coordinator only.
    function finalize(bytes32 jobId, uint64 round, bytes32 checkpointCid, AcceptedTask[] calldata accepted) external;

    /// Whether the slot may still be given to another node: in range, not committed, its task's commits open.
    function slotOpen(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (bool);

    function slotOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (Slot memory);

    /// Commits so far, whether they are closed, and the root a verdict has named (or 0).
    function taskOf(bytes32 jobId, uint64 round, uint32 task)
        external
        view
        returns (uint32 commits, bool closed, bytes32 verdictRoot);

    /// What the slot was paid for. Reverts NotRewarded.
    function receiptOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (ComputeReceipt memory);
}
