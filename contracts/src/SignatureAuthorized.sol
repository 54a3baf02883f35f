// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Authorization, AuthorizationExpired, AuthorizationInvalid} from "./types/IdentityTypes.sol";

/// Takes orders that an account signed and anybody may deliver. The domain binds them to this chain and this contract; each uses up one
/// nonce of the account here, in order.
/// @dev Contract accounts sign by ERC-1271, which is asked by a static call: it cannot re-enter to change anything.
abstract contract SignatureAuthorized is EIP712, Nonces {
    /// Uses the nonce of `authorization`. Reverts InvalidAccountNonce, AuthorizationExpired, AuthorizationInvalid.
    /// @param structHash EIP-712 hash of the order, its nonce and deadline included.
    function authorize(address signer, bytes32 structHash, Authorization calldata authorization) internal {
        uint64 time = uint64(block.timestamp);
        if (time > authorization.deadline) revert AuthorizationExpired(authorization.deadline, time);
        _useCheckedNonce(signer, authorization.nonce);
        bytes32 digest = _hashTypedDataV4(structHash);
        if (!SignatureChecker.isValidSignatureNow(signer, digest, authorization.signature)) {
            revert AuthorizationInvalid(signer);
        }
    }
}
