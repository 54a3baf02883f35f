/**
 * What a trainer does in a job that settles in batches: it sends its commitment and later its opening to the coordinator, puts on chain
 * itself what is not taken or not listed in time, and claims what it has earned.
 *
 * Everything follows from chain and store, as in direct settlement; what is remembered here only saves questions.
 */
import type { ChainWriter, NodeKey, SlotId } from '@muster/ports';
import { type Assignment, encodeLinked, holderOf, type JobId, MusterError, type Root } from '@muster/protocol';
import { assignmentProof, batchCommitment, batchSalt, type ComputedTask, type OperatorOf, type ReadBlock, saltLabel } from '@muster/round';
import { type CommitmentList, readCommitments, requireSettlement, settlementOf, storedAssignment } from './batches.ts';
import type { JobRecord, RoundRecord } from './history.ts';
import { type CoordinatorLink, reasonOf, type Report, type Scheduler } from './link.ts';
import type { JobMaterial } from './material.ts';
import { proofDigests, signProof } from './proof.ts';

export interface BatchTrainerOptions {
  readonly link: CoordinatorLink;
  readonly chain: ChainWriter;
  readonly key: NodeKey;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly read: ReadBlock;
  readonly operatorOf: OperatorOf;
}

/** A batched round under way, its assignment checked. */
export interface BatchedRound {
  readonly job: JobRecord;
  readonly round: RoundRecord;
  readonly material: JobMaterial;
  readonly assignment: Assignment;
}

/** Executes the task of a slot, or remembers that it did. */
export type Compute = (place: SlotId) => Promise<ComputedTask>;

/** Rounds whose rewards are claimed together while a job goes on; at its end all are. */
const roundsPerClaim = 8;
/** After commitments close, how long an opening waits: clocks differ, and whoever sees it early could copy it, ms. */
const openingMarginMs = 1000;
/** After a claim that failed, ms: stake that is locked for other work comes free again. */
const claimRetryMs = 600_000;

/** Contract errors that say that the chain has moved on. */
const settledErrors = new Set([
  'AlreadyClaimed',
  'AlreadyForced',
  'ClaimsExpired',
  'CommitmentsClosed',
  'CommitmentsOpen',
  'JobEnded',
  'NodeNotActive',
  'RewardVoided',
  'RoundNotAssigned',
  'RoundOutOfOrder',
]);

export class BatchTrainer {
  readonly #options: BatchTrainerOptions;
  readonly #sent = new Set<string>();
  readonly #opened = new Set<string>();
  readonly #told = new Set<string>();
  readonly #claimed = new Set<string>();
  /** Jobs under way of which enough rounds had gathered, until all of them are claimed. */
  readonly #claiming = new Set<JobId>();
  readonly #claimAfter = new Map<string, number>();
  #list: { readonly contentCid: Root; readonly list: CommitmentList | null } | null = null;

  constructor(options: BatchTrainerOptions) {
    this.#options = options;
  }

  /** Does at most one piece of work on the slots `mine`; false when there is none now. */
  async work(open: BatchedRound, mine: readonly SlotId[], compute: Compute): Promise<boolean> {
    const { assigned, batch } = open.round;
    if (assigned === null) return false;
    const now = this.#options.scheduler.now();
    const closesAt = 1000 * Math.max(assigned.commitDeadline, batch.committed?.closesAt ?? 0);
    for (const place of mine) {
      const busy =
        now < closesAt
          ? await this.#commit(open, place, compute)
          : batch.committed !== null && now >= closesAt + openingMarginMs && (await this.#open(open, place, compute, closesAt));
      if (busy) return true;
    }
    return false;
  }

  /** Makes sure that the commitment counts: sent while the list is open, on chain where it is not taken or not listed. */
  async #commit(open: BatchedRound, place: SlotId, compute: Compute): Promise<boolean> {
    const { chain, link, scheduler, report } = this.#options;
    const { assigned, batch } = open.round;
    const { index, label } = this.#at(open, place);
    if (batch.forcedCommits.has(index)) return false;
    if (batch.committed === null && this.#sent.has(label)) return false;
    const commitment = this.#commitmentOf(place, await compute(place));
    if (batch.committed !== null) {
      const list = await this.#listOf(open);
      return list?.commitments[index]?.commitment === commitment ? false : this.#forceCommit(open, place, commitment);
    }
    try {
      await link.message('commitment', { ...place, commitment, signature: await chain.signCommitment(commitment) });
    } catch (error) {
      // Sent before a restart: whether it is what was sent then, the list will show.
      if (error instanceof MusterError && error.code === 'SUBMISSION_DUPLICATE') {
        this.#sent.add(label);
        return false;
      }
      this.#refused(error, 'commitment', label);
      // An eighth of the time is left: no list that is sent now can be relied on.
      const patienceUntil = 1000 * (assigned?.commitDeadline ?? 0) - Math.floor(open.material.spec.commitTimeoutMs / 8);
      return scheduler.now() >= patienceUntil ? this.#forceCommit(open, place, commitment) : false;
    }
    this.#sent.add(label);
    report('task.committed', { ...place, commitment });
    return true;
  }

  async #forceCommit(open: BatchedRound, place: SlotId, commitment: Root): Promise<boolean> {
    const { chain, key, report } = this.#options;
    const call = { call: 'forceCommit', ...place, node: key.node, commitment, proof: this.#proofOf(open, place) } as const;
    if (!(await settling(() => chain.send(call)))) return false;
    report('commit.forced', { ...place, commitment });
    return true;
  }

  /** Stores the result and sends what opens the commitment; on chain where the coordinator does not take it. */
  async #open(open: BatchedRound, place: SlotId, compute: Compute, closedAt: number): Promise<boolean> {
    const { key, chain, link, scheduler, report } = this.#options;
    const { batch } = open.round;
    const { index, label } = this.#at(open, place);
    if (this.#opened.has(label)) return false;
    const computed = await compute(place);
    const commitment = this.#commitmentOf(place, computed);
    const counted = batch.forcedCommits.get(index)?.commitment ?? (await this.#listOf(open))?.commitments[index]?.commitment;
    // Not known where the list is withheld: then the opening is sent, and counts if it fits.
    if (counted !== undefined && counted !== commitment) {
      this.#opened.add(label);
      return false;
    }
    const { resultRoot, outcome } = computed;
    const salt = this.#salt(place);
    try {
      for (const block of computed.blocks) if (!(await link.blobs.has(block.cid))) await link.blobs.put(block.bytes, block.codec);
      const result = encodeLinked({ version: 1, ...place, node: key.node, resultRoot, outcome });
      await link.blobs.put(result.bytes, 'dag-cbor');
      const step = (place.round + 1) * open.material.spec.localSteps;
      const digests = proofDigests(outcome, resultRoot, open.material.model);
      const proof = signProof(key, place, result.cid, { step, ...digests, timestamp: scheduler.now() });
      await link.message('opening', { ...place, salt, resultCid: result.cid, proof });
    } catch (error) {
      const code = error instanceof MusterError ? error.code : null;
      if (code === 'SUBMISSION_DUPLICATE') {
        this.#opened.add(label);
        return false;
      }
      this.#refused(error, 'opening', label);
      if (batch.forcedReveals.has(index)) return false;
      const patienceMs = Math.min(open.material.spec.revealTimeoutMs, 125 * open.job.policy.roundTimeout) / 2;
      if (code !== 'SUBMISSION_LATE' && scheduler.now() < closedAt + patienceMs) return false;
      const reveal = { call: 'forceReveal', ...place, node: key.node, salt, resultRoot, proof: this.#proofOf(open, place) } as const;
      if (!(await settling(() => chain.send(reveal)))) return false;
      report('reveal.forced', { ...place, resultRoot });
      return true;
    }
    this.#opened.add(label);
    report('task.revealed', { ...place, resultRoot });
    return true;
  }

  /** Claims the rewards of one settled round, when enough rounds have gathered or the job has ended; false when there is nothing to claim. */
  async claim(job: JobRecord): Promise<boolean> {
    const { submitted, policy, ended, rounds } = job;
    if (policy.settlement !== 'batched') return false;
    const due = [...rounds.values()].filter(
      ({ batch }) => batch.finalized !== null && !this.#claimed.has(claimLabel(submitted.job, batch.finalized.round)),
    );
    if (due.length >= roundsPerClaim) this.#claiming.add(submitted.job);
    if (due.length === 0) this.#claiming.delete(submitted.job);
    if (due.length === 0 || (ended === null && !this.#claiming.has(submitted.job))) return false;
    const now = this.#options.scheduler.now();
    for (const round of due) {
      const label = claimLabel(submitted.job, round.batch.finalized?.round ?? 0);
      if ((this.#claimAfter.get(label) ?? 0) > now) continue;
      this.#claimAfter.set(label, now + claimRetryMs);
      try {
        if (await this.#claimRound(job, round, label)) return true;
      } catch (error) {
        this.#options.report('claim.failed', { job: submitted.job, round: round.batch.finalized?.round, reason: reasonOf(error) });
      }
    }
    return false;
  }

  async #claimRound(job: JobRecord, round: RoundRecord, label: string): Promise<boolean> {
    const { chain, key, read, operatorOf, report } = this.#options;
    const { batch } = round;
    const number = batch.finalized?.round ?? 0;
    const assignment = await storedAssignment(round, read);
    if (!assignment.tasks.some(({ nodes }) => nodes.includes(key.node))) {
      this.#claimed.add(label);
      return false;
    }
    const settlement = await settlementOf(job, round, assignment, operatorOf, read);
    requireSettlement(settlement, round);
    const slots = settlement.seats.flatMap(({ node }, index) => {
      if (node !== key.node || batch.claims.has(index) || batch.voided.has(index)) return [];
      const { commitment, amountWei, proof } = settlement.settled.slot(index);
      return amountWei === 0n ? [] : [{ index, node, commitment, amountWei, proof }];
    });
    const sent =
      slots.length > 0 && (await settling(() => chain.send({ call: 'claimMany', job: job.submitted.job, round: number, slots })));
    if (slots.length > 0 && !sent) return false;
    this.#claimed.add(label);
    if (!sent) return false;
    const amountWei = slots.reduce((sum, slot) => sum + slot.amountWei, 0n);
    report('reward.claimed', { job: job.submitted.job, round: number, slots: slots.length, amountWei });
    return true;
  }

  /** The list on chain; null where the store does not have it, as if it named nobody. */
  async #listOf({ job, round }: BatchedRound): Promise<CommitmentList | null> {
    const { committed } = round.batch;
    if (committed === null) return null;
    if (this.#list?.contentCid === committed.contentCid && this.#list.list !== null) return this.#list.list;
    const list = await readCommitments(job.submitted.job, round, this.#options.read).catch((error: unknown) => {
      this.#refused(error, 'list', committed.contentCid);
      return null;
    });
    this.#list = { contentCid: committed.contentCid, list };
    return list;
  }

  /** Says once why the coordinator did not take something; being turned away altogether is for the caller. */
  #refused(error: unknown, what: string, label: string): void {
    if (error instanceof MusterError && error.code === 'NODE_UNKNOWN') throw error;
    const said = `${what} ${label} ${error instanceof MusterError ? error.code : ''}`;
    if (this.#told.has(said)) return;
    this.#told.add(said);
    this.#options.report(`${what}.refused`, { label, reason: reasonOf(error) });
  }

  #at({ job }: BatchedRound, { job: id, round, task, slot }: SlotId): { readonly index: number; readonly label: string } {
    return { index: task * job.submitted.redundancy + slot, label: `${id}/${round}/${task}/${slot}` };
  }

  #proofOf({ assignment }: BatchedRound, { task, slot }: SlotId): readonly Root[] {
    return assignmentProof(assignment, this.#options.operatorOf, task, slot);
  }

  #commitmentOf({ job, round, task, slot }: SlotId, { resultRoot }: ComputedTask): Root {
    const { key, chain } = this.#options;
    const salt = this.#salt({ job, round, task, slot });
    return batchCommitment(job, round, task, slot, holderOf(key.node, chain.account), salt, resultRoot);
  }

  #salt({ job, round, task, slot }: SlotId): Root {
    return batchSalt(this.#options.key.derive(saltLabel(job, round, task, slot)).slice(0, 16));
  }
}

const claimLabel = (job: JobId, round: number): string => `${job}/${round}`;

/** Sends; false for a refusal that only says that the chain has moved on: the next turn sees where to. */
async function settling(send: () => Promise<unknown>): Promise<boolean> {
  try {
    await send();
    return true;
  } catch (error) {
    const contractError = error instanceof MusterError ? error.details['error'] : undefined;
    if (typeof contractError !== 'string' || !settledErrors.has(contractError)) throw error;
    return false;
  }
}
