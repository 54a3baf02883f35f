// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Relayed} from "./Relayed.sol";
import {ICredits} from "./interfaces/ICredits.sol";

/// The pull-payment ledger. See ICredits.
abstract contract Credits is ICredits, Relayed {
    mapping(address account => uint256) public credits;

    function creditTo(address account) external payable {
        credits[account] += msg.value;
    }

    function transferCredit(address account, uint256 amountWei) external {
        address from = _msgSender();
        uint256 creditWei = credits[from];
        if (amountWei > creditWei) revert CreditTooLow(from, creditWei, amountWei);
        credits[from] = creditWei - amountWei;
        credits[account] += amountWei;
        emit CreditTransferred(from, account, amountWei);
    }

    function withdraw() external {
        address account = _msgSender();
        uint256 amountWei = credits[account];
        if (amountWei == 0) revert NothingToWithdraw(account);
        // The credit is gone before the call, so a caller that calls back in finds nothing to take twice.
        credits[account] = 0;
        emit Withdrawn(account, amountWei);
        (bool sent,) = account.call{value: amountWei}("");
        if (!sent) revert TransferFailed(account, amountWei);
    }
}
