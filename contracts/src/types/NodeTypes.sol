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

/// Where a node stands. `Suspended` has lost so much of its stake that it must top it up before it works again; `Left` has taken its
/// stake and may register again; `Deactivated` never may.
enum NodeStatus {
    None,
    Active,
    Suspended,
    Unbonding,
    Left,
    Deactivated
}

/// Stake tiers, ascending.
enum StakeTier {
    None,
    Basic,
    Gpu,
    Tee,
    Priority
}

/// A registered node. Its id is its Ed25519 key; `operator` is the account that registered it and is paid.
/// @dev Packed: what a heartbeat, a commitment and a reveal touch lies in the first three words.
struct NodeCert {
    address operator;
    NodeRole role;
    NodeStatus status;
    uint8 offences;
    uint40 registeredAt;
    bool hardwareVerified;
    uint128 stake;
    uint40 lastHeartbeat;
    uint40 lockedUntil;
    uint40 unbondingSince;
    uint104 exposure;
    uint104 exposureBefore;
    uint48 exposureWindow;
    bytes32 caps;
    bytes32 slaId;
    bytes32 hwHash;
    bytes32 teeMeasurement;
    uint64 teeExpiresAt;
    uint64 attestedAt;
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

/// Smallest stake of each tier, wei, not descending.
struct StakeTiers {
    uint128 basic;
    uint128 gpu;
    uint128 tee;
    uint128 priority;
}

/// Times of the registry, seconds. `unbonding` is at least `challenge`.
struct RegistryTimes {
    uint40 heartbeat;
    uint40 challenge;
    uint40 unbonding;
}
