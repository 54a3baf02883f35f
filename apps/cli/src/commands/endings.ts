/**
 * `muster job fail | release | settle`: what anybody may do for a job that stands still or has ended early.
 */
import type { ChainReceipt, ChainWriter } from '@muster/ports';
import { type JobId, MusterError, type Root } from '@muster/protocol';
import { ChainHistory, type JobRecord } from '@muster/roles';
import { ether } from '../output.ts';
import { connectOrganizer, type Context } from './context.ts';

/** Ends a job that has made no progress for its round timeout; its owner is credited with the budget that is left. */
export async function jobFail({ paths, output }: Context, job: JobId): Promise<void> {
  const { chain } = await connectOrganizer(paths);
  const { events } = await inTime(chain, job, 'failJob', 'has made progress: it can be called failed');
  const failed = events.find((event) => event.event === 'JobFailed');
  const [refundWei, reserveWei] = [failed?.refundWei ?? 0n, failed?.reserveWei ?? 0n];
  const kept = reserveWei === 0n ? '' : `, ${ether(reserveWei)} kept for finished work: \`muster job settle\`, then \`muster job release\``;
  output.event(
    'job.failed',
    { job, state: 'failed', refundWei, reserveWei },
    `job ${job} has failed\n  ${ether(refundWei)} ether credited to its owner${kept}`,
  );
}

/** Gives a job's owner what was kept for finished work and not used, once the time for settling it is over. */
export async function jobRelease({ paths, output }: Context, job: JobId): Promise<void> {
  const { chain } = await connectOrganizer(paths);
  const { events } = await inTime(chain, job, 'releaseReserve', 'keeps its reserve for finished work: it can be released');
  const refundWei = events.find((event) => event.event === 'ReserveReleased')?.refundWei ?? 0n;
  output.event('job.released', { job, refundWei }, `job ${job}: ${ether(refundWei)} ether of its reserve credited to its owner`);
}

/** A task of which more than half of all slots revealed the same result, and which is not paid yet. */
interface Majority {
  readonly round: number;
  readonly task: number;
  readonly resultRoot: Root;
}

/** What can be settled of an ended job: the majorities of the round that was open. */
export function majoritiesOf({ rounds, submitted, ended }: JobRecord): Majority[] {
  if (ended === null) return [];
  const found: Majority[] = [];
  for (const [round, { tasks, finalized }] of rounds) {
    if (finalized !== null) continue;
    for (const [task, record] of [...tasks].sort(([a], [b]) => a - b)) {
      const slots = [...record.slots.values()];
      const counts = new Map<Root, number>();
      for (const { revealed, convicted } of slots) {
        if (revealed !== null && convicted === null) counts.set(revealed.resultRoot, (counts.get(revealed.resultRoot) ?? 0) + 1);
      }
      const resultRoot = [...counts].find(([, count]) => 2 * count > submitted.redundancy)?.[0];
      const unpaid = slots.some(({ revealed, rewarded, convicted }) => {
        return revealed?.resultRoot === resultRoot && rewarded === null && convicted === null;
      });
      if (resultRoot !== undefined && unpaid) found.push({ round, task, resultRoot });
    }
  }
  return found;
}

/** Has every finished task of an ended job paid from its reserve. */
export async function jobSettle({ paths, output }: Context, job: JobId): Promise<void> {
  const { chain } = await connectOrganizer(paths);
  const history = new ChainHistory(chain);
  await history.sync();
  const record = history.jobs.get(job);
  if (record === undefined) throw new MusterError('JOB_UNKNOWN', `the chain has no job ${job}`, { job });
  if (record.ended === null)
    throw new MusterError('STATE_CONFLICT', `job ${job} is ${record.status}: its rounds pay for its work`, { job, state: record.status });
  let paidWei = 0n;
  const majorities = majoritiesOf(record);
  for (const { round, task, resultRoot } of majorities) {
    const { events } = await chain.send({ call: 'settleTask', job, round, task, resultRoot });
    let taskWei = 0n;
    for (const event of events) if (event.event === 'RewardCredited') taskWei += event.amountWei;
    paidWei += taskWei;
    output.event('task.settled', { job, round, task, paidWei: taskWei }, `  round ${round}, task ${task}: ${ether(taskWei)} ether`);
  }
  const said =
    majorities.length === 0 ? 'nothing of it is left to settle' : `${majorities.length} tasks settled, ${ether(paidWei)} ether paid`;
  output.event('job.settled', { job, tasks: majorities.length, paidWei }, `job ${job}: ${said}`);
}

/** Sends `call`; a refusal because it is too early says when it is not. */
async function inTime(chain: ChainWriter, job: JobId, call: 'failJob' | 'releaseReserve', early: string): Promise<ChainReceipt> {
  try {
    return await chain.send({ call, job });
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'CHAIN_REVERTED') throw error;
    const { error: name, until } = error.details;
    if (name === 'JobUnknown') throw new MusterError('JOB_UNKNOWN', `the chain has no job ${job}`, { job }, { cause: error });
    if (name === 'NothingReserved') throw new MusterError('STATE_CONFLICT', `job ${job} keeps no reserve`, { job }, { cause: error });
    if (name !== 'StillInTime') throw error;
    const from = Number(until) + 1;
    const message = `job ${job} ${early} from ${new Date(1000 * from).toISOString()} on`;
    throw new MusterError('STATE_CONFLICT', message, { job, from }, { cause: error });
  }
}
