// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// An account that is a contract: it makes any call it is told to, and while it is paid it makes the calls that it is armed with.
contract Hostile {
    struct Blow {
        address target;
        bytes data;
    }

    Blow[] private blows;
    uint256 public attempts;
    uint256 public successes;
    bool private striking;

    /// What to call while being paid, on top of what was told before.
    function arm(address target, bytes calldata data) external {
        blows.push(Blow(target, data));
    }

    /// Calls `target`, and reverts as it reverts.
    function perform(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool done, bytes memory answer) = target.call{value: msg.value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    receive() external payable {
        // A blow that pays would call back in for ever.
        if (striking) return;
        striking = true;
        for (uint256 i = 0; i < blows.length; i++) {
            attempts++;
            (bool done,) = blows[i].target.call(blows[i].data);
            if (done) successes++;
        }
        striking = false;
    }
}

/// Many reads in one, so that looking at everything after every step stays cheap.
contract Lens {
    struct Reading {
        address target;
        bytes data;
    }

    /// Answers in order; for a reading without data, the balance of its target.
    function read(Reading[] calldata readings) external view returns (bytes[] memory answers) {
        answers = new bytes[](readings.length);
        for (uint256 i = 0; i < readings.length; i++) {
            if (readings[i].data.length == 0) {
                answers[i] = abi.encode(readings[i].target.balance);
                continue;
            }
            (bool done, bytes memory answer) = readings[i].target.staticcall(readings[i].data);
            require(done);
            answers[i] = answer;
        }
    }
}
