/**
 * The way out of every state: a fixed procedure that ends all jobs, takes all stakes home and pays everybody. Where it does not empty the
 * contracts, money is stuck.
 */
import { expect } from 'vitest';
import type { Question } from './economy.ts';
import { accountsOf, mineBlocks } from './money-actions.ts';
import { type JobState, JobStatus, NodeStatus, type World } from './world.ts';

/** Longer than every timeout, window and unbonding time that histories set. */
const LONG = 100_000;

/** Empties the contracts as their people would, each through its own door, and checks that nothing is left but the two funds. */
export async function exitEverything(world: World): Promise<void> {
  const { economy, people } = world;
  await economy.chain.elapse(LONG);
  const states = (await economy.read(world.jobs.map(({ id }): Question => ['jobManager', 'job', [id]]))) as JobState[];
  for (const [index, job] of world.jobs.entries()) {
    const { status } = states[index] ?? { status: JobStatus.None };
    if (status === JobStatus.Running || status === JobStatus.Paused) await economy.must(people.outsider, 'jobManager', 'failJob', [job.id]);
  }
  await economy.chain.elapse(LONG);
  for (const { id } of world.jobs) {
    const { reserve } = await world.job(id);
    if (reserve > 0n) await economy.must(people.outsider, 'jobManager', 'releaseReserve', [id]);
  }
  await takeStakesHome(world);

  const [pooled] = (await economy.read([['jobManager', 'credits', [economy.contract('emissionPool').address]]])) as [bigint];
  if (pooled > 0n) await economy.must(people.outsider, 'emissionPool', 'reclaim');
  for (const actor of world.everybody) {
    const [credit] = (await economy.read([['jobManager', 'credits', [actor.account]]])) as [bigint];
    if (credit > 0n) await economy.must(actor, 'jobManager', 'withdraw');
    // Read only now: a hostile contract claims while it is paid, which it may.
    const [owed, fund] = (await economy.read([['insuranceFund', 'owed', [actor.account]], ['insuranceFund']])) as [bigint, bigint];
    if (owed > 0n && fund > 0n) await economy.must(people.outsider, 'insuranceFund', 'claimFor', [actor.account]);
  }
  await checkEmpty(world);
}

async function takeStakesHome(world: World): Promise<void> {
  const { economy } = world;
  for (const [index, { status }] of (await world.nodeStates()).entries()) {
    const node = world.node(index);
    if (status === NodeStatus.Active || status === NodeStatus.Suspended) {
      await economy.must(world.operatorOf(node), 'nodeCertRegistry', 'startUnbonding', [node]);
    }
  }
  await economy.chain.elapse(LONG);
  for (const [index, { status }] of (await world.nodeStates()).entries()) {
    const node = world.node(index);
    if (status === NodeStatus.Unbonding) await economy.must(world.operatorOf(node), 'nodeCertRegistry', 'withdrawStake', [node]);
  }
}

/**
 * Nothing is left in the registry and the job manager. The insurance fund keeps what nobody is owed, for whoever is owed something later;
 * the emission pool keeps what is there for jobs, and all of it can be spent on them.
 */
async function checkEmpty(world: World): Promise<void> {
  const { economy, people } = world;
  const [stakes, escrowAndCredits, fund, owed] = (await economy.read([
    ['nodeCertRegistry'],
    ['jobManager'],
    ['insuranceFund'],
    ['insuranceFund', 'totalOwed'],
  ])) as bigint[];
  expect({ stakes, escrowAndCredits }).toEqual({ stakes: 0n, escrowAndCredits: 0n });
  if (fund !== 0n) expect(owed).toBe(0n);

  await economy.must(people.deployer, 'emissionPool', 'setBlockReward', [10n ** 30n]);
  await mineBlocks(world, 2);
  const [pool, accrued] = await economy.read([['emissionPool'], ['emissionPool', 'accrued']]);
  expect(accrued).toBe(pool);
  const credits = (await economy.read(accountsOf(world).map((account): Question => ['jobManager', 'credits', [account]]))) as bigint[];
  expect(credits.every((credit) => credit === 0n)).toBe(true);
}
