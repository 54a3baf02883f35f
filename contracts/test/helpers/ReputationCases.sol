// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Reputation} from "../../src/libraries/Reputation.sol";
import {Counters, Metrics, Outcome} from "../../src/types/ReputationTypes.sol";

/// One entry of a node's history. An outcome of 255 sets the bandwidth to `count` basis points.
struct Entry {
    uint8 outcome;
    uint32 count;
    uint24 day;
}

/// The reputation library on many cases in one call.
contract ReputationCases {
    function scores(Counters[] calldata nodes, uint256 day) external pure returns (uint32[] memory score, Metrics[] memory metrics) {
        score = new uint32[](nodes.length);
        metrics = new Metrics[](nodes.length);
        for (uint256 index = 0; index < nodes.length; index++) {
            score[index] = Reputation.score(nodes[index], day);
            metrics[index] = Reputation.metrics(nodes[index], day);
        }
    }

    function replay(Entry[][] calldata histories) external pure returns (Counters[] memory nodes) {
        nodes = new Counters[](histories.length);
        for (uint256 index = 0; index < histories.length; index++) {
            uint256 word = 0;
            for (uint256 step = 0; step < histories[index].length; step++) {
                Entry calldata entry = histories[index][step];
                word = entry.outcome == 255
                    ? Reputation.withBandwidth(word, uint16(entry.count))
                    : Reputation.counted(word, Outcome(entry.outcome), entry.count, entry.day);
            }
            nodes[index] = Reputation.unpack(word);
        }
    }

    function weights(uint256[] calldata stakes, uint32[] calldata scores_) external pure returns (uint256[] memory weight) {
        weight = new uint256[](stakes.length);
        for (uint256 index = 0; index < stakes.length; index++) {
            weight[index] = Reputation.weight(stakes[index], scores_[index]);
        }
    }
}
