// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IAIJobManager} from "./interfaces/IAIJobManager.sol";
import {IEmissionPool} from "./interfaces/IEmissionPool.sol";
import {Relayed, RelayedOwnable} from "./Relayed.sol";

/// The training pool's share of block rewards. See IEmissionPool.
/// @dev What has streamed is kept in basis points of a wei, so that nothing is lost to rounding when the reward changes.
contract EmissionPool is IEmissionPool, RelayedOwnable {
    uint256 private constant ALL_BASIS_POINTS = 10_000;
    /// Keeps blocks × reward × basis points far from 256 bits.
    uint256 private constant MAX_BLOCK_REWARD = type(uint128).max;

    address public immutable jobManager;
    uint16 public immutable shareBasisPoints;

    uint256 public blockRewardWei;
    uint256 public outstandingWei;
    /// Streamed up to `settledBlock` and returned, less spent, in wei × 10 000.
    uint256 private settled;
    uint256 private settledBlock;

    constructor(address forwarder, address owner_, address jobManager_, uint256 blockRewardWei_, uint16 shareBasisPoints_)
        Relayed(forwarder)
        Ownable(owner_)
    {
        if (shareBasisPoints_ > ALL_BASIS_POINTS) revert ShareTooHigh(shareBasisPoints_);
        jobManager = jobManager_;
        shareBasisPoints = shareBasisPoints_;
        changeBlockReward(blockRewardWei_);
    }

    /// Money from the job manager is a sponsorship that comes back; beyond what is outstanding, and from anyone else, a gift.
    receive() external payable {
        if (msg.sender != jobManager) {
            emit EmissionDeposited(msg.sender, msg.value);
            return;
        }
        uint256 returned = msg.value < outstandingWei ? msg.value : outstandingWei;
        outstandingWei -= returned;
        settled += returned * ALL_BASIS_POINTS;
        emit SponsorshipReturned(returned);
        if (msg.value > returned) emit EmissionDeposited(msg.sender, msg.value - returned);
    }

    function deposit() external payable {
        emit EmissionDeposited(_msgSender(), msg.value);
    }

    function sponsor(bytes32 jobId, uint256 amountWei) external onlyOwner {
        if (amountWei == 0) revert SponsorshipEmpty(jobId);
        uint256 available = accrued();
        if (amountWei > available) revert AccruedTooLow(available, amountWei);
        settle();
        settled -= amountWei * ALL_BASIS_POINTS;
        outstandingWei += amountWei;
        emit SponsorshipGiven(jobId, amountWei);
        IAIJobManager(jobManager).sponsorJob{value: amountWei}(jobId);
    }

    function reclaim() external returns (uint256 amountWei) {
        uint256 before = address(this).balance;
        IAIJobManager(jobManager).withdraw();
        return address(this).balance - before;
    }

    function setBlockReward(uint256 blockRewardWei_) external onlyOwner {
        settle();
        changeBlockReward(blockRewardWei_);
    }

    /// Without an owner nobody could spend what is here, so there is always one.
    function renounceOwnership() public view override onlyOwner {
        revert OwnershipNotRenounceable();
    }

    function accrued() public view returns (uint256) {
        uint256 streamed = (settled + unsettled()) / ALL_BASIS_POINTS;
        return streamed < address(this).balance ? streamed : address(this).balance;
    }

    function changeBlockReward(uint256 blockRewardWei_) private {
        if (blockRewardWei_ > MAX_BLOCK_REWARD) revert BlockRewardTooLarge(blockRewardWei_);
        blockRewardWei = blockRewardWei_;
        settledBlock = block.number;
        emit BlockRewardChanged(blockRewardWei_);
    }

    function settle() private {
        settled += unsettled();
        settledBlock = block.number;
    }

    function unsettled() private view returns (uint256) {
        return (block.number - settledBlock) * blockRewardWei * shareBasisPoints;
    }
}
