// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Job, JobKind, JobTerms, Round} from "../types/JobTypes.sol";
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
    /// Follows JobSubmitted: the rest of the terms.
    event JobTermsSet(bytes32 indexed job, JobTerms terms);
    event JobSpecified(bytes32 indexed job, bytes32 specCid);
    event JobSponsored(bytes32 indexed job, uint256 amountWei);
    event JobPaused(bytes32 indexed job);
    event JobResumed(bytes32 indexed job);
    event JobCompleted(bytes32 indexed job, uint256 refundWei);
    event JobCancelled(bytes32 indexed job, uint256 refundWei, uint256 reserveWei);
    event JobFailed(bytes32 indexed job, uint256 refundWei, uint256 reserveWei);
    event ReserveReleased(bytes32 indexed job, uint256 refundWei);
    event NodesClosed(bytes32 indexed job, uint64 round, bytes32 nodeSetRoot, uint32 nodeCount);
    event RoundAssigned(
        bytes32 indexed job, uint64 round, bytes32 beacon, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline
    );
    event SlotReassigned(bytes32 indexed job, uint64 round, uint32 task, uint32 slot, bytes32 indexed node);

    error JobShapeInvalid(uint64 rounds, uint32 tasks, uint32 redundancy);
    error KindNeedsOtherShape(JobKind kind, uint32 tasks, uint32 minParticipants);
    error RewardTermsInvalid();
    error TimeoutInvalid(uint64 roundTimeout);
    error CoordinatorMissing();
    error BudgetTooLarge(uint256 budgetWei);
    error SpecAlreadySet(bytes32 job);
    error SpecMissing(bytes32 job);
    error JobNotPaused(bytes32 job);
    error NotOwner(bytes32 job, address caller);
    error NotProofOfCompute(address caller);
    error RoundsRemaining(bytes32 job, uint64 nextRound, uint64 rounds);
    error AllRoundsFinalized(bytes32 job);
    error RoundAlreadyAssigned(bytes32 job, uint64 round);
    error NodesNotClosed(bytes32 job, uint64 round);
    error NodesTooFew(bytes32 job, uint64 round, uint32 nodeCount, uint32 minParticipants);
    error BeaconNotReady(bytes32 job, uint64 round, uint64 closedBlock);
    error BeaconExpired(bytes32 job, uint64 round, uint64 closedBlock);
    error DeadlineTooFar(uint64 commitDeadline, uint256 latest);
    error SlotsCannotBeReassigned(bytes32 job);
    error BudgetExceeded(bytes32 job, uint256 remainingWei, uint256 amountWei);
    error StillInTime(bytes32 job, uint256 until);
    error SettlementOver(bytes32 job);
    error NothingReserved(bytes32 job);

    /// Opens a job with the value sent as its budget. Any caller; the caller owns it.
    /// @return jobId keccak256(abi.encode(chain id, this contract, owner, the owner's job count, specCid))
    function submitJob(JobTerms calldata terms) external payable returns (bytes32 jobId);

    /// Opens a job that was asked for by TRAIN_REQUEST, for `owner`. Its specification follows by `specifyJob`. TrainRequest only.
    /// @param terms         `specCid` is 0
    /// @param requestDigest stands in the job's id where a specCid stands otherwise
    function submitRequest(address owner, JobTerms calldata terms, bytes32 requestDigest) external payable returns (bytes32 jobId);

    /// Names the specification of a requested job, once. Coordinator only.
    function specifyJob(bytes32 jobId, bytes32 specCid) external;

    /// Adds the value sent to the budget of a running or paused job; what stays unspent of it comes back to the emission pool.
    /// EmissionPool only.
    function sponsorJob(bytes32 jobId) external payable;

    /// Stops the round from moving on; work already done may still be committed and revealed. Owner or coordinator.
    function pauseJob(bytes32 jobId) external;

    /// Owner or coordinator. The time without progress begins anew.
    function resumeJob(bytes32 jobId) external;

    /// Ends a running or paused job. What was not paid is credited to the owner; where a round is open, the round's part of it is kept for
    /// `roundTimeout` seconds, so that work that was done can be settled. Owner only.
    function cancelJob(bytes32 jobId) external;

    /// Ends a job that made no progress for `roundTimeout` seconds, as `cancelJob` does. Anyone. Nodes that committed to the open round and
    /// did not deliver can lose stake then: see IProofOfCompute.reportUnrevealed.
    function failJob(bytes32 jobId) external;

    /// Ends a job whose last round is finalized and credits what was not paid to the owner. Anyone.
    function completeJob(bytes32 jobId) external;

    /// Credits what was kept for a cancelled or failed job and nobody was paid from to the owner, once the time for it is over. Anyone.
    function releaseReserve(bytes32 jobId) external;

    /// Fixes who may be drawn in the next round. May be repeated until the round is assigned; each time the beacon is drawn anew.
    /// Coordinator only.
    function closeNodes(bytes32 jobId, uint64 round, bytes32 nodeSetRoot, uint32 nodeCount) external;

    /// Fixes the assignment drawn with the beacon, and stores the beacon. Coordinator only.
    /// @param assignmentRoot sorted-pair keccak Merkle root over Digests.assignmentLeaf
    /// @param commitDeadline seconds since 1970 after which commits can be closed; at most half of `roundTimeout` from now
    function assign(bytes32 jobId, uint64 round, bytes32 assignmentRoot, bytes32 assignmentCid, uint64 commitDeadline) external;

    /// Gives a slot that has not committed to another active node, while its task takes commits. Coordinator only; not in batches.
    function reassign(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 newNode) external;

    /// Credits `account` with `amountWei` out of a running job's escrow. The job's settlement contract only.
    function payReward(bytes32 jobId, address account, uint128 amountWei) external;

    /// Credits each of `accounts` with `amountWei` out of a running job's escrow. The job's settlement contract only.
    function payRewards(bytes32 jobId, address[] calldata accounts, uint128 amountWei) external;

    /// Credits each of `accounts` with `amountWei` out of what was kept of an ended job, while there is time for it. The job's settlement
    /// contract only.
    function payReserved(bytes32 jobId, address[] calldata accounts, uint128 amountWei) external;

    /// Moves a running job on to its next round. The job's settlement contract only.
    /// @param accuracy of the round's global model, basis points; 0 where it was not measured
    function advanceRound(bytes32 jobId, uint16 accuracy) external;

    /// The seed of the round's draw: keccak256(abi.encode(hash of the block of the last `closeNodes`, jobId, round)). Exists from the
    /// next block on, for 256 blocks unless the round is assigned by then. Reverts before and after.
    function beacon(bytes32 jobId, uint64 round) external view returns (bytes32);

    /// Reverts JobUnknown.
    function job(bytes32 jobId) external view returns (Job memory);

    function round(bytes32 jobId, uint64 round_) external view returns (Round memory);

    /// How many jobs `owner` has submitted.
    function jobCount(address owner) external view returns (uint256);

    /// The id that the next job of `owner` gets. `digest` is its specCid, or the digest of its request.
    function nextJobId(address owner, bytes32 digest) external view returns (bytes32);
}
