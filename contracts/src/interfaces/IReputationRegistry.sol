// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Counters, Metrics, Outcome} from "../types/ReputationTypes.sol";

/// What each node has done so far, and the score that follows from it. Only contracts fixed at deployment write; holds no money.
/// @dev The formula, its rounding and what it promises against splitting stand in libraries/Reputation.sol.
interface IReputationRegistry {
    event OutcomeRecorded(bytes32 indexed node, Outcome outcome, uint32 count);
    event TasksRecorded(Outcome outcome, bytes32[] nodes);
    /// `basisPoints` as reported, before it is cut to 10 000.
    event BandwidthRecorded(bytes32 indexed node, uint16 basisPoints);

    error NotReputationWriter(address caller);
    error TooManyWriters(uint256 writers, uint256 maximum);

    /// Counts `count` outcomes of a node. A count of 0 changes nothing. Writers only.
    function record(bytes32 node, Outcome outcome, uint32 count) external;

    /// Counts one outcome for each of `nodes`; a node named twice counts twice. Writers only.
    function recordTasks(bytes32[] calldata nodes, Outcome outcome) external;

    /// Replaces a node's bandwidth metric; more than 10 000 counts as 10 000. The bandwidth writer only.
    function recordBandwidth(bytes32 node, uint16 basisPoints) external;

    /// What is counted of the node; all zero where nothing is.
    function countersOf(bytes32 node) external view returns (Counters memory);

    /// The seven metrics today, before decay.
    function metricsOf(bytes32 node) external view returns (Metrics memory);

    /// The node's score today, 0 to 1 000 000, decay included. 0 without an accepted task.
    function scoreOf(bytes32 node) external view returns (uint32);

    /// What assignment weighs a node by: `stakeWei` × score ÷ 1 000 000, rounded down; a score below 10 000 counts as 10 000, so that a
    /// newcomer can be drawn at all.
    function weightOf(uint256 stakeWei, bytes32 node) external view returns (uint256);

    function isWriter(address account) external view returns (bool);
    function bandwidthWriter() external view returns (address);
}
