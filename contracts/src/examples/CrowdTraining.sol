// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IAIJobManager} from "../interfaces/IAIJobManager.sol";
import {ITrainRequest} from "../interfaces/ITrainRequest.sol";

/// Example of a contract that calls TRAIN_REQUEST: many people pay for one training together. When the goal is reached anybody may start
/// it; what comes back of the budget is shared out in proportion to what each paid in, to the wei. Not part of Muster's economy: no other
/// contract knows it.
contract CrowdTraining {
    /// What is trained.
    struct Training {
        bytes32 baseModel;
        bytes32 dataset;
        uint32 totalRounds;
        uint32 minParticipants;
        bytes hyperParameters;
    }

    /// One payment; `before` is the sum of those before it, so that payments lie side by side on a line and so do their refunds.
    struct Contribution {
        address contributor;
        uint256 before;
        uint256 amountWei;
        uint256 claimedWei;
    }

    enum Stage {
        Funding,
        Started,
        Cancelled
    }

    ITrainRequest public immutable trainRequest;
    address public immutable organizer;
    uint256 public immutable goalWei;
    /// Until then money is taken; from then on anybody may cancel what has not started.
    uint256 public immutable fundingEnds;
    /// From then on anybody may cancel the training itself.
    uint256 public immutable trainingEnds;

    Training public training;
    Stage public stage;
    bytes32 public jobId;
    uint256 public raisedWei;
    /// What has come back to be shared out, claimed or not.
    uint256 public refundWei;
    Contribution[] public contributions;

    event Contributed(uint256 indexed number, address indexed contributor, uint256 amountWei);
    event Started(bytes32 indexed jobId, uint256 budgetWei);
    event Cancelled();
    event Collected(uint256 amountWei);
    event Claimed(uint256 indexed number, address indexed contributor, uint256 amountWei);

    error WrongStage(Stage stage);
    error FundingEnded(uint256 fundingEnds);
    error NothingContributed();
    error GoalNotReached(uint256 raisedWei, uint256 goalWei);
    error NotYours(address caller);
    error NotJobManager(address sender);
    error NothingToClaim(uint256 number);
    error PaymentFailed(address contributor, uint256 amountWei);

    constructor(ITrainRequest trainRequest_, uint256 goalWei_, uint256 fundingEnds_, uint256 trainingEnds_, Training memory training_) {
        trainRequest = trainRequest_;
        organizer = msg.sender;
        goalWei = goalWei_;
        fundingEnds = fundingEnds_;
        trainingEnds = trainingEnds_;
        training = training_;
    }

    /// Takes the refunds of the job, and nothing else.
    receive() external payable {
        if (msg.sender != trainRequest.jobManager()) revert NotJobManager(msg.sender);
    }

    /// Pays in.
    /// @return number what to claim a refund by
    function contribute() external payable returns (uint256 number) {
        if (stage != Stage.Funding) revert WrongStage(stage);
        if (block.timestamp >= fundingEnds) revert FundingEnded(fundingEnds);
        if (msg.value == 0) revert NothingContributed();
        number = contributions.length;
        contributions.push(Contribution({contributor: msg.sender, before: raisedWei, amountWei: msg.value, claimedWei: 0}));
        raisedWei += msg.value;
        emit Contributed(number, msg.sender, msg.value);
    }

    /// Requests the training with all that was paid in. Anybody, once the goal is reached.
    function start() external returns (bytes32) {
        if (stage != Stage.Funding) revert WrongStage(stage);
        if (raisedWei < goalWei) revert GoalNotReached(raisedWei, goalWei);
        stage = Stage.Started;
        jobId = trainRequest.requestTraining{value: raisedWei}(
            training.baseModel, training.dataset, training.totalRounds, training.minParticipants, training.hyperParameters
        );
        emit Started(jobId, raisedWei);
        return jobId;
    }

    /// Ends the funding, or the training that was started. The organizer at any time, everybody else when its time is over.
    function cancel() external {
        if (stage == Stage.Cancelled) revert WrongStage(stage);
        bool started = stage == Stage.Started;
        if (msg.sender != organizer && block.timestamp < (started ? trainingEnds : fundingEnds)) revert NotYours(msg.sender);
        stage = Stage.Cancelled;
        emit Cancelled();
        if (started) IAIJobManager(trainRequest.jobManager()).cancelJob(jobId);
        else refundWei = raisedWei;
    }

    /// Fetches what the job manager owes this contract. Anybody, as often as something has come back.
    function collect() external {
        // Counted by the balance, before anybody can claim of it: `withdraw` pays this contract only.
        uint256 before = address(this).balance;
        IAIJobManager(trainRequest.jobManager()).withdraw();
        uint256 amountWei = address(this).balance - before;
        refundWei += amountWei;
        emit Collected(amountWei);
    }

    /// Sends contribution `number`'s part of what has come back, less what it has had, to who made it. Anybody may call.
    function claim(uint256 number) external {
        Contribution storage contribution = contributions[number];
        uint256 amountWei = shareOf(contribution.before, contribution.amountWei) - contribution.claimedWei;
        if (amountWei == 0) revert NothingToClaim(number);
        contribution.claimedWei += amountWei;
        address contributor = contribution.contributor;
        emit Claimed(number, contributor, amountWei);
        (bool paid,) = contributor.call{value: amountWei}("");
        if (!paid) revert PaymentFailed(contributor, amountWei);
    }

    function contributionCount() external view returns (uint256) {
        return contributions.length;
    }

    /// The refund between two points of the line, each rounded down: the parts of all contributions add up to the whole.
    function shareOf(uint256 before, uint256 amountWei) private view returns (uint256) {
        return refundWei * (before + amountWei) / raisedWei - refundWei * before / raisedWei;
    }
}
