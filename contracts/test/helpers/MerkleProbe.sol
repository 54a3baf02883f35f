// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {MerkleRoots} from "../../src/libraries/MerkleRoots.sol";

/// MerkleRoots, to be called from outside.
contract MerkleProbe {
    function root(bytes32[] memory leaves) external pure returns (bytes32) {
        return MerkleRoots.root(leaves);
    }
}
