// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// A contract account that takes a signature to be its own if it is the one it was told of (ERC-1271). For tests.
contract SmartAccount {
    bytes32 private approved;

    function approve(bytes32 digest) external {
        approved = digest;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return digest == approved ? this.isValidSignature.selector : bytes4(0);
    }
}
