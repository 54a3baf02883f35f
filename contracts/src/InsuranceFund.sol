// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IInsuranceFund} from "./interfaces/IInsuranceFund.sol";
import {Relayed} from "./Relayed.sol";

/// Covers for rewards that were paid in error. See IInsuranceFund.
/// @dev `totalOwed` is the sum of all `owed`; the balance is what came in less what was paid, and belongs to nobody in particular.
contract InsuranceFund is IInsuranceFund, Relayed {
    uint256 public totalOwed;
    mapping(address account => uint256) public owed;
    mapping(address account => bool) public isCoverer;

    constructor(address forwarder, address[] memory coverers) Relayed(forwarder) {
        for (uint256 index = 0; index < coverers.length; index++) {
            isCoverer[coverers[index]] = true;
        }
    }

    receive() external payable {
        emit InsuranceDeposited(msg.sender, msg.value);
    }

    function deposit() external payable {
        emit InsuranceDeposited(_msgSender(), msg.value);
    }

    function cover(address owner, uint256 amountWei) external {
        if (!isCoverer[msg.sender]) revert NotCoverer(msg.sender);
        owed[owner] += amountWei;
        totalOwed += amountWei;
        emit CoverGranted(owner, amountWei);
    }

    function claim() external returns (uint256 amountWei) {
        return pay(_msgSender());
    }

    function claimFor(address account) external returns (uint256 amountWei) {
        return pay(account);
    }

    function pay(address account) private returns (uint256 amountWei) {
        uint256 owedWei = owed[account];
        if (owedWei == 0) revert NothingOwed(account);
        uint256 balance = address(this).balance;
        if (balance == 0) revert FundEmpty(account, owedWei);
        amountWei = owedWei < balance ? owedWei : balance;
        // Both are lower before the call, so a recipient that calls back in finds only what is really left to it.
        owed[account] = owedWei - amountWei;
        totalOwed -= amountWei;
        emit CoverPaid(account, amountWei);
        (bool sent,) = account.call{value: amountWei}("");
        if (!sent) revert CoverNotPaid(account, amountWei);
    }
}
