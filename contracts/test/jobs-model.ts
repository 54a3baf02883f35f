/**
 * What AIJobManager should do with money and states, in small, for random tests of the contract: jobs, escrow, credits.
 *
 * Beacons, assignments of slots and what rewards are worth are not in it; budgets of rounds are packages/round's.
 */
import { roundBudget } from '../../packages/round/src/reward.ts';

export type JobState = 'running' | 'paused' | 'completed' | 'cancelled' | 'failed';
/** Numbers of the contract's JobStatus. */
export const jobStates: readonly JobState[] = ['running', 'paused', 'completed', 'cancelled', 'failed'];

export interface ModelJob {
  readonly id: string;
  readonly owner: string;
  readonly coordinator: string;
  readonly rounds: number;
  readonly timeout: number;
  state: JobState;
  specified: boolean;
  budget: bigint;
  paid: bigint;
  sponsored: bigint;
  reserve: bigint;
  nextRound: number;
  progressAt: number;
  endedAt: number;
  /** Of the next round. */
  closed: boolean;
  assigned: boolean;
}

export type JobCall =
  | { does: 'submitJob'; id: string; coordinator: string; rounds: number; timeout: number; specified: boolean; valueWei: bigint }
  | { does: 'submitRequest'; id: string; owner: string; coordinator: string; rounds: number; timeout: number; valueWei: bigint }
  | { does: 'pauseJob' | 'resumeJob' | 'cancelJob' | 'failJob' | 'completeJob' | 'releaseReserve' | 'specifyJob'; job: number }
  | { does: 'closeNodes' | 'assign'; job: number; ahead: number }
  | { does: 'sponsorJob'; job: number; valueWei: bigint }
  | { does: 'payReward'; job: number; account: string; amountWei: bigint }
  | { does: 'payRewards' | 'payReserved'; job: number; accounts: readonly string[]; amountWei: bigint }
  | { does: 'advanceRound'; job: number }
  | { does: 'creditTo'; account: string; valueWei: bigint }
  | { does: 'transferCredit'; account: string; amountWei: bigint }
  | { does: 'withdraw' };

/** Thrown for a call that the contract refuses: the error's name and arguments. */
class Refused extends Error {
  readonly refusal: readonly unknown[];
  constructor(...refusal: readonly unknown[]) {
    super(String(refusal[0]));
    this.refusal = refusal;
  }
}

export class JobsModel {
  readonly jobs: ModelJob[] = [];
  private readonly accounts = new Map<string, bigint>();
  escrowWei = 0n;
  /** The accounts that stand for the contracts around. */
  private readonly doors: { readonly settlement: string; readonly trainRequest: string; readonly emissionPool: string };

  constructor(doors: JobsModel['doors']) {
    this.doors = doors;
  }

  credit(account: string): bigint {
    return this.accounts.get(account) ?? 0n;
  }

  totalCredit(): bigint {
    return [...this.accounts.values()].reduce((sum, credit) => sum + credit, 0n);
  }

  countOf(owner: string): number {
    return this.jobs.filter((job) => job.owner === owner).length;
  }

  /** Makes the call at `time`; null, or what it is refused with, having changed nothing. */
  apply(caller: string, call: JobCall, time: number): readonly unknown[] | null {
    try {
      this.perform(caller, call, time);
      return null;
    } catch (error) {
      if (error instanceof Refused) return error.refusal;
      throw error;
    }
  }

  private perform(caller: string, call: JobCall, time: number): void {
    switch (call.does) {
      case 'submitJob':
        return this.open(caller, call, call.specified, time);
      case 'submitRequest':
        if (caller !== this.doors.trainRequest) throw new Refused('NotThroughItsDoor', caller);
        return this.open(call.owner, call, false, time);
      case 'creditTo':
        return this.give(call.account, call.valueWei);
      case 'transferCredit': {
        const credit = this.credit(caller);
        if (call.amountWei > credit) throw new Refused('CreditTooLow', caller, credit, call.amountWei);
        this.give(caller, -call.amountWei);
        return this.give(call.account, call.amountWei);
      }
      case 'withdraw':
        if (this.credit(caller) === 0n) throw new Refused('NothingToWithdraw', caller);
        return this.give(caller, -this.credit(caller));
      default:
        return this.performOn(this.jobs[call.job], caller, call, time);
    }
  }

  private performOn(job: ModelJob | undefined, caller: string, call: Extract<JobCall, { job: number }>, time: number): void {
    if (call.does === 'sponsorJob' && caller !== this.doors.emissionPool) throw new Refused('NotThroughItsDoor', caller);
    if (job === undefined) throw new Refused('JobUnknown', `0x${'00'.repeat(32)}`);
    const { id } = job;
    switch (call.does) {
      case 'pauseJob':
        this.onlyPeople(job, caller);
        if (job.state !== 'running') throw new Refused('JobNotRunning', id);
        job.state = 'paused';
        return;
      case 'resumeJob':
        this.onlyPeople(job, caller);
        if (job.state !== 'paused') throw new Refused('JobNotPaused', id);
        job.state = 'running';
        job.progressAt = time;
        return;
      case 'cancelJob':
        if (caller !== job.owner) throw new Refused('NotOwner', id, caller);
        return this.end(job, 'cancelled', time);
      case 'failJob': {
        const until = job.progressAt + job.timeout;
        if (time <= until) throw new Refused('StillInTime', id, BigInt(until));
        return this.end(job, 'failed', time);
      }
      case 'completeJob':
        if (job.state !== 'running') throw new Refused('JobNotRunning', id);
        if (job.nextRound !== job.rounds) throw new Refused('RoundsRemaining', id, BigInt(job.nextRound), BigInt(job.rounds));
        return this.end(job, 'completed', time);
      case 'releaseReserve': {
        if (job.reserve === 0n) throw new Refused('NothingReserved', id);
        const until = job.endedAt + job.timeout;
        if (time <= until) throw new Refused('StillInTime', id, BigInt(until));
        const amount = job.reserve;
        job.reserve = 0n;
        return this.refund(job, amount);
      }
      case 'specifyJob':
        this.onlyCoordinator(job, caller);
        if (job.specified) throw new Refused('SpecAlreadySet', id);
        job.specified = true;
        return;
      case 'closeNodes':
        this.onlyUnassigned(job, caller, job.nextRound + call.ahead);
        if (!job.specified) throw new Refused('SpecMissing', id);
        job.closed = true;
        return;
      case 'assign':
        this.onlyUnassigned(job, caller, job.nextRound + call.ahead);
        if (!job.closed) throw new Refused('NodesNotClosed', id, BigInt(job.nextRound));
        job.assigned = true;
        job.progressAt = time;
        return;
      case 'sponsorJob':
        this.onlyOpen(job);
        job.budget += call.valueWei;
        job.sponsored += call.valueWei;
        this.escrowWei += call.valueWei;
        return;
      case 'payReward':
        this.onlySettlement(caller);
        return this.spend(job, [call.account], call.amountWei);
      case 'payRewards':
        this.onlySettlement(caller);
        return this.spend(job, call.accounts, call.amountWei);
      case 'payReserved': {
        this.onlySettlement(caller);
        if (job.endedAt === 0 || time > job.endedAt + job.timeout) throw new Refused('SettlementOver', id);
        const total = call.amountWei * BigInt(call.accounts.length);
        if (total > job.reserve) throw new Refused('BudgetExceeded', id, job.reserve, total);
        job.reserve -= total;
        return this.pay(job, call.accounts, call.amountWei);
      }
      case 'advanceRound':
        this.onlySettlement(caller);
        if (job.state !== 'running') throw new Refused('JobNotRunning', id);
        Object.assign(job, { nextRound: job.nextRound + 1, progressAt: time, closed: false, assigned: false });
        return;
    }
    call satisfies never;
  }

  private open(owner: string, call: JobCall & { does: 'submitJob' | 'submitRequest' }, specified: boolean, time: number): void {
    const { id, coordinator, rounds, timeout, valueWei } = call;
    const state = { state: 'running', specified, nextRound: 0, closed: false, assigned: false } as const;
    const money = { budget: valueWei, paid: 0n, sponsored: 0n, reserve: 0n };
    this.jobs.push({ id, owner, coordinator, rounds, timeout, progressAt: time, endedAt: 0, ...state, ...money });
    this.escrowWei += valueWei;
  }

  private end(job: ModelJob, state: JobState, time: number): void {
    this.onlyOpen(job);
    const left = job.budget - job.paid;
    const perRound = roundBudget({ budgetWei: job.budget, rounds: job.rounds, tasks: 1, redundancy: 1 });
    const open = job.nextRound < job.rounds && job.assigned;
    job.reserve = open ? (perRound < left ? perRound : left) : 0n;
    job.state = state;
    job.endedAt = time;
    this.refund(job, left - job.reserve);
  }

  private refund(job: ModelJob, amountWei: bigint): void {
    this.escrowWei -= amountWei;
    const toSponsor = job.sponsored < amountWei ? job.sponsored : amountWei;
    job.sponsored -= toSponsor;
    this.give(this.doors.emissionPool, toSponsor);
    this.give(job.owner, amountWei - toSponsor);
  }

  private spend(job: ModelJob, accounts: readonly string[], amountWei: bigint): void {
    this.onlyOpen(job);
    const [left, total] = [job.budget - job.paid, amountWei * BigInt(accounts.length)];
    if (total > left) throw new Refused('BudgetExceeded', job.id, left, total);
    this.pay(job, accounts, amountWei);
  }

  private pay(job: ModelJob, accounts: readonly string[], amountWei: bigint): void {
    const total = amountWei * BigInt(accounts.length);
    job.paid += total;
    this.escrowWei -= total;
    for (const account of accounts) this.give(account, amountWei);
  }

  private give(account: string, amountWei: bigint): void {
    this.accounts.set(account, this.credit(account) + amountWei);
  }

  private onlyOpen({ id, state }: ModelJob): void {
    if (state !== 'running' && state !== 'paused') throw new Refused('JobEnded', id);
  }

  private onlyPeople({ id, owner, coordinator }: ModelJob, caller: string): void {
    if (caller !== owner && caller !== coordinator) throw new Refused('NotCoordinator', id, caller);
  }

  private onlyCoordinator({ id, coordinator, state }: ModelJob, caller: string): void {
    if (caller !== coordinator) throw new Refused('NotCoordinator', id, caller);
    if (state !== 'running') throw new Refused('JobNotRunning', id);
  }

  private onlyUnassigned(job: ModelJob, caller: string, round: number): void {
    this.onlyCoordinator(job, caller);
    const { id, nextRound, rounds, assigned } = job;
    if (nextRound === rounds) throw new Refused('AllRoundsFinalized', id);
    if (round !== nextRound) throw new Refused('RoundOutOfOrder', id, BigInt(round), BigInt(nextRound));
    if (assigned) throw new Refused('RoundAlreadyAssigned', id, BigInt(round));
  }

  private onlySettlement(caller: string): void {
    if (caller !== this.doors.settlement) throw new Refused('NotProofOfCompute', caller);
  }
}
