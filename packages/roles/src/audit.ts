/**
 * The auditor: replays a whole job from chain and store, trusting nobody who took part.
 *
 * Checked for every round: the assignment follows from beacon and node set; every commitment opens; every stored result opens
 * its root and bears its node's signature; every accepted task is executed again and gives the accepted root; every verdict
 * agrees with that execution and every conviction with the verdict; the aggregation, executed again, gives the checkpoint;
 * payments and refund add up to the budget. The first thing that does not hold is named.
 */
import { type CostLimits, type Executor, stateRoot } from '@muster/engine';
import type { BlobStore, ChainReader, VerifySignature } from '@muster/ports';
import {
  type Assignment,
  type Checkpoint,
  type CidText,
  commitmentOf,
  decodeLinked,
  holderOf,
  type JobId,
  type JobSpec,
  MusterError,
  type NodeId,
  objectKinds,
  type Offence,
  type TaskOutcome,
  type TaskResult,
} from '@muster/protocol';
import {
  accuracyBasisPoints,
  accuracyBonus,
  batchReward,
  carriedStates,
  contributionScore,
  evenShare,
  offenceOf,
  offencesBySeverity,
  type OperatorOf,
  outcomeRoot,
  type ReadBlock,
  slotReward,
  summarize,
} from '@muster/round';
import { nodeIn, readAssignment, shownOutcome, readCheckpoint, roundBase } from './assignments.ts';
import { batchView } from './batch-audit.ts';
import { averageOf } from './coordinator-duties.ts';
import { budgetAt, ChainHistory, type JobRecord, objectCid, type RoundRecord, type SlotRecord, type TaskRecord } from './history.ts';
import { drive, reader, type Report, type Scheduler } from './link.ts';
import { checkSpec, type JobMaterial, loadMaterial } from './material.ts';
import { proofDigests, verifyProof } from './proof.ts';
import { checkRequested } from './requested-spec.ts';

export interface AuditOptions {
  readonly chain: ChainReader;
  readonly blobs: BlobStore;
  readonly executor: Executor;
  /** The most that a job's programs may cost here; `defaultCostLimits` unless given. */
  readonly limits?: CostLimits;
  readonly verify: VerifySignature;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly job: JobId;
}

export interface AuditResult {
  readonly job: JobId;
  readonly ok: boolean;
  /** Tasks executed again. */
  readonly tasks: number;
  readonly aggregations: number;
  /** Different objects read from the store and hashed. */
  readonly objects: number;
  readonly signatures: number;
  readonly commitments: number;
  readonly verdicts: number;
  /** The first thing that does not hold; null if all does. */
  readonly firstFault: { readonly object: string; readonly problem: string } | null;
}

/** Replays `options.job`. Faults of the record are in the result; JOB_UNKNOWN and an unreachable chain are thrown. */
export async function auditJob(options: AuditOptions): Promise<AuditResult> {
  const audit = new Audit(options);
  const history = new ChainHistory(options.chain);
  await history.sync();
  const job = history.jobs.get(options.job);
  if (job === undefined) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${options.job}`, { job: options.job });
  let firstFault: AuditResult['firstFault'] = null;
  try {
    await audit.run(job, history);
  } catch (error) {
    if (!(error instanceof MusterError) || error.code === 'CHAIN_UNREACHABLE' || error.code === 'INTERNAL') throw error;
    const object = error.details['object'];
    firstFault = { object: typeof object === 'string' ? object : audit.place, problem: `${error.code}: ${error.message}` };
  }
  return { job: options.job, ok: firstFault === null, ...audit.counts(), firstFault };
}

class Audit {
  /** What is being checked, for faults that name no object. */
  place = 'job';
  readonly #options: AuditOptions;
  readonly #read: ReadBlock;
  readonly #objects = new Set<CidText>();
  readonly #updateRoots = new Map<string, string>();
  #tasks = 0;
  #aggregations = 0;
  #signatures = 0;
  #commitments = 0;
  #verdicts = 0;
  /** Of the rounds audited so far, basis points. */
  #bestAccuracy = 0;

  constructor(options: AuditOptions) {
    this.#options = options;
    const read = reader(options.blobs);
    this.#read = async (cid) => {
      try {
        const bytes = await read(cid);
        this.#objects.add(cid);
        return bytes;
      } catch (error) {
        // Whatever was being checked, it is this object that is missing or damaged.
        if (!(error instanceof MusterError)) throw error;
        throw new MusterError(error.code, error.message, { ...error.details, object: cid }, { cause: error });
      }
    };
  }

  counts(): Pick<AuditResult, 'tasks' | 'aggregations' | 'objects' | 'signatures' | 'commitments' | 'verdicts'> {
    return {
      tasks: this.#tasks,
      aggregations: this.#aggregations,
      objects: this.#objects.size,
      signatures: this.#signatures,
      commitments: this.#commitments,
      verdicts: this.#verdicts,
    };
  }

  async run(job: JobRecord, history: ChainHistory): Promise<void> {
    const specCid = objectCid(job.specCid);
    this.place = specCid;
    const spec = decodeLinked(objectKinds.jobSpec, await this.#read(specCid));
    checkSpec(job, spec);
    await checkRequested(job, this.#read);
    const material = await loadMaterial(spec, this.#read, this.#options.executor, this.#options.limits);
    const finished = [...job.rounds.values()].filter(({ finalized }) => finalized !== null);
    const views: RoundRecord[] = [...job.rounds.values()].filter(({ finalized }) => finalized === null);
    for (const recorded of finished) {
      const { finalized } = recorded;
      this.place = `round ${finalized?.round}`;
      const round =
        job.policy.settlement === 'batched' ? await batchView(this.#options.chain, history, job, recorded, this.#read) : recorded;
      views.push(round);
      await this.#auditRound(job, round, spec, material, history);
      this.#bestAccuracy = Math.max(this.#bestAccuracy, round.finalized?.accuracy ?? 0);
      this.#options.report('audit.round', {
        job: job.submitted.job,
        round: round.finalized?.round,
        rounds: finished.length,
        ...this.counts(),
      });
    }
    for (const round of job.rounds.values()) if (round.finalized === null) await this.#auditSettled(job, round, material, history);
    this.place = `job ${job.submitted.job}`;
    this.#auditMoney(job, views, history);
    if (job.published !== null) {
      const last = finished.at(-1)?.finalized?.checkpointCid;
      this.#demand(job.published.checkpointCid === last, `the published model is not the last checkpoint`);
    }
  }

  /** The open round of a job that ended early: what was paid in it was paid for what executing the task gives. */
  async #auditSettled(job: JobRecord, round: RoundRecord, material: JobMaterial, history: ChainHistory): Promise<void> {
    const { assigned } = round;
    if (assigned === null || [...round.tasks.values()].every(({ finalized }) => finalized === null)) return;
    this.place = objectCid(assigned.assignmentCid);
    const assignment = await readAssignment(job, round, history.operatorOf, material, this.#read);
    for (const [index, task] of round.tasks) {
      if (task.finalized === null) continue;
      this.place = `round ${assigned.round}, task ${index}`;
      const honest = await drive(
        material.execute(assigned.round, index, await material.startOf(assignment, index)),
        this.#options.scheduler,
      );
      this.#tasks++;
      const correct = { number: assigned.round, index, root: honest.resultRoot, outcome: honest.outcome };
      await this.#auditTask(job, round, assignment, material, task, correct, history.operatorOf);
    }
  }

  async #auditRound(job: JobRecord, round: RoundRecord, spec: JobSpec, material: JobMaterial, history: ChainHistory): Promise<void> {
    const { assigned, finalized } = round;
    if (assigned === null || finalized === null) throw this.#fault('the round was finalized without an assignment');
    const number = finalized.round;
    this.place = objectCid(assigned.assignmentCid);
    const assignment = await readAssignment(job, round, history.operatorOf, material, this.#read);
    for (const [task, { slots }] of round.tasks) {
      const within = task < assignment.tasks.length && [...slots.keys()].every((slot) => slot < job.submitted.redundancy);
      this.#demand(within, `the chain speaks of task ${task}, slots ${[...slots.keys()].join(', ')}: the job has no such place`);
    }
    this.#demand(
      round.closed?.nodeCount === assignment.nodes.length,
      `the chain says ${round.closed?.nodeCount} nodes, the assignment has ${assignment.nodes.length}`,
    );
    const checkpointCid = objectCid(finalized.checkpointCid);
    this.place = checkpointCid;
    const checkpoint = await readCheckpoint(this.#read, checkpointCid);
    const outcomes: TaskOutcome[] = [];
    for (const index of assignment.tasks.keys()) {
      this.place = `round ${number}, task ${index}`;
      const task = round.tasks.get(index) ?? { slots: new Map(), closed: false, finalized: null };
      const honest = await drive(material.execute(number, index, await material.startOf(assignment, index)), this.#options.scheduler);
      this.#tasks++;
      outcomes.push(honest.outcome);
      const correct = { number, index, root: honest.resultRoot, outcome: honest.outcome };
      await this.#auditTask(job, round, assignment, material, task, correct, history.operatorOf);
    }
    await this.#auditCheckpoint(job, round, spec, material, { assignment, checkpoint, checkpointCid, outcomes });
  }

  async #auditTask(
    job: JobRecord,
    round: RoundRecord,
    assignment: Assignment,
    material: JobMaterial,
    task: TaskRecord,
    honest: { readonly number: number; readonly index: number; readonly root: string; readonly outcome: TaskOutcome },
    operatorOf: OperatorOf,
  ): Promise<void> {
    const where = this.place;
    if (task.finalized !== null) {
      this.#demand(
        task.finalized.resultRoot === honest.root,
        `the accepted root is ${task.finalized.resultRoot}, executing the task gives ${honest.root}`,
      );
    }
    let paid = 0;
    for (const [number, slot] of task.slots) {
      this.place = `${where}, slot ${number}`;
      await this.#auditSlot(job, round, assignment, material, {
        slot,
        number,
        task: honest.index,
        honest: { root: honest.root, outcome: honest.outcome },
        operatorOf,
      });
      if (slot.rewarded === null) continue;
      paid++;
      this.#demand(slot.revealed?.resultRoot === task.finalized?.resultRoot, 'a slot was paid without revealing the accepted root');
      const convictedFirst = slot.convicted !== null && slot.convicted.block < slot.rewarded.block;
      this.#demand(!convictedFirst, 'a convicted slot was paid');
      this.#demand(slot.rewarded.node === slot.revealed?.node, `${slot.rewarded.node} was paid for what ${slot.revealed?.node} revealed`);
      const reward = this.#rewardOf(job, round, honest.index, material);
      this.#demand(slot.rewarded.amountWei === reward, `paid ${slot.rewarded.amountWei} wei instead of ${reward}`);
    }
    this.place = where;
    if (task.finalized !== null)
      this.#demand(task.finalized.paid === paid, `the chain says ${task.finalized.paid} slots were paid, it paid ${paid}`);
  }

  async #auditSlot(
    job: JobRecord,
    round: RoundRecord,
    assignment: Assignment,
    material: JobMaterial,
    at: {
      readonly slot: SlotRecord;
      readonly number: number;
      readonly task: number;
      readonly honest: { readonly root: string; readonly outcome: TaskOutcome };
      readonly operatorOf: OperatorOf;
    },
  ): Promise<void> {
    const { slot, task, honest } = at;
    const { committed, revealed, convicted } = slot;
    const holder = nodeIn(assignment, round, task, at.number);
    if (committed !== null) this.#demand(committed.node === holder, `${committed.node} committed, the slot is ${holder}'s`);
    if (revealed === null) {
      this.#demand(convicted === null, 'a slot was convicted that revealed nothing');
      return;
    }
    const place = { job: job.submitted.job, round: assignment.round, task, slot: at.number };
    const holding = holderOf(revealed.node, at.operatorOf(revealed.node));
    const opened = commitmentOf(place.job, place.round, task, at.number, holding, revealed.salt, revealed.resultRoot);
    this.#demand(committed !== null && committed.commitment === opened, 'the reveal does not open the commitment');
    this.#commitments++;
    // What a node of a batched round opened on chain alone shows no result; if it was paid, the result is the one that is executed here.
    const openedAlone = round.batch.forcedReveals.size > 0 && BigInt(revealed.resultCid) === 0n;
    if (!openedAlone) await this.#auditResult(place, revealed.node, slot, material);
    if (convicted !== null) {
      const shown = convicted.node === revealed.node && convicted.revealedRoot === revealed.resultRoot;
      this.#demand(
        shown,
        `${convicted.node} was convicted for ${convicted.revealedRoot}, ${revealed.node} revealed ${revealed.resultRoot}`,
      );
      await this.#auditConviction(job, round, place, { convicted, revealed }, honest);
    } else if (round.tasks.get(task)?.finalized !== null && this.#anyConviction(round, task)) {
      this.#demand(revealed.resultRoot === honest.root, `${revealed.node} revealed a wrong root and was not convicted, others were`);
    }
  }

  /** The result object behind a reveal: from the right node, opening its root, signed. */
  async #auditResult(
    place: { readonly job: JobId; readonly round: number; readonly task: number; readonly slot: number },
    node: NodeId,
    slot: SlotRecord,
    material: JobMaterial,
  ): Promise<void> {
    const { revealed } = slot;
    if (revealed === null) return;
    const cid = objectCid(revealed.resultCid);
    const where = this.place;
    this.place = cid;
    const bytes = await this.#options.blobs.get(cid);
    if (bytes === null && slot.rewarded === null) {
      // Nobody was paid for it and nothing was averaged from it: a node may fail to hand in what it revealed.
      this.place = where;
      return;
    }
    const result: TaskResult = decodeLinked(objectKinds.taskResult, await this.#read(cid));
    const same = result.job === place.job && result.round === place.round && result.task === place.task && result.slot === place.slot;
    this.#demand(same && result.node === node, 'the result is for another slot or node');
    this.#demand(result.resultRoot === revealed.resultRoot, `the result says ${result.resultRoot}, the chain ${revealed.resultRoot}`);
    await this.#auditOutcome(result.outcome, result.resultRoot, material);
    const digests = proofDigests(result.outcome, result.resultRoot, material.model);
    const { proof } = revealed;
    const agree =
      proof.lossDigest === digests.lossDigest &&
      proof.gradientDigest === digests.gradientDigest &&
      proof.weightsDigest === digests.weightsDigest;
    this.#demand(agree, 'the training proof on chain has other digests than the result');
    this.#demand(proof.step === (place.round + 1) * material.spec.localSteps, `the training proof speaks of step ${proof.step}`);
    this.#demand(verifyProof(this.#options.verify, place, node, cid, proof), `the training proof is not signed by ${node}`);
    this.#signatures++;
    this.place = where;
  }

  async #auditOutcome(outcome: TaskOutcome, resultRoot: string, material: JobMaterial): Promise<void> {
    this.#demand(outcomeRoot(outcome) === resultRoot, 'the outcome does not open the result root');
    if (outcome.kind === 'fault') return;
    const label = `${outcome.update}/${outcome.slotState ?? ''}`;
    let root = this.#updateRoots.get(label);
    if (root === undefined) {
      const slots = outcome.slotState === null ? [] : await material.slotState(outcome.slotState);
      root = stateRoot([...(await material.update(outcome.update)), ...slots]);
      this.#updateRoots.set(label, root);
    }
    this.#demand(root === outcome.updateRoot, `update ${outcome.update} does not give the update root`);
  }

  async #auditConviction(
    job: JobRecord,
    round: RoundRecord,
    place: { readonly job: JobId; readonly round: number; readonly task: number; readonly slot: number },
    {
      convicted,
      revealed,
    }: { readonly convicted: NonNullable<SlotRecord['convicted']>; readonly revealed: NonNullable<SlotRecord['revealed']> },
    honest: { readonly root: string; readonly outcome: TaskOutcome },
  ): Promise<void> {
    const honestRoot = honest.root;
    const cid = objectCid(convicted.verdictCid);
    this.place = cid;
    const verdict = decodeLinked(objectKinds.verdict, await this.#read(cid));
    const same = verdict.job === place.job && verdict.round === place.round && verdict.task === place.task;
    this.#demand(
      same && objectCid(round.assigned?.assignmentCid ?? convicted.verdictCid) === verdict.assignment,
      'the verdict is about another task',
    );
    this.#demand(verdict.resultRoot === honestRoot, `the verdict names ${verdict.resultRoot}, executing the task gives ${honestRoot}`);
    this.#demand(outcomeRoot(verdict.outcome) === verdict.resultRoot, 'the verdict’s outcome does not open its root');
    this.#demand(convicted.correctRoot === verdict.resultRoot, `the chain convicted by ${convicted.correctRoot}`);
    this.#demand(convicted.revealedRoot !== honestRoot, `${convicted.node} was convicted for the right result`);
    // The mildest offence needs nothing shown; for any other, what was shown must be there.
    if (verdict.offence !== 'invalidProof') await this.#read(objectCid(revealed.resultCid));
    const shown = await shownOutcome(revealed, this.#read);
    const deserved: Offence = offenceOf(honest.outcome, shown);
    this.#demand(
      convicted.offence === verdict.offence && severity(verdict.offence) <= severity(deserved),
      `${convicted.node} was convicted of ${convicted.offence}, its result is at most ${deserved}`,
    );
    this.#verdicts++;
    this.place = `job ${job.submitted.job}`;
  }

  /** What a paid slot of a task earns, by the terms of the job and the accuracy that the chain was told. */
  #rewardOf(job: JobRecord, round: RoundRecord, task: number, material: JobMaterial): bigint {
    const { rounds, tasks, redundancy } = job.submitted;
    // Settling an ended job pays even shares, whatever the terms were.
    // A round settled in batches pays by the budget as it is then, any other by the one as of its assignment.
    const terms = job.policy.settlement === 'batched' ? round.finalized : round.assigned;
    const budgetWei = budgetAt(job, terms?.block ?? 0);
    if (round.finalized === null) return evenShare({ budgetWei, rounds, tasks, redundancy });
    const paidJob = { budgetWei, rounds, tasks, redundancy, reward: job.policy.reward };
    const accuracy = round.finalized.accuracy ?? 0;
    if (job.policy.settlement === 'batched') return batchReward(paidJob, accuracy, this.#bestAccuracy);
    const score = contributionScore(job.policy, tasks, material.shardSizes[task] ?? 0);
    const base = slotReward(paidJob, score);
    return base + accuracyBonus(paidJob, base, score, accuracy, this.#bestAccuracy);
  }

  #anyConviction(round: RoundRecord, task: number): boolean {
    return [...(round.tasks.get(task)?.slots.values() ?? [])].some(({ convicted }) => convicted !== null);
  }

  async #auditCheckpoint(
    job: JobRecord,
    round: RoundRecord,
    spec: JobSpec,
    material: JobMaterial,
    at: {
      readonly assignment: Assignment;
      readonly checkpoint: Checkpoint;
      readonly checkpointCid: CidText;
      readonly outcomes: readonly TaskOutcome[];
    },
  ): Promise<void> {
    const { assignment, checkpoint, checkpointCid, outcomes } = at;
    this.place = checkpointCid;
    const base = await roundBase(job, assignment.round, material, this.#read);
    this.#demand(checkpoint.job === job.submitted.job && checkpoint.round === assignment.round, 'the checkpoint is of another round');
    this.#demand(checkpoint.previous === base.checkpoint, 'the checkpoint does not follow the one before');
    const finalized = [...round.tasks].filter(([, task]) => task.finalized !== null).sort(([a], [b]) => a - b);
    this.#demand(
      finalized.length === checkpoint.tasks.length,
      `the chain finalized ${finalized.length} tasks, the checkpoint averages ${checkpoint.tasks.length}`,
    );
    const enough = checkpoint.tasks.length === 0 || 100 * checkpoint.tasks.length >= spec.quorumPercent * spec.tasks;
    this.#demand(enough, 'the checkpoint averages less than the quorum');
    for (const [index, entry] of checkpoint.tasks.entries()) {
      const [task, record] = finalized[index] ?? [];
      this.#demand(
        task === entry.task && record?.finalized?.resultRoot === entry.resultRoot,
        `task ${entry.task} is not what the chain finalized`,
      );
      this.#demand(entry.weight === material.shardSizes[entry.task], `task ${entry.task} has weight ${entry.weight}`);
      const honest = outcomes[entry.task];
      this.#demand(
        honest !== undefined && JSON.stringify(summarize(honest)) === JSON.stringify(entry.outcome),
        `task ${entry.task} averages something else than executing it gives`,
      );
    }
    this.place = checkpointCid;
    const averaged = await averageOf(material, assignment.base, checkpoint.tasks, this.#options.scheduler);
    this.#aggregations++;
    this.#demand(
      averaged.cid === checkpoint.parameters,
      `averaging again gives ${averaged.cid}, the checkpoint says ${checkpoint.parameters}`,
    );
    await material.parameters(checkpoint.parameters);
    const carried = carriedStates(base.slotStates, checkpoint.tasks);
    this.#demand(carried.join() === checkpoint.slotStates.join(), 'the carried slot states are not those of the accepted results');
    const evaluation = await drive(material.evaluate(averaged.tensors), this.#options.scheduler);
    const { records, loss, correct } = checkpoint.evaluation;
    this.#demand(
      evaluation.records === records && evaluation.loss === loss && evaluation.correct === correct,
      `evaluating again gives loss ${evaluation.loss} and ${evaluation.correct} correct, the checkpoint says ${loss} and ${correct}`,
    );
    const told = round.finalized?.accuracy ?? 0;
    this.#demand(told === accuracyBasisPoints(evaluation), `the chain was told an accuracy of ${told} basis points`);
    if (round.checkpoint !== null)
      this.#demand(objectCid(round.checkpoint.checkpointCid) === checkpointCid, 'the model registry has another checkpoint');
  }

  /** Rewards and refund are the budget, to the wei; every conviction cost a stake. */
  #auditMoney(job: JobRecord, rounds: readonly RoundRecord[], history: ChainHistory): void {
    let paid = 0n;
    for (const round of rounds) {
      for (const task of round.tasks.values()) {
        for (const slot of task.slots.values()) {
          paid += slot.rewarded?.amountWei ?? 0n;
          if (slot.convicted === null) continue;
          const { node } = slot.convicted;
          // Who has left with its stake has none to lose.
          const left = history.stakeChanges.some((event) => event.event === 'StakeWithdrawn' && event.node === node);
          this.#demand(history.slashed.has(node) || left, `${node} was convicted and not slashed`);
        }
      }
    }
    const convicted = new Set(convictedNodes(history));
    const ofResults = new Set<Offence>(offencesBySeverity);
    for (const [node, slashes] of history.slashed) {
      const judged = slashes.some(({ offence }) => ofResults.has(offence));
      this.#demand(!judged || convicted.has(node), `${node} was slashed for a result and never convicted`);
    }
    this.#auditSlashes(history);
    const budgetWei = budgetAt(job, Number.MAX_SAFE_INTEGER);
    if (job.ended !== null) {
      const reserved = 'reserveWei' in job.ended ? job.ended.reserveWei : 0n;
      const returned = job.ended.refundWei + (job.released?.refundWei ?? 0n);
      // Until the reserve is released, it is what may still be paid or returned.
      const whole = reserved > 0n && job.released === null ? paid + returned <= budgetWei : paid + returned === budgetWei;
      this.#demand(whole, `rewards ${paid} and refunds ${returned} are not the budget ${budgetWei}`);
    } else this.#demand(paid <= budgetWei, `rewards ${paid} exceed the budget ${budgetWei}`);
  }

  /** Every slashed amount went somewhere, whole, and nothing of it to the validator who judged. */
  #auditSlashes(history: ChainHistory): void {
    const slashes = [...history.slashed.values()].flat().sort((a, b) => a.block - b.block || a.index - b.index);
    this.#demand(slashes.length === history.divided.length, 'not every slashed amount was divided');
    for (const [index, { node, amountWei }] of slashes.entries()) {
      const divided = history.divided[index];
      const sum = (divided?.challengerWei ?? 0n) + (divided?.insuranceWei ?? 0n) + (divided?.burnedWei ?? 0n);
      this.#demand(divided?.node === node && sum === amountWei, `${node} lost ${amountWei} wei, ${sum} were divided`);
    }
  }

  #demand(holds: boolean, problem: string): void {
    if (!holds) throw this.#fault(problem);
  }

  #fault(problem: string): MusterError {
    return new MusterError('AUDIT_FAILED', problem, { object: this.place });
  }
}

/** Place among the offences of results, mildest first. */
const severity = (offence: Offence): number => offencesBySeverity.findIndex((other) => other === offence);

/** Every node that was convicted in any job, once per conviction. */
function convictedNodes(history: ChainHistory): NodeId[] {
  const slots = [...history.jobs.values()].flatMap((job) =>
    [...job.rounds.values()].flatMap((round) => [...round.tasks.values()].flatMap((task) => [...task.slots.values()])),
  );
  const inBatches = [...history.jobs.values()].flatMap((job) =>
    [...job.rounds.values()].flatMap(({ batch }) => [...batch.convictions.values()].map(({ node }) => node)),
  );
  return [...slots.flatMap(({ convicted }) => (convicted === null ? [] : [convicted.node])), ...inBatches];
}
