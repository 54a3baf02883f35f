// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Relayed} from "./Relayed.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IFaultVerifier} from "./interfaces/IFaultVerifier.sol";
import {IInsuranceFund} from "./interfaces/IInsuranceFund.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IProofOfCompute} from "./interfaces/IProofOfCompute.sol";
import {IReputationRegistry} from "./interfaces/IReputationRegistry.sol";
import {Digests} from "./libraries/Digests.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {Slots} from "./libraries/Slots.sol";
import {AcceptedTask, ComputeReceipt, Slot, SlotPlace, SlotStatus, TrainProof} from "./types/ComputeTypes.sol";
import {NotCoordinator, NotOperator, RoundNotAssigned} from "./types/Errors.sol";
import {Job, JobStatus, RewardModel} from "./types/JobTypes.sol";
import {Outcome} from "./types/ReputationTypes.sol";
import {Offence} from "./types/SlashTypes.sol";

/// The contracts that settlement works with, fixed at deployment.
struct SettlementDoors {
    INodeCertRegistry registry;
    IAIJobManager jobManager;
    IFaultVerifier faultVerifier;
    IReputationRegistry reputation;
    IInsuranceFund insuranceFund;
}

/// Commitments, results and what they earned, each by the node's own transactions. See IProofOfCompute.
/// @dev Holds no money. It calls only contracts fixed at deployment, none of which calls an account, so nothing can re-enter.
/// A commitment touches three words: the round's two and the slot's one; who may commit follows from the assignment alone.
contract ProofOfCompute is IProofOfCompute, Relayed {
    using Slots for Slots.State;

    uint256 private constant SIGNATURE_BYTES = 64;

    /// A round, and what its job pays for it as of its assignment.
    struct RoundState {
        bytes32 assignmentRoot;
        uint32 tasks;
        uint32 redundancy;
        uint64 commitDeadline;
        bool over;
        uint104 exposure;
        address coordinator;
        uint32 scoreTotal;
        uint16 bestAccuracy;
        uint16 bonusBasisPoints;
        uint16 targetGainBasisPoints;
        RewardModel model;
        uint128 budget;
        uint64 rounds;
        uint32 gpuSecondsPerTask;
        uint32 batchSize;
    }

    /// What evidence proves; see IFaultVerifier.
    struct Verdict {
        bytes32 root;
        Offence offence;
        address judge;
    }

    /// What is paid for a task: `reward` to each node that revealed the root. `mayRepeat` where nodes may have been paid for it before.
    struct Payment {
        bytes32 jobId;
        uint64 round;
        uint32 task;
        bytes32 resultRoot;
        uint32 redundancy;
        uint128 reward;
        bool mayRepeat;
    }

    INodeCertRegistry private immutable registry;
    IAIJobManager private immutable jobManager;
    IFaultVerifier public immutable faultVerifier;
    IReputationRegistry private immutable reputation;
    IInsuranceFund private immutable insuranceFund;

    mapping(bytes32 roundKey => RoundState) private roundStates;
    mapping(bytes32 roundKey => mapping(uint256 place => Slots.State)) private slots;
    /// Every different result root that a task's slots have revealed, from place 0 on.
    mapping(bytes32 roundKey => mapping(uint256 place => bytes32)) private roots;
    mapping(bytes32 roundKey => mapping(uint32 task => bytes32)) private verdicts;
    mapping(bytes32 roundKey => mapping(uint256 place => address)) private newHolders;

    constructor(address forwarder, SettlementDoors memory doors) Relayed(forwarder) {
        registry = doors.registry;
        jobManager = doors.jobManager;
        faultVerifier = doors.faultVerifier;
        reputation = doors.reputation;
        insuranceFund = doors.insuranceFund;
    }

    modifier onlyJobManager() {
        if (msg.sender != address(jobManager)) revert NotJobManager(msg.sender);
        _;
    }

    // Called by AIJobManager

    function openRound(
        bytes32 jobId,
        uint64 round,
        bytes32 assignmentRoot,
        uint64 commitDeadline,
        Job calldata job
    ) external onlyJobManager {
        RoundState storage state = roundStates[Digests.roundKey(jobId, round)];
        uint256 exposureWei = Rewards.exposure(job);
        state.assignmentRoot = assignmentRoot;
        state.tasks = job.tasks;
        state.redundancy = job.redundancy;
        state.commitDeadline = commitDeadline;
        // More than any stake can cover is as good as all of it: nobody could reveal.
        state.exposure = exposureWei < type(uint104).max ? uint104(exposureWei) : type(uint104).max;
        state.coordinator = job.coordinator;
        state.scoreTotal = job.reward.scoreTotal;
        state.bestAccuracy = job.bestAccuracy;
        state.bonusBasisPoints = job.reward.bonusBasisPoints;
        state.targetGainBasisPoints = job.reward.targetGainBasisPoints;
        state.model = job.reward.model;
        state.budget = job.budget;
        state.rounds = job.rounds;
        state.gpuSecondsPerTask = job.reward.gpuSecondsPerTask;
        state.batchSize = job.reward.batchSize;
    }

    function reassignSlot(bytes32 jobId, uint64 round, uint32 task, uint32 slot, address holder) external onlyJobManager {
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = roundStates[key];
        if (task >= state.tasks || slot >= state.redundancy) revert SlotOutOfRange(task, slot);
        uint256 place = placeOf(task, slot);
        Slots.State storage entry = slots[key][place];
        SlotStatus status = entry.status();
        if (status != SlotStatus.Empty && status != SlotStatus.Reassigned) revert SlotTaken(task, slot);
        entry.word = Slots.reassigned(holder);
        newHolders[key][place] = holder;
    }

    // Called by nodes

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
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = openRoundState(jobId, round, key);
        if (task >= state.tasks || slot >= state.redundancy) revert SlotOutOfRange(task, slot);
        Slots.State storage entry = slots[key][placeOf(task, slot)];
        SlotStatus status = entry.status();
        if (status == SlotStatus.Closed) revert CommitsAreClosed(task);
        if (status > SlotStatus.Closed) revert AlreadyCommitted(task, slot);
        address holder = Digests.holder(node, _msgSender());
        bool holds = status == SlotStatus.Reassigned
            ? Slots.holderIn(entry.word) == holder
            : drawn(state, Digests.assignmentLeaf(key, task, slot, holder), proof);
        if (!holds) revert NodeNotInSlot(node, task, slot);
        entry.word = Slots.committed(commitment);
        emit Committed(jobId, round, task, slot, node, commitment);
    }

    function closeCommits(bytes32 jobId, uint64 round, uint32 task) external {
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = openRoundState(jobId, round, key);
        if (task >= state.tasks) revert SlotOutOfRange(task, 0);
        if (block.timestamp < state.commitDeadline) revert DeadlineNotReached(state.commitDeadline, block.timestamp);
        uint32 redundancy = state.redundancy;
        uint32 commits = redundancy;
        for (uint32 slot = 0; slot < redundancy; slot++) {
            Slots.State storage entry = slots[key][placeOf(task, slot)];
            SlotStatus status = entry.status();
            if (status == SlotStatus.Closed) revert CommitsAreClosed(task);
            if (status != SlotStatus.Empty && status != SlotStatus.Reassigned) continue;
            entry.word = Slots.closed();
            commits--;
        }
        if (commits == redundancy) revert CommitsAreClosed(task);
        emit CommitsClosed(jobId, round, task, commits);
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
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = openRoundState(jobId, round, key);
        Slots.State storage entry = slots[key][placeOf(task, slot)];
        SlotStatus status = entry.status();
        if (status < SlotStatus.Committed) revert NotCommitted(task, slot);
        if (status != SlotStatus.Committed) revert AlreadyRevealed(task, slot);
        if (!commitsClosed(key, task, state.redundancy)) revert CommitsStillOpen(task);
        if (resultRoot == 0) revert ResultRootMissing();
        if (proof.jobId != jobId || proof.nodePubkey != node) revert ProofNotBound(proof.jobId, proof.nodePubkey);
        if (proof.signature.length != SIGNATURE_BYTES) revert SignatureLengthInvalid(proof.signature.length);
        if (!opens(entry, key, task, slot, node, salt, resultRoot)) revert CommitmentMismatch(jobId, round, task, slot);
        entry.word = Slots.revealed(block.timestamp, _msgSender(), rootIndex(key, task, resultRoot, true));
        entry.node = node;
        if (registry.guard(node, state.exposure) != _msgSender()) revert NotOperator(node, _msgSender());
        emit Revealed(jobId, round, task, slot, node, salt, resultRoot, resultCid, proof);
    }

    // Called by whoever has evidence

    function convict(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 verdictCid,
        bytes calldata evidence
    ) external {
        Slots.State storage entry = slots[Digests.roundKey(jobId, round)][placeOf(task, slot)];
        SlotStatus status = entry.status();
        if (status == SlotStatus.Convicted) revert AlreadyConvicted(task, slot);
        if (status != SlotStatus.Revealed && status != SlotStatus.Rewarded) revert NotRevealed(task, slot);
        if (entry.node != node) revert NodeNotInSlot(node, task, slot);
        Verdict memory verdict = settleVerdict(jobId, round, task, verdictCid, evidence);
        bytes32 revealedRoot = rootOf(jobId, round, task, entry.word);
        if (verdict.root == revealedRoot) revert ResultIsCorrect(verdict.root);

        entry.word = Slots.convicted(entry.word);
        emit Convicted(jobId, round, task, slot, node, revealedRoot, verdict.root, verdictCid, verdict.offence);
        reputation.record(node, Outcome.TaskRejected, 1);
        (, uint256 insuranceWei) = registry.slash(node, verdict.offence, _msgSender(), verdict.judge);
        if (status == SlotStatus.Rewarded) insure(jobId, entry.rewardOf(), insuranceWei);
    }

    function reportUnrevealed(bytes32 jobId, uint64 round, uint32 task, uint32 slot, bytes32 node, bytes32[] calldata proof) external {
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = roundStates[key];
        Job memory job = jobManager.job(jobId);
        // Until the time for settling is over, the node may still reveal and be paid.
        bool ended = job.endedAt != 0 && block.timestamp > uint256(job.endedAt) + job.roundTimeout;
        if (!state.over && !ended) revert JobStillOpen(jobId);
        Slots.State storage entry = slots[key][placeOf(task, slot)];
        if (entry.status() != SlotStatus.Committed) revert NotCommitted(task, slot);
        if (!held(state, key, task, slot, node, proof)) revert NodeNotInSlot(node, task, slot);

        entry.word = Slots.changed(entry.word, SlotStatus.Missed);
        reputation.record(node, Outcome.TaskMissed, 1);
        bool failed = !state.over && job.status == JobStatus.Failed;
        uint256 slashedWei = failed ? registry.slashFailedJob(node, state.exposure, _msgSender()) : 0;
        emit UnrevealedReported(jobId, round, task, slot, node, slashedWei);
    }

    // Settling

    function finalize(bytes32 jobId, uint64 round, bytes32 checkpointCid, uint16 accuracy, AcceptedTask[] calldata accepted) external {
        RoundState storage state = openRoundState(jobId, round, Digests.roundKey(jobId, round));
        if (_msgSender() != state.coordinator) revert NotCoordinator(jobId, _msgSender());
        if (accuracy > Rewards.ALL_BASIS_POINTS) revert AccuracyInvalid(accuracy);
        state.over = true;
        Job memory job = payTerms(state);
        uint256 firstAllowed = 0;
        uint256 scoreLeft = job.reward.scoreTotal;
        for (uint256 i = 0; i < accepted.length; i++) {
            AcceptedTask calldata entry = accepted[i];
            if (entry.task < firstAllowed) revert TasksNotAscending(entry.task);
            if (entry.task >= job.tasks) revert SlotOutOfRange(entry.task, 0);
            if (entry.score > scoreLeft) revert ScoreInvalid(entry.task, entry.score, scoreLeft);
            firstAllowed = uint256(entry.task) + 1;
            scoreLeft -= entry.score;
            payAccepted(jobId, round, job, accuracy, entry);
        }
        emit RoundFinalized(jobId, round, checkpointCid, accuracy);
        // Refuses a job that does not run, and with it everything before.
        jobManager.advanceRound(jobId, accuracy);
    }

    function settleTask(bytes32 jobId, uint64 round, uint32 task, bytes32 resultRoot) external {
        RoundState storage state = openRoundState(jobId, round, Digests.roundKey(jobId, round));
        JobStatus status = jobManager.job(jobId).status;
        if (status != JobStatus.Cancelled && status != JobStatus.Failed) revert JobStillOpen(jobId);
        Job memory job = payTerms(state);
        uint128 reward = Rewards.evenShare(job);
        address[] memory operators = payReceipts(Payment(jobId, round, task, resultRoot, job.redundancy, reward, true));
        if (operators.length > 0) jobManager.payReserved(jobId, operators, reward);
    }

    function creditNodes(SlotPlace[] calldata places) external {
        for (uint256 i = 0; i < places.length; i++) {
            SlotPlace calldata place = places[i];
            bytes32 key = Digests.roundKey(place.jobId, place.round);
            Slots.State storage entry = slots[key][placeOf(place.task, place.slot)];
            uint256 word = entry.word;
            if (Slots.statusIn(word) != SlotStatus.Rewarded) revert NotRewarded(place.task, place.slot);
            if (Slots.isCredited(word)) continue;
            entry.word = Slots.credited(word);
            bytes32 node = entry.node;
            emit NodeCredited(place.jobId, place.round, place.task, place.slot, node);
            reputation.record(node, Outcome.TaskAccepted, 1);
            registry.release(node, roundStates[key].exposure, Slots.revealedAtIn(word));
        }
    }

    // Reading

    function slotOpen(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (bool) {
        bytes32 key = Digests.roundKey(jobId, round);
        RoundState storage state = roundStates[key];
        SlotStatus status = slots[key][placeOf(task, slot)].status();
        return task < state.tasks && slot < state.redundancy && !state.over
            && (status == SlotStatus.Empty || status == SlotStatus.Reassigned);
    }

    function slotOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) public view returns (Slot memory) {
        Slots.State storage entry = slots[Digests.roundKey(jobId, round)][placeOf(task, slot)];
        Slot memory shown = entry.show();
        if (shown.node != 0) shown.resultRoot = rootOf(jobId, round, task, entry.word);
        return shown;
    }

    function verdictOf(bytes32 jobId, uint64 round, uint32 task) external view returns (bytes32 verdictRoot) {
        return verdicts[Digests.roundKey(jobId, round)][task];
    }

    function receiptOf(bytes32 jobId, uint64 round, uint32 task, uint32 slot) external view returns (ComputeReceipt memory) {
        Slot memory entry = slotOf(jobId, round, task, slot);
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
            reward: entry.rewardWei,
            rewardedAt: entry.rewardedAt
        });
    }

    // Inside

    function payAccepted(bytes32 jobId, uint64 round, Job memory job, uint16 accuracy, AcceptedTask calldata accepted) private {
        if (accepted.evidence.length > 0) settleVerdict(jobId, round, accepted.task, 0, accepted.evidence);
        uint128 reward = Rewards.slotReward(job, accepted.score);
        reward += Rewards.accuracyBonus(job, reward, accepted.score, accuracy);
        Payment memory payment = Payment(jobId, round, accepted.task, accepted.resultRoot, job.redundancy, reward, false);
        address[] memory operators = payReceipts(payment);
        if (operators.length > 0) jobManager.payRewards(jobId, operators, reward);
    }

    /// A paid result that was wrong: the job's owner is insured for what it cost, at most for what this conviction brought to the
    /// fund. More would let an owner, a node and a validator that are one empty the fund.
    function insure(bytes32 jobId, uint256 rewardWei, uint256 insuranceWei) private {
        uint256 coveredWei = rewardWei < insuranceWei ? rewardWei : insuranceWei;
        if (coveredWei > 0) insuranceFund.cover(jobManager.job(jobId).owner, coveredWei);
    }

    /// Gives a receipt to every node that revealed the payment's root and is not convicted, once, by its first slot, if a verdict names the
    /// root or a strict majority of the task's slots revealed it. The operators to pay, one for each receipt.
    function payReceipts(Payment memory payment) private returns (address[] memory operators) {
        if (payment.resultRoot == 0) revert ResultRootMissing();
        bytes32 key = Digests.roundKey(payment.jobId, payment.round);
        bool judged = isJudged(key, payment);
        uint8 root = rootIndex(key, payment.task, payment.resultRoot, false);
        bytes32[] memory nodes = new bytes32[](payment.redundancy);
        operators = new address[](payment.redundancy);
        // Who was paid already counts to the majority: an ended job can be settled again for a late reveal.
        uint32 count = payment.mayRepeat ? paidBefore(nodes, key, payment, root) : 0;
        uint32 paid = 0;
        for (uint32 slot = 0; slot < payment.redundancy; slot++) {
            Slots.State storage entry = slots[key][placeOf(payment.task, slot)];
            uint256 word = entry.word;
            if (Slots.statusIn(word) != SlotStatus.Revealed || Slots.rootIn(word) != root) continue;
            bytes32 node = entry.node;
            if (contains(nodes, count, node)) continue;
            nodes[count++] = node;
            operators[paid++] = Slots.operatorIn(word);
            entry.word = Slots.rewarded(word, block.timestamp, payment.reward);
            receipt(payment, slot, node, Slots.operatorIn(word));
        }
        if (!judged && count <= payment.redundancy / 2) {
            revert NoMajority(payment.task, payment.resultRoot, count, payment.redundancy);
        }
        emit TaskFinalized(payment.jobId, payment.round, payment.task, payment.resultRoot, paid);
        // Shortens the array to what was found; the memory beyond is not used again.
        assembly ("memory-safe") {
            mstore(operators, paid)
        }
    }

    /// Notes the nodes that were paid for the root before, and counts them. A node may hold several slots, so this comes before any
    /// payment.
    function paidBefore(bytes32[] memory nodes, bytes32 key, Payment memory payment, uint8 root) private view returns (uint32 count) {
        for (uint32 slot = 0; slot < payment.redundancy; slot++) {
            Slots.State storage entry = slots[key][placeOf(payment.task, slot)];
            uint256 word = entry.word;
            if (Slots.statusIn(word) == SlotStatus.Rewarded && Slots.rootIn(word) == root) nodes[count++] = entry.node;
        }
    }

    /// Whether a verdict names the payment's root, against which none may stand.
    function isJudged(bytes32 key, Payment memory payment) private view returns (bool) {
        bytes32 verdictRoot = verdicts[key][payment.task];
        if (verdictRoot == 0) return false;
        if (verdictRoot != payment.resultRoot) revert VerdictForOtherRoot(payment.resultRoot, verdictRoot);
        return true;
    }

    function receipt(Payment memory payment, uint32 slot, bytes32 node, address operator) private {
        emit RewardCredited(payment.jobId, payment.round, payment.task, slot, node, operator, payment.reward);
    }

    /// What of a job decides what its round pays, as of the round's assignment.
    function payTerms(RoundState storage state) private view returns (Job memory job) {
        job.tasks = state.tasks;
        job.redundancy = state.redundancy;
        job.budget = state.budget;
        job.rounds = state.rounds;
        job.reward.model = state.model;
        job.reward.scoreTotal = state.scoreTotal;
        if (job.reward.model == RewardModel.PerBatch) {
            job.reward.gpuSecondsPerTask = state.gpuSecondsPerTask;
            job.reward.batchSize = state.batchSize;
        } else if (job.reward.model == RewardModel.PerAccuracyGain) {
            job.bestAccuracy = state.bestAccuracy;
            job.reward.bonusBasisPoints = state.bonusBasisPoints;
            job.reward.targetGainBasisPoints = state.targetGainBasisPoints;
        }
    }

    function contains(bytes32[] memory nodes, uint32 count, bytes32 node) private pure returns (bool) {
        for (uint32 i = 0; i < count; i++) if (nodes[i] == node) return true;
        return false;
    }

    /// What `evidence` proves, by the record `verdictCid`; kept, so that no later verdict can contradict it.
    function settleVerdict(bytes32 jobId, uint64 round, uint32 task, bytes32 verdictCid, bytes calldata evidence)
        private
        returns (Verdict memory verdict)
    {
        bytes32 evidenceCid;
        (verdict.root, evidenceCid, verdict.offence, verdict.judge) = faultVerifier.correctRoot(jobId, round, task, evidence);
        if (verdictCid != 0 && evidenceCid != verdictCid) revert VerdictCidMismatch(verdictCid, evidenceCid);
        if (verdict.root == 0) revert VerdictEmpty();
        bytes32 key = Digests.roundKey(jobId, round);
        bytes32 earlier = verdicts[key][task];
        if (earlier == 0) verdicts[key][task] = verdict.root;
        else if (earlier != verdict.root) revert VerdictConflict(earlier, verdict.root);
    }

    /// The round, which must be assigned and not over.
    function openRoundState(bytes32 jobId, uint64 round, bytes32 key) private view returns (RoundState storage state) {
        state = roundStates[key];
        if (state.tasks == 0) revert RoundNotAssigned(jobId, round);
        if (state.over) revert RoundIsOver(jobId, round);
    }

    /// Whether the node held the slot when it was committed to.
    function held(RoundState storage state, bytes32 key, uint32 task, uint32 slot, bytes32 node, bytes32[] calldata proof)
        private
        view
        returns (bool)
    {
        (address operator,) = registry.operatorOf(node);
        address holder = Digests.holder(node, operator);
        address newHolder = newHolders[key][placeOf(task, slot)];
        if (newHolder != address(0)) return newHolder == holder;
        return drawn(state, Digests.assignmentLeaf(key, task, slot, holder), proof);
    }

    /// Whether the caller committed to the result.
    function opens(Slots.State storage entry, bytes32 key, uint32 task, uint32 slot, bytes32 node, bytes32 salt, bytes32 resultRoot)
        private
        view
        returns (bool)
    {
        address holder = Digests.holder(node, _msgSender());
        return entry.word == Slots.committed(Digests.commitment(key, task, slot, holder, salt, resultRoot));
    }

    /// Whether the assignment tree has the leaf.
    function drawn(RoundState storage state, bytes32 leaf, bytes32[] calldata proof) private view returns (bool) {
        return MerkleProof.verifyCalldata(proof, state.assignmentRoot, leaf);
    }

    /// Which of the task's roots `resultRoot` is. One that is new is noted, or is one beyond all that any slot has.
    function rootIndex(bytes32 key, uint32 task, bytes32 resultRoot, bool note) private returns (uint8) {
        for (uint32 index = 0; index <= type(uint8).max; index++) {
            bytes32 known = roots[key][placeOf(task, index)];
            if (known == resultRoot) return uint8(index);
            if (known != 0) continue;
            if (note) roots[key][placeOf(task, index)] = resultRoot;
            return uint8(index);
        }
        // A task has at most as many roots as slots, which is 64.
        assert(false);
        return 0;
    }

    /// The result root of a slot that has one.
    function rootOf(bytes32 jobId, uint64 round, uint32 task, uint256 word) private view returns (bytes32) {
        return roots[Digests.roundKey(jobId, round)][placeOf(task, Slots.rootIn(word))];
    }

    /// Whether every slot of the task has committed or is closed.
    function commitsClosed(bytes32 key, uint32 task, uint32 redundancy) private view returns (bool) {
        for (uint32 slot = 0; slot < redundancy; slot++) {
            SlotStatus status = slots[key][placeOf(task, slot)].status();
            if (status == SlotStatus.Empty || status == SlotStatus.Reassigned) return false;
        }
        return true;
    }

    function placeOf(uint32 task, uint32 slot) private pure returns (uint256) {
        return uint256(task) << 32 | slot;
    }
}
