// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Credits} from "../../src/Credits.sol";
import {EmissionPool} from "../../src/EmissionPool.sol";
import {Relayed} from "../../src/Relayed.sol";
import {IInsuranceFund} from "../../src/interfaces/IInsuranceFund.sol";

error NotSent();

/// A job manager reduced to what the emission pool sees of it: sponsored budgets, and refunds that wait as credit.
contract SponsoredJobs is Credits {
    mapping(bytes32 jobId => uint256) public budgets;

    constructor() Relayed(address(0)) {}

    function sponsorJob(bytes32 jobId) external payable {
        budgets[jobId] += msg.value;
    }

    /// Ends the job: `refundWei` of its budget goes back to `sponsor`, the rest is spent.
    function settle(bytes32 jobId, address sponsor, uint256 refundWei) external {
        uint256 budget = budgets[jobId];
        budgets[jobId] = 0;
        credits[sponsor] += refundWei;
        (bool sent,) = address(0xdEaD).call{value: budget - refundWei}("");
        if (!sent) revert NotSent();
    }
}

/// A job manager that calls the pool back whenever it is called, and gives money back more than once.
contract HostileJobs {
    EmissionPool public pool;
    uint256 public successes;

    function target(EmissionPool pool_) external {
        pool = pool_;
    }

    /// The hostile job manager is the pool's owner too, so that only the order of effects protects the pool.
    function attack(uint256 amountWei) external {
        pool.sponsor(bytes32("job"), amountWei);
    }

    function sponsorJob(bytes32 jobId) external payable {
        try pool.sponsor(jobId, msg.value) {
            successes++;
        } catch {}
    }

    function withdraw() external {
        (bool sent,) = address(pool).call{value: address(this).balance}("");
        if (!sent) revert NotSent();
    }
}

/// An account that claims again while the fund pays it.
contract ReentrantClaimant {
    IInsuranceFund private immutable fund;
    uint256 public attempts;
    uint256 public successes;

    constructor(IInsuranceFund fund_) {
        fund = fund_;
    }

    function attack() external {
        fund.claim();
    }

    receive() external payable {
        attempts++;
        try fund.claimFor(address(this)) {
            successes++;
        } catch {}
    }
}
