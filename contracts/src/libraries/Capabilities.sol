// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {NodeCaps} from "../types/NodeTypes.sol";

/// The capability word of a node: GPU bit 0, TEE bit 1, disk GB bits 8-39, Mbps bits 40-71, compute units bits 72-103.
/// The other bits are reserved: `pack` leaves them 0, `unpack` ignores them.
library Capabilities {
    function pack(NodeCaps memory caps) internal pure returns (bytes32) {
        return bytes32(
            (caps.hasGPU ? uint256(1) : 0) | (caps.hasTEE ? uint256(2) : 0) | (uint256(caps.diskGB) << 8)
                | (uint256(caps.bandwidthMbps) << 40) | (uint256(caps.computeUnits) << 72)
        );
    }

    function unpack(bytes32 word) internal pure returns (NodeCaps memory caps) {
        uint256 bits = uint256(word);
        caps.hasGPU = bits & 1 != 0;
        caps.hasTEE = bits & 2 != 0;
        caps.diskGB = uint32(bits >> 8);
        caps.bandwidthMbps = uint32(bits >> 40);
        caps.computeUnits = uint32(bits >> 72);
    }

    /// The word with the TEE bit set.
    function withTee(bytes32 word) internal pure returns (bytes32) {
        return word | bytes32(uint256(2));
    }
}
