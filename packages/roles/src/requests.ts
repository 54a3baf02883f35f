/**
 * The coordinator's desk for TRAIN_REQUESTs: writes down the spec that a request leads to, stores it and names it on chain.
 *
 * It keeps no record. What is to be done follows from the chain and the store, so a coordinator that was killed anywhere in between does
 * the same again. A request that cannot be carried out is reported and left alone: its budget is the requester's again by `cancelJob`, or by
 * `failJob` once it has stood still for its round timeout.
 */
import type { CostLimits, Executor } from '@muster/engine';
import type { BlobStore, ChainWriter } from '@muster/ports';
import { digestOf, encodeLinked, type ErrorCode, type JobId, MusterError } from '@muster/protocol';
import type { JobRecord } from './history.ts';
import { reader, reasonOf, type Report, type Scheduler } from './link.ts';
import { loadMaterial } from './material.ts';
import { type RequestedTraining, requestedSpec } from './requested-spec.ts';

export interface RequestDeskOptions {
  readonly chain: ChainWriter;
  readonly blobs: BlobStore;
  readonly executor: Executor;
  /** The most that a job's programs may cost here; `defaultCostLimits` unless given. */
  readonly limits?: CostLimits;
  readonly scheduler: Scheduler;
  readonly report: Report;
}

const firstWaitMs = 1000;
const longestWaitMs = 60_000;

/** What may be otherwise later: an object that is still on its way, a chain or store that does not answer. */
const passing = new Set<ErrorCode>([
  'OBJECT_MISSING',
  'CHAIN_UNREACHABLE',
  'CHAIN_REVERTED',
  'PEER_UNREACHABLE',
  'STORE_DAMAGED',
  'INTERNAL',
]);

interface Attempt {
  underWay: boolean;
  /** Infinity: never again. */
  nextMs: number;
  waitMs: number;
  reason: string;
}

/** Whether a job's specification is known; a requested one begins without. */
export const isSpecified = (job: JobRecord): boolean => BigInt(job.specCid) !== 0n;

export class RequestDesk {
  readonly #options: RequestDeskOptions;
  readonly #attempts = new Map<JobId, Attempt>();

  constructor(options: RequestDeskOptions) {
    this.#options = options;
  }

  /** Begins to carry out the request of `job`, unless it has a spec, is under way, was refused, or was tried just now. Returns at once. */
  look(job: JobRecord): void {
    const id = job.submitted.job;
    if (job.request === null || isSpecified(job) || job.status !== 'running') return;
    const attempt = this.#attempts.get(id) ?? { underWay: false, nextMs: 0, waitMs: firstWaitMs, reason: '' };
    if (attempt.underWay || this.#options.scheduler.now() < attempt.nextMs) return;
    this.#attempts.set(id, attempt);
    attempt.underWay = true;
    void this.#carryOut(id, job.request, attempt);
  }

  async #carryOut(id: JobId, request: RequestedTraining, attempt: Attempt): Promise<void> {
    const { chain, blobs, executor, limits, scheduler, report } = this.#options;
    try {
      const read = reader(blobs);
      const spec = await requestedSpec(request, read);
      // Whatever a job file is checked for before it is submitted.
      await loadMaterial(spec, read, executor, limits);
      const { cid, bytes } = encodeLinked(spec);
      await blobs.put(bytes, 'dag-cbor');
      await chain.send({ call: 'specifyJob', job: id, specCid: digestOf(cid) });
      // Its event may be read a little later; until then nothing is done twice.
      attempt.nextMs = scheduler.now() + longestWaitMs;
      report('request.specified', { job: id, spec: cid });
    } catch (error) {
      const again = !(error instanceof MusterError) || passing.has(error.code);
      attempt.nextMs = again ? scheduler.now() + attempt.waitMs : Infinity;
      attempt.waitMs = Math.min(2 * attempt.waitMs, longestWaitMs);
      const reason = reasonOf(error);
      if (reason !== attempt.reason) report('request.refused', { job: id, reason, again });
      attempt.reason = reason;
    } finally {
      attempt.underWay = false;
    }
  }
}
