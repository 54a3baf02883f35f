/**
 * Contract logs → ChainEvent: the same names and fields, numbers and ids in Muster's types.
 *
 * Logs of other events (ownership, settings, attestations) give null: they are no part of a job's history.
 */
import type { ChainEvent, EventPlace } from '@muster/ports';
import type { Address, JobId, JobPolicy, NodeId, Root } from '@muster/protocol';
import { jobKinds, offences, rewardModels, settlements } from '@muster/protocol';
import { decodeEventLog, type Hex, toEventSelector } from 'viem';
import {
  aiJobManagerAbi,
  batchedProofOfComputeAbi,
  insuranceFundAbi,
  modelRegistryAbi,
  nodeCertRegistryAbi,
  proofOfComputeAbi,
  trainProofLogAbi,
  trainRequestAbi,
} from '../generated/index.ts';
import { nodeRoles } from './calls.ts';

const contractsAbi = [
  ...nodeCertRegistryAbi,
  ...aiJobManagerAbi,
  ...proofOfComputeAbi,
  ...modelRegistryAbi,
  ...insuranceFundAbi,
  ...trainRequestAbi,
  ...batchedProofOfComputeAbi,
  ...trainProofLogAbi,
] as const;

type ContractEvent = Extract<(typeof contractsAbi)[number], { readonly type: 'event' }>;

/** Events by selector: decoding with the joined ABI would hash every event's signature for every log. */
const eventsBySelector = new Map<string, ContractEvent>(
  contractsAbi.filter((entry) => entry.type === 'event').map((entry) => [toEventSelector(entry), entry]),
);

/** The parts of a log that decoding needs. */
export interface RawLog {
  readonly topics: readonly Hex[];
  readonly data: Hex;
}

const root = (hex: Hex): Root => hex as Root;
const node = (hex: Hex): NodeId => hex as NodeId;
const job = (hex: Hex): JobId => hex as JobId;
export const lowerAddress = (hex: Hex): Address => hex.toLowerCase() as Address;

interface SlotArguments {
  readonly job: Hex;
  readonly round: bigint;
  readonly task: number;
  readonly slot: number;
}

const slotOf = (args: SlotArguments) => ({ job: job(args.job), round: Number(args.round), task: args.task, slot: args.slot });

const roundOf = (args: { readonly job: Hex; readonly round: bigint }) => ({ job: job(args.job), round: Number(args.round) });
const batchSlotOf = (args: { readonly job: Hex; readonly round: bigint; readonly index: number }) => ({
  ...roundOf(args),
  slotIndex: args.index,
});

/** The event in a log of one of the contracts, or null where it is none of Muster's. */
export function decodeEvent(log: RawLog, place: EventPlace): ChainEvent | null {
  const [selector, ...rest] = log.topics;
  const item = selector === undefined ? undefined : eventsBySelector.get(selector);
  if (selector === undefined || item === undefined) return null;
  const decoded = decodeEventLog({ abi: [item], topics: [selector, ...rest], data: log.data });
  switch (decoded.eventName) {
    case 'NodeRegistered': {
      const { args } = decoded;
      const role = nodeRoles[args.role] ?? 'trainer';
      const { stakeWei } = args;
      return {
        ...place,
        event: 'NodeRegistered',
        node: node(args.node),
        operator: lowerAddress(args.operator),
        role,
        caps: root(args.caps),
        stakeWei,
      };
    }
    case 'NodeSlashed': {
      const { amountWei, active, ...args } = decoded.args;
      const offence = offences[args.offence] ?? 'provenCheating';
      return { ...place, event: 'NodeSlashed', node: node(args.node), amountWei, active, offence };
    }
    case 'SlashDivided': {
      const { challengerWei, insuranceWei, burnedWei, ...args } = decoded.args;
      const challenger = BigInt(args.challenger) === 0n ? null : lowerAddress(args.challenger);
      return { ...place, event: 'SlashDivided', node: node(args.node), challenger, challengerWei, insuranceWei, burnedWei };
    }
    case 'StakeAdded': {
      const { amountWei, stakeWei, active } = decoded.args;
      return { ...place, event: 'StakeAdded', node: node(decoded.args.node), amountWei, stakeWei, active };
    }
    case 'UnbondingStarted': {
      const { args } = decoded;
      return { ...place, event: 'UnbondingStarted', node: node(args.node), withdrawableAt: Number(args.withdrawableAt) };
    }
    case 'UnbondingCancelled':
      return { ...place, event: 'UnbondingCancelled', node: node(decoded.args.node) };
    case 'StakeWithdrawn': {
      const { amountWei, operator } = decoded.args;
      return { ...place, event: 'StakeWithdrawn', node: node(decoded.args.node), operator: lowerAddress(operator), amountWei };
    }
    case 'HeartbeatsMissed':
      return { ...place, event: 'HeartbeatsMissed', node: node(decoded.args.node), missed: Number(decoded.args.missed) };
    case 'JobSubmitted': {
      const { args } = decoded;
      return {
        ...place,
        event: 'JobSubmitted',
        job: job(args.job),
        owner: lowerAddress(args.owner),
        specCid: root(args.specCid),
        modelId: root(args.modelId),
        rounds: Number(args.rounds),
        tasks: args.tasks,
        redundancy: args.redundancy,
        coordinator: lowerAddress(args.coordinator),
        validator: lowerAddress(args.validator),
        budgetWei: args.budgetWei,
      };
    }
    case 'TrainingRequested': {
      const { jobId, requester, baseModel, dataset, totalRounds, minParticipants, hyperParameters, budgetWei } = decoded.args;
      const request = { baseModel: root(baseModel), dataset: root(dataset), totalRounds, minParticipants, hyperParameters };
      return { ...place, event: 'TrainingRequested', job: job(jobId), requester: lowerAddress(requester), budgetWei, ...request };
    }
    case 'JobTermsSet':
      return { ...place, event: 'JobTermsSet', job: job(decoded.args.job), policy: decodePolicy(decoded.args.terms) };
    case 'JobSpecified':
      return { ...place, event: 'JobSpecified', job: job(decoded.args.job), specCid: root(decoded.args.specCid) };
    case 'JobSponsored':
      return { ...place, event: 'JobSponsored', job: job(decoded.args.job), amountWei: decoded.args.amountWei };
    case 'JobPaused':
    case 'JobResumed':
      return { ...place, event: decoded.eventName, job: job(decoded.args.job) };
    case 'JobCompleted':
    case 'ReserveReleased':
      return { ...place, event: decoded.eventName, job: job(decoded.args.job), refundWei: decoded.args.refundWei };
    case 'JobCancelled':
    case 'JobFailed': {
      const { refundWei, reserveWei } = decoded.args;
      return { ...place, event: decoded.eventName, job: job(decoded.args.job), refundWei, reserveWei };
    }
    case 'NodesClosed': {
      const { args } = decoded;
      const { nodeCount } = args;
      return {
        ...place,
        event: 'NodesClosed',
        job: job(args.job),
        round: Number(args.round),
        nodeSetRoot: root(args.nodeSetRoot),
        nodeCount,
      };
    }
    case 'RoundAssigned': {
      const { args } = decoded;
      return {
        ...place,
        event: 'RoundAssigned',
        job: job(args.job),
        round: Number(args.round),
        beacon: root(args.beacon),
        assignmentRoot: root(args.assignmentRoot),
        assignmentCid: root(args.assignmentCid),
        commitDeadline: Number(args.commitDeadline),
      };
    }
    case 'SlotReassigned':
      return { ...place, event: 'SlotReassigned', ...slotOf(decoded.args), node: node(decoded.args.node) };
    case 'Committed': {
      const { args } = decoded;
      return { ...place, event: 'Committed', ...slotOf(args), node: node(args.node), commitment: root(args.commitment) };
    }
    case 'CommitsClosed': {
      const { args } = decoded;
      return { ...place, event: 'CommitsClosed', job: job(args.job), round: Number(args.round), task: args.task, commits: args.commits };
    }
    case 'Revealed': {
      const { args } = decoded;
      return {
        ...place,
        event: 'Revealed',
        ...slotOf(args),
        node: node(args.node),
        salt: root(args.salt),
        resultRoot: root(args.resultRoot),
        resultCid: root(args.resultCid),
        proof: {
          step: Number(args.proof.step),
          lossDigest: root(args.proof.lossDigest),
          gradientDigest: root(args.proof.gradientDigest),
          weightsDigest: root(args.proof.weightsDigest),
          timestamp: Number(args.proof.timestamp),
          signature: args.proof.signature,
        },
      };
    }
    case 'Convicted': {
      const { args } = decoded;
      return {
        ...place,
        event: 'Convicted',
        ...slotOf(args),
        node: node(args.node),
        revealedRoot: root(args.revealedRoot),
        correctRoot: root(args.correctRoot),
        verdictCid: root(args.verdictCid),
        offence: offences[args.offence] ?? 'provenCheating',
      };
    }
    case 'NodeCredited':
      return { ...place, event: 'NodeCredited', ...slotOf(decoded.args), node: node(decoded.args.node) };
    case 'UnrevealedReported': {
      const { args } = decoded;
      return { ...place, event: 'UnrevealedReported', ...slotOf(args), node: node(args.node), slashedWei: args.slashedWei };
    }
    case 'TaskFinalized': {
      const { args } = decoded;
      const { task, paid } = args;
      return {
        ...place,
        event: 'TaskFinalized',
        job: job(args.job),
        round: Number(args.round),
        task,
        resultRoot: root(args.resultRoot),
        paid,
      };
    }
    case 'RewardCredited': {
      const { args } = decoded;
      const { amountWei } = args;
      return {
        ...place,
        event: 'RewardCredited',
        ...slotOf(args),
        node: node(args.node),
        operator: lowerAddress(args.operator),
        amountWei,
      };
    }
    case 'RoundFinalized': {
      const { args } = decoded;
      const checkpointCid = root(args.checkpointCid);
      return { ...place, event: 'RoundFinalized', job: job(args.job), round: Number(args.round), checkpointCid, accuracy: args.accuracy };
    }
    case 'BatchCommitted': {
      const { commitmentsHash, commitments, contentCid, closesAt } = decoded.args;
      const list = { commitmentsHash: root(commitmentsHash), commitments, contentCid: root(contentCid), closesAt: Number(closesAt) };
      return { ...place, event: 'BatchCommitted', ...roundOf(decoded.args), ...list };
    }
    case 'CommitForced': {
      const { args } = decoded;
      return { ...place, event: 'CommitForced', ...batchSlotOf(args), node: node(args.node), commitment: root(args.commitment) };
    }
    case 'RevealForced': {
      const { args } = decoded;
      const opening = { salt: root(args.salt), resultRoot: root(args.resultRoot) };
      return { ...place, event: 'RevealForced', ...batchSlotOf(args), node: node(args.node), ...opening };
    }
    case 'VerdictSettled': {
      const { task, resultRoot, verdictCid } = decoded.args;
      const verdict = { task, resultRoot: root(resultRoot), verdictCid: root(verdictCid) };
      return { ...place, event: 'VerdictSettled', ...roundOf(decoded.args), ...verdict };
    }
    case 'TasksSettled':
      return { ...place, event: 'TasksSettled', ...roundOf(decoded.args), taskRoots: decoded.args.taskRoots.map(root) };
    case 'BatchFinalized': {
      const { settlementRoot, paid, amountWei, checkpointCid } = decoded.args;
      const settled = { settlementRoot: root(settlementRoot), paid: Number(paid), amountWei, checkpointCid: root(checkpointCid) };
      return { ...place, event: 'BatchFinalized', ...roundOf(decoded.args), ...settled };
    }
    case 'BatchRewardClaimed': {
      const { amountWei, ...args } = decoded.args;
      const who = { node: node(args.node), operator: lowerAddress(args.operator) };
      return { ...place, event: 'BatchRewardClaimed', ...batchSlotOf(args), ...who, amountWei };
    }
    case 'BatchConvicted': {
      const { args } = decoded;
      const roots = { revealedRoot: root(args.revealedRoot), correctRoot: root(args.correctRoot), verdictCid: root(args.verdictCid) };
      return { ...place, event: 'BatchConvicted', ...batchSlotOf(args), node: node(args.node), ...roots };
    }
    case 'BatchRewardVoided': {
      const { amountWei, ...args } = decoded.args;
      return { ...place, event: 'BatchRewardVoided', ...batchSlotOf(args), owner: lowerAddress(args.owner), amountWei };
    }
    case 'BatchExpired': {
      const { owner, amountWei } = decoded.args;
      return { ...place, event: 'BatchExpired', ...roundOf(decoded.args), owner: lowerAddress(owner), amountWei };
    }
    case 'TrainProofsRecorded': {
      const { count, ...args } = decoded.args;
      return { ...place, event: 'TrainProofsRecorded', ...roundOf(args), root: root(args.root), count, contentCid: root(args.contentCid) };
    }
    case 'ModelRegistered': {
      const { args } = decoded;
      const ids = { modelId: root(args.modelId), modelCid: root(args.modelCid), datasetCid: root(args.datasetCid) };
      return { ...place, event: 'ModelRegistered', ...ids, owner: lowerAddress(args.owner) };
    }
    case 'CheckpointAdded': {
      const { args } = decoded;
      const ids = { modelId: root(args.modelId), job: job(args.job), checkpointCid: root(args.checkpointCid) };
      return { ...place, event: 'CheckpointAdded', ...ids, round: Number(args.round) };
    }
    case 'ModelPublished': {
      const { args } = decoded;
      return { ...place, event: 'ModelPublished', modelId: root(args.modelId), checkpointCid: root(args.checkpointCid) };
    }
    case 'Withdrawn':
      return { ...place, event: 'Withdrawn', operator: lowerAddress(decoded.args.operator), amountWei: decoded.args.amountWei };
    case 'CreditTransferred': {
      const { from, to, amountWei } = decoded.args;
      return { ...place, event: 'CreditTransferred', from: lowerAddress(from), to: lowerAddress(to), amountWei };
    }
    case 'CoverGranted':
    case 'CoverPaid':
      return { ...place, event: decoded.eventName, account: lowerAddress(decoded.args.account), amountWei: decoded.args.amountWei };
    case 'InsuranceDeposited':
      return { ...place, event: 'InsuranceDeposited', from: lowerAddress(decoded.args.from), amountWei: decoded.args.amountWei };
    case 'ModelDerived':
    case 'LicenceSet':
    case 'ModelTransferred':
    case 'LineageCredited':
    case 'HardwareVerified':
    case 'TeeVerified':
    case 'StakeTiersChanged':
    case 'TimesChanged':
    case 'SlashSharesChanged':
    case 'AttesterChanged':
    case 'TeeVerifierChanged':
    case 'OperatorSet':
    case 'OwnershipTransferred':
    case 'TrainProofRecorded':
    case 'WithheldProof':
    case 'EIP712DomainChanged':
      return null;
    default:
      return decoded satisfies never;
  }
}

/** `JobTerms` as contracts return it, apart from the job's shape. */
export interface PolicyWords {
  readonly kind: number;
  readonly settlement: number;
  readonly minParticipants: number;
  readonly roundTimeout: bigint;
  readonly reward: Omit<JobPolicy['reward'], 'model'> & { readonly model: number };
}

export function decodePolicy({ kind, settlement, minParticipants, roundTimeout, reward }: PolicyWords): JobPolicy {
  return {
    kind: jobKinds[kind] ?? 'federated',
    settlement: settlements[settlement] ?? 'direct',
    minParticipants,
    roundTimeout: Number(roundTimeout),
    reward: {
      model: rewardModels[reward.model] ?? 'perRound',
      scoreTotal: reward.scoreTotal,
      gpuSecondsPerTask: reward.gpuSecondsPerTask,
      batchSize: reward.batchSize,
      stepsPerTask: reward.stepsPerTask,
      bonusBasisPoints: reward.bonusBasisPoints,
      targetGainBasisPoints: reward.targetGainBasisPoints,
    },
  };
}
