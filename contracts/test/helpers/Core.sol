// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ICredits} from "../../src/interfaces/ICredits.sol";
import {ITeeVerifier} from "../../src/interfaces/ITeeVerifier.sol";
import {Capabilities} from "../../src/libraries/Capabilities.sol";
import {Slashing} from "../../src/libraries/Slashing.sol";
import {NodeCaps} from "../../src/types/NodeTypes.sol";
import {Offence, SlashShares} from "../../src/types/SlashTypes.sol";

/// Shows what the core's libraries say, many cases at once.
contract CoreProbe {
    struct PenaltyCase {
        Offence offence;
        uint256 stake;
        uint256 offences;
        uint256 shareWei;
    }

    struct Penalty {
        uint256 amountWei;
        bool deactivated;
        bool counts;
        uint256 basisPoints;
    }

    struct DivisionCase {
        uint256 amountWei;
        SlashShares shares;
        bool hasChallenger;
    }

    struct Division {
        uint256 challengerWei;
        uint256 insuranceWei;
        uint256 burnWei;
    }

    function penalties(PenaltyCase[] calldata cases) external pure returns (Penalty[] memory results) {
        results = new Penalty[](cases.length);
        for (uint256 i = 0; i < cases.length; i++) {
            PenaltyCase calldata one = cases[i];
            (results[i].amountWei, results[i].deactivated) = Slashing.penalty(one.offence, one.stake, one.offences, one.shareWei);
            results[i].counts = Slashing.counts(one.offence);
            results[i].basisPoints = Slashing.basisPoints(one.offence);
        }
    }

    function divisions(DivisionCase[] calldata cases) external pure returns (Division[] memory results) {
        results = new Division[](cases.length);
        for (uint256 i = 0; i < cases.length; i++) {
            DivisionCase calldata one = cases[i];
            (results[i].challengerWei, results[i].insuranceWei, results[i].burnWei) =
                Slashing.divide(one.amountWei, one.shares, one.hasChallenger);
        }
    }

    function pack(NodeCaps[] calldata caps) external pure returns (bytes32[] memory words) {
        words = new bytes32[](caps.length);
        for (uint256 i = 0; i < caps.length; i++) words[i] = Capabilities.pack(caps[i]);
    }

    function unpack(bytes32[] calldata words) external pure returns (NodeCaps[] memory caps) {
        caps = new NodeCaps[](words.length);
        for (uint256 i = 0; i < words.length; i++) caps[i] = Capabilities.unpack(words[i]);
    }

    function withTee(bytes32 word) external pure returns (bytes32) {
        return Capabilities.withTee(word);
    }
}

/// A TEE verifier that says what it was told to say.
contract ObedientTeeVerifier is ITeeVerifier {
    function verifyQuote(bytes32, bytes calldata quote) external pure returns (bytes32 measurement, uint64 expiresAt) {
        return abi.decode(quote, (bytes32, uint64));
    }
}

/// An account that, while it is paid, gives its credit away and calls whatever else it may to be paid twice.
contract GreedyRecipient {
    ICredits private immutable credits;
    address private immutable friend;
    uint256 public attempts;
    uint256 public successes;

    constructor(ICredits credits_, address friend_) {
        credits = credits_;
        friend = friend_;
    }

    function attack() external {
        credits.withdraw();
    }

    receive() external payable {
        attempts++;
        try credits.transferCredit(friend, msg.value) {
            successes++;
        } catch {}
        try credits.withdraw() {
            successes++;
        } catch {}
    }
}
