// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ProofBatch} from "../types/BatchTypes.sol";
import {TrainProof} from "../types/ComputeTypes.sol";

/// What nodes say about their training steps, kept so that nobody can take it back. A record says who said what and when; it does not
/// say that it is true, and nothing is paid for it.
/// @dev A proof's hash is `keccak256(abi.encode(proof))`. Ed25519 signatures are checked off chain by whoever reads a proof.
interface ITrainProofLog {
    event TrainProofRecorded(bytes32 indexed job, bytes32 indexed node, uint256 step, bytes32 proofHash);
    event WithheldProof(bytes32 indexed job, bytes32 indexed node, uint256 step, bytes32 proofHash);
    event TrainProofsRecorded(
        bytes32 indexed job, uint256 batch, uint64 round, bytes32 root, uint32 count, bytes32 contentCid, bytes32 blobHash
    );

    error ProofSignatureLength(uint256 length);
    error ProofAlreadyRecorded(bytes32 job, bytes32 node, uint256 step);
    error ProofsMissing(bytes32 job);
    error ProofHashesNotWhole(uint256 length);
    error BlobMissing(uint256 blobIndex);
    error BatchUnknown(bytes32 job, uint256 batch);

    /// Records one proof, once per job, node and step. The node's operator only; the job must be running.
    function recordTrainProof(TrainProof calldata proof) external;

    /// Records a proof that the coordinator left out of its batches. As `recordTrainProof`, but in any state of the job, and with an
    /// event of its own.
    function forceInclude(TrainProof calldata proof) external;

    /// Records `count` proofs by the root of their tree. The job's coordinator only; the job must be running.
    /// @param root       sorted-pair keccak Merkle root over `keccak256(abi.encode(proofHash, index))`
    /// @param contentCid where the proofs can be read
    /// @return batch number of this batch in the job
    function recordTrainProofs(bytes32 jobId, uint64 round, bytes32 root, uint32 count, bytes32 contentCid)
        external
        returns (uint256 batch);

    /// As `recordTrainProofs`, and binds blob number `blobIndex` of this transaction, which carries the proofs.
    function recordTrainProofsBlob(bytes32 jobId, uint64 round, bytes32 root, uint32 count, bytes32 contentCid, uint256 blobIndex)
        external
        returns (uint256 batch);

    /// As `recordTrainProofs`, with the hashes in the transaction, from which the root is computed here: no hash can be withheld.
    /// @param packedHashes the first 20 bytes of each proof's hash, one after the other. Twenty bytes, because calldata is what such a
    /// transaction pays for; to find two proofs with the same 20 bytes takes about 2^80 hashes, and gains its author nothing here.
    function recordTrainProofsWithLeaves(bytes32 jobId, uint64 round, bytes calldata packedHashes, bytes32 contentCid)
        external
        returns (uint256 batch);

    /// Whether the proof with this hash is number `index` of a batch.
    function proveInBatch(bytes32 jobId, uint256 batch, bytes32 proofHash, uint32 index, bytes32[] calldata merkleProof)
        external
        view
        returns (bool);

    /// The hash of the proof recorded by itself for a step, or 0.
    function recordedProof(bytes32 jobId, bytes32 node, uint256 step) external view returns (bytes32 proofHash);

    /// Whether exactly this proof was recorded by itself.
    function isRecorded(bytes32 jobId, bytes32 node, uint256 step, bytes32 proofHash) external view returns (bool);

    function batchCount(bytes32 jobId) external view returns (uint256);

    /// Reverts BatchUnknown.
    function batchOf(bytes32 jobId, uint256 batch) external view returns (ProofBatch memory);
}
