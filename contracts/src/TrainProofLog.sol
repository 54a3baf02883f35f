// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {ITrainProofLog} from "./interfaces/ITrainProofLog.sol";
import {MerkleRoots} from "./libraries/MerkleRoots.sol";
import {Relayed} from "./Relayed.sol";
import {ProofBatch} from "./types/BatchTypes.sol";
import {TrainProof} from "./types/ComputeTypes.sol";
import {JobNotRunning, NodeNotActive, NotCoordinator, NotOperator} from "./types/Errors.sol";
import {Job, JobStatus} from "./types/JobTypes.sol";

/// Training proofs, one by one and in batches. See ITrainProofLog.
/// @dev Holds no money and calls only contracts fixed at deployment, to read.
contract TrainProofLog is ITrainProofLog, Relayed {
    uint256 private constant SIGNATURE_BYTES = 64;
    uint256 private constant PACKED_HASH_BYTES = 20;
    bytes32 private constant PACKED_HASH_MASK = bytes32(uint256(type(uint160).max) << 96);

    INodeCertRegistry private immutable registry;
    IAIJobManager private immutable jobManager;

    mapping(bytes32 jobId => mapping(bytes32 node => mapping(uint256 step => bytes32 proofHash))) public recordedProof;
    mapping(bytes32 jobId => ProofBatch[]) private batches;

    constructor(address forwarder, INodeCertRegistry registry_, IAIJobManager jobManager_) Relayed(forwarder) {
        registry = registry_;
        jobManager = jobManager_;
    }

    function recordTrainProof(TrainProof calldata proof) external {
        if (jobManager.job(proof.jobId).status != JobStatus.Running) revert JobNotRunning(proof.jobId);
        bytes32 proofHash = record(proof);
        emit TrainProofRecorded(proof.jobId, proof.nodePubkey, proof.step, proofHash);
    }

    function forceInclude(TrainProof calldata proof) external {
        // Reverts where the job does not exist. Its state does not matter: that a proof is missing may show only when the job is over.
        jobManager.job(proof.jobId);
        bytes32 proofHash = record(proof);
        emit WithheldProof(proof.jobId, proof.nodePubkey, proof.step, proofHash);
    }

    function recordTrainProofs(bytes32 jobId, uint64 round, bytes32 root, uint32 count, bytes32 contentCid)
        external
        returns (uint256 batch)
    {
        batch = add(jobId, round, root, count, false, contentCid, 0);
    }

    function recordTrainProofsBlob(bytes32 jobId, uint64 round, bytes32 root, uint32 count, bytes32 contentCid, uint256 blobIndex)
        external
        returns (uint256 batch)
    {
        bytes32 blobHash = blobhash(blobIndex);
        if (blobHash == 0) revert BlobMissing(blobIndex);
        batch = add(jobId, round, root, count, false, contentCid, blobHash);
    }

    function recordTrainProofsWithLeaves(bytes32 jobId, uint64 round, bytes calldata packedHashes, bytes32 contentCid)
        external
        returns (uint256 batch)
    {
        uint256 count = packedHashes.length / PACKED_HASH_BYTES;
        if (packedHashes.length % PACKED_HASH_BYTES != 0) revert ProofHashesNotWhole(packedHashes.length);
        if (count == 0) revert ProofsMissing(jobId);
        bytes32[] memory leaves = packedLeaves(packedHashes, count);
        // Fits: no transaction carries 2^32 hashes.
        batch = add(jobId, round, MerkleRoots.root(leaves), uint32(count), true, contentCid, 0);
    }

    function proveInBatch(bytes32 jobId, uint256 batch, bytes32 proofHash, uint32 index, bytes32[] calldata merkleProof)
        external
        view
        returns (bool)
    {
        ProofBatch memory entry = batchOf(jobId, batch);
        bytes32 hash = entry.packed ? proofHash & PACKED_HASH_MASK : proofHash;
        return index < entry.count && MerkleProof.verifyCalldata(merkleProof, entry.root, leafOf(hash, index));
    }

    function isRecorded(bytes32 jobId, bytes32 node, uint256 step, bytes32 proofHash) external view returns (bool) {
        return proofHash != 0 && recordedProof[jobId][node][step] == proofHash;
    }

    function batchCount(bytes32 jobId) external view returns (uint256) {
        return batches[jobId].length;
    }

    function batchOf(bytes32 jobId, uint256 batch) public view returns (ProofBatch memory) {
        if (batch >= batches[jobId].length) revert BatchUnknown(jobId, batch);
        return batches[jobId][batch];
    }

    function record(TrainProof calldata proof) private returns (bytes32 proofHash) {
        (bytes32 jobId, bytes32 node, uint256 step) = (proof.jobId, proof.nodePubkey, proof.step);
        (address operator, bool active) = registry.operatorOf(node);
        if (operator != _msgSender()) revert NotOperator(node, _msgSender());
        if (!active) revert NodeNotActive(node);
        if (proof.signature.length != SIGNATURE_BYTES) revert ProofSignatureLength(proof.signature.length);
        if (recordedProof[jobId][node][step] != 0) revert ProofAlreadyRecorded(jobId, node, step);
        proofHash = keccak256(abi.encode(proof));
        recordedProof[jobId][node][step] = proofHash;
    }

    function add(bytes32 jobId, uint64 round, bytes32 root, uint32 count, bool packed, bytes32 contentCid, bytes32 blobHash)
        private
        returns (uint256 batch)
    {
        Job memory job = jobManager.job(jobId);
        if (job.coordinator != _msgSender()) revert NotCoordinator(jobId, _msgSender());
        if (job.status != JobStatus.Running) revert JobNotRunning(jobId);
        if (root == 0 || count == 0) revert ProofsMissing(jobId);
        batch = batches[jobId].length;
        batches[jobId].push(
            ProofBatch({
                root: root,
                blobHash: blobHash,
                round: round,
                recordedAt: uint64(block.timestamp),
                count: count,
                packed: packed
            })
        );
        emit TrainProofsRecorded(jobId, batch, round, root, count, contentCid, blobHash);
    }

    /// The leaves of the tree over `count` hashes of 20 bytes.
    function packedLeaves(bytes calldata packedHashes, uint256 count) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        bytes32 mask = PACKED_HASH_MASK;
        // As `leafOf(hash, i)` for each. Memory-safe: writes the elements of `leaves` and the scratch space; what it reads behind the last
        // hash is masked out.
        assembly ("memory-safe") {
            let position := packedHashes.offset
            let at := add(leaves, 0x20)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                mstore(0x00, and(calldataload(position), mask))
                mstore(0x20, i)
                mstore(at, keccak256(0x00, 0x40))
                position := add(position, 20)
                at := add(at, 0x20)
            }
        }
    }

    function leafOf(bytes32 proofHash, uint256 index) private pure returns (bytes32) {
        return Hashes.efficientKeccak256(proofHash, bytes32(index));
    }
}
