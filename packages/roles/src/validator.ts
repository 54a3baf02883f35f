/**
 * The validator: executes tasks whose results differ and signs which result root is right.
 *
 * It is told where it is needed by the coordinator, computes from chain and store alone, and its verdict is replayed before
 * anybody is slashed. What is trusted of it is stated in docs/spec/05-contracts.md.
 */
import type { CostLimits, Executor } from '@muster/engine';
import type { ChainWriter, NodeKey } from '@muster/ports';
import {
  cidText,
  digestOf,
  encodeLinked,
  type Infer,
  integer,
  jobIdText,
  type JobId,
  list,
  MusterError,
  nullable,
  type Root,
  rootText,
  struct,
  type TaskOutcome,
} from '@muster/protocol';
import { mildestOffence, type ReadBlock } from '@muster/round';
import { readAssignment, shownOutcome } from './assignments.ts';
import { Heartbeat } from './heartbeat.ts';
import { ChainHistory, type JobRecord, objectCid, type RoundRecord } from './history.ts';
import { type CoordinatorLink, drive, reader, reasonOf, type Report, type Scheduler, type StopSignal, takeTurns } from './link.ts';
import { MaterialCache } from './material.ts';

export interface ValidatorOptions {
  readonly link: CoordinatorLink;
  readonly chain: ChainWriter;
  readonly key: NodeKey;
  readonly executor: Executor;
  /** The most that a job's programs may cost here; `defaultCostLimits` unless given. */
  readonly limits?: CostLimits;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly signal: StopSignal;
  readonly pollMs: number;
}

/** Answer of `GET /v1/verdicts`: tasks that wait for a verdict. */
const shownResult = struct({ resultRoot: rootText, resultCid: nullable(cidText) });
const wanted = struct({
  tasks: list(struct({ job: jobIdText, round: integer(), task: integer(), shown: list(shownResult, 15) }), 4096),
});
type Shown = Infer<typeof shownResult>;

export class Validator {
  readonly #options: ValidatorOptions;
  readonly #history: ChainHistory;
  readonly #read: ReadBlock;
  readonly #materials: MaterialCache;
  readonly #given = new Set<string>();

  constructor(options: ValidatorOptions) {
    this.#options = options;
    this.#history = new ChainHistory(options.chain);
    this.#read = reader(options.link.blobs);
    this.#materials = new MaterialCache(this.#read, options.executor, options.limits);
  }

  run(): Promise<void> {
    const heartbeat = new Heartbeat(this.#options);
    return takeTurns(this.#options, async () => {
      await heartbeat.beat();
      return this.turn();
    });
  }

  /** Judges at most one task; false when none waits. */
  async turn(): Promise<boolean> {
    const { link, report } = this.#options;
    try {
      const { tasks } = wanted(await link.get('verdicts'), 'verdicts');
      const next = tasks.find(({ job, round, task }) => !this.#given.has(`${job}/${round}/${task}`));
      if (next === undefined) return false;
      await this.#judge(next.job, next.round, next.task, next.shown);
      this.#given.add(`${next.job}/${next.round}/${next.task}`);
      return true;
    } catch (error) {
      report('validator.trouble', { reason: reasonOf(error) });
      return false;
    }
  }

  async #judge(jobId: JobId, roundNumber: number, task: number, shown: readonly Shown[]): Promise<void> {
    const { link, chain, key, scheduler, report } = this.#options;
    await this.#history.sync();
    const job = this.#history.jobs.get(jobId);
    const round = job?.rounds.get(roundNumber);
    if (job === undefined || round?.assigned === null || round === undefined) {
      throw new MusterError('JOB_UNKNOWN', `the chain has no assigned round ${roundNumber} of ${jobId}`, {
        job: jobId,
        round: roundNumber,
      });
    }
    const material = await this.#materials.of(job);
    const assignment = await readAssignment(job, round, this.#history.operatorOf, material, this.#read);
    const computed = await drive(material.execute(roundNumber, task, await material.startOf(assignment, task)), scheduler);
    for (const block of computed.blocks) if (!(await link.blobs.has(block.cid))) await link.blobs.put(block.bytes, block.codec);
    const { resultRoot, outcome } = computed;
    const offence = mildestOffence(outcome, await this.#wrongOutcomes(job, round, task, resultRoot, shown));
    const verdict = encodeLinked({
      version: 1,
      job: jobId,
      round: roundNumber,
      task,
      validator: key.node,
      assignment: objectCid(round.assigned.assignmentCid),
      resultRoot,
      outcome,
      offence,
    });
    await link.blobs.put(verdict.bytes, 'dag-cbor');
    const statement = { job: jobId, round: roundNumber, task, resultRoot, verdictCid: digestOf(verdict.cid), offence };
    const evidence = await chain.signVerdict(statement);
    await link.message('verdict', { job: jobId, round: roundNumber, task, verdictCid: verdict.cid, evidence });
    report('verdict.given', { job: jobId, round: roundNumber, task, resultRoot, verdict: verdict.cid, offence });
  }

  /**
   * What was shown for a task beside the correct root; null where a node revealed a root and never showed what is behind it. In batches the
   * coordinator says what it was shown, the chain what nodes have revealed themselves.
   */
  async #wrongOutcomes(
    job: JobRecord,
    round: RoundRecord,
    task: number,
    correctRoot: Root,
    shown: readonly Shown[],
  ): Promise<(TaskOutcome | null)[]> {
    const outcomes: (TaskOutcome | null)[] = [];
    for (const result of job.policy.settlement === 'batched' ? shownInBatch(job, round, task, shown) : shownOnChain(round, task)) {
      if (result.resultRoot === correctRoot) continue;
      outcomes.push(
        result.resultCid === null
          ? null
          : await shownOutcome({ resultRoot: result.resultRoot, resultCid: digestOf(result.resultCid) }, this.#read),
      );
    }
    return outcomes;
  }
}

function shownOnChain(round: RoundRecord, task: number): Shown[] {
  return [...(round.tasks.get(task)?.slots.values() ?? [])].flatMap(({ revealed }) =>
    revealed === null ? [] : [{ resultRoot: revealed.resultRoot, resultCid: objectCid(revealed.resultCid) }],
  );
}

function shownInBatch({ submitted }: JobRecord, { batch }: RoundRecord, task: number, shown: readonly Shown[]): Shown[] {
  const alone = [...batch.forcedReveals].filter(([index]) => Math.floor(index / submitted.redundancy) === task);
  const unknown = alone.filter(([, { resultRoot }]) => shown.every((result) => result.resultRoot !== resultRoot));
  return [...shown, ...unknown.map(([, { resultRoot }]) => ({ resultRoot, resultCid: null }))];
}
