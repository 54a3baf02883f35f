/**
 * Stage 7 in batches: what a coordinator sends to settle a round in one transaction, and what a node shows to claim its part of it.
 *
 * Twin of `BatchedProofOfCompute.sol` and `BatchSlots.sol`. Pure: plain data in, plain data out. It does not decide who is assigned or
 * what is correct, and checks no signature. Source: docs/spec/25-batches.md.
 */
import {
  type Address,
  assignmentLeaf,
  bytesToHex,
  commitmentOf,
  hexToBytes,
  type JobId,
  keccakOfWords,
  keccakProof,
  keccakRoot,
  MusterError,
  type Root,
} from '@muster/protocol';
import { accuracyBonus, type PaidJob, slotReward } from './reward.ts';

const zero = `0x${'00'.repeat(32)}` as Root;
const saltDigits = 32;
/** Bytes of a proof's hash that a batch with its hashes in the transaction carries. */
const packedHashDigits = 40;

/** What a node commits to. `salt`: 16 secret bytes followed by 16 zeros. Throws FIELD_INVALID. */
export function batchCommitment(
  job: JobId,
  round: number,
  task: number,
  slot: number,
  holder: Address,
  salt: Root,
  resultRoot: Root,
): Root {
  requireSalt(salt);
  return commitmentOf(job, round, task, slot, holder, salt, resultRoot);
}

/** A salt from 16 random bytes. Throws FIELD_INVALID. */
export function batchSalt(random: Uint8Array): Root {
  if (random.length !== 16) throw invalid('salt', `expected 16 bytes, got ${random.length}`);
  return `${bytesToHex(random)}${'00'.repeat(16)}` as Root;
}

/** keccak-256 of the list of commitments, one word per slot, and how many there are. */
export function commitmentList(commitments: readonly (Root | null)[]): { readonly hash: Root; readonly count: number } {
  const words = commitments.map((commitment) => commitment ?? zero);
  return { hash: keccakOfWords(words), count: words.filter((word) => word !== zero).length };
}

/** A slot as the coordinator knows it when the round ends. */
export interface BatchSlotState {
  readonly holder: Address;
  /** What counts: the node's own commitment on chain where there is one, else the listed one; null where there is none. */
  readonly commitment: Root | null;
  /** What the node has opened, or null. */
  readonly opening: { readonly salt: Root; readonly resultRoot: Root } | null;
}

/** A node's own commitment on chain and what the list has in its place. */
export interface ForcedCommit {
  readonly index: number;
  readonly listed: Root | null;
}

export interface BatchInput {
  readonly job: JobId;
  readonly round: number;
  readonly redundancy: number;
  /** Per task the accepted root, or null. */
  readonly taskRoots: readonly (Root | null)[];
  /** In order of index, which is task · redundancy + slot. */
  readonly slots: readonly BatchSlotState[];
  /** What an opened slot earns. */
  readonly amountWei: bigint;
  /** In the order in which the chain recorded them. */
  readonly forced: readonly ForcedCommit[];
}

/** A slot of a settled round, for claim and convict. */
export interface SettledSlot {
  readonly index: number;
  readonly holder: Address;
  readonly commitment: Root;
  readonly amountWei: bigint;
  readonly proof: readonly Root[];
}

/** A round ready for `finalizeBatch`, and what the contract will compute from it. */
export interface SettledBatch {
  readonly taskRoots: readonly Root[];
  readonly packedSlots: `0x${string}`;
  readonly closedCommitments: readonly Root[];
  readonly listedCommitments: readonly Root[];
  readonly assignmentRoot: Root;
  readonly commitmentsHash: Root;
  readonly commitments: number;
  readonly settlementRoot: Root;
  readonly paid: number;
  readonly totalWei: bigint;
  /** Hashes the whole tree: O(slots). Throws FIELD_INVALID for a slot that is not there. */
  slot(index: number): SettledSlot;
}

/** Wei for an opened slot of a round that ended at `accuracy`: in batches every task counts the same. As `accuracyBonus`. */
export function batchReward(job: PaidJob, accuracy: number, bestAccuracy: number): bigint {
  const even = { ...job, reward: { ...job.reward, scoreTotal: job.tasks } };
  const base = slotReward(even, 1);
  return base + accuracyBonus(even, base, 1, accuracy, bestAccuracy);
}

/** The root that more than half of a task's slots have opened, per task, or null. */
export function majorityRoots(redundancy: number, slots: readonly BatchSlotState[]): (Root | null)[] {
  return Array.from({ length: slots.length / redundancy }, (_, task) => {
    const counts = new Map<Root, number>();
    for (const { opening } of slots.slice(task * redundancy, (task + 1) * redundancy)) {
      if (opening !== null) counts.set(opening.resultRoot, (counts.get(opening.resultRoot) ?? 0) + 1);
    }
    return [...counts].find(([, count]) => 2 * count > redundancy)?.[0] ?? null;
  });
}

/** What settles a round. Throws FIELD_INVALID where the lists do not fit one another. */
export function settleBatch(input: BatchInput): SettledBatch {
  const { redundancy, taskRoots, slots, amountWei, forced } = input;
  if (slots.length !== taskRoots.length * redundancy)
    throw invalid('slots', `${slots.length} for ${taskRoots.length} tasks of ${redundancy}`);
  const opened = slots.map((slot, index) => opensAccepted(input, slot, index));
  const commitments = slots.map(({ commitment }) => commitment ?? zero);
  const leaves = slots.map(({ holder }, index) =>
    keccakOfWords([index, holder, commitments[index] as Root, opened[index] === true ? amountWei : 0n]),
  );
  const listed = new Map(forced.map((entry) => [entry.index, entry.listed]));
  const list = commitmentList(commitments.map((commitment, index) => (listed.has(index) ? (listed.get(index) ?? null) : commitment)));
  const paid = opened.filter(Boolean).length;
  return {
    taskRoots: taskRoots.map((root) => root ?? zero),
    packedSlots: `0x${slots.map((slot, index) => packSlot(slot, opened[index] === true)).join('')}`,
    closedCommitments: commitments.filter((_, index) => opened[index] !== true),
    listedCommitments: forced.map((entry) => entry.listed ?? zero),
    assignmentRoot: rootOf(
      assignmentLeaves(
        input.job,
        input.round,
        redundancy,
        slots.map(({ holder }) => holder),
      ),
    ),
    commitmentsHash: list.hash,
    commitments: list.count,
    settlementRoot: rootOf(leaves),
    paid,
    totalWei: BigInt(paid) * amountWei,
    slot(index) {
      const proof = proofOf(leaves, index);
      const { holder } = slots[index] as BatchSlotState;
      return { index, holder, commitment: commitments[index] as Root, amountWei: opened[index] === true ? amountWei : 0n, proof };
    },
  };
}

/** Merkle proof of slot `index` in the assignment of a round, for a node that commits or reveals on chain. Throws FIELD_INVALID. */
export function batchAssignmentProof(job: JobId, round: number, redundancy: number, holders: readonly Address[], index: number): Root[] {
  return proofOf(assignmentLeaves(job, round, redundancy, holders), index);
}

/** Training proofs recorded together, by their hashes. */
export interface ProofHashBatch {
  readonly root: Root;
  readonly count: number;
  /** The first 20 bytes of each hash, for a batch that carries its hashes; else empty. */
  readonly packedHashes: `0x${string}`;
  proof(index: number): Root[];
}

/** The batch of `hashes`. `packed`: over their first 20 bytes, which `recordTrainProofsWithLeaves` is given. Throws FIELD_INVALID. */
export function batchProofHashes(hashes: readonly Root[], packed: boolean): ProofHashBatch {
  const kept = packed ? hashes.map((hash) => `${hash.slice(0, 2 + packedHashDigits)}${'00'.repeat(12)}` as Root) : hashes;
  const leaves = kept.map((hash, index) => keccakOfWords([hash, index]));
  return {
    root: rootOf(leaves),
    count: hashes.length,
    packedHashes: packed ? `0x${hashes.map((hash) => hash.slice(2, 2 + packedHashDigits)).join('')}` : '0x',
    proof: (index) => proofOf(leaves, index),
  };
}

function assignmentLeaves(job: JobId, round: number, redundancy: number, holders: readonly Address[]): Root[] {
  return holders.map((holder, index) => assignmentLeaf(job, round, Math.floor(index / redundancy), index % redundancy, holder));
}

function opensAccepted({ job, round, redundancy, taskRoots }: BatchInput, slot: BatchSlotState, index: number): boolean {
  const task = Math.floor(index / redundancy);
  const { commitment, holder, opening } = slot;
  if (commitment === null || opening === null || opening.resultRoot !== taskRoots[task]) return false;
  if (opening.salt === zero) return false;
  return batchCommitment(job, round, task, index % redundancy, holder, opening.salt, opening.resultRoot) === commitment;
}

function packSlot({ holder, opening }: BatchSlotState, opened: boolean): string {
  return holder.slice(2) + (opened && opening !== null ? opening.salt.slice(2, 2 + saltDigits) : '0'.repeat(saltDigits));
}

function requireSalt(salt: Root): void {
  if (salt.slice(2 + saltDigits) !== '0'.repeat(saltDigits)) throw invalid('salt', 'the last 16 bytes must be 0');
}

function rootOf(leaves: readonly Root[]): Root {
  return bytesToHex(keccakRoot(leaves.map(hexToBytes))) as Root;
}

function proofOf(leaves: readonly Root[], index: number): Root[] {
  return keccakProof(leaves.map(hexToBytes), index).map((hash) => bytesToHex(hash) as Root);
}

function invalid(field: string, problem: string): MusterError {
  return new MusterError('FIELD_INVALID', `${field}: ${problem}`, { field });
}
