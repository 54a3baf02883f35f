/**
 * Signed submissions: a trainer's result, a validator's verdict. Each is checked against the job's state and the store before the
 * machine hears of it; what is wrong is refused with a code.
 */
import { stateRoot } from '@muster/engine';
import type { ChainNode, ChainReader } from '@muster/ports';
import {
  type CidText,
  cidText,
  decodeLinked,
  digestOf,
  type Envelope,
  integer,
  type JobId,
  jobIdText,
  MusterError,
  type NodeId,
  objectKinds,
  struct,
  type TaskResult,
  text,
  type Verdict,
} from '@muster/protocol';
import { outcomeRoot, type ReadBlock, summarize } from '@muster/round';
import { readAssignment } from './assignments.ts';
import type { ChainHistory } from './history.ts';
import type { JobRunner } from './job-runner.ts';
import { drive, type Report, type Scheduler } from './link.ts';
import type { JobMaterial } from './material.ts';

/** What submissions need of the coordinator. */
export interface SubmissionDesk {
  readonly chain: ChainReader;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly history: ChainHistory;
  readonly read: ReadBlock;
  /** Brings the jobs' states up to the chain's head. */
  followChain(): Promise<void>;
  /** Throws JOB_UNKNOWN. */
  runner(job: JobId): JobRunner;
  material(job: JobId): Promise<JobMaterial>;
  /** The node's certificate. Throws NODE_UNKNOWN. */
  requireStanding(node: NodeId): Promise<ChainNode>;
}

const place = { job: jobIdText, round: integer(0, 0xffff_ffff), task: integer(0, 0xffff_ffff) };
const resultBody = struct({ ...place, slot: integer(0, 0xffff_ffff), resultCid: cidText });
const verdictBody = struct({ ...place, verdictCid: cidText, evidence: text(4096, /^0x([0-9a-f]{2})*$/) });

export class Submissions {
  readonly #desk: SubmissionDesk;
  readonly #verifiedUpdates = new Map<string, string>();

  constructor(desk: SubmissionDesk) {
    this.#desk = desk;
  }

  /** A node says where the result it committed to is. Throws the code to refuse it with. */
  async result({ node, body }: Envelope): Promise<unknown> {
    const { job, round, task, slot, resultCid } = resultBody(body, 'result');
    await this.#desk.requireStanding(node);
    await this.#desk.followChain();
    const runner = this.#desk.runner(job);
    const current = runner.state.round;
    if (current === null || current.round !== round)
      throw new MusterError('SUBMISSION_LATE', `round ${round} takes no submissions`, { job, round });
    const taskState = current.tasks[task];
    if (taskState === undefined) throw new MusterError('TASK_UNKNOWN', `round ${round} has no task ${task}`, { job, round, task });
    const slotState = taskState.slots[slot];
    if (slotState === undefined || slotState.node !== node) {
      throw new MusterError('TASK_NOT_ASSIGNED', `slot ${slot} of task ${task} is not this node's`, { job, round, task, slot, node });
    }
    if (slotState.opened !== null)
      throw new MusterError('SUBMISSION_DUPLICATE', 'this slot was already submitted', { job, round, task, slot });
    if (slotState.phase === 'working')
      throw new MusterError('COMMITMENT_MISSING', 'nothing was committed for this slot', { job, round, task, slot });
    if (taskState.phase === 'commit' || taskState.phase === 'closing') {
      throw new MusterError('STATE_CONFLICT', 'commits are still open: submit after the reveal opens', { job, round, task, slot });
    }
    if (taskState.phase !== 'reveal' && taskState.phase !== 'judge') {
      throw new MusterError('SUBMISSION_LATE', `task ${task} takes no submissions`, { job, round, task, slot });
    }
    const result = decodeLinked(objectKinds.taskResult, await this.#desk.read(resultCid));
    await this.checkResult(job, result, { job, round, task, slot, node });
    const opened = { resultRoot: result.resultRoot, resultCid, outcome: summarize(result.outcome) };
    await runner.apply({ type: 'opened', round, task, slot, node, result: opened });
    return { accepted: true };
  }

  /** Throws RESULT_ROOT_MISMATCH unless `result` is for `expected` and the objects it links open its root. */
  async checkResult(job: JobId, result: TaskResult | Verdict, expected: Readonly<Record<string, string | number>>): Promise<void> {
    for (const [field, value] of Object.entries(expected)) {
      const found = (result as unknown as Record<string, unknown>)[field];
      if (found !== value)
        throw new MusterError('RESULT_ROOT_MISMATCH', `the result's ${field} is ${String(found)}, expected ${value}`, {
          field,
          ...expected,
        });
    }
    if (outcomeRoot(result.outcome) !== result.resultRoot) {
      throw new MusterError('RESULT_ROOT_MISMATCH', 'the outcome does not give the result root', { resultRoot: result.resultRoot });
    }
    if (result.outcome.kind === 'fault') return;
    const { update, slotState, updateRoot } = result.outcome;
    if ((await this.#updateRoot(job, update, slotState)) !== updateRoot) {
      throw new MusterError('RESULT_ROOT_MISMATCH', 'the update in the store does not give the update root', { update, updateRoot });
    }
  }

  async #updateRoot(job: JobId, update: CidText, slotState: CidText | null): Promise<string> {
    const label = `${update}/${slotState ?? ''}`;
    const known = this.#verifiedUpdates.get(label);
    if (known !== undefined) return known;
    const material = await this.#desk.material(job);
    const tensors = await material.update(update);
    const root = stateRoot([...tensors, ...(slotState === null ? [] : await material.slotState(slotState))]);
    if (this.#verifiedUpdates.size > 10_000) this.#verifiedUpdates.clear();
    this.#verifiedUpdates.set(label, root);
    return root;
  }

  /** A validator's finding. It counts after the contract knows its signature and its execution has been replayed here. */
  async verdict({ node, body }: Envelope): Promise<unknown> {
    const { job, round, task, verdictCid, evidence } = verdictBody(body, 'verdict');
    const { report, scheduler, chain } = this.#desk;
    const standing = await this.#desk.requireStanding(node);
    await this.#desk.followChain();
    const runner = this.#desk.runner(job);
    const record = this.#desk.history.jobs.get(job);
    const roundRecord = record?.rounds.get(round);
    if (record === undefined || standing.role !== 'validator' || standing.operator !== record.submitted.validator) {
      throw new MusterError('TASK_NOT_ASSIGNED', 'this node is not the validator that the job names', { job, node });
    }
    if (runner.state.round?.round !== round || runner.state.round.tasks[task]?.phase !== 'judge' || roundRecord === undefined) {
      throw new MusterError('SUBMISSION_LATE', 'this task does not wait for a verdict', { job, round, task });
    }
    const verdict = decodeLinked(objectKinds.verdict, await this.#desk.read(verdictCid));
    await this.checkResult(job, verdict, { job, round, task, validator: node });
    const { resultRoot, offence } = verdict;
    const statement = { job, round, task, resultRoot, verdictCid: digestOf(verdictCid), offence };
    if (!(await chain.proves(statement, evidence as `0x${string}`))) {
      throw new MusterError('SIGNATURE_INVALID', 'the evidence does not prove the verdict to the contract', { job, round, task });
    }
    // Nobody is slashed on a signature alone: the verdict is replayed here, as any auditor will.
    const material = await this.#desk.material(job);
    const assignment = await readAssignment(record, roundRecord, this.#desk.history.operatorOf, material, this.#desk.read);
    const replayed = await drive(material.execute(round, task, await material.startOf(assignment, task)), scheduler);
    if (replayed.resultRoot !== verdict.resultRoot) {
      throw new MusterError('AUDIT_FAILED', `replay of task ${task} gives ${replayed.resultRoot}, the verdict says ${verdict.resultRoot}`, {
        job,
        round,
        task,
      });
    }
    report('verdict.replayed', { job, round, task, resultRoot: verdict.resultRoot });
    await runner.apply({
      type: 'verdict',
      round,
      task,
      verdict: { resultRoot: verdict.resultRoot, verdictCid, evidence: evidence as `0x${string}`, outcome: summarize(verdict.outcome) },
    });
    return { accepted: true };
  }
}
