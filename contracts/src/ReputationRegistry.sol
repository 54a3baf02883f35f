// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IReputationRegistry} from "./interfaces/IReputationRegistry.sol";
import {Reputation} from "./libraries/Reputation.sol";
import {Counters, Metrics, Outcome} from "./types/ReputationTypes.sol";

/// Counters and scores of nodes. See IReputationRegistry.
/// @dev The writers are immutable values and not a mapping, so that a check costs no storage read in every round.
contract ReputationRegistry is IReputationRegistry {
    uint256 private constant MAX_WRITERS = 6;

    address public immutable bandwidthWriter;
    // Unused ones are zero, which never calls.
    address private immutable writer0;
    address private immutable writer1;
    address private immutable writer2;
    address private immutable writer3;
    address private immutable writer4;
    address private immutable writer5;

    /// The packed counters, see Reputation.
    mapping(bytes32 node => uint256) private words;

    constructor(address[] memory writers, address bandwidthWriter_) {
        uint256 count = writers.length;
        if (count > MAX_WRITERS) revert TooManyWriters(count, MAX_WRITERS);
        bandwidthWriter = bandwidthWriter_;
        writer0 = count > 0 ? writers[0] : address(0);
        writer1 = count > 1 ? writers[1] : address(0);
        writer2 = count > 2 ? writers[2] : address(0);
        writer3 = count > 3 ? writers[3] : address(0);
        writer4 = count > 4 ? writers[4] : address(0);
        writer5 = count > 5 ? writers[5] : address(0);
    }

    modifier onlyWriter() {
        if (!isWriter(msg.sender)) revert NotReputationWriter(msg.sender);
        _;
    }

    function record(bytes32 node, Outcome outcome, uint32 count) external onlyWriter {
        words[node] = Reputation.counted(words[node], outcome, count, today());
        emit OutcomeRecorded(node, outcome, count);
    }

    function recordTasks(bytes32[] calldata nodes, Outcome outcome) external onlyWriter {
        uint256 day = today();
        for (uint256 index = 0; index < nodes.length; index++) {
            words[nodes[index]] = Reputation.counted(words[nodes[index]], outcome, 1, day);
        }
        emit TasksRecorded(outcome, nodes);
    }

    function recordBandwidth(bytes32 node, uint16 basisPoints) external {
        if (msg.sender != bandwidthWriter) revert NotReputationWriter(msg.sender);
        words[node] = Reputation.withBandwidth(words[node], basisPoints);
        emit BandwidthRecorded(node, basisPoints);
    }

    function countersOf(bytes32 node) public view returns (Counters memory) {
        return Reputation.unpack(words[node]);
    }

    function metricsOf(bytes32 node) external view returns (Metrics memory) {
        return Reputation.metrics(countersOf(node), today());
    }

    function scoreOf(bytes32 node) public view returns (uint32) {
        return Reputation.score(countersOf(node), today());
    }

    function weightOf(uint256 stakeWei, bytes32 node) external view returns (uint256) {
        return Reputation.weight(stakeWei, scoreOf(node));
    }

    function isWriter(address account) public view returns (bool) {
        return account != address(0)
            && (account == writer0
                || account == writer1
                || account == writer2
                || account == writer3
                || account == writer4
                || account == writer5);
    }

    function today() private view returns (uint256) {
        return block.timestamp / 1 days;
    }
}
