// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Relayed, RelayedOwnable} from "./Relayed.sol";
import {ICredits} from "./interfaces/ICredits.sol";
import {IInsuranceFund} from "./interfaces/IInsuranceFund.sol";
import {INodeCertRegistry} from "./interfaces/INodeCertRegistry.sol";
import {IReputationRegistry} from "./interfaces/IReputationRegistry.sol";
import {ITeeVerifier} from "./interfaces/ITeeVerifier.sol";
import {Attestation} from "./libraries/Attestation.sol";
import {Capabilities} from "./libraries/Capabilities.sol";
import {Slashing} from "./libraries/Slashing.sol";
import {NodeNotActive, NotOperator, NotThroughItsDoor} from "./types/Errors.sol";
import {NodeCaps, NodeCert, NodeRole, NodeStatus, RegistryTimes, StakeTier, StakeTiers} from "./types/NodeTypes.sol";
import {Outcome} from "./types/ReputationTypes.sol";
import {Offence, SlashShares} from "./types/SlashTypes.sol";

/// The contracts that the registry works with, fixed at deployment.
struct RegistryDoors {
    address proofOfCompute;
    address batchedProofOfCompute;
    ICredits credits;
    IInsuranceFund insuranceFund;
    IReputationRegistry reputation;
}

/// What the registry starts with; its owner may change it.
struct RegistrySettings {
    ITeeVerifier teeVerifier;
    StakeTiers tiers;
    RegistryTimes times;
    SlashShares shares;
}

/// The registry of nodes and stakes. See INodeCertRegistry.
/// @dev Holds exactly the sum of all stakes.
contract NodeCertRegistry is INodeCertRegistry, RelayedOwnable {
    /// Nobody is known to have this address's key.
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant MAX_REGION_BYTES = 64;
    uint40 private constant MAX_TIME = 3650 days;
    /// A link of this bandwidth has the whole bandwidth score.
    uint256 private constant FULL_BANDWIDTH_MBPS = 1_000;

    address private immutable proofOfCompute;
    address private immutable batchedProofOfCompute;
    ICredits private immutable credits;
    IInsuranceFund private immutable insuranceFund;
    IReputationRegistry private immutable reputation;

    StakeTiers private tiers;
    RegistryTimes private windows;
    SlashShares private shares;
    ITeeVerifier public teeVerifier;
    mapping(address attester => bool) public attesters;
    mapping(bytes32 node => NodeCert) private certs;

    constructor(address forwarder, address owner_, RegistryDoors memory doors, RegistrySettings memory settings)
        Relayed(forwarder)
        Ownable(owner_)
    {
        proofOfCompute = doors.proofOfCompute;
        batchedProofOfCompute = doors.batchedProofOfCompute;
        credits = doors.credits;
        insuranceFund = doors.insuranceFund;
        reputation = doors.reputation;
        applyTiers(settings.tiers);
        applyTimes(settings.times);
        applyShares(settings.shares);
        applyTeeVerifier(settings.teeVerifier);
    }

    modifier onlySettlement() {
        if (msg.sender != proofOfCompute && msg.sender != batchedProofOfCompute) revert NotThroughItsDoor(msg.sender);
        _;
    }

    // Coming and going

    function registerNode(bytes32 nodePubkey, NodeRole role, string calldata region, bytes32 caps, bytes32 slaId)
        external
        payable
        returns (bytes32 node)
    {
        if (nodePubkey == 0) revert InvalidNodeKey();
        if (bytes(region).length > MAX_REGION_BYTES) revert RegionTooLong(bytes(region).length, MAX_REGION_BYTES);
        requireStake(role, caps, msg.value);
        NodeCert storage cert = certs[nodePubkey];
        address operator = _msgSender();
        if (cert.status == NodeStatus.Left) {
            if (cert.operator != operator) revert NodeAlreadyRegistered(nodePubkey);
        } else if (cert.status != NodeStatus.None) {
            revert NodeAlreadyRegistered(nodePubkey);
        }

        cert.operator = operator;
        cert.role = role;
        cert.status = NodeStatus.Active;
        cert.registeredAt = uint40(block.timestamp);
        cert.hardwareVerified = false;
        cert.stake = toStake(msg.value);
        cert.lastHeartbeat = uint40(block.timestamp);
        cert.unbondingSince = 0;
        cert.caps = caps;
        cert.slaId = slaId;
        cert.region = region;
        emit NodeRegistered(nodePubkey, operator, role, caps, msg.value);
        return nodePubkey;
    }

    function topUp(bytes32 nodePubkey) external payable {
        NodeCert storage cert = staying(nodePubkey);
        uint128 stake = toStake(uint256(cert.stake) + msg.value);
        cert.stake = stake;
        if (cert.status == NodeStatus.Suspended && stake >= requiredStake(cert.role, cert.caps)) {
            cert.status = NodeStatus.Active;
            cert.lastHeartbeat = uint40(block.timestamp);
        }
        emit StakeAdded(nodePubkey, msg.value, stake, cert.status == NodeStatus.Active);
    }

    function startUnbonding(bytes32 nodePubkey) external {
        NodeCert storage cert = operated(nodePubkey);
        if (cert.status == NodeStatus.Unbonding) revert AlreadyUnbonding(nodePubkey);
        cert.status = NodeStatus.Unbonding;
        cert.unbondingSince = uint40(block.timestamp);
        emit UnbondingStarted(nodePubkey, withdrawableAt(nodePubkey));
    }

    function cancelUnbonding(bytes32 nodePubkey) external {
        NodeCert storage cert = operated(nodePubkey);
        if (cert.status != NodeStatus.Unbonding) revert NotUnbonding(nodePubkey);
        requireStake(cert.role, cert.caps, cert.stake);
        cert.status = NodeStatus.Active;
        cert.unbondingSince = 0;
        cert.lastHeartbeat = uint40(block.timestamp);
        emit UnbondingCancelled(nodePubkey);
    }

    function withdrawStake(bytes32 nodePubkey) external {
        NodeCert storage cert = operated(nodePubkey);
        if (cert.status != NodeStatus.Unbonding) revert NotUnbonding(nodePubkey);
        uint256 until = withdrawableAt(nodePubkey);
        if (block.timestamp < until) revert StakeLocked(nodePubkey, until);
        uint256 amountWei = cert.stake;
        address operator = cert.operator;
        cert.stake = 0;
        cert.status = NodeStatus.Left;
        emit StakeWithdrawn(nodePubkey, operator, amountWei);
        credits.creditTo{value: amountWei}(operator);
    }

    // Being alive

    function heartbeat(bytes32 nodePubkey) external {
        NodeCert storage cert = certs[nodePubkey];
        if (cert.operator != _msgSender()) revert NotOperator(nodePubkey, _msgSender());
        if (cert.status != NodeStatus.Active && cert.status != NodeStatus.Suspended) revert NodeNotActive(nodePubkey);
        cert.lastHeartbeat = uint40(block.timestamp);
    }

    function reportMissedHeartbeats(bytes32 nodePubkey) external returns (uint256 missed) {
        NodeCert storage cert = certs[nodePubkey];
        if (cert.status != NodeStatus.Active) revert NodeNotActive(nodePubkey);
        missed = (block.timestamp - cert.lastHeartbeat) / windows.heartbeat;
        if (missed == 0) revert NoHeartbeatMissed(nodePubkey, cert.lastHeartbeat);
        emit HeartbeatsMissed(nodePubkey, missed);
        if (missed < Slashing.HEARTBEATS_TO_SLASH) return missed;
        cert.lastHeartbeat = uint40(block.timestamp);
        reputation.record(nodePubkey, Outcome.HeartbeatMissed, uint32(missed < type(uint32).max ? missed : type(uint32).max));
        take(nodePubkey, cert, Offence.MissedHeartbeats, 0, _msgSender(), address(0));
    }

    // Being what one says

    function verifyHardware(bytes32 nodePubkey, bytes32 hwHash, bytes calldata attestation) external {
        NodeCert storage cert = operated(nodePubkey);
        (address attester, bytes32 caps, uint64 issuedAt,) = Attestation.attesterOf(nodePubkey, hwHash, attestation);
        if (!attesters[attester]) revert AttesterNotTrusted(attester);
        // An operator may not fall back on an older statement that was kinder.
        if (issuedAt <= cert.attestedAt) revert AttestationSuperseded(issuedAt, cert.attestedAt);
        if (Capabilities.unpack(caps).hasTEE && cert.teeExpiresAt <= block.timestamp) revert TeeNeedsQuote(nodePubkey);
        requireStake(cert.role, caps, cert.stake);

        cert.caps = caps;
        cert.hwHash = hwHash;
        cert.hardwareVerified = true;
        cert.attestedAt = issuedAt;
        emit HardwareVerified(nodePubkey, hwHash, caps, attester);
        uint256 mbps = Capabilities.unpack(caps).bandwidthMbps;
        uint256 score = mbps < FULL_BANDWIDTH_MBPS ? mbps * Slashing.ALL_BASIS_POINTS / FULL_BANDWIDTH_MBPS : Slashing.ALL_BASIS_POINTS;
        reputation.recordBandwidth(nodePubkey, uint16(score));
    }

    function verifyTee(bytes32 nodePubkey, bytes calldata quote) external {
        NodeCert storage cert = operated(nodePubkey);
        if (address(teeVerifier) == address(0)) revert TeeVerifierMissing();
        (bytes32 measurement, uint64 expiresAt) = teeVerifier.verifyQuote(nodePubkey, quote);
        if (block.timestamp >= expiresAt) revert QuoteExpired(expiresAt);
        bytes32 caps = Capabilities.withTee(cert.caps);
        requireStake(cert.role, caps, cert.stake);
        cert.caps = caps;
        cert.teeMeasurement = measurement;
        cert.teeExpiresAt = expiresAt;
        emit TeeVerified(nodePubkey, measurement, expiresAt);
    }

    // Called by the contracts that settle rounds

    function guard(bytes32 nodePubkey, uint256 exposureWei) external onlySettlement returns (address operator) {
        NodeCert storage cert = staying(nodePubkey);
        uint40 challenge = windows.challenge;
        uint40 until = uint40(block.timestamp) + challenge;
        if (until > cert.lockedUntil) cert.lockedUntil = until;
        uint48 window = uint48(block.timestamp / challenge);
        (uint256 current, uint256 before) = exposureIn(cert, window);
        current += exposureWei;
        if (current + before > cert.stake) revert ExposureTooHigh(nodePubkey, current + before, cert.stake);
        // Both fit, since together they are no more than a stake that was sent in the chain's coin; 104 bits are 2 · 10^13 of it.
        cert.exposure = toExposure(current);
        cert.exposureBefore = toExposure(before);
        cert.exposureWindow = window;
        return cert.operator;
    }

    function release(bytes32 nodePubkey, uint256 exposureWei, uint256 guardedAt) external onlySettlement {
        NodeCert storage cert = registered(nodePubkey);
        uint48 window = uint48(block.timestamp / windows.challenge);
        (uint256 current, uint256 before) = exposureIn(cert, window);
        uint256 guardedIn = guardedAt / windows.challenge;
        // What has rolled off already is not taken from other work.
        if (guardedIn == window) current -= exposureWei < current ? exposureWei : current;
        else if (guardedIn + 1 == window) before -= exposureWei < before ? exposureWei : before;
        cert.exposure = toExposure(current);
        cert.exposureBefore = toExposure(before);
        cert.exposureWindow = window;
    }

    function slash(bytes32 nodePubkey, Offence offence, address challenger, address judge)
        external
        onlySettlement
        returns (uint256 amountWei, uint256 insuranceWei)
    {
        NodeCert storage cert = registered(nodePubkey);
        if (Slashing.counts(offence)) {
            if (cert.offences < type(uint8).max) cert.offences++;
            reputation.record(nodePubkey, Outcome.Violation, 1);
        }
        return take(nodePubkey, cert, offence, 0, challenger, judge);
    }

    function slashFailedJob(bytes32 nodePubkey, uint256 shareWei, address challenger)
        external
        onlySettlement
        returns (uint256 amountWei)
    {
        (amountWei,) = take(nodePubkey, registered(nodePubkey), Offence.FailedJob, shareWei, challenger, address(0));
    }

    // Settings

    function setStakeTiers(StakeTiers calldata tiers_) external onlyOwner {
        applyTiers(tiers_);
    }

    function setTimes(RegistryTimes calldata times_) external onlyOwner {
        applyTimes(times_);
    }

    function setSlashShares(SlashShares calldata shares_) external onlyOwner {
        applyShares(shares_);
    }

    function setAttester(address attester, bool trusted) external onlyOwner {
        attesters[attester] = trusted;
        emit AttesterChanged(attester, trusted);
    }

    function setTeeVerifier(ITeeVerifier verifier) external onlyOwner {
        applyTeeVerifier(verifier);
    }

    // Reading

    function nodeCert(bytes32 nodePubkey) external view returns (NodeCert memory) {
        return certs[nodePubkey];
    }

    function capabilitiesOf(bytes32 nodePubkey) external view returns (NodeCaps memory) {
        return Capabilities.unpack(registered(nodePubkey).caps);
    }

    function operatorOf(bytes32 nodePubkey) external view returns (address operator, bool active) {
        NodeCert storage cert = certs[nodePubkey];
        return (cert.operator, cert.status == NodeStatus.Active);
    }

    function tierOf(bytes32 nodePubkey) external view returns (StakeTier) {
        NodeCert storage cert = certs[nodePubkey];
        uint256 stake = cert.stake;
        NodeCaps memory caps = Capabilities.unpack(cert.caps);
        if (stake >= tiers.priority) return StakeTier.Priority;
        if (caps.hasTEE && cert.teeExpiresAt > block.timestamp && stake >= tiers.tee) return StakeTier.Tee;
        if (caps.hasGPU && stake >= tiers.gpu) return StakeTier.Gpu;
        return stake >= tiers.basic ? StakeTier.Basic : StakeTier.None;
    }

    function requiredStake(NodeRole role, bytes32 caps) public view returns (uint256) {
        NodeCaps memory can = Capabilities.unpack(caps);
        if (can.hasTEE) return tiers.tee;
        return can.hasGPU && role == NodeRole.GPUProvider ? tiers.gpu : tiers.basic;
    }

    function withdrawableAt(bytes32 nodePubkey) public view returns (uint256) {
        NodeCert storage cert = certs[nodePubkey];
        uint256 unbonded = uint256(cert.unbondingSince) + windows.unbonding;
        return unbonded > cert.lockedUntil ? unbonded : cert.lockedUntil;
    }

    function freeStake(bytes32 nodePubkey) external view returns (uint256) {
        NodeCert storage cert = certs[nodePubkey];
        (uint256 current, uint256 before) = exposureIn(cert, uint48(block.timestamp / windows.challenge));
        uint256 exposed = current + before;
        return cert.stake > exposed ? cert.stake - exposed : 0;
    }

    function stakeTiers() external view returns (StakeTiers memory) {
        return tiers;
    }

    function times() external view returns (RegistryTimes memory) {
        return windows;
    }

    function slashShares() external view returns (SlashShares memory) {
        return shares;
    }

    // Inside

    /// Takes what the offence costs and divides it: challenger, insurance fund, burn.
    function take(bytes32 node, NodeCert storage cert, Offence offence, uint256 shareWei, address challenger, address judge)
        private
        returns (uint256 amountWei, uint256 insuranceWei)
    {
        uint256 stake = cert.stake;
        // A node that has left has no stake, and whoever registers it again starts with its old offences.
        if (stake == 0) return (0, 0);
        bool deactivated;
        (amountWei, deactivated) = Slashing.penalty(offence, stake, cert.offences, shareWei);
        cert.stake = uint128(stake - amountWei);
        if (deactivated) cert.status = NodeStatus.Deactivated;
        else if (cert.status == NodeStatus.Active && cert.stake < requiredStake(cert.role, cert.caps)) cert.status = NodeStatus.Suspended;
        emit NodeSlashed(node, amountWei, cert.status == NodeStatus.Active, offence);
        reputation.record(node, Outcome.Slashed, 1);
        insuranceWei = pay(node, amountWei, challenger, judge);
    }

    function pay(bytes32 node, uint256 amountWei, address challenger, address judge) private returns (uint256 insuranceWei) {
        // Nobody gains by the offence of a node of one's own, nor by one's own judgement.
        bool hasChallenger = challenger != address(0) && challenger != judge && challenger != certs[node].operator;
        uint256 challengerWei;
        uint256 burnWei;
        (challengerWei, insuranceWei, burnWei) = Slashing.divide(amountWei, shares, hasChallenger);
        emit SlashDivided(node, hasChallenger ? challenger : address(0), challengerWei, insuranceWei, burnWei);
        if (challengerWei > 0) credits.creditTo{value: challengerWei}(challenger);
        if (insuranceWei > 0) insuranceFund.deposit{value: insuranceWei}();
        // An account without code takes any value.
        if (burnWei > 0) Address.sendValue(payable(BURN), burnWei);
    }

    /// What unsettled work of the window that contains now, and of the one before, can earn.
    function exposureIn(NodeCert storage cert, uint48 window) private view returns (uint256 current, uint256 before) {
        uint48 last = cert.exposureWindow;
        if (last == window) return (cert.exposure, cert.exposureBefore);
        return (0, uint256(last) + 1 == window ? cert.exposure : 0);
    }

    function registered(bytes32 nodePubkey) private view returns (NodeCert storage cert) {
        cert = certs[nodePubkey];
        if (cert.status == NodeStatus.None) revert NodeNotRegistered(nodePubkey);
    }

    /// A node whose stake is here and not lost.
    function staying(bytes32 nodePubkey) private view returns (NodeCert storage cert) {
        cert = registered(nodePubkey);
        if (cert.status == NodeStatus.Deactivated) revert NodeDeactivated(nodePubkey);
        if (cert.status == NodeStatus.Left) revert NodeHasLeft(nodePubkey);
    }

    function operated(bytes32 nodePubkey) private view returns (NodeCert storage cert) {
        cert = staying(nodePubkey);
        if (cert.operator != _msgSender()) revert NotOperator(nodePubkey, _msgSender());
    }

    function requireStake(NodeRole role, bytes32 caps, uint256 stakeWei) private view {
        uint256 required = requiredStake(role, caps);
        if (stakeWei < required) revert StakeTooLow(stakeWei, required);
    }

    function toStake(uint256 stakeWei) private pure returns (uint128) {
        if (stakeWei > type(uint104).max) revert StakeTooLarge(stakeWei);
        return uint128(stakeWei);
    }

    /// At most a stake, which `toStake` keeps below 104 bits.
    function toExposure(uint256 exposureWei) private pure returns (uint104) {
        return uint104(exposureWei);
    }

    function applyTiers(StakeTiers memory tiers_) private {
        if (tiers_.basic > tiers_.gpu || tiers_.gpu > tiers_.tee || tiers_.tee > tiers_.priority) revert TiersNotAscending();
        tiers = tiers_;
        emit StakeTiersChanged(tiers_);
    }

    function applyTeeVerifier(ITeeVerifier verifier) private {
        teeVerifier = verifier;
        emit TeeVerifierChanged(verifier);
    }

    function applyTimes(RegistryTimes memory times_) private {
        bool tooLong = times_.heartbeat > MAX_TIME || times_.unbonding > MAX_TIME;
        if (times_.heartbeat == 0 || times_.challenge == 0 || times_.unbonding < times_.challenge || tooLong) {
            revert TimesInvalid(times_.heartbeat, times_.challenge, times_.unbonding);
        }
        windows = times_;
        emit TimesChanged(times_);
    }

    function applyShares(SlashShares memory shares_) private {
        uint256 sum = uint256(shares_.challenger) + shares_.insurance + shares_.burn;
        if (sum != Slashing.ALL_BASIS_POINTS) revert SharesInvalid(sum);
        shares = shares_;
        emit SlashSharesChanged(shares_);
    }
}
