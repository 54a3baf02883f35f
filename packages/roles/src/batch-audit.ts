/**
 * A batched round as an auditor sees it: list, openings and settlement computed again from chain and store, told as if every node had
 * settled for itself. What is then checked of tasks, results, convictions and money is the same for all rounds.
 */
import type { ChainEvent, ChainEventName, ChainReader, EventPlace } from '@muster/ports';
import { decodeLinked, digestOf, MusterError, objectKinds, type Offence, type Root } from '@muster/protocol';
import { accuracyBasisPoints, batchProofHashes, type ReadBlock } from '@muster/round';
import { readCheckpoint } from './assignments.ts';
import { opens, proofHash, readCommitments, readOpenings, requireSettlement, settlementOf, storedAssignment } from './batches.ts';
import { type ChainHistory, type JobRecord, objectCid, type RoundRecord, type SlotRecord, type TaskRecord } from './history.ts';

type EventOf<N extends ChainEventName> = Extract<ChainEvent, { readonly event: N }>;

const zeroRoot = `0x${'00'.repeat(32)}` as Root;
/** Stands in where a node opened its commitment on chain alone, which takes no training proof. */
const noProof = {
  step: 0,
  lossDigest: zeroRoot,
  gradientDigest: zeroRoot,
  weightsDigest: zeroRoot,
  timestamp: 0,
  signature: '0x',
} as const;

/**
 * `round`, final and settled in a batch, with the records that direct settlement would have left. Throws AUDIT_FAILED and what reading
 * throws, each naming the object at fault.
 */
export async function batchView(
  chain: ChainReader,
  history: ChainHistory,
  job: JobRecord,
  round: RoundRecord,
  read: ReadBlock,
): Promise<RoundRecord> {
  const { batch, finalized } = round;
  const settledOn = batch.finalized;
  const { committed, proofs } = batch;
  if (settledOn === null || finalized === null || committed === null) {
    throw new MusterError('AUDIT_FAILED', 'the round was finalized and not settled in a batch', { object: 'job' });
  }
  const { job: id, redundancy } = job.submitted;
  const assignment = await storedAssignment(round, read);
  const settlement = await settlementOf(job, round, assignment, history.operatorOf, read);
  requireSettlement(settlement, round);
  const { seats, slots, slotWei, settled } = settlement;
  const listCid = objectCid(committed.contentCid);
  demand(
    settled.paid === settledOn.paid && settled.totalWei === settledOn.amountWei,
    listCid,
    `the chain paid ${settledOn.amountWei} wei for ${settledOn.paid} slots, the store shows ${settled.paid}`,
  );
  const { commitments } = await readCommitments(id, round, read);
  demand(commitments.length === seats.length, listCid, `the list has ${commitments.length} places for ${seats.length} slots`);
  for (const [index, entry] of commitments.entries()) {
    const seat = seats[index];
    if (entry === null || seat === undefined) continue;
    const signed = await chain.signedCommitment(history.operatorOf(seat.node), entry.commitment, entry.signature as `0x${string}`);
    demand(signed, listCid, `the commitment listed for slot ${index} is not signed by its operator`);
  }
  const openings = await readOpenings(id, round, seats.length, read);
  const openingsCid = objectCid(proofs?.contentCid ?? committed.contentCid);
  const hashes: Root[] = [];
  for (const [index, entry] of openings.entries()) {
    const [seat, slot] = [seats[index], slots[index]];
    if (entry === null || seat === undefined || slot === undefined) continue;
    demand(
      opens(id, settledOn.round, seat, entry, slot.commitment),
      openingsCid,
      `the opening of slot ${index} does not open its commitment`,
    );
    hashes.push(proofHash(id, seat.node, entry.proof));
  }
  if (proofs !== null) {
    const recorded = batchProofHashes(hashes, false);
    demand(recorded.root === proofs.root && recorded.count === proofs.count, openingsCid, 'the training proofs are not those on chain');
  }
  for (const { slotIndex, node, operator, amountWei } of batch.claims.values()) {
    const paid = settled.slot(slotIndex).amountWei;
    const own = seats[slotIndex]?.node === node && history.operatorOf(node) === operator;
    demand(own && amountWei === paid && paid > 0n, openingsCid, `${operator} claimed what slot ${slotIndex} has not earned`);
  }
  for (const { slotIndex, node, correctRoot, verdictCid } of batch.convictions.values()) {
    const settledVerdict = batch.verdicts.get(Math.floor(slotIndex / redundancy));
    demand(seats[slotIndex]?.node === node, listCid, `${node} was convicted for slot ${slotIndex}, which is not its own`);
    demand(settledVerdict?.resultRoot === correctRoot, objectCid(verdictCid), `${node} was convicted without a verdict on chain`);
  }
  for (const { task, resultRoot, verdictCid } of batch.verdicts.values()) {
    const cid = objectCid(verdictCid);
    const verdict = decodeLinked(objectKinds.verdict, await read(cid));
    const same = verdict.job === id && verdict.round === settledOn.round && verdict.task === task && verdict.resultRoot === resultRoot;
    demand(same, cid, `the chain settled task ${task} by a verdict that says something else`);
    const root = settled.taskRoots[task];
    demand(root === zeroRoot || root === resultRoot, cid, `task ${task} ended with ${root}, against the verdict ${resultRoot}`);
  }

  const tasks = new Map<number, TaskRecord>();
  const accuracy = accuracyBasisPoints((await readCheckpoint(read, objectCid(finalized.checkpointCid))).evaluation);
  const end: EventPlace = placeOf(settledOn);
  for (const [index, seat] of seats.entries()) {
    const at = { job: id, round: settledOn.round, task: seat.task, slot: seat.slot, node: seat.node };
    const { commitment, opening } = slots[index] as (typeof slots)[number];
    const entry = openings[index] ?? null;
    const root = settled.taskRoots[seat.task] ?? zeroRoot;
    const paid = opening !== null && opening.resultRoot === root;
    const task = tasks.get(seat.task) ?? {
      slots: new Map<number, SlotRecord>(),
      closed: true,
      finalized:
        root === zeroRoot
          ? null
          : { ...end, event: 'TaskFinalized' as const, job: id, round: settledOn.round, task: seat.task, resultRoot: root, paid: 0 },
    };
    const counted = paid && task.finalized !== null ? { ...task.finalized, paid: task.finalized.paid + 1 } : task.finalized;
    tasks.set(seat.task, { ...task, finalized: counted });
    const forced = batch.forcedCommits.get(index);
    const conviction = batch.convictions.get(index);
    task.slots.set(seat.slot, {
      reassigned: null,
      committed: commitment === null ? null : { ...placeOf(forced ?? committed), event: 'Committed', ...at, commitment },
      revealed:
        opening === null
          ? null
          : {
              ...placeOf(batch.forcedReveals.get(index) ?? proofs ?? settledOn),
              event: 'Revealed',
              ...at,
              ...opening,
              resultCid: entry === null ? zeroRoot : digestOf(entry.resultCid),
              proof: entry === null ? noProof : { ...entry.proof, signature: entry.proof.signature as `0x${string}` },
            },
      convicted:
        conviction === undefined
          ? null
          : {
              ...placeOf(conviction),
              event: 'Convicted',
              ...at,
              revealedRoot: conviction.revealedRoot,
              correctRoot: conviction.correctRoot,
              verdictCid: conviction.verdictCid,
              offence: await offenceIn(history, conviction, read),
            },
      rewarded: paid ? { ...end, event: 'RewardCredited', ...at, operator: history.operatorOf(seat.node), amountWei: slotWei } : null,
      unrevealed: null,
    });
  }
  demand(seats.length === tasks.size * redundancy, listCid, 'the assignment has another number of slots than the job');
  return { ...round, tasks, finalized: { ...finalized, accuracy } };
}

function demand(holds: boolean, object: string, problem: string): void {
  if (!holds) throw new MusterError('AUDIT_FAILED', problem, { object });
}

const placeOf = ({ block, index, time, transaction }: EventPlace): EventPlace => ({ block, index, time, transaction });

/** What a conviction slashed for: the chain says so in the same transaction. The verdict's offence where nothing was left to take. */
async function offenceIn(history: ChainHistory, conviction: EventOf<'BatchConvicted'>, read: ReadBlock): Promise<Offence> {
  const slashes = history.slashed.get(conviction.node) ?? [];
  const slash = slashes.find(({ transaction, index }) => transaction === conviction.transaction && index > conviction.index);
  return slash?.offence ?? decodeLinked(objectKinds.verdict, await read(objectCid(conviction.verdictCid))).offence;
}
