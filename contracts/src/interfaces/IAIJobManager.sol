// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Job, JobTerms, Round} from "../types/JobTypes.sol";
import {ICredits} from "./ICredits.sol";

/// Jobs, their escrow, and the assignment of each round. Rounds are strictly in order: only `nextRound` can be worked on.
interface IAIJobManager is ICredits {
    event JobSubmitted(
        bytes32 indexed job,
        address indexed owner,
        bytes32 specCid,
        bytes32 modelId,
        uint64 rounds,
        uint32 tasks,
        uint32 redundancy,
        address coordinator,
        address validator,
        uint256 budgetWei
    );
    event JobPaused(bytes32 indexed job);
    event JobResumed(bytes32 indexed job);
    event JobCompleted(bytes32 indexed job, uint256 refundWei);
    event JobCancelled(bytes32 indexed job, uint256 refundWei);
    event NodesClosed(bytes32 indexed job, uint64 round, bytes32 nodeSetRoot, uint32 nodeCount);
    event RoundAssigned(
        bytes32 indexed job, uint64 round, bytes32 beacon, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline
    );
    event SlotReassigned(bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node);

    error JobShapeInvalid(uint64 rounds, uint32 tasks, uint32 redundancy);
    error CoordinatorMissing();
    error BudgetTooLarge(uint256 budgetWei);
    error JobNotPaused(bytes32 job);
    error NotOwner(bytes32 job, address caller);
    error NotProofOfCompute(address caller);
    error RoundsRemaining(bytes32 job, uint64 nextRound, uint64 rounds);
    error AllRoundsFinalized(bytes32 job);
    error RoundAlreadyAssigned(bytes32 job, uint64 round);
    error NodesNotClosed(bytes32 job, uint64 round);
    error NodeSetEmpty(bytes32 job, uint64 round);
    error BeaconNotReady(bytes32 job, uint64 round, uint64 closedBlock);
    error BeaconExpired(bytes32 job, uint64 round, uint64 closedBlock);
    error SlotTaken(uint32 task, uint32 slot);
    error BudgetExceeded(bytes32 job, uint256 remainingWei, uint256 amountWei);

    /// Opens a job with the value sent as its budget. Any caller; the caller owns it.
    /// @return jobId keccak256(abi.encode(chain id, this contract, owner, the owner's job count, specCid))
    function submitJob(JobTerms calldata terms) external payable returns (bytes32 jobId);

    /// Stops the round from moving on; work already done may still be committed and revealed. Owner or coordinator.
    function pauseJob(bytes32 jobId) external;

    /// Owner or coordinator.
    function resumeJob(bytes32 jobId) external;

    /// Ends a running or paused job and credits what was not paid to the owner. Owner only.
    function cancelJob(bytes32 jobId) external;

    /// Ends a job whose last round is finalized and credits what was not paid to the owner. Coordinator only.
    function completeJob(bytes32 jobId) external;

    /// Fixes who may be drawn in the next round. May be repeated until the round is assigned; each time the beacon is drawn anew.
    /// Coordinator only.
    function closeNodes(bytes32 jobId, uint64 round, bytes32 nodeSetRoot, uint32 nodeCount) external;

    /// Fixes the assignment drawn with the beacon, and stores the beacon. Coordinator only.
    /// @param assignmentRoot sorted-pair keccak Merkle root over Digests.assignmentLeaf
    /// @param commitDeadline seconds since 1970 after which the coordinator may close commits early; not checked here
    function assign(bytes32 jobId, uint64 round, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline) external;

    /// Gives a slot that has not committed to another active node, while its task takes commits. Coordinator only.
    function reassign(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 newNode) external;

    /// Credits `operator` with `amountWei` out of the job's escrow. ProofOfCompute only.
    function payReward(bytes32 jobId, address operator, uint128 amountWei) external;

    /// Moves the job on to its next round. ProofOfCompute only.
    function advanceRound(bytes32 jobId) external;

    /// The seed of the round's draw: keccak256(abi.encode(hash of the block of the last `closeNodes`, jobId, round)). Exists from the
    /// next block on, for 256 blocks unless the round is assigned by then. Reverts before and after.
    function beacon(bytes32 jobId, uint64 round) external view returns (bytes32);

    /// Reverts JobUnknown.
    function job(bytes32 jobId) external view returns (Job memory);

    function round(bytes32 jobId, uint64 round_) external view returns (Round memory);

    /// The node a slot was reassigned to, or 0. It wins over the assignment tree.
    function slotOverride(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (bytes32 node);

    /// How many jobs `owner` has submitted.
    function jobCount(address owner) external view returns (uint256);
}
