// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {BatchedRounds} from "./BatchedRounds.sol";
import {BatchSlots} from "./libraries/BatchSlots.sol";
import {Digests} from "./libraries/Digests.sol";
import {MerkleRoots} from "./libraries/MerkleRoots.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {SettlementDoors} from "./ProofOfCompute.sol";
import {BatchCharge, BatchReceipt, BatchResult, BatchRound, BatchSlot, ForcedReveal} from "./types/BatchTypes.sol";
import {JobNotRunning, NotOperator} from "./types/Errors.sol";
import {Job, JobStatus} from "./types/JobTypes.sol";
import {Outcome} from "./types/ReputationTypes.sol";

/// Rounds settled in batches. See IBatchedProofOfCompute.
/// @dev Holds no money itself: what rounds have earned and nobody has claimed is this contract's credit in the job manager, exactly. It
/// calls only contracts fixed at deployment, none of which calls an account, so nothing can re-enter.
contract BatchedProofOfCompute is BatchedRounds, EIP712 {
    using BitMaps for BitMaps.BitMap;

    bytes32 private constant COMMITMENT_TYPEHASH = keccak256("BatchCommitment(bytes32 commitment)");
    uint256 private constant ONE_SHARE = 1;
    /// How long a reward waits for its node.
    uint256 private constant CLAIM_TIME = 365 days;

    constructor(address forwarder, SettlementDoors memory doors, uint64 forceWindow_)
        BatchedRounds(forwarder, doors, forceWindow_)
        EIP712("Muster", "1")
    {}

    function finalizeBatch(bytes32 jobId, uint64 round, BatchResult calldata result) external {
        Job memory job = coordinatedJob(jobId, round);
        if (job.status != JobStatus.Running && job.endedAt == 0) revert JobNotRunning(jobId);
        if (result.taskRoots.length != job.tasks) revert TaskRootsLength(result.taskRoots.length, job.tasks);
        State storage state_ = state(jobId, round);
        if (state_.batch.finalizedAt != 0) revert BatchAlreadyFinalized(jobId, round);
        requireCommitmentsClosed(jobId, round, state_.batch);
        uint256 amountWei = earned(job, result.accuracyBasisPoints);
        BatchSlots.Opened memory opened = BatchSlots.open(Digests.roundKey(jobId, round), job.redundancy, amountWei, result);

        if (opened.opened < opened.committed) requireRevealsClosed(job, state_.batch);
        requireAssigned(jobId, round, opened.assignmentLeaves);
        requireAccepted(state_, job.redundancy, result.taskRoots, opened.openedPerTask);
        requireForcedReveals(state_, job.redundancy, result, opened.commitments);
        requireCommitted(state_, result.listedCommitments, opened);

        bytes32 settlementRoot = MerkleRoots.root(opened.settlementLeaves);
        state_.batch.settlementRoot = settlementRoot;
        state_.batch.finalizedAt = uint64(block.timestamp);
        state_.batch.redundancy = job.redundancy;
        uint128 totalWei = SafeCast.toUint128(opened.opened * amountWei);
        state_.batch.unclaimedWei = totalWei;
        emit TasksSettled(jobId, round, result.taskRoots);
        emit BatchFinalized(jobId, round, settlementRoot, opened.opened, totalWei, result.checkpointCid);
        collect(jobId, job, totalWei, result.accuracyBasisPoints);
    }

    // After the round

    function claim(bytes32 jobId, uint64 round, BatchSlot calldata slot) external {
        pay(jobId, round, slot);
    }

    function claimMany(bytes32 jobId, uint64 round, BatchSlot[] calldata slots) external {
        for (uint256 i = 0; i < slots.length; i++) pay(jobId, round, slots[i]);
    }

    function expire(bytes32 jobId, uint64 round) external {
        BatchRound storage batch = state(jobId, round).batch;
        uint128 amountWei = batch.unclaimedWei;
        if (amountWei == 0) revert NothingUnclaimed(jobId, round);
        uint256 until = uint256(batch.finalizedAt) + CLAIM_TIME;
        if (block.timestamp < until) revert ClaimsOpen(until);
        batch.unclaimedWei = 0;
        address owner = jobManager.job(jobId).owner;
        emit BatchExpired(jobId, round, owner, amountWei);
        jobManager.transferCredit(owner, amountWei);
    }

    function convict(bytes32 jobId, uint64 round, BatchSlot calldata slot, BatchCharge calldata charge) external {
        (State storage state_, address operator) = settledSlot(jobId, round, slot);
        uint32 task = requireOpening(jobId, round, slot, operator, charge);
        bool own = isOwn(state_, slot, operator, charge.signature);
        if (state_.convicted.get(slot.index)) revert SlotAlreadyConvicted(slot.index);
        if (!own && (slot.amountWei == 0 || state_.voided.get(slot.index))) revert CommitmentNotSigned(slot.node);
        Verdict memory verdict = settle(jobId, round, task, charge.evidence);
        if (verdict.root == charge.resultRoot) revert ResultCorrect(verdict.root);

        if (own) {
            state_.convicted.set(slot.index);
            emit BatchConvicted(jobId, round, slot.index, slot.node, charge.resultRoot, verdict.root, verdict.cid);
            reputation.record(slot.node, Outcome.TaskRejected, 1);
        }
        uint256 insuranceWei = own ? slash(slot.node, verdict) : 0;
        giveBack(jobId, round, slot, state_, insuranceWei);
    }

    // Reading

    function receiptOf(bytes32 jobId, uint64 round, BatchSlot calldata slot) external view returns (BatchReceipt memory) {
        (State storage state_, address operator) = settledSlot(jobId, round, slot);
        uint32 redundancy = state_.batch.redundancy;
        return BatchReceipt({
            task: slot.index / redundancy,
            slot: slot.index % redundancy,
            operator: operator,
            amountWei: slot.amountWei,
            finalizedAt: state_.batch.finalizedAt,
            claimed: state_.claimed.get(slot.index),
            voided: state_.voided.get(slot.index),
            convicted: state_.convicted.get(slot.index)
        });
    }

    function commitmentDigest(bytes32 commitment) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(COMMITMENT_TYPEHASH, commitment)));
    }

    // What finalizeBatch pays

    /// Wei for one slot. In batches every task counts the same.
    function earned(Job memory job, uint256 accuracy) private pure returns (uint256) {
        job.reward.scoreTotal = job.tasks;
        uint256 base = Rewards.slotReward(job, ONE_SHARE);
        return base + Rewards.accuracyBonus(job, base, ONE_SHARE, accuracy);
    }

    /// Takes what the round has earned out of the job's escrow. A job that ended in the middle of the round has kept a reserve for it, and
    /// goes to no further round.
    function collect(bytes32 jobId, Job memory job, uint128 totalWei, uint16 accuracy) private {
        if (job.endedAt != 0) {
            address[] memory accounts = new address[](1);
            accounts[0] = address(this);
            jobManager.payReserved(jobId, accounts, totalWei);
        } else {
            jobManager.payReward(jobId, address(this), totalWei);
            jobManager.advanceRound(jobId, accuracy);
        }
    }

    // What finalizeBatch checks

    function requireAssigned(bytes32 jobId, uint64 round, bytes32[] memory leaves) private view {
        bytes32 expected = assignedRound(jobId, round).assignmentRoot;
        bytes32 actual = MerkleRoots.root(leaves);
        if (actual != expected) revert AssignmentMismatch(expected, actual);
    }

    /// Accepted by verdict, or by strict majority of the task's slots.
    function requireAccepted(State storage state_, uint256 redundancy, bytes32[] calldata taskRoots, uint256[] memory openedPerTask)
        private
        view
    {
        for (uint256 i = 0; i < state_.settledTasks.length; i++) {
            uint32 task = state_.settledTasks[i];
            bytes32 verdict = state_.verdictOf[task];
            if (taskRoots[task] == 0) continue;
            if (taskRoots[task] != verdict) revert RootAgainstVerdict(task, taskRoots[task], verdict);
            openedPerTask[task] = redundancy;
        }
        for (uint256 task = 0; task < taskRoots.length; task++) {
            if (taskRoots[task] != 0 && openedPerTask[task] <= redundancy / 2) {
                revert TaskWithoutMajority(task, taskRoots[task], openedPerTask[task], redundancy);
            }
        }
    }

    /// What a node has opened on chain is listed as opened, if it is what the slot committed to and the root is accepted.
    function requireForcedReveals(State storage state_, uint32 redundancy, BatchResult calldata result, bytes32[] memory commitments)
        private
        view
    {
        uint256 count = state_.forcedReveals.length;
        for (uint256 i = 0; i < count; i++) {
            uint32 index = state_.forcedReveals[i];
            ForcedReveal storage entry = state_.forcedRevealOf[index];
            if (entry.commitment != commitments[index] || entry.resultRoot != result.taskRoots[index / redundancy]) continue;
            if (!BatchSlots.isOpened(result.packedSlots, index)) revert ForcedRevealOmitted(index);
        }
    }

    /// The slots' commitments are the ones of the list that was committed, but for those that nodes have committed themselves.
    function requireCommitted(State storage state_, bytes32[] calldata listed, BatchSlots.Opened memory opened) private view {
        uint256 count = state_.forcedCommits.length;
        if (listed.length != count) revert ListedCommitmentsLength(listed.length, count);
        bytes32[] memory commitments = opened.commitments;
        for (uint256 i = 0; i < count; i++) {
            uint32 index = state_.forcedCommits[i];
            if (commitments[index] != state_.forcedCommitOf[index]) revert ForcedCommitOmitted(index);
            commitments[index] = listed[i];
            if (listed[i] == 0) opened.committed--;
        }
        bytes32 actual;
        // Memory-safe: reads the elements of `commitments`.
        assembly ("memory-safe") {
            actual := keccak256(add(commitments, 0x20), shl(5, mload(commitments)))
        }
        bytes32 expected = state_.batch.commitmentsHash;
        if (actual != expected) revert CommitmentsMismatch(expected, actual);
        uint32 expectedCount = state_.batch.commitments;
        if (opened.committed != expectedCount) revert CommitmentCountMismatch(expectedCount, opened.committed);
    }

    function requireRevealsClosed(Job memory job, BatchRound storage batch) private view {
        uint64 revealsUntil = batch.closesAt + windowOf(job);
        if (block.timestamp < revealsUntil) revert RevealsOpen(revealsUntil, block.timestamp);
    }

    // What claim and convict do

    function pay(bytes32 jobId, uint64 round, BatchSlot calldata slot) private {
        (State storage state_, address operator) = settledSlot(jobId, round, slot);
        if (operator != _msgSender()) revert NotOperator(slot.node, _msgSender());
        if (slot.amountWei == 0) revert NothingEarned(slot.index);
        if (state_.voided.get(slot.index)) revert RewardVoided(slot.index);
        if (state_.claimed.get(slot.index)) revert AlreadyClaimed(slot.index);
        take(jobId, round, state_.batch, slot.amountWei);
        state_.claimed.set(slot.index);
        emit BatchRewardClaimed(jobId, round, slot.index, slot.node, operator, slot.amountWei);
        // While the result can be challenged, the node's stake stays; a node without enough of it waits until the window is over.
        uint256 windowEnds = uint256(state_.batch.finalizedAt) + registry.times().challenge;
        if (block.timestamp < windowEnds) registry.guard(slot.node, slot.amountWei);
        reputation.record(slot.node, Outcome.TaskAccepted, 1);
        jobManager.transferCredit(operator, slot.amountWei);
    }

    /// What the insurance fund has of the slash.
    function slash(bytes32 node, Verdict memory verdict) private returns (uint256 insuranceWei) {
        (, insuranceWei) = registry.slash(node, verdict.offence, _msgSender(), verdict.judge);
    }

    /// What a convicted slot has earned goes to the job's owner. What was claimed already is insured, at most for what this
    /// conviction brought to the fund: more would let an owner, a node and a validator that are one empty the fund.
    function giveBack(bytes32 jobId, uint64 round, BatchSlot calldata slot, State storage state_, uint256 insuranceWei) private {
        if (slot.amountWei == 0 || state_.voided.get(slot.index)) return;
        address owner = jobManager.job(jobId).owner;
        state_.voided.set(slot.index);
        emit BatchRewardVoided(jobId, round, slot.index, owner, slot.amountWei);
        if (state_.claimed.get(slot.index)) {
            uint256 coveredWei = slot.amountWei < insuranceWei ? slot.amountWei : insuranceWei;
            if (coveredWei > 0) insuranceFund.cover(owner, coveredWei);
        } else if (state_.batch.unclaimedWei >= slot.amountWei) {
            // Otherwise the owner has it already: the round's rewards have expired.
            take(jobId, round, state_.batch, slot.amountWei);
            jobManager.transferCredit(owner, slot.amountWei);
        }
    }

    function take(bytes32 jobId, uint64 round, BatchRound storage batch, uint256 amountWei) private {
        uint128 left = batch.unclaimedWei;
        if (amountWei > left) revert ClaimsExpired(jobId, round);
        // At most what is left.
        batch.unclaimedWei = left - uint128(amountWei);
    }

    /// The state of a settled round and the operator of the node, both of which `slot` must be true for.
    function settledSlot(bytes32 jobId, uint64 round, BatchSlot calldata slot)
        private
        view
        returns (State storage state_, address operator)
    {
        state_ = state(jobId, round);
        if (state_.batch.finalizedAt == 0) revert BatchNotFinalized(jobId, round);
        (operator,) = registry.operatorOf(slot.node);
        bytes32 leaf = BatchSlots.settlementLeaf(slot.index, Digests.holder(slot.node, operator), slot.commitment, slot.amountWei);
        if (!MerkleProof.verifyCalldata(slot.proof, state_.batch.settlementRoot, leaf)) revert SlotNotInBatch(slot.index, slot.node);
    }

    /// The task of a slot, whose commitment `charge` must open.
    function requireOpening(bytes32 jobId, uint64 round, BatchSlot calldata slot, address operator, BatchCharge calldata charge)
        private
        view
        returns (uint32 task)
    {
        uint32 redundancy = state(jobId, round).batch.redundancy;
        task = slot.index / redundancy;
        bytes32 actual = Digests.commitment(
            Digests.roundKey(jobId, round),
            task,
            slot.index % redundancy,
            Digests.holder(slot.node, operator),
            charge.salt,
            charge.resultRoot
        );
        if (actual != slot.commitment) revert OpeningMismatch(slot.commitment, actual);
    }

    /// Whether the operator stands by what the slot committed to: it committed on chain, has claimed the reward for it, or has signed it.
    function isOwn(State storage state_, BatchSlot calldata slot, address operator, bytes calldata signature) private view returns (bool) {
        if (state_.forcedCommitOf[slot.index] == slot.commitment || state_.claimed.get(slot.index)) return true;
        (address signer,,) = ECDSA.tryRecover(commitmentDigest(slot.commitment), signature);
        return signer == operator;
    }
}
