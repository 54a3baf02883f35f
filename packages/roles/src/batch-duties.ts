/**
 * What a coordinator does differently where a job settles in batches: one list of commitments, one settlement, convictions after it.
 */
import { digestOf, encodeLinked, type JobId, MusterError } from '@muster/protocol';
import { accuracyBasisPoints, batchProofHashes, commitmentList, type Duty, type RoundState, settleBatch } from '@muster/round';
import { readCheckpoint } from './assignments.ts';
import {
  forcedCommits,
  type Openings,
  proofHash,
  readCommitments,
  requireSettlement,
  seatsOf,
  settlementOf,
  slotStates,
  storedAssignment,
} from './batches.ts';
import type { DutyContext } from './coordinator-duties.ts';
import type { JobRecord, RoundRecord } from './history.ts';
import type { JobRunner } from './job-runner.ts';
import { reader } from './link.ts';

type Finalize = Extract<Duty, { readonly duty: 'finalize' }>;
type Convict = Extract<Duty, { readonly duty: 'convict' }>;

/** Stores what nodes have sent and puts its hash on chain. */
export async function commitBatch({ chain, blobs, report }: DutyContext, runner: JobRunner, round: number): Promise<void> {
  const { job } = runner.state;
  const commitments = slotsIn(runner, round).map(({ sent }) => sent);
  const stored = encodeLinked({ version: 1, job, round, commitments });
  await blobs.put(stored.bytes, 'dag-cbor');
  const { hash, count } = commitmentList(commitments.map((sent) => sent?.commitment ?? null));
  const contentCid = digestOf(stored.cid);
  await chain.send({ call: 'commitBatch', job, round, commitmentsHash: hash, commitments: count, contentCid });
  report('batch.listed', { job, round, commitments: count, slots: commitments.length });
}

/** Records the round's training proofs with its openings, then the verdicts that stand in for majorities, then settles. */
export async function finalizeBatch(context: DutyContext, runner: JobRunner, duty: Finalize): Promise<void> {
  const { chain, blobs, report } = context;
  const read = reader(blobs);
  const { job, spec } = runner.state;
  await context.followChain();
  const { record, round } = await recordOf(context, job, duty.round);
  if (round.finalized !== null) return;
  const seats = seatsOf(await storedAssignment(round, read), context.operatorOf);
  const openings = openingsIn(runner, duty.round);
  await recordProofs(context, runner, round, duty.round, openings);
  for (const { task, evidence } of duty.accepted) {
    if (evidence === '0x' || round.batch.verdicts.has(task)) continue;
    await chain.send({ call: 'settleVerdict', job, round: duty.round, task, evidence });
  }
  const { commitments } = await readCommitments(job, round, read);
  const accepted = new Map(duty.accepted.map(({ task, resultRoot }) => [task, resultRoot]));
  const settled = settleBatch({
    job,
    round: duty.round,
    redundancy: record.submitted.redundancy,
    taskRoots: Array.from({ length: spec.tasks }, (_, task) => accepted.get(task) ?? null),
    slots: slotStates(job, duty.round, seats, round.batch, commitments, openings),
    // The contract works out what a slot earns.
    amountWei: 0n,
    forced: forcedCommits(round.batch, commitments),
  });
  const { taskRoots, packedSlots, closedCommitments, listedCommitments } = settled;
  const { evaluation } = await readCheckpoint(read, duty.checkpoint);
  const accuracy = accuracyBasisPoints(evaluation);
  const lists = { taskRoots, packedSlots, closedCommitments, listedCommitments };
  await chain.send({ call: 'finalizeBatch', job, round: duty.round, checkpointCid: digestOf(duty.checkpoint), accuracy, ...lists });
  report('batch.settled', { job, round: duty.round, paid: settled.paid, slots: seats.length });
}

/** Once per set of openings: a node may still open while the contract waits for it. */
async function recordProofs(
  { chain, blobs }: DutyContext,
  runner: JobRunner,
  round: RoundRecord,
  number: number,
  openings: Openings['openings'],
): Promise<void> {
  const { job } = runner.state;
  const slots = slotsIn(runner, number);
  const hashes = openings.flatMap((opening, index) => {
    const node = slots[index]?.node;
    return opening === null || node === undefined ? [] : [proofHash(job, node, opening.proof)];
  });
  if (hashes.length === 0) return;
  const stored = encodeLinked({ version: 1, job, round: number, openings });
  const contentCid = digestOf(stored.cid);
  if (round.batch.proofs?.contentCid === contentCid) return;
  await blobs.put(stored.bytes, 'dag-cbor');
  const { root, count } = batchProofHashes(hashes, false);
  await chain.send({ call: 'recordTrainProofs', job, round: number, root, count, contentCid });
}

/** Convicts a slot of the settled round, with the validator's evidence and the node's own opening and signature. */
export async function convictInBatch(context: DutyContext, runner: JobRunner, duty: Convict): Promise<void> {
  const { chain, blobs, operatorOf } = context;
  const read = reader(blobs);
  const { job } = runner.state;
  const { record, round } = await recordOf(context, job, duty.round);
  const settlement = await settlementOf(record, round, await storedAssignment(round, read), operatorOf, read);
  requireSettlement(settlement, round);
  const index = duty.task * record.submitted.redundancy + duty.slot;
  const { commitment, amountWei, proof } = settlement.settled.slot(index);
  const opening = settlement.slots[index]?.opening;
  if (opening === null || opening === undefined) {
    throw new MusterError('STATE_CONFLICT', `slot ${index} of round ${duty.round} was not opened`, { job, round: duty.round });
  }
  const sent = slotsIn(runner, duty.round)[index]?.sent;
  const signature = sent?.commitment === commitment ? sent.signature : '0x';
  const { evidence } = duty.verdict;
  const slot = { index, node: duty.node, commitment, amountWei, proof };
  await chain.send({ call: 'convictBatch', job, round: duty.round, slot, ...opening, signature, evidence });
}

function slotsIn(runner: JobRunner, round: number): RoundState['tasks'][number]['slots'][number][] {
  const state = runner.state.round;
  if (state?.round !== round) throw new MusterError('STATE_CONFLICT', `round ${round} is over`, { job: runner.state.job, round });
  return state.tasks.flatMap(({ slots }) => slots);
}

function openingsIn(runner: JobRunner, round: number): Openings['openings'] {
  return slotsIn(runner, round).map(({ opened, opening }) =>
    opened === null || opening === null
      ? null
      : { salt: opening.salt, resultRoot: opened.resultRoot, resultCid: opened.resultCid, proof: opening.proof },
  );
}

async function recordOf(
  context: DutyContext,
  job: JobId,
  number: number,
): Promise<{ readonly record: JobRecord; readonly round: RoundRecord }> {
  const record = await context.record(job);
  const round = record.rounds.get(number);
  if (round === undefined) throw new MusterError('INTERNAL', `the chain has no round ${number} of ${job}`);
  return { record, round };
}
