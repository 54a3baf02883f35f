// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IFaultVerifier} from "./interfaces/IFaultVerifier.sol";
import {Offence} from "./types/SlashTypes.sol";

/// Fault verifier that believes the job's validator: evidence is `abi.encode(resultRoot, verdictCid, offence, signature)`, an EIP-712
/// signature over Verdict by the job's validator account.
/// @dev This is trust, not proof: a lying validator convicts honest nodes. ProofOfCompute keeps it to one verdict per task, and the
/// validator has no share in what it takes.
contract SignedVerdictVerifier is IFaultVerifier, EIP712 {
    bytes32 private constant VERDICT_TYPEHASH =
        keccak256("Verdict(bytes32 job,uint64 round,uint32 task,bytes32 resultRoot,bytes32 verdictCid,uint8 offence)");

    IAIJobManager private immutable jobManager;

    error VerdictSignerWrong(address signer, address validator);
    error OffenceNotOfResults(Offence offence);

    constructor(IAIJobManager jobManager_) EIP712("Muster", "1") {
        jobManager = jobManager_;
    }

    /// @inheritdoc IFaultVerifier
    function correctRoot(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence)
        external
        view
        returns (bytes32 resultRoot, bytes32 verdictCid, Offence offence, address judge)
    {
        bytes memory signature;
        (resultRoot, verdictCid, offence, signature) = abi.decode(evidence, (bytes32, bytes32, Offence, bytes));
        if (offence == Offence.MissedHeartbeats || offence == Offence.FailedJob) revert OffenceNotOfResults(offence);
        bytes32 verdict =
            keccak256(abi.encode(VERDICT_TYPEHASH, jobId, round, task, resultRoot, verdictCid, uint8(offence)));
        judge = ECDSA.recover(_hashTypedDataV4(verdict), signature);
        address validator = jobManager.job(jobId).validator;
        if (judge != validator) revert VerdictSignerWrong(judge, validator);
    }
}
