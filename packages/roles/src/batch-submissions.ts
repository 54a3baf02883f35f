/**
 * What nodes of a batched job send instead of transactions: a commitment, signed by the operator's account, and later what opens it. An
 * answer means that it is recorded; what is not answered in time the node puts on chain itself.
 */
import type { VerifySignature } from '@muster/ports';
import {
  cidText,
  decodeLinked,
  type Envelope,
  holderOf,
  integer,
  type JobId,
  jobIdText,
  MusterError,
  type NodeId,
  objectKinds,
  type Root,
  rootText,
  struct,
} from '@muster/protocol';
import { type SlotState, summarize, type TaskState } from '@muster/round';
import { accountSignature, opens, proofSchema } from './batches.ts';
import type { JobRunner } from './job-runner.ts';
import { proofDigests, verifyProof } from './proof.ts';
import type { SubmissionDesk, Submissions } from './submissions.ts';

const uint32 = integer(0, 0xffff_ffff);
const place = { job: jobIdText, round: uint32, task: uint32, slot: uint32 };
const commitmentBody = struct({ ...place, commitment: rootText, signature: accountSignature });
const openingBody = struct({ ...place, salt: rootText, resultCid: cidText, proof: proofSchema });

interface Place {
  readonly job: JobId;
  readonly round: number;
  readonly task: number;
  readonly slot: number;
}

export class BatchSubmissions {
  readonly #desk: SubmissionDesk;
  readonly #submissions: Submissions;
  readonly #verify: VerifySignature;

  constructor(desk: SubmissionDesk, submissions: Submissions, verify: VerifySignature) {
    this.#desk = desk;
    this.#submissions = submissions;
    this.#verify = verify;
  }

  /** Takes a node's commitment into the round's list. Throws the code to refuse it with. */
  async commitment({ node, body }: Envelope): Promise<unknown> {
    const { commitment, signature, ...at } = commitmentBody(body, 'commitment');
    const { operator } = await this.#desk.requireStanding(node);
    await this.#desk.followChain();
    const { runner, task, slot } = this.#slotOf(node, at);
    if (slot.phase !== 'working') throw new MusterError('SUBMISSION_DUPLICATE', 'this slot has committed already', { ...at });
    if (task.phase !== 'commit') throw new MusterError('SUBMISSION_LATE', 'the list of commitments is closed', { ...at });
    if (!(await this.#desk.chain.signedCommitment(operator, commitment, signature as `0x${string}`))) {
      throw new MusterError('SIGNATURE_INVALID', `the commitment is not signed by ${operator}`, { ...at });
    }
    const sent = { commitment, signature: signature as `0x${string}` };
    await runner.apply({ type: 'sent', round: at.round, task: at.task, slot: at.slot, node, sent });
    // The list may have closed meanwhile.
    if (this.#slotOf(node, at).slot.sent?.commitment !== commitment)
      throw new MusterError('SUBMISSION_LATE', 'the list of commitments is closed', { ...at });
    return { accepted: true };
  }

  /** Takes the result that a node committed to, and what opens its commitment. Throws the code to refuse it with. */
  async opening({ node, body }: Envelope): Promise<unknown> {
    const { salt, resultCid, proof, ...at } = openingBody(body, 'opening');
    const { operator } = await this.#desk.requireStanding(node);
    await this.#desk.followChain();
    const { runner, task, slot } = this.#slotOf(node, at);
    if (slot.opened !== null) throw new MusterError('SUBMISSION_DUPLICATE', 'this slot was already opened', { ...at });
    if (slot.phase === 'working') throw new MusterError('COMMITMENT_MISSING', 'nothing was committed for this slot', { ...at });
    if (task.phase === 'commit' || task.phase === 'closing')
      throw new MusterError('STATE_CONFLICT', 'commitments are still open: open yours when they are closed', { ...at });
    if (task.phase !== 'reveal' && task.phase !== 'judge')
      throw new MusterError('SUBMISSION_LATE', `task ${at.task} takes no openings`, { ...at });
    const result = decodeLinked(objectKinds.taskResult, await this.#desk.read(resultCid));
    await this.#submissions.checkResult(at.job, result, { ...at, node });
    const { resultRoot, outcome } = result;
    const seat = { node, holder: holderOf(node, operator), task: at.task, slot: at.slot };
    if (!opens(at.job, at.round, seat, { salt, resultRoot }, this.#commitmentOf(at, runner, slot)))
      throw new MusterError('COMMITMENT_MISMATCH', 'salt and result do not open the commitment', { ...at });
    const material = await this.#desk.material(at.job);
    const digests = proofDigests(outcome, resultRoot, material.model);
    const signed = { ...proof, signature: proof.signature as `0x${string}` };
    const agrees =
      proof.step === (at.round + 1) * material.spec.localSteps &&
      proof.lossDigest === digests.lossDigest &&
      proof.gradientDigest === digests.gradientDigest &&
      proof.weightsDigest === digests.weightsDigest &&
      verifyProof(this.#verify, at, node, resultCid, signed);
    if (!agrees) throw new MusterError('SIGNATURE_INVALID', 'the training proof is not of this result, or not signed', { ...at });
    await runner.apply({
      type: 'openedInBatch',
      round: at.round,
      task: at.task,
      slot: at.slot,
      node,
      result: { resultRoot, resultCid, outcome: summarize(outcome) },
      opening: { salt, proof: signed },
    });
    return { accepted: true };
  }

  /** What the slot is committed to: a commitment on chain before one that was sent. */
  #commitmentOf({ job, round, task, slot }: Place, runner: JobRunner, { sent }: SlotState): Root | null {
    const forced = this.#desk.history.jobs
      .get(job)
      ?.rounds.get(round)
      ?.batch.forcedCommits.get(task * runner.state.spec.redundancy + slot);
    return forced?.commitment ?? sent?.commitment ?? null;
  }

  #slotOf(node: NodeId, at: Place): { readonly runner: JobRunner; readonly task: TaskState; readonly slot: SlotState } {
    const runner = this.#desk.runner(at.job);
    const current = runner.state.round;
    if (runner.state.settlement !== 'batched')
      throw new MusterError('STATE_CONFLICT', 'this job settles directly: commit and reveal on chain', { ...at });
    if (current === null || current.round !== at.round)
      throw new MusterError('SUBMISSION_LATE', `round ${at.round} takes no submissions`, { ...at });
    const task = current.tasks[at.task];
    if (task === undefined) throw new MusterError('TASK_UNKNOWN', `round ${at.round} has no task ${at.task}`, { ...at });
    const slot = task.slots[at.slot];
    if (slot === undefined || slot.node !== node)
      throw new MusterError('TASK_NOT_ASSIGNED', `slot ${at.slot} of task ${at.task} is not this node's`, { ...at, node });
    return { runner, task, slot };
  }
}
