// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IArthaDIDRegistry} from "./interfaces/IArthaDIDRegistry.sol";
import {Relayed} from "./Relayed.sol";
import {SignatureAuthorized} from "./SignatureAuthorized.sol";
import {
    Authorization,
    DIDChange,
    DIDDocument,
    DIDRecord,
    KeyPurpose,
    KeyValidity
} from "./types/IdentityTypes.sol";

/// Identifiers, their keys and owners. See IArthaDIDRegistry.
contract ArthaDIDRegistry is IArthaDIDRegistry, Relayed, SignatureAuthorized {
    bytes32 private constant CREATE_TYPEHASH = keccak256(
        "CreateDID(address controller,bytes32 authKey,bytes32 encKey,bytes32 metaCid,uint256 nonce,uint64 deadline)"
    );
    bytes32 private constant ROTATE_TYPEHASH =
        keccak256("RotateKeys(bytes32 didHash,bytes32 authKey,bytes32 encKey,uint256 nonce,uint64 deadline)");
    bytes32 private constant METADATA_TYPEHASH =
        keccak256("UpdateMetadata(bytes32 didHash,bytes32 metaCid,uint256 nonce,uint64 deadline)");
    bytes32 private constant OWNER_TYPEHASH =
        keccak256("ChangeOwner(bytes32 didHash,address newOwner,uint256 nonce,uint64 deadline)");
    bytes32 private constant ACCEPT_TYPEHASH = keccak256("AcceptOwner(bytes32 didHash,uint256 nonce,uint64 deadline)");
    bytes32 private constant REVOKE_TYPEHASH = keccak256("Revoke(bytes32 didHash,uint256 nonce,uint64 deadline)");

    mapping(bytes32 didHash => DIDRecord) private records;
    mapping(bytes32 didHash => mapping(bytes32 key => KeyValidity)) private keys;

    constructor(address forwarder) Relayed(forwarder) EIP712("ArthaDIDRegistry", "1") {}

    function createDID(bytes32 authKey, bytes32 encKey, bytes32 metaCid) external returns (bytes32 didHash) {
        return create(_msgSender(), authKey, encKey, metaCid);
    }

    function createDIDBySignature(
        address controller,
        bytes32 authKey,
        bytes32 encKey,
        bytes32 metaCid,
        Authorization calldata authorization
    ) external returns (bytes32 didHash) {
        bytes memory order = abi.encode(
            CREATE_TYPEHASH, controller, authKey, encKey, metaCid, authorization.nonce, authorization.deadline
        );
        authorize(controller, keccak256(order), authorization);
        return create(controller, authKey, encKey, metaCid);
    }

    function rotateKeys(bytes32 didHash, bytes32 authKey, bytes32 encKey) external {
        rotate(didHash, ownedByCaller(didHash), authKey, encKey);
    }

    function rotateKeysBySignature(bytes32 didHash, bytes32 authKey, bytes32 encKey, Authorization calldata authorization)
        external
    {
        DIDRecord storage record = live(didHash);
        bytes memory order =
            abi.encode(ROTATE_TYPEHASH, didHash, authKey, encKey, authorization.nonce, authorization.deadline);
        authorize(record.owner, keccak256(order), authorization);
        rotate(didHash, record, authKey, encKey);
    }

    function updateMetadata(bytes32 didHash, bytes32 metaCid) external {
        setMetadata(didHash, ownedByCaller(didHash), metaCid);
    }

    function updateMetadataBySignature(bytes32 didHash, bytes32 metaCid, Authorization calldata authorization) external {
        DIDRecord storage record = live(didHash);
        bytes memory order =
            abi.encode(METADATA_TYPEHASH, didHash, metaCid, authorization.nonce, authorization.deadline);
        authorize(record.owner, keccak256(order), authorization);
        setMetadata(didHash, record, metaCid);
    }

    function changeOwner(bytes32 didHash, address newOwner) external {
        propose(didHash, ownedByCaller(didHash), newOwner);
    }

    function changeOwnerBySignature(bytes32 didHash, address newOwner, Authorization calldata authorization) external {
        DIDRecord storage record = live(didHash);
        bytes memory order = abi.encode(OWNER_TYPEHASH, didHash, newOwner, authorization.nonce, authorization.deadline);
        authorize(record.owner, keccak256(order), authorization);
        propose(didHash, record, newOwner);
    }

    function acceptOwner(bytes32 didHash) external {
        DIDRecord storage record = live(didHash);
        if (_msgSender() != record.pendingOwner) revert NotPendingOwner(didHash, _msgSender());
        handOver(didHash, record);
    }

    function acceptOwnerBySignature(bytes32 didHash, Authorization calldata authorization) external {
        DIDRecord storage record = live(didHash);
        if (record.pendingOwner == address(0)) revert NotPendingOwner(didHash, address(0));
        bytes memory order = abi.encode(ACCEPT_TYPEHASH, didHash, authorization.nonce, authorization.deadline);
        authorize(record.pendingOwner, keccak256(order), authorization);
        handOver(didHash, record);
    }

    function revoke(bytes32 didHash) external {
        end(didHash, ownedByCaller(didHash));
    }

    function revokeBySignature(bytes32 didHash, Authorization calldata authorization) external {
        DIDRecord storage record = live(didHash);
        bytes memory order = abi.encode(REVOKE_TYPEHASH, didHash, authorization.nonce, authorization.deadline);
        authorize(record.owner, keccak256(order), authorization);
        end(didHash, record);
    }

    function documentOf(bytes32 didHash) external view returns (DIDDocument memory) {
        return snapshot(didHash, known(didHash));
    }

    function controllerOf(bytes32 didHash) external view returns (address owner, bool active) {
        DIDRecord storage record = records[didHash];
        return (record.owner, record.version != 0 && !record.revoked);
    }

    function activeAt(bytes32 didHash, uint64 time) external view returns (bool) {
        DIDRecord storage record = records[didHash];
        if (record.version == 0 || time < record.createdAt) return false;
        // Nothing changes a revoked DID any more, so its last change is the revocation.
        return !record.revoked || time < record.updatedAt;
    }

    function keyValidAt(bytes32 didHash, KeyPurpose purpose, bytes32 key, uint64 time) external view returns (bool) {
        KeyValidity storage validity = keys[didHash][key];
        if (validity.purpose == KeyPurpose.None || validity.purpose != purpose || time < validity.validFrom) return false;
        return validity.validUntil == 0 || time < validity.validUntil;
    }

    function keyValidityOf(bytes32 didHash, bytes32 key) external view returns (KeyValidity memory) {
        return keys[didHash][key];
    }

    function pendingOwnerOf(bytes32 didHash) external view returns (address) {
        return records[didHash].pendingOwner;
    }

    function changedBlockOf(bytes32 didHash) external view returns (uint64) {
        return records[didHash].changedBlock;
    }

    function didHashOf(bytes32 authKey, address controller) public pure returns (bytes32) {
        return keccak256(abi.encode(authKey, controller));
    }

    function create(address controller, bytes32 authKey, bytes32 encKey, bytes32 metaCid)
        private
        returns (bytes32 didHash)
    {
        didHash = didHashOf(authKey, controller);
        DIDRecord storage record = records[didHash];
        if (record.version != 0) revert DIDAlreadyRegistered(didHash);
        record.owner = controller;
        record.createdAt = uint64(block.timestamp);
        record.authKey = authKey;
        record.encKey = encKey;
        record.metaCid = metaCid;
        addKey(didHash, authKey, KeyPurpose.Authentication);
        addKey(didHash, encKey, KeyPurpose.Encryption);
        changed(didHash, record, DIDChange.Created);
    }

    function rotate(bytes32 didHash, DIDRecord storage record, bytes32 authKey, bytes32 encKey) private {
        (bytes32 oldAuthKey, bytes32 oldEncKey) = (record.authKey, record.encKey);
        if (authKey == oldAuthKey && encKey == oldEncKey) revert KeysUnchanged(didHash);
        if (authKey != oldAuthKey) {
            addKey(didHash, authKey, KeyPurpose.Authentication);
            endKey(didHash, oldAuthKey);
            record.authKey = authKey;
        }
        if (encKey != oldEncKey) {
            addKey(didHash, encKey, KeyPurpose.Encryption);
            endKey(didHash, oldEncKey);
            record.encKey = encKey;
        }
        changed(didHash, record, DIDChange.KeysRotated);
    }

    function setMetadata(bytes32 didHash, DIDRecord storage record, bytes32 metaCid) private {
        record.metaCid = metaCid;
        changed(didHash, record, DIDChange.MetadataUpdated);
    }

    function propose(bytes32 didHash, DIDRecord storage record, address newOwner) private {
        record.pendingOwner = newOwner;
        emit OwnerChangeProposed(didHash, record.owner, newOwner);
    }

    function handOver(bytes32 didHash, DIDRecord storage record) private {
        record.owner = record.pendingOwner;
        record.pendingOwner = address(0);
        changed(didHash, record, DIDChange.OwnerChanged);
    }

    function end(bytes32 didHash, DIDRecord storage record) private {
        record.revoked = true;
        record.pendingOwner = address(0);
        endKey(didHash, record.authKey);
        endKey(didHash, record.encKey);
        changed(didHash, record, DIDChange.Revoked);
    }

    function addKey(bytes32 didHash, bytes32 key, KeyPurpose purpose) private {
        if (key == 0) revert KeyMissing();
        KeyValidity storage validity = keys[didHash][key];
        if (validity.purpose != KeyPurpose.None) revert KeyAlreadyUsed(didHash, key);
        validity.purpose = purpose;
        validity.validFrom = uint64(block.timestamp);
    }

    function endKey(bytes32 didHash, bytes32 key) private {
        keys[didHash][key].validUntil = uint64(block.timestamp);
    }

    function changed(bytes32 didHash, DIDRecord storage record, DIDChange change) private {
        uint64 previousBlock = record.changedBlock;
        record.changedBlock = uint64(block.number);
        record.updatedAt = uint64(block.timestamp);
        record.version += 1;
        emit DIDChanged(didHash, change, previousBlock, snapshot(didHash, record));
    }

    function snapshot(bytes32 didHash, DIDRecord storage record) private view returns (DIDDocument memory) {
        return DIDDocument({
            didHash: didHash,
            owner: record.owner,
            authKey: record.authKey,
            encKey: record.encKey,
            metaCid: record.metaCid,
            createdAt: record.createdAt,
            updatedAt: record.updatedAt,
            version: record.version,
            revoked: record.revoked
        });
    }

    function known(bytes32 didHash) private view returns (DIDRecord storage record) {
        record = records[didHash];
        if (record.version == 0) revert DIDUnknown(didHash);
    }

    function live(bytes32 didHash) private view returns (DIDRecord storage record) {
        record = known(didHash);
        if (record.revoked) revert DIDRevoked(didHash);
    }

    function ownedByCaller(bytes32 didHash) private view returns (DIDRecord storage record) {
        record = live(didHash);
        if (_msgSender() != record.owner) revert NotDIDOwner(didHash, _msgSender());
    }
}
