// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Money owed, paid out by pull: rewards, refunds and slashed stakes wait here until their owner fetches them.
interface ICredits {
    event Withdrawn(address indexed operator, uint256 amountWei);

    error NothingToWithdraw(address account);
    error TransferFailed(address account, uint256 amountWei);

    /// Adds the value sent to what `account` may withdraw.
    function creditTo(address account) external payable;

    /// Sends the caller everything credited to it.
    function withdraw() external;

    /// Wei credited and not yet withdrawn.
    function credits(address account) external view returns (uint256);
}
