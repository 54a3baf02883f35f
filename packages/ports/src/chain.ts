/**
 * The chain as Muster sees it: calls that change state, facts that can be read, events that happened.
 *
 * One call per contract function and one event per contract event, with the same names. Adapters translate; they decide nothing.
 * All 32-byte content ids on chain are SHA-256 digests (`digestOf(cid)`), amounts are wei, times are seconds.
 */
import type { Address, JobId, JobPolicy, NodeId, Offence, ResultOffence, Root, TrainingRequest } from '@muster/protocol';

export type NodeRole = 'trainer' | 'validator' | 'aggregator' | 'storage' | 'inference';

/** Place of one execution: slot `slot` of task `task` in round `round` of `job`. */
export interface SlotId {
  readonly job: JobId;
  readonly round: number;
  readonly task: number;
  readonly slot: number;
}

/** R22, the fields of the source's `TrainProof` that do not follow from the slot. */
export interface TrainProof {
  readonly step: number;
  readonly lossDigest: Root;
  readonly gradientDigest: Root;
  readonly weightsDigest: Root;
  /** Milliseconds since 1970, by the node's clock. */
  readonly timestamp: number;
  /** Ed25519 over the proof, 64 bytes 0x-hex. */
  readonly signature: `0x${string}`;
}

/** A slot of a round settled in batches, and the proof that it is in the settlement tree. `index` is task · redundancy + slot. */
export interface SettledSlotClaim {
  readonly index: number;
  readonly node: NodeId;
  readonly commitment: Root;
  readonly amountWei: bigint;
  readonly proof: readonly Root[];
}

export type ChainCall =
  | {
      readonly call: 'registerNode';
      readonly node: NodeId;
      readonly role: NodeRole;
      readonly region: string;
      readonly caps: Root;
      readonly slaId: Root;
      readonly stakeWei: bigint;
    }
  | {
      readonly call: 'heartbeat' | 'startUnbonding' | 'cancelUnbonding' | 'withdrawStake' | 'reportMissedHeartbeats';
      readonly node: NodeId;
    }
  | { readonly call: 'topUp'; readonly node: NodeId; readonly amountWei: bigint }
  | { readonly call: 'verifyHardware'; readonly node: NodeId; readonly hwHash: Root; readonly attestation: `0x${string}` }
  | { readonly call: 'verifyTee'; readonly node: NodeId; readonly quote: `0x${string}` }
  | {
      readonly call: 'submitJob';
      readonly specCid: Root;
      readonly modelId: Root;
      readonly rounds: number;
      readonly tasks: number;
      readonly redundancy: number;
      readonly coordinator: Address;
      readonly validator: Address;
      readonly budgetWei: bigint;
      readonly policy: JobPolicy;
    }
  | ({ readonly call: 'requestTraining'; readonly budgetWei: bigint } & TrainingRequest)
  | {
      readonly call: 'pauseJob' | 'resumeJob' | 'cancelJob' | 'completeJob' | 'failJob' | 'releaseReserve';
      readonly job: JobId;
    }
  | { readonly call: 'specifyJob'; readonly job: JobId; readonly specCid: Root }
  | { readonly call: 'closeNodes'; readonly job: JobId; readonly round: number; readonly nodeSetRoot: Root; readonly nodeCount: number }
  | {
      readonly call: 'assign';
      readonly job: JobId;
      readonly round: number;
      readonly assignmentRoot: Root;
      readonly assignmentCid: Root;
      /** Seconds since 1970. */
      readonly commitDeadline: number;
    }
  | ({ readonly call: 'reassign'; readonly node: NodeId } & SlotId)
  | ({ readonly call: 'commit'; readonly node: NodeId; readonly commitment: Root; readonly proof: readonly Root[] } & SlotId)
  | { readonly call: 'closeCommits'; readonly job: JobId; readonly round: number; readonly task: number }
  | ({
      readonly call: 'reveal';
      readonly node: NodeId;
      readonly salt: Root;
      readonly resultRoot: Root;
      readonly resultCid: Root;
      readonly proof: TrainProof;
    } & SlotId)
  | ({ readonly call: 'convict'; readonly node: NodeId; readonly verdictCid: Root; readonly evidence: `0x${string}` } & SlotId)
  | {
      readonly call: 'finalize';
      readonly job: JobId;
      readonly round: number;
      readonly checkpointCid: Root;
      /** Of the round's global model, basis points; 0 where it was not measured. */
      readonly accuracy: number;
      /**
       * One entry per accepted task, ascending. `score` is its contribution; `evidence` is empty, or a verdict that names the root where no
       * majority does.
       */
      readonly accepted: readonly {
        readonly task: number;
        readonly score: number;
        readonly resultRoot: Root;
        readonly evidence: `0x${string}`;
      }[];
    }
  | { readonly call: 'settleTask'; readonly job: JobId; readonly round: number; readonly task: number; readonly resultRoot: Root }
  | { readonly call: 'creditNodes'; readonly places: readonly SlotId[] }
  | ({ readonly call: 'reportUnrevealed'; readonly node: NodeId; readonly proof: readonly Root[] } & SlotId)
  | {
      readonly call: 'commitBatch';
      readonly job: JobId;
      readonly round: number;
      readonly commitmentsHash: Root;
      readonly commitments: number;
      readonly contentCid: Root;
    }
  /** `commit` of a batched job: a node's own commitment, for one that the coordinator did not list. */
  | ({ readonly call: 'forceCommit'; readonly node: NodeId; readonly commitment: Root; readonly proof: readonly Root[] } & SlotId)
  /** `reveal` of a batched job: a node's own opening, for one that the coordinator may withhold. */
  | ({
      readonly call: 'forceReveal';
      readonly node: NodeId;
      readonly salt: Root;
      readonly resultRoot: Root;
      readonly proof: readonly Root[];
    } & SlotId)
  | { readonly call: 'settleVerdict'; readonly job: JobId; readonly round: number; readonly task: number; readonly evidence: `0x${string}` }
  | {
      readonly call: 'finalizeBatch';
      readonly job: JobId;
      readonly round: number;
      readonly checkpointCid: Root;
      /** As in `finalize`. */
      readonly accuracy: number;
      readonly taskRoots: readonly Root[];
      readonly packedSlots: `0x${string}`;
      readonly closedCommitments: readonly Root[];
      readonly listedCommitments: readonly Root[];
    }
  | { readonly call: 'claimMany'; readonly job: JobId; readonly round: number; readonly slots: readonly SettledSlotClaim[] }
  | {
      /** `convict` of a batched job. */
      readonly call: 'convictBatch';
      readonly job: JobId;
      readonly round: number;
      readonly slot: SettledSlotClaim;
      readonly salt: Root;
      readonly resultRoot: Root;
      /** The operator's over the commitment, or empty. */
      readonly signature: `0x${string}`;
      readonly evidence: `0x${string}`;
    }
  | {
      readonly call: 'recordTrainProofs';
      readonly job: JobId;
      readonly round: number;
      readonly root: Root;
      readonly count: number;
      readonly contentCid: Root;
    }
  | { readonly call: 'registerModel'; readonly modelId: Root; readonly modelCid: Root; readonly datasetCid: Root }
  | { readonly call: 'addCheckpoint'; readonly modelId: Root; readonly job: JobId; readonly round: number; readonly checkpointCid: Root }
  | { readonly call: 'publishModel'; readonly modelId: Root; readonly checkpointCid: Root }
  | { readonly call: 'withdraw' | 'claimInsurance' | 'reclaimEmission' }
  | { readonly call: 'depositInsurance' | 'depositEmission'; readonly amountWei: bigint }
  | { readonly call: 'sponsorJob'; readonly job: JobId; readonly amountWei: bigint }
  | { readonly call: 'transfer'; readonly to: Address; readonly amountWei: bigint };

/** Where an event stands in the chain; `(block, index)` orders all events. */
export interface EventPlace {
  readonly block: number;
  readonly index: number;
  /** The block's time, seconds since 1970. */
  readonly time: number;
  readonly transaction: `0x${string}`;
}

export type ChainEvent = EventPlace &
  (
    | {
        readonly event: 'NodeRegistered';
        readonly node: NodeId;
        readonly operator: Address;
        readonly role: NodeRole;
        readonly caps: Root;
        readonly stakeWei: bigint;
      }
    | {
        readonly event: 'NodeSlashed';
        readonly node: NodeId;
        readonly amountWei: bigint;
        /** Whether the node may go on working. */
        readonly active: boolean;
        readonly offence: Offence;
      }
    | {
        /** Where a slashed amount went. `challenger` is null where nobody had a share. */
        readonly event: 'SlashDivided';
        readonly node: NodeId;
        readonly challenger: Address | null;
        readonly challengerWei: bigint;
        readonly insuranceWei: bigint;
        readonly burnedWei: bigint;
      }
    | {
        readonly event: 'StakeAdded';
        readonly node: NodeId;
        readonly amountWei: bigint;
        readonly stakeWei: bigint;
        readonly active: boolean;
      }
    | { readonly event: 'UnbondingStarted'; readonly node: NodeId; readonly withdrawableAt: number }
    | { readonly event: 'UnbondingCancelled'; readonly node: NodeId }
    | { readonly event: 'StakeWithdrawn'; readonly node: NodeId; readonly operator: Address; readonly amountWei: bigint }
    | { readonly event: 'HeartbeatsMissed'; readonly node: NodeId; readonly missed: number }
    | {
        readonly event: 'JobSubmitted';
        readonly job: JobId;
        readonly owner: Address;
        readonly specCid: Root;
        readonly modelId: Root;
        readonly rounds: number;
        readonly tasks: number;
        readonly redundancy: number;
        readonly coordinator: Address;
        readonly validator: Address;
        readonly budgetWei: bigint;
      }
    | ({
        /** Follows the events of the job that it opened. */
        readonly event: 'TrainingRequested';
        readonly job: JobId;
        readonly requester: Address;
        readonly budgetWei: bigint;
      } & TrainingRequest)
    | { readonly event: 'JobTermsSet'; readonly job: JobId; readonly policy: JobPolicy }
    | { readonly event: 'JobSpecified'; readonly job: JobId; readonly specCid: Root }
    | { readonly event: 'JobSponsored'; readonly job: JobId; readonly amountWei: bigint }
    | { readonly event: 'JobPaused' | 'JobResumed'; readonly job: JobId }
    | { readonly event: 'JobCompleted'; readonly job: JobId; readonly refundWei: bigint }
    | { readonly event: 'JobCancelled'; readonly job: JobId; readonly refundWei: bigint; readonly reserveWei: bigint }
    | { readonly event: 'JobFailed'; readonly job: JobId; readonly refundWei: bigint; readonly reserveWei: bigint }
    | { readonly event: 'ReserveReleased'; readonly job: JobId; readonly refundWei: bigint }
    | { readonly event: 'NodesClosed'; readonly job: JobId; readonly round: number; readonly nodeSetRoot: Root; readonly nodeCount: number }
    | {
        readonly event: 'RoundAssigned';
        readonly job: JobId;
        readonly round: number;
        readonly beacon: Root;
        readonly assignmentRoot: Root;
        readonly assignmentCid: Root;
        readonly commitDeadline: number;
      }
    | ({ readonly event: 'SlotReassigned'; readonly node: NodeId } & SlotId)
    | ({ readonly event: 'Committed'; readonly node: NodeId; readonly commitment: Root } & SlotId)
    | { readonly event: 'CommitsClosed'; readonly job: JobId; readonly round: number; readonly task: number; readonly commits: number }
    | ({
        readonly event: 'Revealed';
        readonly node: NodeId;
        readonly salt: Root;
        readonly resultRoot: Root;
        readonly resultCid: Root;
        readonly proof: TrainProof;
      } & SlotId)
    | ({
        readonly event: 'Convicted';
        readonly node: NodeId;
        readonly revealedRoot: Root;
        readonly correctRoot: Root;
        readonly verdictCid: Root;
        readonly offence: Offence;
      } & SlotId)
    | ({ readonly event: 'NodeCredited'; readonly node: NodeId } & SlotId)
    | ({ readonly event: 'UnrevealedReported'; readonly node: NodeId; readonly slashedWei: bigint } & SlotId)
    | {
        readonly event: 'TaskFinalized';
        readonly job: JobId;
        readonly round: number;
        readonly task: number;
        readonly resultRoot: Root;
        readonly paid: number;
      }
    | ({ readonly event: 'RewardCredited'; readonly node: NodeId; readonly operator: Address; readonly amountWei: bigint } & SlotId)
    | {
        readonly event: 'RoundFinalized';
        readonly job: JobId;
        readonly round: number;
        readonly checkpointCid: Root;
        readonly accuracy: number;
      }
    | {
        readonly event: 'BatchCommitted';
        readonly job: JobId;
        readonly round: number;
        readonly commitmentsHash: Root;
        readonly commitments: number;
        readonly contentCid: Root;
        /** Seconds since 1970. */
        readonly closesAt: number;
      }
    | {
        readonly event: 'CommitForced';
        readonly job: JobId;
        readonly round: number;
        readonly slotIndex: number;
        readonly node: NodeId;
        readonly commitment: Root;
      }
    | {
        readonly event: 'RevealForced';
        readonly job: JobId;
        readonly round: number;
        readonly slotIndex: number;
        readonly node: NodeId;
        readonly salt: Root;
        readonly resultRoot: Root;
      }
    | {
        readonly event: 'VerdictSettled';
        readonly job: JobId;
        readonly round: number;
        readonly task: number;
        readonly resultRoot: Root;
        readonly verdictCid: Root;
      }
    | { readonly event: 'TasksSettled'; readonly job: JobId; readonly round: number; readonly taskRoots: readonly Root[] }
    | {
        readonly event: 'BatchFinalized';
        readonly job: JobId;
        readonly round: number;
        readonly settlementRoot: Root;
        readonly paid: number;
        /** Of all slots together. */
        readonly amountWei: bigint;
        readonly checkpointCid: Root;
      }
    | {
        readonly event: 'BatchRewardClaimed';
        readonly job: JobId;
        readonly round: number;
        readonly slotIndex: number;
        readonly node: NodeId;
        readonly operator: Address;
        readonly amountWei: bigint;
      }
    | {
        readonly event: 'BatchConvicted';
        readonly job: JobId;
        readonly round: number;
        readonly slotIndex: number;
        readonly node: NodeId;
        readonly revealedRoot: Root;
        readonly correctRoot: Root;
        readonly verdictCid: Root;
      }
    | {
        readonly event: 'BatchRewardVoided';
        readonly job: JobId;
        readonly round: number;
        readonly slotIndex: number;
        readonly owner: Address;
        readonly amountWei: bigint;
      }
    | {
        /** What nobody claimed in time went to the job's owner. */
        readonly event: 'BatchExpired';
        readonly job: JobId;
        readonly round: number;
        readonly owner: Address;
        readonly amountWei: bigint;
      }
    | {
        readonly event: 'TrainProofsRecorded';
        readonly job: JobId;
        readonly round: number;
        readonly root: Root;
        readonly count: number;
        readonly contentCid: Root;
      }
    | {
        readonly event: 'ModelRegistered';
        readonly modelId: Root;
        readonly owner: Address;
        readonly modelCid: Root;
        readonly datasetCid: Root;
      }
    | {
        readonly event: 'CheckpointAdded';
        readonly modelId: Root;
        readonly job: JobId;
        readonly round: number;
        readonly checkpointCid: Root;
      }
    | { readonly event: 'ModelPublished'; readonly modelId: Root; readonly checkpointCid: Root }
    | { readonly event: 'Withdrawn'; readonly operator: Address; readonly amountWei: bigint }
    | { readonly event: 'CreditTransferred'; readonly from: Address; readonly to: Address; readonly amountWei: bigint }
    | { readonly event: 'CoverGranted' | 'CoverPaid'; readonly account: Address; readonly amountWei: bigint }
    | { readonly event: 'InsuranceDeposited'; readonly from: Address; readonly amountWei: bigint }
  );

export type ChainEventName = ChainEvent['event'];

export interface ChainNode {
  readonly node: NodeId;
  readonly operator: Address;
  readonly role: NodeRole;
  readonly caps: Root;
  readonly stakeWei: bigint;
  readonly registeredAt: number;
  readonly lastHeartbeat: number;
  readonly status: ChainNodeStatus;
  /** Whether it may be given work: `status` is `active`. */
  readonly active: boolean;
  /** Offences of dishonesty so far; the third takes everything. */
  readonly offences: number;
  readonly hardwareVerified: boolean;
}

export type ChainNodeStatus = 'active' | 'suspended' | 'unbonding' | 'left' | 'deactivated';

export type ChainJobStatus = 'running' | 'paused' | 'completed' | 'cancelled' | 'failed';

export interface ChainJob {
  readonly job: JobId;
  readonly owner: Address;
  readonly coordinator: Address;
  readonly validator: Address;
  readonly specCid: Root;
  readonly modelId: Root;
  readonly status: ChainJobStatus;
  readonly budgetWei: bigint;
  readonly paidWei: bigint;
  /** Of an ended job: what finished work of its open round can still be paid from. */
  readonly reserveWei: bigint;
  readonly policy: JobPolicy;
  /** The next round that has not been finalized. */
  readonly nextRound: number;
}

/** What a stranger needs to speak to the same contracts. */
export interface ChainInfo {
  readonly chainId: number;
  readonly contracts: {
    readonly forwarder: Address;
    readonly insuranceFund: Address;
    readonly reputationRegistry: Address;
    readonly nodeCertRegistry: Address;
    readonly jobManager: Address;
    readonly faultVerifier: Address;
    readonly proofOfCompute: Address;
    readonly batchedProofOfCompute: Address;
    readonly trainProofLog: Address;
    readonly modelRegistry: Address;
    readonly emissionPool: Address;
    readonly didRegistry: Address;
    readonly dataConsent: Address;
    readonly teeVerifier: Address;
    readonly trainRequest: Address;
  };
}

export interface ChainReceipt {
  readonly transaction: `0x${string}`;
  readonly block: number;
  readonly gasUsed: number;
  readonly events: readonly ChainEvent[];
}

/** What a validator signs (EIP-712, domain: Muster, chain id, fault verifier) for the contract to check. */
export interface VerdictStatement {
  readonly job: JobId;
  readonly round: number;
  readonly task: number;
  readonly resultRoot: Root;
  readonly verdictCid: Root;
  /** What a node that revealed another root is guilty of. */
  readonly offence: ResultOffence;
}

/** Reputation of a node, as `ReputationRegistry` counts it. */
export interface ChainReputation {
  /** 0 … 1 000 000. */
  readonly score: number;
  readonly accepted: number;
  readonly rejected: number;
  readonly missed: number;
}

/** Read side; needs no key. */
export interface ChainReader {
  readonly info: ChainInfo;
  /** Number of the newest block and its time in seconds. */
  head(): Promise<{ readonly block: number; readonly time: number }>;
  node(node: NodeId): Promise<ChainNode | null>;
  job(job: JobId): Promise<ChainJob | null>;
  /** The seed that a round's draw uses, once the block after `closeNodes` exists; null before. */
  beacon(job: JobId, round: number): Promise<Root | null>;
  balance(account: Address): Promise<bigint>;
  /** Rewards credited and not yet withdrawn. */
  credit(account: Address): Promise<bigint>;
  reputation(node: NodeId): Promise<ChainReputation>;
  /** What a node may still be exposed to: its stake without what its open work can earn; 0 where it is not registered. */
  freeStake(node: NodeId): Promise<bigint>;
  /** Wei that the insurance fund owes `account`. */
  insured(account: Address): Promise<bigint>;
  /** Whether `evidence` proves `statement` to the fault verifier, so that `convict` and `finalize` will take it. */
  proves(statement: VerdictStatement, evidence: `0x${string}`): Promise<boolean>;
  /** Whether `signature` is `operator`'s over `commitment`, as a batched job's contract will ask. No call of the chain. */
  signedCommitment(operator: Address, commitment: Root, signature: `0x${string}`): Promise<boolean>;
  /** All Muster events with `fromBlock <= block <= toBlock` (default: head), in order. */
  events(fromBlock: number, toBlock?: number): Promise<ChainEvent[]>;
  /** Calls `onBlock` soon after a new block exists, until the signal aborts; may coalesce blocks. */
  watch(onBlock: (block: number) => void, signal: AbortSignalLike): void;
}

/** One account's write side. */
export interface ChainWriter extends ChainReader {
  readonly account: Address;
  /**
   * Sends one call and waits until it is in a block. Throws CHAIN_REVERTED with details `{error, …}` naming the contract's
   * custom error, and CHAIN_UNREACHABLE. Sends from one account are ordered.
   */
  send(call: ChainCall): Promise<ChainReceipt>;
  /** Evidence for `convict` and `finalize`: the verdict signed by this account, ABI-encoded for the fault verifier. */
  signVerdict(statement: VerdictStatement): Promise<`0x${string}`>;
  /** This account's signature over a commitment in a batched job. */
  signCommitment(commitment: Root): Promise<`0x${string}`>;
}

/** The part of AbortSignal used here, so that pure packages need no DOM types. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
}
