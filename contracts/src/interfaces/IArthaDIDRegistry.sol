// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Authorization, DIDChange, DIDDocument, KeyPurpose, KeyValidity} from "../types/IdentityTypes.sol";

/// Decentralized identifiers `did:artha:<didHash>`: who controls one, its keys now and before, and where its metadata is.
/// @dev `didHash = keccak256(abi.encode(authKey, controller))` of the first key and the first owner. Only that account can register
/// it, so a copied registration is worth nothing; it stays the same whatever is changed later. That the owner holds the private keys
/// is not checked here: whoever relies on a key asks for a signature by it.
/// Every call exists in two forms: by the owner itself (or relayed by the forwarder), and `…BySignature`, an EIP-712 order of the
/// owner that anybody delivers. Orders use the nonces of the account that signs.
interface IArthaDIDRegistry {
    /// A DID has a new version, which is `document`. `previousBlock` is the block of the version before, 0 for the first: whoever reads the
    /// history follows it back.
    event DIDChanged(bytes32 indexed didHash, DIDChange change, uint64 previousBlock, DIDDocument document);
    /// `pendingOwner` may accept; 0 took an offer back.
    event OwnerChangeProposed(bytes32 indexed didHash, address indexed owner, address indexed pendingOwner);

    error DIDUnknown(bytes32 didHash);
    error DIDRevoked(bytes32 didHash);
    error DIDAlreadyRegistered(bytes32 didHash);
    error NotDIDOwner(bytes32 didHash, address caller);
    error NotPendingOwner(bytes32 didHash, address caller);
    error KeyMissing();
    /// The key is or was one of this DID's, so it cannot become one again or serve another purpose.
    error KeyAlreadyUsed(bytes32 didHash, bytes32 key);
    error KeysUnchanged(bytes32 didHash);

    /// Registers the caller's DID and returns its hash. Reverts KeyMissing, KeyAlreadyUsed, DIDAlreadyRegistered.
    function createDID(bytes32 authKey, bytes32 encKey, bytes32 metaCid) external returns (bytes32 didHash);

    /// `createDID` by `controller`:
    /// CreateDID(address controller,bytes32 authKey,bytes32 encKey,bytes32 metaCid,uint256 nonce,uint64 deadline).
    function createDIDBySignature(
        address controller,
        bytes32 authKey,
        bytes32 encKey,
        bytes32 metaCid,
        Authorization calldata authorization
    ) external returns (bytes32 didHash);

    /// Replaces one or both keys; a key that stays is given again. A key that went never comes back.
    function rotateKeys(bytes32 didHash, bytes32 authKey, bytes32 encKey) external;

    /// RotateKeys(bytes32 didHash,bytes32 authKey,bytes32 encKey,uint256 nonce,uint64 deadline) by the owner.
    function rotateKeysBySignature(bytes32 didHash, bytes32 authKey, bytes32 encKey, Authorization calldata authorization)
        external;

    function updateMetadata(bytes32 didHash, bytes32 metaCid) external;

    /// UpdateMetadata(bytes32 didHash,bytes32 metaCid,uint256 nonce,uint64 deadline) by the owner.
    function updateMetadataBySignature(bytes32 didHash, bytes32 metaCid, Authorization calldata authorization) external;

    /// Offers the DID to `newOwner`, who has it after `acceptOwner`; 0 takes the offer back. The last offer counts.
    function changeOwner(bytes32 didHash, address newOwner) external;

    /// ChangeOwner(bytes32 didHash,address newOwner,uint256 nonce,uint64 deadline) by the owner.
    function changeOwnerBySignature(bytes32 didHash, address newOwner, Authorization calldata authorization) external;

    function acceptOwner(bytes32 didHash) external;

    /// AcceptOwner(bytes32 didHash,uint256 nonce,uint64 deadline) by the account it was offered to.
    function acceptOwnerBySignature(bytes32 didHash, Authorization calldata authorization) external;

    /// Ends the DID and its keys for good. What its keys signed before stays valid.
    function revoke(bytes32 didHash) external;

    /// Revoke(bytes32 didHash,uint256 nonce,uint64 deadline) by the owner.
    function revokeBySignature(bytes32 didHash, Authorization calldata authorization) external;

    function didHashOf(bytes32 authKey, address controller) external pure returns (bytes32);

    /// Reverts DIDUnknown.
    function documentOf(bytes32 didHash) external view returns (DIDDocument memory);

    /// Zero and false for a DID that does not exist; false for a revoked one.
    function controllerOf(bytes32 didHash) external view returns (address owner, bool active);

    /// Whether the DID existed and was not revoked at `time`. Of a time to come: as things stand now.
    function activeAt(bytes32 didHash, uint64 time) external view returns (bool);

    /// Whether `key` was the DID's for `purpose` at `time`. Of a time to come: as things stand now.
    function keyValidAt(bytes32 didHash, KeyPurpose purpose, bytes32 key, uint64 time) external view returns (bool);

    function keyValidityOf(bytes32 didHash, bytes32 key) external view returns (KeyValidity memory);

    /// The account the DID is offered to, or 0.
    function pendingOwnerOf(bytes32 didHash) external view returns (address);

    /// Block of the DID's last change; its events lead to the earlier ones. 0 for a DID that does not exist.
    function changedBlockOf(bytes32 didHash) external view returns (uint64);
}
