// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Streams a share of a configured block reward to training jobs, out of money that it has been given.
/// @dev A contract cannot mint: whoever issues block rewards sends them here, and the pool keeps the rate. While it holds less than has
/// streamed, the difference waits for the next deposit.
interface IEmissionPool {
    event EmissionDeposited(address indexed from, uint256 amountWei);
    event BlockRewardChanged(uint256 blockRewardWei);
    event SponsorshipGiven(bytes32 indexed job, uint256 amountWei);
    event SponsorshipReturned(uint256 amountWei);

    error ShareTooHigh(uint256 basisPoints);
    error BlockRewardTooLarge(uint256 blockRewardWei);
    error SponsorshipEmpty(bytes32 job);
    error AccruedTooLow(uint256 accruedWei, uint256 amountWei);
    error OwnershipNotRenounceable();

    /// Adds the value sent. Anyone; a plain transfer does the same.
    function deposit() external payable;

    /// Puts accrued money into a job's budget. Owner only.
    function sponsor(bytes32 jobId, uint256 amountWei) external;

    /// Fetches what sponsored jobs did not use and makes it available for sponsoring again. Anyone; reverts where there is none.
    /// @return amountWei what came back
    function reclaim() external returns (uint256 amountWei);

    /// Changes the block reward from this block on. Owner only.
    function setBlockReward(uint256 blockRewardWei) external;

    /// Wei that may be spent on sponsoring now: what has streamed and come back, less what was spent, at most the balance.
    function accrued() external view returns (uint256);

    /// Wei spent on sponsoring that has not come back.
    function outstandingWei() external view returns (uint256);

    function blockRewardWei() external view returns (uint256);
    function shareBasisPoints() external view returns (uint16);
    function jobManager() external view returns (address);
}
