// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ITeeVerifier} from "./interfaces/ITeeVerifier.sol";
import {Attestation} from "./libraries/Attestation.sol";

/// TEE verifier that believes attestation services: `quote` is `abi.encode(quoteHash, measurement, issuedAt, expiresAt, signature)`, an
/// EIP-712 signature over TeeQuote by a service that has checked the quote, its certificates and its report data off chain.
/// @dev This is trust in the services that the owner lists, not proof. Who is taken off the list counts for nothing from then on.
contract SignedQuoteVerifier is ITeeVerifier, EIP712, Ownable {
    bytes32 private constant QUOTE_TYPEHASH =
        keccak256("TeeQuote(bytes32 node,bytes32 quoteHash,bytes32 measurement,uint64 issuedAt,uint64 expiresAt)");

    mapping(address service => bool) public serviceAllowed;
    mapping(bytes32 measurement => bool) public measurementAllowed;

    event ServiceSet(address indexed service, bool allowed);
    event MeasurementSet(bytes32 indexed measurement, bool allowed);

    error ServiceNotAllowed(address service);
    error MeasurementNotAllowed(bytes32 measurement);

    constructor(address owner) EIP712("Muster", "1") Ownable(owner) {}

    /// Puts an attestation service's account on the list or takes it off. Owner only.
    function setService(address service, bool allowed) external onlyOwner {
        serviceAllowed[service] = allowed;
        emit ServiceSet(service, allowed);
    }

    /// Puts the measurement of a reviewed enclave on the list or takes it off. Owner only.
    function setMeasurement(bytes32 measurement, bool allowed) external onlyOwner {
        measurementAllowed[measurement] = allowed;
        emit MeasurementSet(measurement, allowed);
    }

    /// @inheritdoc ITeeVerifier
    function verifyQuote(bytes32 node, bytes calldata quote) external view returns (bytes32 measurement, uint64 expiresAt) {
        bytes32 quoteHash;
        uint64 issuedAt;
        bytes memory signature;
        (quoteHash, measurement, issuedAt, expiresAt, signature) = abi.decode(quote, (bytes32, bytes32, uint64, uint64, bytes));
        Attestation.requireCurrent(issuedAt, expiresAt);
        bytes32 statement = keccak256(abi.encode(QUOTE_TYPEHASH, node, quoteHash, measurement, issuedAt, expiresAt));
        address service = ECDSA.recover(_hashTypedDataV4(statement), signature);
        if (!serviceAllowed[service]) revert ServiceNotAllowed(service);
        if (!measurementAllowed[measurement]) revert MeasurementNotAllowed(measurement);
    }
}
