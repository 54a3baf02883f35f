// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ICredits} from "./interfaces/ICredits.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {Capabilities} from "./libraries/Capabilities.sol";
import {NodeNotActive, NotOperator} from "./types/Errors.sol";
import {NodeCaps, NodeCert, NodeRole} from "./types/NodeTypes.sol";

/// The registry of nodes and stakes. See INodeCertRegistry.
/// @dev Holds exactly the sum of all stakes. The owner can change `minStake` and nothing else.
contract NodeCertRegistry is INodeCertRegistry, Ownable {
    uint256 private constant MAX_REGION_BYTES = 64;
    uint256 private constant ALL_BASIS_POINTS = 10_000;

    address public immutable slasher;
    address public immutable slashReceiver;
    ICredits private immutable credits;

    uint256 public minStake;
    mapping(bytes32 node => NodeCert) private certs;

    constructor(address owner_, address slasher_, ICredits credits_, address slashReceiver_, uint256 minStakeWei) Ownable(owner_) {
        slasher = slasher_;
        credits = credits_;
        slashReceiver = slashReceiver_;
        minStake = minStakeWei;
        emit MinStakeChanged(minStakeWei);
    }

    function registerNode(bytes32 nodePubkey, NodeRole role, string calldata region, bytes32 caps, bytes32 slaId)
        external
        payable
        returns (bytes32 node)
    {
        if (nodePubkey == 0) revert InvalidNodeKey();
        if (bytes(region).length > MAX_REGION_BYTES) revert RegionTooLong(bytes(region).length, MAX_REGION_BYTES);
        if (msg.value < minStake) revert StakeTooLow(msg.value, minStake);
        NodeCert storage cert = certs[nodePubkey];
        if (cert.operator != address(0)) revert NodeAlreadyRegistered(nodePubkey);

        cert.nodePubkey = nodePubkey;
        cert.operator = msg.sender;
        cert.role = role;
        cert.active = true;
        cert.registeredAt = uint64(block.timestamp);
        cert.lastHeartbeat = uint64(block.timestamp);
        cert.caps = caps;
        cert.slaId = slaId;
        cert.stake = msg.value;
        cert.region = region;
        emit NodeRegistered(nodePubkey, msg.sender, role, caps, msg.value);
        return nodePubkey;
    }

    function heartbeat(bytes32 nodePubkey) external {
        NodeCert storage cert = registered(nodePubkey);
        if (cert.operator != msg.sender) revert NotOperator(nodePubkey, msg.sender);
        if (!cert.active) revert NodeNotActive(nodePubkey);
        cert.lastHeartbeat = uint64(block.timestamp);
    }

    function slash(bytes32 nodePubkey, uint256 basisPoints, bytes32 reason) external returns (uint256 amountWei) {
        if (msg.sender != slasher) revert NotSlasher(msg.sender);
        if (basisPoints > ALL_BASIS_POINTS) revert BasisPointsTooHigh(basisPoints);
        NodeCert storage cert = registered(nodePubkey);
        if (!cert.active && cert.stake == 0) return 0;

        amountWei = cert.stake * basisPoints / ALL_BASIS_POINTS;
        bool deactivated = basisPoints == ALL_BASIS_POINTS;
        cert.stake -= amountWei;
        if (deactivated) cert.active = false;
        emit NodeSlashed(nodePubkey, amountWei, deactivated, reason);
        credits.creditTo{value: amountWei}(slashReceiver);
    }

    function setMinStake(uint256 minStakeWei) external onlyOwner {
        minStake = minStakeWei;
        emit MinStakeChanged(minStakeWei);
    }

    function nodeCert(bytes32 nodePubkey) external view returns (NodeCert memory) {
        return certs[nodePubkey];
    }

    function capabilitiesOf(bytes32 nodePubkey) external view returns (NodeCaps memory) {
        return Capabilities.unpack(registered(nodePubkey).caps);
    }

    function operatorOf(bytes32 nodePubkey) external view returns (address operator, bool active) {
        NodeCert storage cert = certs[nodePubkey];
        return (cert.operator, cert.active);
    }

    function registered(bytes32 nodePubkey) private view returns (NodeCert storage cert) {
        cert = certs[nodePubkey];
        if (cert.operator == address(0)) revert NodeNotRegistered(nodePubkey);
    }
}
