// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

// Errors that more than one contract reverts with. An error of one contract stands in its interface.

error JobUnknown(bytes32 job);
error JobNotRunning(bytes32 job);
error JobEnded(bytes32 job);
error NotCoordinator(bytes32 job, address caller);
error RoundOutOfOrder(bytes32 job, uint64 round, uint64 nextRound);
error RoundNotAssigned(bytes32 job, uint64 round);
error NodeNotActive(bytes32 node);
error NotOperator(bytes32 node, address caller);
/// A function that only one contract of the network may call.
error NotThroughItsDoor(address caller);
