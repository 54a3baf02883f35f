// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Offence} from "../types/SlashTypes.sol";

/// The fault-proof seam: the only place that says what a task's correct result is, and what kind of fault another one is.
/// @dev An implementation reverts rather than guess.
interface IFaultVerifier {
    /// The result root that `evidence` proves for a task, and the content id of the public record that explains it.
    /// @param evidence whatever this verifier needs; opaque to the caller
    /// @return resultRoot the correct result
    /// @return verdictCid the record
    /// @return offence    what a different result is guilty of; never MissedHeartbeats or FailedJob
    /// @return judge      the account whose word this is, which must not gain by it; 0 where nobody's word is needed
    function correctRoot(bytes32 jobId, uint64 round, uint32 task, bytes calldata evidence)
        external
        view
        returns (bytes32 resultRoot, bytes32 verdictCid, Offence offence, address judge);
}
