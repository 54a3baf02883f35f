// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Attestation} from "../../src/libraries/Attestation.sol";

/// Shows what the library says to a registry.
contract AttestationProbe {
    function attesterOf(bytes32 node, bytes32 hwHash, bytes calldata attestation)
        external
        view
        returns (address attester, bytes32 caps, uint64 issuedAt, uint64 expiresAt)
    {
        return Attestation.attesterOf(node, hwHash, attestation);
    }
}
