// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Money owed, paid out by pull: rewards, refunds, shares of slashed stakes and returned stakes wait here until their owner fetches them.
interface ICredits {
    event Withdrawn(address indexed operator, uint256 amountWei);
    event CreditTransferred(address indexed from, address indexed to, uint256 amountWei);

    error NothingToWithdraw(address account);
    error CreditTooLow(address account, uint256 creditWei, uint256 amountWei);
    error TransferFailed(address account, uint256 amountWei);

    /// Adds the value sent to what `account` may withdraw.
    function creditTo(address account) external payable;

    /// Gives a part of the caller's own credit to `account`.
    function transferCredit(address account, uint256 amountWei) external;

    /// Sends the caller everything credited to it.
    function withdraw() external;

    /// Wei credited and not yet withdrawn.
    function credits(address account) external view returns (uint256);
}
