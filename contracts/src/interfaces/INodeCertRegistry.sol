// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {NodeCaps, NodeCert, NodeRole} from "../types/NodeTypes.sol";

/// Who takes part, what they can do, and what they stand to lose.
/// @dev A node key is bound for good to the account that registers it first. Nothing on chain proves that this account holds the
/// Ed25519 key: someone may register another's key ahead of it, at the price of the stake, and can do nothing with it but block it,
/// since everything the node signs off chain is checked against that key. Clients wait for their registration before using a key.
interface INodeCertRegistry {
    event NodeRegistered(bytes32 indexed node, address indexed operator, NodeRole role, bytes32 caps, uint256 stakeWei);
    event NodeSlashed(bytes32 indexed node, uint256 amountWei, bool deactivated, bytes32 reason);
    event MinStakeChanged(uint256 minStakeWei);

    error InvalidNodeKey();
    error RegionTooLong(uint256 length, uint256 maximum);
    error NodeAlreadyRegistered(bytes32 node);
    error NodeNotRegistered(bytes32 node);
    error NotSlasher(address caller);
    error StakeTooLow(uint256 stakeWei, uint256 minStakeWei);
    error BasisPointsTooHigh(uint256 basisPoints);

    /// Registers `nodePubkey` for the caller, with the value sent as its stake.
    /// @param caps   capability word, see Capabilities
    /// @param region free text, at most 64 bytes
    /// @return node the node's id, which is its key
    function registerNode(bytes32 nodePubkey, NodeRole role, string calldata region, bytes32 caps, bytes32 slaId)
        external
        payable
        returns (bytes32 node);

    /// Records that an active node is alive. Operator only.
    function heartbeat(bytes32 nodePubkey) external;

    /// Takes `basisPoints` / 10 000 of a node's stake (rounded down) for the slash receiver; 10 000 also deactivates it for good.
    /// Does nothing to a node that is inactive and has no stake left. Slasher only.
    /// @return amountWei what was taken
    function slash(bytes32 nodePubkey, uint256 basisPoints, bytes32 reason) external returns (uint256 amountWei);

    /// Changes the stake that new registrations need. Owner only.
    function setMinStake(uint256 minStakeWei) external;

    /// The node's record; all zero where it is not registered.
    function nodeCert(bytes32 nodePubkey) external view returns (NodeCert memory);

    /// The node's capability word, unpacked.
    function capabilitiesOf(bytes32 nodePubkey) external view returns (NodeCaps memory);

    /// Operator and activity in one read; (0, false) where the node is not registered.
    function operatorOf(bytes32 nodePubkey) external view returns (address operator, bool active);

    function minStake() external view returns (uint256);
    function slasher() external view returns (address);
    function slashReceiver() external view returns (address);
}
