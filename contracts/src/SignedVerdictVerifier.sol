// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IFaultVerifier} from "./interfaces/IFaultVerifier.sol";

/// Fault verifier that believes the job's validator: evidence is `abi.encode(resultRoot, verdictCid, signature)`, an EIP-712
/// signature over Verdict by the job's validator account.
/// @dev This is trust, not proof: a lying validator convicts honest nodes. ProofOfCompute keeps it to one verdict per task.
contract SignedVerdictVerifier is IFaultVerifier, EIP712 {
    bytes32 private constant VERDICT_TYPEHASH =
        keccak256("Verdict(bytes32 job,uint64 round,uint32 task,bytes32 resultRoot,bytes32 verdictCid)");

    IAIJobManager private immutable jobManager;

    error VerdictSignerWrong(address signer, address validator);

    constructor(IAIJobManager jobManager_) EIP712("Muster", "1") {
        jobManager = jobManager_;
    }

    /// @inheritdoc IFaultVerifier
    function correctRoot(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence)
        external
        view
        returns (bytes32 resultRoot, bytes32 verdictCid)
    {
        bytes memory signature;
        (resultRoot, verdictCid, signature) = abi.decode(evidence, (bytes32, bytes32, bytes));
        bytes32 verdict = keccak256(abi.encode(VERDICT_TYPEHASH, jobId, round, task, resultRoot, verdictCid));
        address signer = ECDSA.recover(_hashTypedDataV4(verdict), signature);
        address validator = jobManager.job(jobId).validator;
        if (signer != validator) revert VerdictSignerWrong(signer, validator);
    }
}
