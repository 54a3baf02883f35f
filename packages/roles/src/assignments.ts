/**
 * Reads a round's assignment from the store and checks it against the chain and the previous checkpoint.
 */
import {
  type Assignment,
  type Checkpoint,
  type CidText,
  decodeLinked,
  MusterError,
  type NodeId,
  objectKinds,
  type Root,
  type TaskOutcome,
} from '@muster/protocol';
import { checkAssignment, encodeTensors, type OperatorOf, outcomeRoot, type ReadBlock } from '@muster/round';
import { type JobRecord, objectCid, type RoundRecord } from './history.ts';
import type { JobMaterial } from './material.ts';

/** The checkpoint a round starts from: its parameters and what each slot carries. */
export interface RoundBase {
  /** Null before the first round. */
  readonly checkpoint: CidText | null;
  readonly parameters: CidText;
  readonly slotStates: readonly (CidText | null)[];
}

export async function readCheckpoint(read: ReadBlock, cid: CidText): Promise<Checkpoint> {
  return decodeLinked(objectKinds.checkpoint, await read(cid));
}

/** What round `round` of `job` starts from, by the chain: the checkpoint before it, or the initial parameters. */
export async function roundBase(job: JobRecord, round: number, material: JobMaterial, read: ReadBlock): Promise<RoundBase> {
  if (round === 0) {
    return {
      checkpoint: null,
      parameters: encodeTensors(material.initialParameters()).cid,
      slotStates: Array.from({ length: material.spec.tasks }, () => null),
    };
  }
  const finalized = job.rounds.get(round - 1)?.finalized;
  if (finalized === null || finalized === undefined) {
    throw new MusterError('ASSIGNMENT_WRONG', `round ${round} is assigned before round ${round - 1} is final`, { round });
  }
  const cid = objectCid(finalized.checkpointCid);
  const checkpoint = await readCheckpoint(read, cid);
  return { checkpoint: cid, parameters: checkpoint.parameters, slotStates: checkpoint.slotStates };
}

/** The assignment of a round that is assigned on chain. Throws ASSIGNMENT_WRONG if it does not follow from the record. */
export async function readAssignment(
  job: JobRecord,
  round: RoundRecord,
  operatorOf: OperatorOf,
  material: JobMaterial,
  read: ReadBlock,
): Promise<Assignment> {
  const { closed, assigned } = round;
  if (closed === null || assigned === null) throw new MusterError('INTERNAL', 'the round is not assigned');
  const cid = objectCid(assigned.assignmentCid);
  const assignment = decodeLinked(objectKinds.assignment, await read(cid));
  const base = await roundBase(job, assigned.round, material, read);
  checkAssignment(assignment, {
    job: job.submitted.job,
    round: assigned.round,
    beacon: assigned.beacon,
    base: base.parameters,
    redundancy: job.submitted.redundancy,
    slots: material.shardSizes.map((sampleCount, task) => ({ sampleCount, slotState: base.slotStates[task] ?? null })),
    nodeSetRoot: closed.nodeSetRoot,
    assignmentRoot: assigned.assignmentRoot,
    operatorOf,
  });
  return assignment;
}

/** The outcome behind a reveal; null where the store has none that opens the revealed root. */
export async function shownOutcome(
  revealed: { readonly resultCid: Root; readonly resultRoot: Root },
  read: ReadBlock,
): Promise<TaskOutcome | null> {
  try {
    const { outcome } = decodeLinked(objectKinds.taskResult, await read(objectCid(revealed.resultCid)));
    return outcomeRoot(outcome) === revealed.resultRoot ? outcome : null;
  } catch (error) {
    if (error instanceof MusterError && error.code !== 'INTERNAL') return null;
    throw error;
  }
}

/** Who holds a slot now: the last reassignment on chain, or the assignment. */
export function nodeIn(assignment: Assignment, round: RoundRecord, task: number, slot: number): NodeId | null {
  return round.tasks.get(task)?.slots.get(slot)?.reassigned?.node ?? assignment.tasks[task]?.nodes[slot] ?? null;
}
