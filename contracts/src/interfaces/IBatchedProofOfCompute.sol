// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchCharge, BatchReceipt, BatchResult, BatchRound, BatchSlot, ForcedReveal} from "../types/BatchTypes.sol";

/// Commit, settle, claim, convict for jobs that settle in batches: a round's slots in one transaction of the coordinator, every hash
/// of it checked here, and what the coordinator leaves out forced in by the nodes.
/// @dev A slot's index is `task · redundancy + slot`. Its holder is Digests.holder(node, operator). The settlement tree has a leaf
/// `keccak256(abi.encode(index, holder, commitment, amountWei))` per slot.
interface IBatchedProofOfCompute {
    event BatchCommitted(
        bytes32 indexed job, uint64 round, bytes32 commitmentsHash, uint32 commitments, bytes32 contentCid, uint64 closesAt
    );
    event CommitForced(bytes32 indexed job, uint64 round, uint32 index, bytes32 indexed node, bytes32 commitment);
    event RevealForced(bytes32 indexed job, uint64 round, uint32 index, bytes32 indexed node, bytes32 salt, bytes32 resultRoot);
    event VerdictSettled(bytes32 indexed job, uint64 round, uint32 task, bytes32 resultRoot, bytes32 verdictCid);
    event TasksSettled(bytes32 indexed job, uint64 round, bytes32[] taskRoots);
    event BatchFinalized(
        bytes32 indexed job, uint64 round, bytes32 settlementRoot, uint256 paid, uint256 amountWei, bytes32 checkpointCid
    );
    event BatchRewardClaimed(
        bytes32 indexed job, uint64 round, uint32 index, bytes32 indexed node, address indexed operator, uint256 amountWei
    );
    event BatchConvicted(
        bytes32 indexed job,
        uint64 round,
        uint32 index,
        bytes32 indexed node,
        bytes32 revealedRoot,
        bytes32 correctRoot,
        bytes32 verdictCid
    );
    event BatchExpired(bytes32 indexed job, uint64 round, address indexed owner, uint256 amountWei);
    event BatchRewardVoided(bytes32 indexed job, uint64 round, uint32 index, address indexed owner, uint256 amountWei);

    error JobNotBatched(bytes32 job);
    error BatchSlotOutOfRange(uint32 task, uint32 slot);
    error BatchHashMissing();
    error CommitDeadlinePassed(uint64 commitDeadline, uint256 time);
    error BatchNotCommitted(bytes32 job, uint64 round);
    error CommitmentsOpen(uint64 closesAt, uint256 time);
    error CommitmentsClosed(uint64 closesAt, uint256 time);
    error RevealsOpen(uint64 revealsUntil, uint256 time);
    error HolderNotInSlot(address holder, uint32 task, uint32 slot);
    error CommitmentZero();
    error ResultRootZero();
    error SaltTooLong(bytes32 salt);
    error AlreadyForced(uint32 index);
    error TaskRootsLength(uint256 length, uint256 tasks);
    error ListedCommitmentsLength(uint256 length, uint256 forced);
    error AssignmentMismatch(bytes32 expected, bytes32 actual);
    error CommitmentsMismatch(bytes32 expected, bytes32 actual);
    error CommitmentCountMismatch(uint256 expected, uint256 actual);
    error ForcedCommitOmitted(uint32 index);
    error ForcedRevealOmitted(uint32 index);
    error TaskWithoutMajority(uint256 task, bytes32 resultRoot, uint256 count, uint256 redundancy);
    error RootAgainstVerdict(uint32 task, bytes32 resultRoot, bytes32 verdictRoot);
    error VerdictContradicted(bytes32 earlierRoot, bytes32 laterRoot);
    error VerdictWithoutRoot();
    error BatchAlreadyFinalized(bytes32 job, uint64 round);
    error BatchNotFinalized(bytes32 job, uint64 round);
    error SlotNotInBatch(uint32 index, bytes32 node);
    error NothingEarned(uint32 index);
    error AlreadyClaimed(uint32 index);
    error RewardVoided(uint32 index);
    error ClaimsOpen(uint256 until);
    error NothingUnclaimed(bytes32 job, uint64 round);
    error ClaimsExpired(bytes32 job, uint64 round);
    error SlotAlreadyConvicted(uint32 index);
    error OpeningMismatch(bytes32 commitment, bytes32 actual);
    error CommitmentNotSigned(bytes32 node);
    error ResultCorrect(bytes32 resultRoot);

    /// Fixes the commitments that the nodes have sent to the coordinator. May be repeated until the round's commit deadline; the last
    /// one counts. From then on nodes have the force window, and at least until the deadline, to commit for themselves.
    /// Coordinator only.
    /// @param commitmentsHash keccak256 of one word per slot in order of index, 0 where there is no commitment
    /// @param commitments     how many words are not 0
    /// @param contentCid      where the list can be read
    function commitBatch(bytes32 jobId, uint64 round, bytes32 commitmentsHash, uint32 commitments, bytes32 contentCid) external;

    /// A node's own commitment, for one that the coordinator did not list; it replaces what the list says. The node's operator only;
    /// once per slot; the node must be active.
    /// @param proof Merkle proof of the slot's leaf in the round's assignment
    function commit(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 commitment,
        bytes32[] calldata proof
    ) external;

    /// A node's own opening, for one that the coordinator withholds: if it opens what the slot committed to, and the root is accepted,
    /// the round cannot be finalized without paying it. From the moment at which commitments close. The node's operator only; once per
    /// slot.
    /// @param salt 16 bytes followed by zeros
    function reveal(
        bytes32 jobId,
        uint64 round,
        uint32 task,
        uint32 slot,
        bytes32 node,
        bytes32 salt,
        bytes32 resultRoot,
        bytes32[] calldata proof
    ) external;

    /// Records what evidence proves about a task, so that the round cannot be finalized against it. Anyone.
    function settleVerdict(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence) external;

    /// Ends the round. Every slot of it is listed; the assignment root, the hash of the committed list and every opening are computed
    /// anew. A task is accepted by more than half of its slots or by a verdict. Where a commitment stays unopened, nodes have had the
    /// force window since the commitments closed. A round that was open when its job was cancelled or failed can still be settled, from
    /// what the job has kept for it. Coordinator only.
    function finalizeBatch(bytes32 jobId, uint64 round, BatchResult calldata result) external;

    /// Credits what a slot has earned to the node's operator, who stands by the slot's commitment from then on. The node's operator only;
    /// once per slot; for a year. Within the challenge window after the round the claim holds the node's stake for another window, so the
    /// node must still be there and its stake cover what it claims; later it need not.
    function claim(bytes32 jobId, uint64 round, BatchSlot calldata slot) external;

    /// `claim` for many slots of one round.
    function claimMany(bytes32 jobId, uint64 round, BatchSlot[] calldata slots) external;

    /// Gives what nobody has claimed for a year to the job's owner, so that nothing lies here for ever. Anyone.
    function expire(bytes32 jobId, uint64 round) external;

    /// Proves that the result which a slot committed to is wrong, whether it was paid or not. What the slot earned goes back to the job's
    /// owner, out of the insurance fund where it was claimed already. The node is slashed if its operator has signed the commitment, has
    /// made it on chain or has claimed; a coordinator may have written any other. Anyone with evidence.
    /// @dev Signatures of contracts (ERC-1271) do not count, because a contract may disown them; such an operator commits on chain.
    function convict(bytes32 jobId, uint64 round, BatchSlot calldata slot, BatchCharge calldata charge) external;

    function batchOf(bytes32 jobId, uint64 round) external view returns (BatchRound memory);
    function forcedCommits(bytes32 jobId, uint64 round) external view returns (uint32[] memory indices);
    function forcedReveals(bytes32 jobId, uint64 round) external view returns (uint32[] memory indices);
    function forcedCommitOf(bytes32 jobId, uint64 round, uint32 index) external view returns (bytes32 commitment);
    function forcedRevealOf(bytes32 jobId, uint64 round, uint32 index) external view returns (ForcedReveal memory);
    function verdictOf(bytes32 jobId, uint64 round, uint32 task) external view returns (bytes32 resultRoot);
    function isClaimed(bytes32 jobId, uint64 round, uint32 index) external view returns (bool);
    function isVoided(bytes32 jobId, uint64 round, uint32 index) external view returns (bool);
    function isConvicted(bytes32 jobId, uint64 round, uint32 index) external view returns (bool);

    /// What has become of a slot. Reverts BatchNotFinalized, and SlotNotInBatch unless the slot settled as `slot` says.
    function receiptOf(bytes32 jobId, uint64 round, BatchSlot calldata slot) external view returns (BatchReceipt memory);

    /// What a node's operator signs for a commitment.
    function commitmentDigest(bytes32 commitment) external view returns (bytes32);
}
