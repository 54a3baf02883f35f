// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// A signature to act on: EIP-712 by the account that acts, good for one use of `nonce` until `deadline` (seconds).
struct Authorization {
    uint256 nonce;
    uint64 deadline;
    bytes signature;
}

error AuthorizationExpired(uint64 deadline, uint64 time);
error AuthorizationInvalid(address signer);

/// What changed with a version of a DID.
enum DIDChange {
    Created,
    KeysRotated,
    MetadataUpdated,
    OwnerChanged,
    Revoked
}

/// What a key is for. The keys themselves do not say.
enum KeyPurpose {
    None,
    Authentication,
    Encryption
}

/// A DID as it stands. `authKey` is Ed25519, `encKey` X25519, `metaCid` a SHA-256 digest or 0. `version` counts from 1.
struct DIDDocument {
    bytes32 didHash;
    address owner;
    bytes32 authKey;
    bytes32 encKey;
    bytes32 metaCid;
    uint64 createdAt;
    uint64 updatedAt;
    uint32 version;
    bool revoked;
}

/// A DID as it is stored. `changedBlock` is the block of its last change.
struct DIDRecord {
    address owner;
    uint64 createdAt;
    uint32 version;
    bytes32 authKey;
    bytes32 encKey;
    bytes32 metaCid;
    address pendingOwner;
    uint64 updatedAt;
    bool revoked;
    uint64 changedBlock;
}

/// When a key was one of a DID's: from `validFrom`, before `validUntil`. `validUntil` is 0 while it is, `purpose` is None for a stranger.
struct KeyValidity {
    KeyPurpose purpose;
    uint64 validFrom;
    uint64 validUntil;
}

/// What an owner allows whom to do with a data set. `revokedAt` is 0 until it is revoked. `accessHead` and `accessCount` commit to the log
/// of accesses, `accessBlock` is the block of the last one.
struct Consent {
    bytes32 datasetCid;
    bytes32 ownerDid;
    bytes32 granteeDid;
    bytes32 purpose;
    bytes32 permissionKeyCid;
    uint64 grantedAt;
    uint64 expiresAt;
    uint64 revokedAt;
    uint64 accessBlock;
    uint64 accessCount;
    bytes32 accessHead;
}

/// What a grant says. `permissionKeyCid` is the digest of the data key, wrapped for the grantee's encryption key, or 0 where none
/// is needed.
struct ConsentTerms {
    bytes32 datasetCid;
    bytes32 ownerDid;
    bytes32 granteeDid;
    bytes32 purpose;
    bytes32 permissionKeyCid;
    uint64 expiresAt;
}
