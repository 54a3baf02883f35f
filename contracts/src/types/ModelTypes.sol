// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// A checkpoint of a model and the round it came from.
struct Checkpoint {
    bytes32 jobId;
    uint64 round;
    uint64 addedAt;
    bytes32 checkpointCid;
}

/// A model's record; weights are never on chain. `publishedCid` is 0 until `publishModel`. `parentModel` is 0, or the model it was
/// derived from, `generation` steps away from one without a parent. At most one of `licence` (an SPDX expression) and `licenceCid`
/// (the content id of a text) is set.
struct Model {
    address owner;
    uint64 registeredAt;
    uint64 publishedAt;
    uint16 generation;
    bytes32 modelCid;
    bytes32 datasetCid;
    bytes32 publishedCid;
    bytes32 parentModel;
    bytes32 licenceCid;
    string licence;
    Checkpoint[] checkpoints;
}
