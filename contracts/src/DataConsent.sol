// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IArthaDIDRegistry} from "./interfaces/IArthaDIDRegistry.sol";
import {IDataConsent} from "./interfaces/IDataConsent.sol";
import {Relayed} from "./Relayed.sol";
import {SignatureAuthorized} from "./SignatureAuthorized.sol";
import {Authorization, Consent, ConsentTerms} from "./types/IdentityTypes.sol";

/// Consents and the log of accesses under them. See IDataConsent.
contract DataConsent is IDataConsent, Relayed, SignatureAuthorized {
    bytes32 private constant GRANT_TYPEHASH = keccak256(
        "Grant(bytes32 datasetCid,bytes32 ownerDid,bytes32 granteeDid,bytes32 purpose,bytes32 permissionKeyCid,"
        "uint64 expiresAt,uint256 nonce,uint64 deadline)"
    );
    bytes32 private constant REVOKE_TYPEHASH =
        keccak256("RevokeConsent(bytes32 consentId,uint256 nonce,uint64 deadline)");
    bytes32 private constant ACCESS_TYPEHASH =
        keccak256("LogAccess(bytes32 consentId,bytes32 accessCid,uint256 nonce,uint64 deadline)");

    IArthaDIDRegistry private immutable dids;

    mapping(bytes32 consentId => Consent) private consents;
    /// Consents for one owner, data set, grantee and purpose. A new one needs the last to have ended, so they do not overlap in time.
    mapping(bytes32 subject => bytes32[] consentIds) private successive;
    mapping(bytes32 ownerDid => uint64) private grantedBlocks;

    constructor(address forwarder, IArthaDIDRegistry dids_) Relayed(forwarder) EIP712("DataConsent", "1") {
        dids = dids_;
    }

    function grant(ConsentTerms calldata terms) external returns (bytes32 consentId) {
        address owner = requireActive(terms.ownerDid);
        if (_msgSender() != owner) revert NotDIDController(terms.ownerDid, _msgSender());
        return record(terms);
    }

    function grantBySignature(ConsentTerms calldata terms, Authorization calldata authorization)
        external
        returns (bytes32 consentId)
    {
        address owner = requireActive(terms.ownerDid);
        // A struct of static members is encoded as its members one after the other.
        bytes memory order = abi.encode(GRANT_TYPEHASH, terms, authorization.nonce, authorization.deadline);
        authorize(owner, keccak256(order), authorization);
        return record(terms);
    }

    function revoke(bytes32 consentId) external {
        Consent storage consent = known(consentId);
        (address owner,) = dids.controllerOf(consent.ownerDid);
        if (_msgSender() != owner) revert NotDIDController(consent.ownerDid, _msgSender());
        end(consentId, consent);
    }

    function revokeBySignature(bytes32 consentId, Authorization calldata authorization) external {
        Consent storage consent = known(consentId);
        (address owner,) = dids.controllerOf(consent.ownerDid);
        bytes memory order = abi.encode(REVOKE_TYPEHASH, consentId, authorization.nonce, authorization.deadline);
        authorize(owner, keccak256(order), authorization);
        end(consentId, consent);
    }

    function logAccess(bytes32 consentId, bytes32 accessCid) external {
        Consent storage consent = known(consentId);
        address grantee = requireActive(consent.granteeDid);
        if (_msgSender() != grantee) revert NotDIDController(consent.granteeDid, _msgSender());
        append(consentId, consent, accessCid);
    }

    function logAccessBySignature(bytes32 consentId, bytes32 accessCid, Authorization calldata authorization) external {
        Consent storage consent = known(consentId);
        address grantee = requireActive(consent.granteeDid);
        bytes memory order =
            abi.encode(ACCESS_TYPEHASH, consentId, accessCid, authorization.nonce, authorization.deadline);
        authorize(grantee, keccak256(order), authorization);
        append(consentId, consent, accessCid);
    }

    function consentOf(bytes32 consentId) external view returns (Consent memory) {
        return known(consentId);
    }

    function accessLogOf(bytes32 consentId) external view returns (bytes32 head, uint64 count, uint64 lastBlock) {
        Consent storage consent = known(consentId);
        return (consent.accessHead, consent.accessCount, consent.accessBlock);
    }

    function isAllowed(bytes32 ownerDid, bytes32 datasetCid, bytes32 granteeDid, bytes32 purpose, uint64 time)
        external
        view
        returns (bool)
    {
        bytes32[] storage consentIds = successive[subjectOf(ownerDid, datasetCid, granteeDid, purpose)];
        // The last one granted by `time` is the only one that can be live then.
        (uint256 low, uint256 high) = (0, consentIds.length);
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (consents[consentIds[middle]].grantedAt <= time) low = middle + 1;
            else high = middle;
        }
        if (low == 0) return false;
        Consent storage consent = consents[consentIds[low - 1]];
        if (time >= consent.expiresAt || (consent.revokedAt != 0 && time >= consent.revokedAt)) return false;
        return dids.activeAt(ownerDid, time) && dids.activeAt(granteeDid, time);
    }

    function consentsFor(bytes32 ownerDid, bytes32 datasetCid, bytes32 granteeDid, bytes32 purpose)
        external
        view
        returns (bytes32[] memory consentIds)
    {
        return successive[subjectOf(ownerDid, datasetCid, granteeDid, purpose)];
    }

    function grantedBlockOf(bytes32 ownerDid) external view returns (uint64) {
        return grantedBlocks[ownerDid];
    }

    function record(ConsentTerms calldata terms) private returns (bytes32 consentId) {
        uint64 time = uint64(block.timestamp);
        if (terms.datasetCid == 0) revert DatasetMissing();
        if (terms.expiresAt <= time) revert ExpiryPast(terms.expiresAt, time);
        requireActive(terms.granteeDid);
        bytes32 subject = subjectOf(terms.ownerDid, terms.datasetCid, terms.granteeDid, terms.purpose);
        bytes32[] storage consentIds = successive[subject];
        if (consentIds.length != 0) {
            bytes32 lastId = consentIds[consentIds.length - 1];
            Consent storage last = consents[lastId];
            if (last.revokedAt == 0 && time < last.expiresAt) revert ConsentStillLive(lastId);
        }

        consentId = keccak256(abi.encode(subject, consentIds.length));
        consentIds.push(consentId);
        Consent storage consent = consents[consentId];
        consent.datasetCid = terms.datasetCid;
        consent.ownerDid = terms.ownerDid;
        consent.granteeDid = terms.granteeDid;
        consent.purpose = terms.purpose;
        consent.permissionKeyCid = terms.permissionKeyCid;
        consent.grantedAt = time;
        consent.expiresAt = terms.expiresAt;
        uint64 previousBlock = grantedBlocks[terms.ownerDid];
        grantedBlocks[terms.ownerDid] = uint64(block.number);
        emit ConsentGranted(
            consentId,
            terms.ownerDid,
            terms.granteeDid,
            terms.datasetCid,
            terms.purpose,
            terms.permissionKeyCid,
            terms.expiresAt,
            previousBlock
        );
    }

    function end(bytes32 consentId, Consent storage consent) private {
        if (consent.revokedAt != 0) revert ConsentRevokedAt(consentId, consent.revokedAt);
        consent.revokedAt = uint64(block.timestamp);
        emit ConsentRevoked(consentId, consent.ownerDid, consent.granteeDid);
    }

    function append(bytes32 consentId, Consent storage consent, bytes32 accessCid) private {
        uint64 time = uint64(block.timestamp);
        if (accessCid == 0) revert AccessRecordMissing();
        if (consent.revokedAt != 0) revert ConsentRevokedAt(consentId, consent.revokedAt);
        if (time >= consent.expiresAt) revert ConsentExpired(consentId, consent.expiresAt);
        requireActive(consent.ownerDid);

        uint64 index = consent.accessCount;
        uint64 previousBlock = consent.accessBlock;
        bytes32 head = keccak256(abi.encode(consent.accessHead, consentId, index, accessCid, time));
        consent.accessHead = head;
        consent.accessCount = index + 1;
        consent.accessBlock = uint64(block.number);
        emit AccessLogged(
            consentId, consent.ownerDid, consent.granteeDid, index, accessCid, time, head, previousBlock
        );
    }

    function requireActive(bytes32 didHash) private view returns (address owner) {
        bool active;
        (owner, active) = dids.controllerOf(didHash);
        if (!active) revert DIDNotActive(didHash);
    }

    function known(bytes32 consentId) private view returns (Consent storage consent) {
        consent = consents[consentId];
        if (consent.grantedAt == 0) revert ConsentUnknown(consentId);
    }

    function subjectOf(bytes32 ownerDid, bytes32 datasetCid, bytes32 granteeDid, bytes32 purpose)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(ownerDid, datasetCid, granteeDid, purpose));
    }
}
