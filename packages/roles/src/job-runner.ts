/**
 * Runs one job's machine: records every event before it counts, and carries out the duties of the state.
 *
 * The record is the event log; a restart folds it and finds the same duties. Duties are retried until the state no longer
 * holds them, so each of them tolerates having been done already.
 */
import type { EventLog } from '@muster/ports';
import { decodeCanonical, encodeCanonical, type JobId, type JobSpec, MusterError, type Settlement } from '@muster/protocol';
import { dutiesOf, dutyKey, type Duty, initialJobState, type JobEvent, type JobState, nextDeadline, stepJob } from '@muster/round';
import { reasonOf, type Report, type Scheduler, type StopSignal } from './link.ts';

/** A recorded event; `block` is the chain block it came from, −1 for all others. */
interface RecordedEvent {
  readonly block: number;
  readonly event: JobEvent;
}

export interface JobRunnerOptions {
  readonly job: JobId;
  readonly spec: JobSpec;
  readonly settlement: Settlement;
  readonly log: EventLog;
  readonly scheduler: Scheduler;
  readonly report: Report;
  readonly signal: StopSignal;
  /** Carries out a duty; its success shows later as an event. */
  readonly perform: (duty: Duty, runner: JobRunner) => Promise<void>;
  /** Called after every change of state. */
  readonly changed: (runner: JobRunner, event: JobEvent) => void;
}

const retryMs = 400;
const longestRetryMs = 10_000;

export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #underWay = new Set<string>();
  #state: JobState;
  #lastBlock = -1;
  #lastTimeMs: number | null = null;
  #returned: JobEvent | null = null;
  #started = false;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: JobRunnerOptions) {
    this.#options = options;
    this.#state = initialJobState(options.job, options.spec, options.settlement);
  }

  static stream(job: JobId): string {
    return `job/${job}`;
  }

  get state(): JobState {
    return this.#state;
  }

  /** The newest chain block an event was recorded from. */
  get lastBlock(): number {
    return this.#lastBlock;
  }

  /** Folds the recorded events. */
  async restore(): Promise<void> {
    const { log, job } = this.#options;
    for (let after = 0; ;) {
      const entries = await log.read(JobRunner.stream(job), after, 1000);
      for (const { bytes, timeMs, sequence } of entries) {
        const { event, block } = decodeCanonical(bytes) as RecordedEvent;
        this.#state = stepJob(this.#state, event, { now: timeMs }).state;
        this.#lastBlock = Math.max(this.#lastBlock, block);
        this.#lastTimeMs = timeMs;
        after = sequence;
      }
      if (entries.length === 0) return;
    }
  }

  /** From now on duties are carried out. Deadlines that ran while nobody kept the clock are put off by that time. */
  start(): void {
    if (this.#lastTimeMs !== null) {
      this.#returned = { type: 'coordinatorReturned', awayMs: Math.max(0, this.#options.scheduler.now() - this.#lastTimeMs) };
    }
    this.#started = true;
    this.#pump();
  }

  /** Records `event` and applies it, after all events given before. Events that change nothing are not recorded. */
  apply(event: JobEvent, block = -1): Promise<void> {
    const done = this.#queue.then(() => this.#apply(event, block));
    this.#queue = done.catch(() => undefined);
    return done;
  }

  async #apply(event: JobEvent, block: number): Promise<void> {
    const { log, scheduler, job, changed } = this.#options;
    const now = scheduler.now();
    const recorded: RecordedEvent[] = [];
    let before = this.#state;
    if (this.#returned !== null) {
      // Recorded together with the first event of this life: alone it would be progress of nothing.
      const { state } = stepJob(before, this.#returned, { now });
      if (state !== before) recorded.push({ block: -1, event: this.#returned });
      before = state;
    }
    const { state } = stepJob(before, event, { now });
    if (state === before) return;
    recorded.push({ block, event });
    await log.append(
      JobRunner.stream(job),
      now,
      recorded.map((entry) => encodeCanonical(entry)),
    );
    this.#returned = null;
    this.#state = state;
    this.#lastBlock = Math.max(this.#lastBlock, block);
    changed(this, event);
    this.#pump();
  }

  /** Lets time pass: feeds a tick when a deadline has come. */
  async tick(): Promise<void> {
    const deadline = nextDeadline(this.#state);
    if (deadline !== null && deadline <= this.#options.scheduler.now()) await this.apply({ type: 'tick' });
  }

  #pump(): void {
    if (!this.#started) return;
    for (const duty of dutiesOf(this.#state)) {
      const key = dutyKey(duty);
      if (this.#underWay.has(key)) continue;
      this.#underWay.add(key);
      void this.#carryOut(duty, key).finally(() => this.#underWay.delete(key));
    }
  }

  async #carryOut(duty: Duty, key: string): Promise<void> {
    const { scheduler, signal, report, perform } = this.#options;
    const due = (): boolean => !signal.aborted && dutiesOf(this.#state).some((other) => dutyKey(other) === key);
    for (let wait = retryMs; due(); wait = Math.min(2 * wait, longestRetryMs)) {
      try {
        await perform(duty, this);
      } catch (error) {
        const settled = error instanceof MusterError && error.code === 'CHAIN_REVERTED';
        report(settled ? 'duty.refused' : 'duty.failed', { job: this.#options.job, duty: key, reason: reasonOf(error) });
      }
      for (let waited = 0; waited < wait && due(); waited += 100) await scheduler.sleep(100, signal);
    }
  }
}
