/**
 * ChainCall → the transaction that makes it: one contract function each, nothing decided here.
 */
import type { ChainCall, ChainInfo, NodeRole, SettledSlotClaim } from '@muster/ports';
import { type Address, jobKinds, type JobPolicy, rewardModels, settlements } from '@muster/protocol';
import { encodeFunctionData, type Hex } from 'viem';
import {
  aiJobManagerAbi,
  batchedProofOfComputeAbi,
  emissionPoolAbi,
  insuranceFundAbi,
  modelRegistryAbi,
  nodeCertRegistryAbi,
  proofOfComputeAbi,
  trainProofLogAbi,
  trainRequestAbi,
} from '../generated/index.ts';

/** What is signed, apart from nonce and fees. `to` null creates a contract. */
export interface CallRequest {
  readonly to: Address | null;
  readonly data: Hex;
  readonly valueWei: bigint;
  /** Gas limit that is always enough, where that is known: saves the estimate on chains whose gas is free. */
  readonly knownGas?: bigint;
}

/** For commit and reveal, the calls that every slot makes: 60 to 200 k of gas, 2 k for each slot of the task and level of the proof. */
const slotCallGas = 600_000n;

/** Node roles in the order of the contract's `NodeRole`. */
export const nodeRoles = ['trainer', 'validator', 'aggregator', 'storage', 'inference'] as const satisfies readonly NodeRole[];

/** The policy as the contract's `JobTerms` has it, beside the job's shape. */
function encodePolicy({ kind, settlement, minParticipants, roundTimeout, reward }: JobPolicy) {
  return {
    kind: jobKinds.indexOf(kind),
    settlement: settlements.indexOf(settlement),
    minParticipants,
    roundTimeout: BigInt(roundTimeout),
    reward: { ...reward, model: rewardModels.indexOf(reward.model) },
  };
}

const settledSlot = ({ index, node, commitment, amountWei, proof }: SettledSlotClaim) => ({ index, node, commitment, amountWei, proof });

export function encodeCall(call: ChainCall, contracts: ChainInfo['contracts']): CallRequest {
  const registry = (data: Hex, valueWei = 0n): CallRequest => ({ to: contracts.nodeCertRegistry, data, valueWei });
  const jobs = (data: Hex, valueWei = 0n): CallRequest => ({ to: contracts.jobManager, data, valueWei });
  const compute = (data: Hex): CallRequest => ({ to: contracts.proofOfCompute, data, valueWei: 0n });
  const slotCall = (data: Hex): CallRequest => ({ ...compute(data), knownGas: slotCallGas });
  const batches = (data: Hex): CallRequest => ({ to: contracts.batchedProofOfCompute, data, valueWei: 0n });
  const models = (data: Hex): CallRequest => ({ to: contracts.modelRegistry, data, valueWei: 0n });

  switch (call.call) {
    case 'registerNode': {
      const args = [call.node, nodeRoles.indexOf(call.role), call.region, call.caps, call.slaId] as const;
      return registry(encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: 'registerNode', args }), call.stakeWei);
    }
    case 'heartbeat':
    case 'startUnbonding':
    case 'cancelUnbonding':
    case 'withdrawStake':
    case 'reportMissedHeartbeats':
      return registry(encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: call.call, args: [call.node] }));
    case 'topUp':
      return registry(encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: 'topUp', args: [call.node] }), call.amountWei);
    case 'verifyHardware': {
      const args = [call.node, call.hwHash, call.attestation] as const;
      return registry(encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: 'verifyHardware', args }));
    }
    case 'verifyTee':
      return registry(encodeFunctionData({ abi: nodeCertRegistryAbi, functionName: 'verifyTee', args: [call.node, call.quote] }));
    case 'submitJob': {
      const { specCid, modelId, tasks, redundancy, coordinator, validator } = call;
      const shape = { specCid, modelId, rounds: BigInt(call.rounds), tasks, redundancy, coordinator, validator };
      const terms = { ...shape, ...encodePolicy(call.policy) };
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'submitJob', args: [terms] }), call.budgetWei);
    }
    case 'requestTraining': {
      const { baseModel, dataset, totalRounds, minParticipants, hyperParameters } = call;
      const args = [baseModel, dataset, totalRounds, minParticipants, hyperParameters] as const;
      const data = encodeFunctionData({ abi: trainRequestAbi, functionName: 'requestTraining', args });
      return { to: contracts.trainRequest, data, valueWei: call.budgetWei };
    }
    case 'pauseJob':
    case 'resumeJob':
    case 'cancelJob':
    case 'completeJob':
    case 'failJob':
    case 'releaseReserve':
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: call.call, args: [call.job] }));
    case 'specifyJob':
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'specifyJob', args: [call.job, call.specCid] }));
    case 'closeNodes': {
      const args = [call.job, BigInt(call.round), call.nodeSetRoot, call.nodeCount] as const;
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'closeNodes', args }));
    }
    case 'assign': {
      const args = [call.job, BigInt(call.round), call.assignmentRoot, call.assignmentCid, BigInt(call.commitDeadline)] as const;
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'assign', args }));
    }
    case 'reassign': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node] as const;
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'reassign', args }));
    }
    case 'commit': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node, call.commitment, call.proof] as const;
      return slotCall(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'commit', args }));
    }
    case 'closeCommits': {
      const args = [call.job, BigInt(call.round), call.task] as const;
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'closeCommits', args }));
    }
    case 'reveal': {
      const proof = {
        ...call.proof,
        jobId: call.job,
        step: BigInt(call.proof.step),
        timestamp: BigInt(call.proof.timestamp),
        nodePubkey: call.node,
      };
      const { job, round, task, slot, node, salt, resultRoot, resultCid } = call;
      const args = [job, BigInt(round), task, slot, node, salt, resultRoot, resultCid, proof] as const;
      return slotCall(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'reveal', args }));
    }
    case 'convict': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node, call.verdictCid, call.evidence] as const;
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'convict', args }));
    }
    case 'finalize': {
      const args = [call.job, BigInt(call.round), call.checkpointCid, call.accuracy, call.accepted] as const;
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'finalize', args }));
    }
    case 'settleTask': {
      const args = [call.job, BigInt(call.round), call.task, call.resultRoot] as const;
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'settleTask', args }));
    }
    case 'creditNodes': {
      const places = call.places.map(({ job, round, task, slot }) => ({ jobId: job, round: BigInt(round), task, slot }));
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'creditNodes', args: [places] }));
    }
    case 'reportUnrevealed': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node, call.proof] as const;
      return compute(encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'reportUnrevealed', args }));
    }
    case 'commitBatch': {
      const args = [call.job, BigInt(call.round), call.commitmentsHash, call.commitments, call.contentCid] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'commitBatch', args }));
    }
    case 'forceCommit': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node, call.commitment, call.proof] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'commit', args }));
    }
    case 'forceReveal': {
      const args = [call.job, BigInt(call.round), call.task, call.slot, call.node, call.salt, call.resultRoot, call.proof] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'reveal', args }));
    }
    case 'settleVerdict': {
      const args = [call.job, BigInt(call.round), call.task, call.evidence] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'settleVerdict', args }));
    }
    case 'finalizeBatch': {
      const { checkpointCid, accuracy, taskRoots, packedSlots, closedCommitments, listedCommitments } = call;
      const result = { checkpointCid, accuracyBasisPoints: accuracy, taskRoots, packedSlots, closedCommitments, listedCommitments };
      const args = [call.job, BigInt(call.round), result] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'finalizeBatch', args }));
    }
    case 'claimMany': {
      const args = [call.job, BigInt(call.round), call.slots.map(settledSlot)] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'claimMany', args }));
    }
    case 'convictBatch': {
      const { salt, resultRoot, signature, evidence } = call;
      const args = [call.job, BigInt(call.round), settledSlot(call.slot), { salt, resultRoot, signature, evidence }] as const;
      return batches(encodeFunctionData({ abi: batchedProofOfComputeAbi, functionName: 'convict', args }));
    }
    case 'recordTrainProofs': {
      const args = [call.job, BigInt(call.round), call.root, call.count, call.contentCid] as const;
      const data = encodeFunctionData({ abi: trainProofLogAbi, functionName: 'recordTrainProofs', args });
      return { to: contracts.trainProofLog, data, valueWei: 0n };
    }
    case 'registerModel': {
      const args = [call.modelId, call.modelCid, call.datasetCid] as const;
      return models(encodeFunctionData({ abi: modelRegistryAbi, functionName: 'registerModel', args }));
    }
    case 'addCheckpoint': {
      const args = [call.modelId, call.job, BigInt(call.round), call.checkpointCid] as const;
      return models(encodeFunctionData({ abi: modelRegistryAbi, functionName: 'addCheckpoint', args }));
    }
    case 'publishModel': {
      const args = [call.modelId, call.checkpointCid] as const;
      return models(encodeFunctionData({ abi: modelRegistryAbi, functionName: 'publishModel', args }));
    }
    case 'withdraw':
      return jobs(encodeFunctionData({ abi: aiJobManagerAbi, functionName: 'withdraw' }));
    case 'claimInsurance':
      return {
        to: contracts.insuranceFund,
        data: encodeFunctionData({ abi: insuranceFundAbi, functionName: 'claim' }),
        valueWei: 0n,
      };
    case 'depositInsurance': {
      const data = encodeFunctionData({ abi: insuranceFundAbi, functionName: 'deposit' });
      return { to: contracts.insuranceFund, data, valueWei: call.amountWei };
    }
    case 'depositEmission': {
      const data = encodeFunctionData({ abi: emissionPoolAbi, functionName: 'deposit' });
      return { to: contracts.emissionPool, data, valueWei: call.amountWei };
    }
    case 'sponsorJob': {
      const data = encodeFunctionData({ abi: emissionPoolAbi, functionName: 'sponsor', args: [call.job, call.amountWei] });
      return { to: contracts.emissionPool, data, valueWei: 0n };
    }
    case 'reclaimEmission':
      return { to: contracts.emissionPool, data: encodeFunctionData({ abi: emissionPoolAbi, functionName: 'reclaim' }), valueWei: 0n };
    case 'transfer':
      return { to: call.to, data: '0x', valueWei: call.amountWei };
    default:
      return call satisfies never;
  }
}
