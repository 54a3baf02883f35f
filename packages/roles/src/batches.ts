/**
 * Rounds that settle in batches: the two objects that a coordinator stores for each, and what follows from them and the chain's record.
 * Coordinator, trainers and auditor compute through this; none of it depends on who they are. Source: docs/spec/25-batches.md.
 */
import type { TrainProof } from '@muster/ports';
import {
  type Address,
  type Assignment,
  decodeLinked,
  holderOf,
  type Infer,
  integer,
  type JobId,
  jobIdText,
  keccakOfWords,
  link,
  list,
  literal,
  maxTasks,
  MusterError,
  type NodeId,
  nullable,
  type ObjectKind,
  objectKinds,
  type Root,
  rootText,
  struct,
  text,
} from '@muster/protocol';
import {
  batchCommitment,
  type BatchSlotState,
  commitmentList,
  type OperatorOf,
  type ReadBlock,
  type SettledBatch,
  settleBatch,
} from '@muster/round';
import type { BatchRecord } from './batch-record.ts';
import { type JobRecord, objectCid, type RoundRecord } from './history.ts';

const maxSlots = 15 * maxTasks;
const uint32 = integer(0, 0xffff_ffff);
const zeroRoot = `0x${'00'.repeat(32)}` as Root;

/** An ECDSA signature, 65 bytes. */
export const accountSignature = text(132, /^0x[0-9a-f]{130}$/);

/** R22 as a message or an object carries it. */
export const proofSchema = struct({
  step: integer(0),
  lossDigest: rootText,
  gradientDigest: rootText,
  weightsDigest: rootText,
  timestamp: integer(0),
  signature: text(130, /^0x[0-9a-f]{128}$/),
});

const commitmentListSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  /** By slot index; null where the node sent nothing. */
  commitments: list(nullable(struct({ commitment: rootText, signature: accountSignature })), maxSlots, 1),
});
/** What nodes sent before commitments closed; its content id is in `BatchCommitted`. */
export type CommitmentList = Infer<typeof commitmentListSchema>;
export const commitmentListKind: ObjectKind<CommitmentList> = { kind: 'list of commitments', schema: commitmentListSchema };

const openingsSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  /** By slot index; null where the node opened nothing, or did so on chain alone. */
  openings: list(nullable(struct({ salt: rootText, resultRoot: rootText, resultCid: link, proof: proofSchema })), maxSlots, 1),
});
/** How nodes opened their commitments, with their training proofs; its content id is in `TrainProofsRecorded`. */
export type Openings = Infer<typeof openingsSchema>;
const openingsKind: ObjectKind<Openings> = { kind: 'openings', schema: openingsSchema };

/** keccak256 of the ABI encoding of a training proof, as `TrainProofLog` hashes it. */
export function proofHash(job: JobId, node: NodeId, proof: Omit<TrainProof, 'signature'> & { readonly signature: string }): Root {
  const { step, lossDigest, gradientDigest, weightsDigest, timestamp, signature } = proof;
  const [head, tail] = [signature.slice(0, 66), `0x${signature.slice(66)}`] as [`0x${string}`, `0x${string}`];
  return keccakOfWords([32, job, step, lossDigest, gradientDigest, weightsDigest, timestamp, node, 256, 64, head, tail]);
}

/** Who holds a slot of a batched round. */
export interface Seat {
  readonly node: NodeId;
  readonly holder: Address;
  readonly task: number;
  readonly slot: number;
}

/** The slots of an assignment in order of index. */
export function seatsOf(assignment: Assignment, operatorOf: OperatorOf): Seat[] {
  return assignment.tasks.flatMap(({ nodes }, task) =>
    nodes.map((node, slot) => ({ node, holder: holderOf(node, operatorOf(node)), task, slot })),
  );
}

/** The assignment of a round as stored, unchecked: settling compares its root. Throws OBJECT_MISSING. */
export async function storedAssignment({ assigned }: RoundRecord, read: ReadBlock): Promise<Assignment> {
  if (assigned === null) throw new MusterError('INTERNAL', 'the round is not assigned');
  return decodeLinked(objectKinds.assignment, await read(objectCid(assigned.assignmentCid)));
}

/** The list that the chain names. Throws OBJECT_MISSING, and COMMITMENT_MISMATCH where it is not what was committed to. */
export async function readCommitments(job: JobId, round: RoundRecord, read: ReadBlock): Promise<CommitmentList> {
  const { committed } = round.batch;
  if (committed === null) throw new MusterError('COMMITMENT_MISSING', 'no list of commitments is on chain', { job });
  const cid = objectCid(committed.contentCid);
  const found = decodeLinked(commitmentListKind, await read(cid));
  const { hash, count } = commitmentList(found.commitments.map((entry) => entry?.commitment ?? null));
  if (found.job !== job || found.round !== committed.round || hash !== committed.commitmentsHash || count !== committed.commitments) {
    throw new MusterError('COMMITMENT_MISMATCH', `list ${cid} is not the one that was committed to`, { object: cid });
  }
  return found;
}

/** The openings that the chain names; none where it names no object. Throws OBJECT_MISSING and FIELD_INVALID. */
export async function readOpenings(job: JobId, round: RoundRecord, slots: number, read: ReadBlock): Promise<Openings['openings']> {
  const { proofs } = round.batch;
  if (proofs === null) return Array.from({ length: slots }, () => null);
  const cid = objectCid(proofs.contentCid);
  const found = decodeLinked(openingsKind, await read(cid));
  if (found.job !== job || found.round !== proofs.round || found.openings.length !== slots) {
    throw new MusterError('FIELD_INVALID', `${cid} does not hold the openings of this round`, { object: cid, field: 'openings' });
  }
  return found.openings;
}

type Opening = { readonly salt: Root; readonly resultRoot: Root };

/** Whether `opening` opens `commitment`; false for a salt that the contract would not take. */
export function opens(job: JobId, round: number, { task, slot, holder }: Seat, opening: Opening, commitment: Root | null): boolean {
  if (commitment === null || opening.salt === zeroRoot || !opening.salt.endsWith('00'.repeat(16))) return false;
  return batchCommitment(job, round, task, slot, holder, opening.salt, opening.resultRoot) === commitment;
}

/** What counts for every slot: a node's own commitment or opening on chain before what it sent. An opening that opens nothing is none. */
export function slotStates(
  job: JobId,
  round: number,
  seats: readonly Seat[],
  batch: BatchRecord,
  listed: readonly (Pick<NonNullable<CommitmentList['commitments'][number]>, 'commitment'> | null)[],
  openings: readonly (Opening | null)[],
): BatchSlotState[] {
  return seats.map((seat, index) => {
    const commitment = batch.forcedCommits.get(index)?.commitment ?? listed[index]?.commitment ?? null;
    const candidates = [batch.forcedReveals.get(index), openings[index]];
    const opening = candidates.find((candidate) => candidate != null && opens(job, round, seat, candidate, commitment));
    return { holder: seat.holder, commitment, opening: opening == null ? null : { salt: opening.salt, resultRoot: opening.resultRoot } };
  });
}

/** What the contract made of a settled round, computed again from chain and store. */
export interface Settlement {
  readonly settled: SettledBatch;
  readonly seats: readonly Seat[];
  readonly slots: readonly BatchSlotState[];
  /** Of an opened slot. */
  readonly slotWei: bigint;
}

/** The settlement of `round` with what the store has for it. Whether it is what the chain has is for the caller to compare. */
export async function settlementOf(
  { submitted }: JobRecord,
  round: RoundRecord,
  assignment: Assignment,
  operatorOf: OperatorOf,
  read: ReadBlock,
): Promise<Settlement> {
  const { batch } = round;
  const { finalized } = batch;
  if (finalized === null) throw new MusterError('INTERNAL', 'the round is not settled');
  const { job, redundancy } = submitted;
  const seats = seatsOf(assignment, operatorOf);
  const { commitments } = await readCommitments(job, round, read);
  const openings = await readOpenings(job, round, seats.length, read);
  const slots = slotStates(job, finalized.round, seats, batch, commitments, openings);
  const slotWei = finalized.paid === 0 ? 0n : finalized.amountWei / BigInt(finalized.paid);
  const taskRoots = (batch.taskRoots ?? []).map((root) => (root === zeroRoot ? null : root));
  const forced = forcedCommits(batch, commitments);
  const settled = settleBatch({ job, round: finalized.round, redundancy, taskRoots, slots, amountWei: slotWei, forced });
  return { settled, seats, slots, slotWei };
}

/** Nodes' own commitments, with what the list has in their places. */
export function forcedCommits(
  batch: BatchRecord,
  listed: readonly ({ readonly commitment: Root } | null)[],
): { readonly index: number; readonly listed: Root | null }[] {
  return [...batch.forcedCommits.keys()].map((index) => ({ index, listed: listed[index]?.commitment ?? null }));
}

/** Throws AUDIT_FAILED unless `settlement` is the one on chain. */
export function requireSettlement({ settled }: Settlement, round: RoundRecord): void {
  const { finalized, proofs, committed } = round.batch;
  const object = objectCid(proofs?.contentCid ?? committed?.contentCid ?? zeroRoot);
  if (settled.assignmentRoot !== round.assigned?.assignmentRoot) {
    throw new MusterError('AUDIT_FAILED', 'the stored assignment is not the one on chain', { object });
  }
  if (settled.settlementRoot !== finalized?.settlementRoot) {
    throw new MusterError(
      'AUDIT_FAILED',
      `list and openings in the store settle to ${settled.settlementRoot}, the chain says ${finalized?.settlementRoot}`,
      { object },
    );
  }
}
