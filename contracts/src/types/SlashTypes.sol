// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// What a stake can be taken for. What each one costs stands in the library Slashing.
enum Offence {
    /// Three heartbeats missed in a row.
    MissedHeartbeats,
    /// Committed to work of a job that failed, and did not deliver.
    FailedJob,
    /// A result that differs from the correct one after work that was right at first.
    GradientMismatch,
    /// A result that its own proof or objects contradict.
    InvalidProof,
    /// A result that no training produced.
    FakeGradients,
    /// A wrong step that was proven by computing it.
    ProvenCheating
}

/// How a slashed amount is divided, in basis points of it; the three add up to 10 000.
struct SlashShares {
    uint16 challenger;
    uint16 insurance;
    uint16 burn;
}
