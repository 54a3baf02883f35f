// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ICredits} from "./interfaces/ICredits.sol";

/// The pull-payment ledger. See ICredits.
abstract contract Credits is ICredits {
    mapping(address account => uint256) public credits;

    function creditTo(address account) external payable {
        credits[account] += msg.value;
    }

    function withdraw() external {
        uint256 amountWei = credits[msg.sender];
        if (amountWei == 0) revert NothingToWithdraw(msg.sender);
        // The credit is gone before the call, so a caller that calls back in finds nothing to take twice.
        credits[msg.sender] = 0;
        emit Withdrawn(msg.sender, amountWei);
        (bool sent,) = msg.sender.call{value: amountWei}("");
        if (!sent) revert TransferFailed(msg.sender, amountWei);
    }
}
