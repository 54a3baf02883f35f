// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// Pays a job's owner back for rewards that were paid for results convicted later. Money comes from slashed stakes and from whoever
/// gives; the fund promises no more than it holds, and nobody can take anything else out of it.
/// @dev First come, first served: what is owed beyond the balance waits for the next deposits.
interface IInsuranceFund {
    event InsuranceDeposited(address indexed from, uint256 amountWei);
    event CoverGranted(address indexed account, uint256 amountWei);
    event CoverPaid(address indexed account, uint256 amountWei);

    error NotCoverer(address caller);
    error NothingOwed(address account);
    error FundEmpty(address account, uint256 owedWei);
    error CoverNotPaid(address account, uint256 amountWei);

    /// Adds the value sent to what covers can be paid from. Anyone; a plain transfer does the same.
    function deposit() external payable;

    /// Adds to what `owner` is owed. Coverers only; moves no money and never fails for a coverer.
    function cover(address owner, uint256 amountWei) external;

    /// Pays the caller what it is owed, or what there is; the rest stays owed.
    /// @return amountWei what was paid, more than 0
    function claim() external returns (uint256 amountWei);

    /// The same for `account`, which is paid. Anyone.
    function claimFor(address account) external returns (uint256 amountWei);

    /// Wei owed to `account` and not yet paid.
    function owed(address account) external view returns (uint256);

    /// Wei owed to all accounts together; may exceed the balance.
    function totalOwed() external view returns (uint256);

    function isCoverer(address account) external view returns (bool);
}
