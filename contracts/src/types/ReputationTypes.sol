// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// What a contract reports about a node. `TaskMissed` is a task that was assigned and not delivered.
enum Outcome {
    TaskAccepted,
    TaskRejected,
    TaskMissed,
    HeartbeatMissed,
    Violation,
    Slashed,
    LineageContribution
}

/// What is counted of a node, unpacked from its one storage word. Counters stop at their largest value.
/// Days are seconds since 1970 ÷ 86 400; `lastActive` is the day of the last accepted task, `cleanSince` the later of the first
/// accepted task and the last violation or slash. Both are 0 where there is none.
struct Counters {
    uint40 accepted;
    uint32 rejected;
    uint32 missed;
    uint24 heartbeatsMissed;
    uint16 violations;
    uint16 slashes;
    uint16 bandwidth;
    uint16 lineage;
    uint24 lastActive;
    uint24 cleanSince;
}

/// The seven metrics, 0 to 10 000 basis points. All but `penalty` raise the score.
struct Metrics {
    uint16 uptime;
    uint16 penalty;
    uint16 proofSuccess;
    uint16 bandwidth;
    uint16 lineage;
    uint16 slashFree;
    uint16 completion;
}
