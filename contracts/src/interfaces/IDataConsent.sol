// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Authorization, Consent, ConsentTerms} from "../types/IdentityTypes.sol";

/// Who allowed whom to use which data for what and until when, and what was done with it. Speaks of DIDs of IArthaDIDRegistry.
/// @dev Nobody's ownership of a data set is known here: anybody may grant anything in their own name. Whoever serves data knows whose they
/// are and asks for that owner's consent. A consent is live from `grantedAt`, before `expiresAt` and `revokedAt`, and while both DIDs are
/// not revoked. Everything said here is public; access records are content ids of what may be encrypted for the owner.
/// `…BySignature` are EIP-712 orders of the account that owns the acting DID, delivered by anybody, under its nonces.
interface IDataConsent {
    /// `previousBlock` is the block of the owner's grant before this one, 0 for the first.
    event ConsentGranted(
        bytes32 indexed consentId,
        bytes32 indexed ownerDid,
        bytes32 indexed granteeDid,
        bytes32 datasetCid,
        bytes32 purpose,
        bytes32 permissionKeyCid,
        uint64 expiresAt,
        uint64 previousBlock
    );
    event ConsentRevoked(bytes32 indexed consentId, bytes32 indexed ownerDid, bytes32 indexed granteeDid);
    /// Entry `index` of the consent's log; `head` is the log's hash with it. `previousBlock` is the block of the entry before, 0 for
    /// the first.
    event AccessLogged(
        bytes32 indexed consentId,
        bytes32 indexed ownerDid,
        bytes32 indexed granteeDid,
        uint64 index,
        bytes32 accessCid,
        uint64 time,
        bytes32 head,
        uint64 previousBlock
    );

    error DIDNotActive(bytes32 didHash);
    error NotDIDController(bytes32 didHash, address caller);
    error DatasetMissing();
    error AccessRecordMissing();
    error ExpiryPast(uint64 expiresAt, uint64 time);
    error ConsentUnknown(bytes32 consentId);
    /// There is one already for the same owner, data, grantee and purpose; revoke it to grant on other terms.
    error ConsentStillLive(bytes32 consentId);
    error ConsentRevokedAt(bytes32 consentId, uint64 revokedAt);
    error ConsentExpired(bytes32 consentId, uint64 expiresAt);

    /// The owner of `ownerDid` consents. Reverts DatasetMissing, ExpiryPast, DIDNotActive, NotDIDController, ConsentStillLive.
    function grant(ConsentTerms calldata terms) external returns (bytes32 consentId);

    /// Grant(bytes32 datasetCid,bytes32 ownerDid,bytes32 granteeDid,bytes32 purpose,bytes32 permissionKeyCid,uint64 expiresAt,
    /// uint256 nonce,uint64 deadline) by the owner.
    function grantBySignature(ConsentTerms calldata terms, Authorization calldata authorization)
        external
        returns (bytes32 consentId);

    /// Takes a consent back, from now on. By the owner, whose DID may be revoked.
    function revoke(bytes32 consentId) external;

    /// RevokeConsent(bytes32 consentId,uint256 nonce,uint64 deadline) by the owner.
    function revokeBySignature(bytes32 consentId, Authorization calldata authorization) external;

    /// The grantee says that it uses the data; `accessCid` is what it says about that. Only while the consent is live.
    function logAccess(bytes32 consentId, bytes32 accessCid) external;

    /// LogAccess(bytes32 consentId,bytes32 accessCid,uint256 nonce,uint64 deadline) by the grantee.
    function logAccessBySignature(bytes32 consentId, bytes32 accessCid, Authorization calldata authorization) external;

    /// Reverts ConsentUnknown.
    function consentOf(bytes32 consentId) external view returns (Consent memory);

    /// The log's hash and length: from 0, `keccak256(abi.encode(head, consentId, index, accessCid, time))` for each entry, `index` and
    /// `time` as uint64.
    function accessLogOf(bytes32 consentId) external view returns (bytes32 head, uint64 count, uint64 lastBlock);

    /// Whether a consent of `ownerDid` was live at `time`. Of a time to come: as things stand now.
    function isAllowed(bytes32 ownerDid, bytes32 datasetCid, bytes32 granteeDid, bytes32 purpose, uint64 time)
        external
        view
        returns (bool);

    /// All consents for the same owner, data, grantee and purpose, oldest first; at no time is more than one of them live.
    function consentsFor(bytes32 ownerDid, bytes32 datasetCid, bytes32 granteeDid, bytes32 purpose)
        external
        view
        returns (bytes32[] memory consentIds);

    /// Block of the owner's last grant; its event leads to the earlier ones. 0 for none.
    function grantedBlockOf(bytes32 ownerDid) external view returns (uint64);
}
