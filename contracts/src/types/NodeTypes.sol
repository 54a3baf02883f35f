// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// What a node does. `GPUProvider` is the compute provider that trains, with or without a GPU; off chain it is called "trainer".
enum NodeRole {
    GPUProvider,
    Validator,
    Aggregator,
    Storage,
    Inference
}

/// A registered node. `nodePubkey` (Ed25519) is its id; `operator` is the account that registered it and is paid.
struct NodeCert {
    bytes32 nodePubkey;
    address operator;
    NodeRole role;
    bool active;
    uint64 registeredAt;
    uint64 lastHeartbeat;
    bytes32 caps;
    bytes32 slaId;
    uint256 stake;
    string region;
}

/// The capability word of a node, unpacked.
struct NodeCaps {
    bool hasGPU;
    bool hasTEE;
    uint32 diskGB;
    uint32 bandwidthMbps;
    uint32 computeUnits;
}
