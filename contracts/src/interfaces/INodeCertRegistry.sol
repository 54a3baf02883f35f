// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {NodeCaps, NodeCert, NodeRole, RegistryTimes, StakeTier, StakeTiers} from "../types/NodeTypes.sol";
import {Offence, SlashShares} from "../types/SlashTypes.sol";
import {ITeeVerifier} from "./ITeeVerifier.sol";

/// Who takes part, what they can do, and what they stand to lose.
/// @dev A node key is bound for good to the account that registers it first. Nothing on chain proves that this account holds the
/// Ed25519 key: someone may register another's key ahead of it, at the price of the stake, and can do nothing with it but block it,
/// since everything the node signs off chain is checked against that key. Clients wait for their registration before using a key.
interface INodeCertRegistry {
    event NodeRegistered(bytes32 indexed node, address indexed operator, NodeRole role, bytes32 caps, uint256 stakeWei);
    event StakeAdded(bytes32 indexed node, uint256 amountWei, uint256 stakeWei, bool active);
    event UnbondingStarted(bytes32 indexed node, uint256 withdrawableAt);
    event UnbondingCancelled(bytes32 indexed node);
    event StakeWithdrawn(bytes32 indexed node, address indexed operator, uint256 amountWei);
    event HeartbeatsMissed(bytes32 indexed node, uint256 missed);
    event NodeSlashed(bytes32 indexed node, uint256 amountWei, bool active, Offence offence);
    event SlashDivided(
        bytes32 indexed node, address indexed challenger, uint256 challengerWei, uint256 insuranceWei, uint256 burnedWei
    );
    event HardwareVerified(bytes32 indexed node, bytes32 hwHash, bytes32 caps, address attester);
    event TeeVerified(bytes32 indexed node, bytes32 measurement, uint64 expiresAt);
    event StakeTiersChanged(StakeTiers tiers);
    event TimesChanged(RegistryTimes times);
    event SlashSharesChanged(SlashShares shares);
    event AttesterChanged(address indexed attester, bool trusted);
    event TeeVerifierChanged(ITeeVerifier verifier);

    error InvalidNodeKey();
    error RegionTooLong(uint256 length, uint256 maximum);
    error NodeAlreadyRegistered(bytes32 node);
    error NodeNotRegistered(bytes32 node);
    error NodeDeactivated(bytes32 node);
    error NodeHasLeft(bytes32 node);
    error StakeTooLow(uint256 stakeWei, uint256 requiredWei);
    error StakeTooLarge(uint256 stakeWei);
    error NotUnbonding(bytes32 node);
    error AlreadyUnbonding(bytes32 node);
    error StakeLocked(bytes32 node, uint256 until);
    error NoHeartbeatMissed(bytes32 node, uint256 lastHeartbeat);
    error ExposureTooHigh(bytes32 node, uint256 exposureWei, uint256 stakeWei);
    error AttesterNotTrusted(address attester);
    error AttestationSuperseded(uint64 issuedAt, uint64 attestedAt);
    error QuoteExpired(uint64 expiresAt);
    error TeeNeedsQuote(bytes32 node);
    error TeeVerifierMissing();
    error TiersNotAscending();
    error TimesInvalid(uint40 heartbeat, uint40 challenge, uint40 unbonding);
    error SharesInvalid(uint256 sum);

    /// Registers `nodePubkey` for the caller, with the value sent as its stake. The stake must reach the tier that role and capabilities
    /// ask for. A node that has left may be registered again by its operator.
    /// @param caps   capability word, see Capabilities; the node's own word until `verifyHardware`
    /// @param region free text, at most 64 bytes
    /// @param slaId  the service level the node promises, 0 for none
    /// @return node the node's id, which is its key
    function registerNode(bytes32 nodePubkey, NodeRole role, string calldata region, bytes32 caps, bytes32 slaId)
        external
        payable
        returns (bytes32 node);

    /// Adds the value sent to a node's stake. Anyone. A suspended node works again once its stake reaches its tier.
    function topUp(bytes32 nodePubkey) external payable;

    /// Takes a node out of work; its stake can be withdrawn after the unbonding time. Operator only.
    function startUnbonding(bytes32 nodePubkey) external;

    /// Puts an unbonding node back to work. Operator only.
    function cancelUnbonding(bytes32 nodePubkey) external;

    /// Credits the stake to the operator, once the unbonding time is over and no challenge window on the node's work is open.
    function withdrawStake(bytes32 nodePubkey) external;

    /// Records that a node is alive. Operator only; active or suspended nodes.
    function heartbeat(bytes32 nodePubkey) external;

    /// Says that a node has been silent for at least one heartbeat time. One or two in a row are a warning; three take stake, and the
    /// count begins anew. Anyone; the caller has the challenger's share.
    /// @return missed how many heartbeats in a row
    function reportMissedHeartbeats(bytes32 nodePubkey) external returns (uint256 missed);

    /// Replaces what a node says about itself by what a trusted attester has signed (Attestation: EIP-712), newer than what stands.
    /// Operator only.
    /// @param hwHash      hash of the full hardware report, which stays off chain
    /// @param attestation `abi.encode(caps, issuedAt, expiresAt, signature)`
    function verifyHardware(bytes32 nodePubkey, bytes32 hwHash, bytes calldata attestation) external;

    /// Shows that a node runs in a trusted execution environment, by a quote that the TEE verifier accepts. Operator only.
    function verifyTee(bytes32 nodePubkey, bytes calldata quote) external;

    /// Notes that work of a node can be challenged from now on: its stake stays until the challenge window is over, and all work that is
    /// not settled may not be worth more than the stake, so that no number of claims side by side is worth more than what stands behind
    /// them. What is not released counts for one to two challenge windows. Settlement contracts only.
    /// @param exposureWei what this work can earn
    /// @return operator the node's operator
    function guard(bytes32 nodePubkey, uint256 exposureWei) external returns (address operator);

    /// Notes that work was found right: it no longer counts to what the node is exposed to. Settlement contracts only.
    /// @param guardedAt when the work was guarded, seconds since 1970
    function release(bytes32 nodePubkey, uint256 exposureWei, uint256 guardedAt) external;

    /// Takes stake for a proven offence; see the library Slashing. A node without stake loses nothing. Settlement contracts only.
    /// @param challenger who proved it, 0 for nobody
    /// @param judge      whose word the proof is; a challenger that is the judge or the node's operator has no share
    /// @return amountWei    what was taken
    /// @return insuranceWei the part of it that went to the insurance fund
    function slash(bytes32 nodePubkey, Offence offence, address challenger, address judge)
        external
        returns (uint256 amountWei, uint256 insuranceWei);

    /// Takes `shareWei`, or the whole stake where it is less, for work promised to a job that failed. Settlement contracts only.
    function slashFailedJob(bytes32 nodePubkey, uint256 shareWei, address challenger) external returns (uint256 amountWei);

    /// Owner only, as are all setters. Stakes that stand are kept; what open work is exposed to is forgotten where the challenge time
    /// changes, and a new unbonding time holds for those who are leaving already.
    function setStakeTiers(StakeTiers calldata tiers) external;
    function setTimes(RegistryTimes calldata times) external;
    function setSlashShares(SlashShares calldata shares) external;
    function setAttester(address attester, bool trusted) external;
    function setTeeVerifier(ITeeVerifier verifier) external;

    /// The node's record; all zero where it is not registered.
    function nodeCert(bytes32 nodePubkey) external view returns (NodeCert memory);

    /// The node's capability word, unpacked.
    function capabilitiesOf(bytes32 nodePubkey) external view returns (NodeCaps memory);

    /// Operator and activity in one read; (0, false) where the node is not registered.
    function operatorOf(bytes32 nodePubkey) external view returns (address operator, bool active);

    /// The tier that a node's stake reaches with what it can do. The TEE tier needs a quote that has not expired.
    function tierOf(bytes32 nodePubkey) external view returns (StakeTier);

    /// The stake that a role with these capabilities needs.
    function requiredStake(NodeRole role, bytes32 caps) external view returns (uint256);

    /// The seconds since 1970 from which an unbonding node's stake can be withdrawn; the past where nothing holds it back.
    function withdrawableAt(bytes32 nodePubkey) external view returns (uint256);

    /// What a node may still be exposed to: its stake minus what its open work can earn.
    function freeStake(bytes32 nodePubkey) external view returns (uint256);

    function stakeTiers() external view returns (StakeTiers memory);
    function times() external view returns (RegistryTimes memory);
    function slashShares() external view returns (SlashShares memory);
    function attesters(address attester) external view returns (bool trusted);
    function teeVerifier() external view returns (ITeeVerifier);
}
