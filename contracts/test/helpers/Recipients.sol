// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ICredits} from "../../src/interfaces/ICredits.sol";

/// An account that withdraws again while it is being paid.
contract Reentrant {
    ICredits private immutable credits;
    uint256 public attempts;
    uint256 public successes;

    constructor(ICredits credits_) {
        credits = credits_;
    }

    function attack() external {
        credits.withdraw();
    }

    receive() external payable {
        attempts++;
        try credits.withdraw() {
            successes++;
        } catch {}
    }
}

/// An account that takes no money.
contract Rejecting {
    function withdraw(ICredits credits) external {
        credits.withdraw();
    }
}
