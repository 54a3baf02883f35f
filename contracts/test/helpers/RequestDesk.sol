// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Digests} from "../../src/libraries/Digests.sol";
import {JobTerms} from "../../src/types/JobTypes.sol";

/// Stands for the job manager where only what TrainRequest tells it matters.
contract RequestDesk {
    struct Asked {
        address owner;
        address caller;
        bytes32 requestDigest;
        uint256 budgetWei;
        JobTerms terms;
    }

    mapping(bytes32 jobId => Asked) private requests;
    mapping(address account => uint256) public jobCount;
    mapping(address account => uint256) public credits;

    function submitRequest(address owner, JobTerms calldata terms, bytes32 requestDigest) external payable returns (bytes32 jobId) {
        jobId = Digests.jobId(address(this), owner, jobCount[owner]++, requestDigest);
        requests[jobId] = Asked(owner, msg.sender, requestDigest, msg.value, terms);
    }

    function asked(bytes32 jobId) external view returns (Asked memory) {
        return requests[jobId];
    }

    function cancelJob(bytes32 jobId) external {
        require(requests[jobId].owner == msg.sender, "owner");
        credits[msg.sender] += requests[jobId].budgetWei;
        requests[jobId].budgetWei = 0;
    }

    /// As when `spentWei` of a job was paid to nodes and the rest refunded.
    function complete(bytes32 jobId, uint256 spentWei) external {
        credits[requests[jobId].owner] += requests[jobId].budgetWei - spentWei;
        requests[jobId].budgetWei = 0;
    }

    function withdraw() external {
        uint256 amountWei = credits[msg.sender];
        require(amountWei != 0, "nothing");
        credits[msg.sender] = 0;
        (bool sent,) = msg.sender.call{value: amountWei}("");
        require(sent, "unsent");
    }
}
