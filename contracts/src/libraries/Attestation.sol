// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// Statements about a node's hardware, signed off chain (EIP-712). Says who signed what, never whether that signer is to be believed.
/// The domain is `Muster`, `1`, chain and contract, so no statement counts on another chain or in another contract.
library Attestation {
    bytes32 internal constant HARDWARE_TYPEHASH = keccak256(
        "HardwareAttestation(bytes32 node,bytes32 hwHash,bytes32 caps,uint64 issuedAt,uint64 expiresAt,address registry)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Muster");
    bytes32 private constant VERSION_HASH = keccak256("1");

    error AttestationTimesInvalid(uint64 issuedAt, uint64 expiresAt);
    error AttestationNotYetValid(uint64 issuedAt, uint256 time);
    error AttestationExpired(uint64 expiresAt, uint256 time);

    /// What an attester signs about `node` for `registry`.
    function digest(bytes32 node, bytes32 hwHash, bytes32 caps, uint64 issuedAt, uint64 expiresAt, address registry)
        internal
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, registry));
        bytes32 statement = keccak256(abi.encode(HARDWARE_TYPEHASH, node, hwHash, caps, issuedAt, expiresAt, registry));
        return MessageHashUtils.toTypedDataHash(domain, statement);
    }

    /// Who signed `attestation`, `abi.encode(caps, issuedAt, expiresAt, signature)`, about `node` and `hwHash` for this contract, and what
    /// it says. Reverts unless it is valid now. The caller decides whether it believes the attester.
    function attesterOf(bytes32 node, bytes32 hwHash, bytes calldata attestation)
        internal
        view
        returns (address attester, bytes32 caps, uint64 issuedAt, uint64 expiresAt)
    {
        bytes memory signature;
        (caps, issuedAt, expiresAt, signature) = abi.decode(attestation, (bytes32, uint64, uint64, bytes));
        requireCurrent(issuedAt, expiresAt);
        attester = ECDSA.recover(digest(node, hwHash, caps, issuedAt, expiresAt, address(this)), signature);
    }

    /// Reverts unless now is from `issuedAt` to before `expiresAt`.
    function requireCurrent(uint64 issuedAt, uint64 expiresAt) internal view {
        if (expiresAt <= issuedAt) revert AttestationTimesInvalid(issuedAt, expiresAt);
        if (block.timestamp < issuedAt) revert AttestationNotYetValid(issuedAt, block.timestamp);
        if (block.timestamp >= expiresAt) revert AttestationExpired(expiresAt, block.timestamp);
    }
}
