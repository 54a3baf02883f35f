// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {AcceptedTask, ComputeReceipt, Slot, SlotPlace, TrainProof} from "../types/ComputeTypes.sol";
import {Job} from "../types/JobTypes.sol";
import {Offence} from "../types/SlashTypes.sol";

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
        bytes32 verdictCid,
        Offence offence
    );
    event UnrevealedReported(bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node, uint256 slashedWei);
    event TaskFinalized(bytes32 indexed job, uint64 round, uint32 task, bytes32 resultRoot, uint32 paid);
    event RewardCredited(
        bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node, address indexed operator, uint256 amountWei
    );
    event NodeCredited(bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node);
    event RoundFinalized(bytes32 indexed job, uint64 round, bytes32 checkpointCid, uint16 accuracy);

    error NotJobManager(address caller);
    error SlotOutOfRange(uint32 task, uint32 slot);
    error SlotTaken(uint32 task, uint32 slot);
    error NodeNotInSlot(bytes32 node, uint32 task, uint32 slot);
    error CommitmentMissing(uint32 task, uint32 slot);
    error AlreadyCommitted(uint32 task, uint32 slot);
    error CommitsAreClosed(uint32 task);
    error CommitsStillOpen(uint32 task);
    error DeadlineNotReached(uint64 commitDeadline, uint256 time);
    error RoundIsOver(bytes32 job, uint64 round);
    error NotCommitted(uint32 task, uint32 slot);
    error AlreadyRevealed(uint32 task, uint32 slot);
    error ResultRootMissing();
    error CommitmentMismatch(bytes32 job, uint64 round, uint32 task, uint32 slot);
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
    error ScoreInvalid(uint32 task, uint256 score, uint256 left);
    error AccuracyInvalid(uint16 accuracy);
    error NoMajority(uint32 task, bytes32 resultRoot, uint32 count, uint32 redundancy);
    error JobStillOpen(bytes32 job);
    error NotRewarded(uint32 task, uint32 slot);

    /// Takes note of an assigned round, and of what the job pays for it as it stands now. AIJobManager only.
    function openRound(
        bytes32 jobId,
        uint64 round,
        bytes32 assignmentRoot,
        uint64 commitDeadline,
        Job calldata job
    ) external;

    /// Gives a slot that has not committed to another holder. AIJobManager only.
    function reassignSlot(bytes32 jobId, uint64 round, uint32 task, uint32 slot, address holder) external;

    /// Records a commitment to a result. Whoever the assignment names as the node's operator; the node itself is looked at when it reveals.
    /// @param commitment Digests.commitment; 248 bits of it are kept
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

    /// Closes a task's commits with what is there, once the deadline has passed. Anyone, so that no coordinator can hold up a reveal.
    function closeCommits(bytes32 jobId, uint64 round, uint32 task) external;

    /// Opens a commitment, once every slot of the task has committed or is closed. The node's operator only. From here on the result can be
    /// challenged and the node's stake is held.
    /// @param resultCid content id of the result's objects
    /// @param proof     emitted whole; its signature is checked off chain
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

    /// Proves that a revealed result is wrong: the node loses stake by the offence that the evidence shows, and the job's owner is insured
    /// for what the result was paid, at most for what the conviction brings to the insurance fund. Anyone with evidence, at any time;
    /// the caller is the challenger. The first verdict on a task stands: a later one for another root is refused.
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
    /// it. Every node that revealed an accepted root and is not convicted earns its share, once per task. Coordinator only.
    /// @param accuracy of the round's global model, basis points; 0 where it was not measured. Auditors measure it again.
    function finalize(bytes32 jobId, uint64 round, bytes32 checkpointCid, uint16 accuracy, AcceptedTask[] calldata accepted) external;

    /// Counts paid work to the reputation of its nodes and no longer to what their stakes are exposed to. Anyone, once for each slot; slots
    /// that were counted are passed over. Kept out of `finalize`, so that whoever has the use of it pays for it.
    function creditNodes(SlotPlace[] calldata places) external;

    /// Pays the majority of a task in the open round of a job that was cancelled or has failed, out of what was kept of its budget. Anyone,
    /// for `roundTimeout` seconds after the end.
    function settleTask(bytes32 jobId, uint64 round, uint32 task, bytes32 resultRoot) external;

    /// Says that a node committed and never revealed, once the round is over, or the time for settling an ended job. It costs
    /// reputation; where the job has failed, also the slot's share of the budget from the node's stake. Anyone; the caller is the
    /// challenger.
    /// @param proof as for `commit`
    function reportUnrevealed(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 node, bytes32[] calldata proof) external;

    /// Whether the slot may still be given to another node: in range, not committed, its task's commits open.
    function slotOpen(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (bool);

    function slotOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (Slot memory);

    /// The root a verdict has named for the task, or 0.
    function verdictOf(bytes32 jobId, uint64 round, uint32 task) external view returns (bytes32 verdictRoot);

    /// What the slot was paid for. Reverts NotRewarded.
    function receiptOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (ComputeReceipt memory);
}
