// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Says whether a node runs in a trusted execution environment. The registry has one by address, so that a verifier that reads quotes
/// itself can stand where one that believes a signed word stands today.
interface ITeeVerifier {
    /// Reverts unless `quote` shows, now, that the holder of the node's key runs in an enclave that is accepted here.
    /// @param node Ed25519 key that the quote's report data must bind
    /// @param quote in the verifier's own format
    /// @return measurement the code that the enclave runs
    /// @return expiresAt seconds since 1970 from which the quote no longer counts
    function verifyQuote(bytes32 node, bytes calldata quote) external view returns (bytes32 measurement, uint64 expiresAt);
}
