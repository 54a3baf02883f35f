// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {TrainProof} from "../../src/types/ComputeTypes.sol";

/// What gas figures are held against: a plain token, and the way of keeping training proofs that comes to mind first.
contract YardstickToken is ERC20 {
    constructor() ERC20("Yardstick", "YARD") {
        _mint(msg.sender, 1 ether);
    }
}

/// Keeps every training proof whole.
contract NaiveProofs {
    mapping(bytes32 jobId => mapping(bytes32 node => mapping(uint256 step => TrainProof))) private proofs;

    function submit(TrainProof calldata proof) external {
        proofs[proof.jobId][proof.nodePubkey][proof.step] = proof;
    }
}

/// Pays every node of a round from a list, without checking anything.
contract NaivePayments {
    mapping(address account => uint256) private credits;

    function pay(address[] calldata accounts, uint256 amountWei) external {
        for (uint256 i = 0; i < accounts.length; i++) credits[accounts[i]] += amountWei;
    }
}
