// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// An operator that is a contract: it does what it is told, and whenever it is paid it tries calls again that may have been made before.
contract CallingBack {
    address[] private targets;
    bytes[] private calls;
    uint256 public entered;
    uint256 public succeeded;

    error CallFailed(bytes reason);

    function act(address target, bytes calldata data) external payable {
        (bool done, bytes memory reason) = target.call{value: msg.value}(data);
        if (!done) revert CallFailed(reason);
    }

    function tryAgain(address[] calldata targets_, bytes[] calldata calls_) external {
        targets = targets_;
        for (uint256 index = 0; index < calls_.length; index++) calls.push(calls_[index]);
    }

    receive() external payable {
        entered++;
        for (uint256 index = 0; index < calls.length; index++) {
            (bool done,) = targets[index].call(calls[index]);
            if (done) succeeded++;
        }
    }
}
