/**
 * What must hold after every call of every history. Stakes, receipts and payments are followed through the events; balances and sums are
 * read from the chain.
 */
import type { Hex } from 'viem';
import { expect } from 'vitest';
import type { Happening, Question } from './economy.ts';
import type { Invariant } from './history.ts';
import { accountsOf } from './money-actions.ts';
import { JobStatus, type JobState, type NodeState, SlotStatus, type World } from './world.ts';

const sum = (values: readonly bigint[]): bigint => values.reduce((all, value) => all + value, 0n);
const amount = ({ args }: Happening, name: string): bigint => args[name] as bigint;
const placeOf = ({ args }: Happening): readonly unknown[] => [args['job'], args['round'], args['task'], args['slot']];
const places = (happening: Happening): string => placeOf(happening).join(' ');

const open = (status: number): boolean => status === JobStatus.Running || status === JobStatus.Paused;

/** All money there is: of everybody, of the contracts, and what was burned. */
async function allMoney(world: World): Promise<bigint> {
  return sum((await world.economy.read(accountsOf(world).map((account) => [account] as const))) as bigint[]);
}

async function balances(world: World): Promise<ReadonlyMap<string, bigint>> {
  const names = [...world.economy.contracts.keys()];
  const found = (await world.economy.read(names.map((name) => [name] as const))) as bigint[];
  return new Map(names.map((name, index) => [name, found[index] ?? 0n]));
}

/** Each contract holds what it should to the wei, and the contracts that hold nothing hold nothing. */
const everyContractHoldsItsOwn: Invariant<World> = {
  name: 'every contract holds exactly what it owes',
  async check(world) {
    const { economy, jobs } = world;
    const balance = await balances(world);
    const stakes = sum((await world.nodeStates()).map(({ stake }) => stake));
    expect(balance.get('nodeCertRegistry')).toBe(stakes);

    const credited = accountsOf(world).map((account): Question => ['jobManager', 'credits', [account]]);
    const credits = sum((await economy.read(credited)) as bigint[]);
    const states = (await economy.read(jobs.map(({ id }): Question => ['jobManager', 'job', [id]]))) as JobState[];
    for (const { paid, budget, reserve, status } of states) {
      expect(paid + reserve).toBeLessThanOrEqual(budget);
      if (open(status) || status === JobStatus.Completed) expect(reserve).toBe(0n);
    }
    const escrow = sum(states.map(({ status, budget, paid, reserve }) => (open(status) ? budget - paid : reserve)));
    expect(balance.get('jobManager')).toBe(escrow + credits);
    for (const [name, wei] of balance) {
      if (!['nodeCertRegistry', 'jobManager', 'insuranceFund', 'emissionPool'].includes(name)) expect([name, wei]).toEqual([name, 0n]);
    }
  },
};

/** A node's stake is what was paid in less what was taken and withdrawn; shares of a slash add up; no judge has a share. */
const stakesFollowEvents: Invariant<World> = {
  name: 'stakes are what was put in less what was slashed and withdrawn, and slashes are divided whole',
  async check(world) {
    const expected = new Map<Hex, bigint>(world.nodes.map((node) => [node, 0n]));
    const add = (happening: Happening, wei: bigint): void => {
      const node = happening.args['node'] as Hex;
      const stake = (expected.get(node) ?? 0n) + wei;
      expect(stake).toBeGreaterThanOrEqual(0n);
      expected.set(node, stake);
    };
    for (const [index, happening] of world.economy.events.entries()) {
      if (happening.event === 'NodeRegistered') add(happening, amount(happening, 'stakeWei'));
      if (happening.event === 'StakeAdded') add(happening, amount(happening, 'amountWei'));
      if (happening.event === 'StakeWithdrawn') add(happening, -amount(happening, 'amountWei'));
      if (happening.event !== 'NodeSlashed') continue;
      add(happening, -amount(happening, 'amountWei'));
      const divided = world.economy.events.slice(index).find(({ event }) => event === 'SlashDivided');
      if (divided === undefined) throw new Error('a slash that was not divided');
      const parts = ['challengerWei', 'insuranceWei', 'burnedWei'].map((name) => amount(divided, name));
      expect(sum(parts)).toBe(amount(happening, 'amountWei'));
      const validator = world.people.validator.account;
      if (String(divided.args['challenger']).toLowerCase() === validator && isByVerdict(happening)) expect(parts[0]).toBe(0n);
    }
    const states = await world.nodeStates();
    expect(states.map(({ stake }: NodeState) => stake)).toEqual([...expected.values()]);
  },
};

/** Whether a slash rests on the validator's word; other slashes the validator may report like anybody. */
const isByVerdict = ({ args }: Happening): boolean => Number(args['offence']) >= 2;

/** Only a revealed result that was accepted is paid, once for each slot and each node of a task, and has a receipt. */
const rewardsHaveReceipts: Invariant<World> = {
  name: 'no reward without an accepted receipt, and none twice',
  async check(world) {
    const revealed = new Map<string, Happening>();
    const convicted = new Set<string>();
    const rewarded = new Map<string, Happening>();
    const paidNodes = new Set<string>();
    // How many slots of a task were paid when it was last settled; a late reveal can have it settled again.
    const counted = new Map<string, number>();
    for (const happening of world.economy.events) {
      const place = places(happening);
      if (happening.event === 'Revealed') {
        expect(revealed.has(place)).toBe(false);
        revealed.set(place, happening);
      } else if (happening.event === 'Convicted') {
        expect(revealed.get(place)?.args).toMatchObject({ node: happening.args['node'], resultRoot: happening.args['revealedRoot'] });
        expect(happening.args['correctRoot']).not.toBe(happening.args['revealedRoot']);
        expect(convicted.has(place)).toBe(false);
        convicted.add(place);
      } else if (happening.event === 'RewardCredited') {
        const { job, round, task, node } = happening.args;
        expect(revealed.get(place)?.args['node']).toBe(node);
        expect(convicted.has(place)).toBe(false);
        expect(rewarded.has(place)).toBe(false);
        expect(paidNodes.has([job, round, task, node].join(' '))).toBe(false);
        rewarded.set(place, happening);
        paidNodes.add([job, round, task, node].join(' '));
      } else if (happening.event === 'TaskFinalized') {
        const { job, round, task, resultRoot, paid } = happening.args;
        const own = [...rewarded].filter(([, { args }]) => args['job'] === job && args['round'] === round && args['task'] === task);
        const finalized = [job, round, task].join(' ');
        expect(own.length - (counted.get(finalized) ?? 0)).toBe(paid);
        counted.set(finalized, own.length);
        for (const [where] of own) expect(revealed.get(where)?.args['resultRoot']).toBe(resultRoot);
      }
    }
    const paid = [...rewarded.values()];
    const receipts = (await world.economy.read(paid.map((reward): Question => ['proofOfCompute', 'receiptOf', placeOf(reward)]))) as {
      readonly reward: bigint;
      readonly node: Hex;
    }[];
    expect(receipts.map(({ node, reward }) => [node, reward])).toEqual(paid.map(({ args }) => [args['node'], args['amountWei']]));
    const states = (await world.economy.read(world.jobs.map(({ id }): Question => ['jobManager', 'job', [id]]))) as JobState[];
    for (const [index, { id }] of world.jobs.entries()) {
      expect(states[index]?.paid).toBe(sum(paid.filter(({ args }) => args['job'] === id).map((reward) => amount(reward, 'amountWei'))));
    }
  },
};

/** A paid slot is credited once at most, not after its conviction, and a node is as often accepted as its slots were credited. */
const creditsFollowRewards: Invariant<World> = {
  name: 'no slot is credited that was not paid, and none twice',
  async check(world) {
    const counted = new Map<Hex, number>(world.nodes.map((node) => [node, 0]));
    const state = new Map<string, string>();
    for (const happening of world.economy.events) {
      const place = places(happening);
      if (happening.event === 'RewardCredited') state.set(place, 'paid');
      else if (happening.event === 'Convicted') state.set(place, 'convicted');
      else if (happening.event === 'NodeCredited') {
        expect(state.get(place)).toBe('paid');
        state.set(place, 'credited');
        const node = happening.args['node'] as Hex;
        counted.set(node, (counted.get(node) ?? 0) + 1);
      }
    }
    const questions = world.nodes.map((node): Question => ['reputationRegistry', 'countersOf', [node]]);
    const counters = (await world.economy.read(questions)) as { readonly accepted: number }[];
    expect(counters.map(({ accepted }) => accepted)).toEqual([...counted.values()]);
  },
};

/** Insurance and emission: ledgers that follow from the events. */
const fundsFollowEvents: Invariant<World> = {
  name: 'the insurance fund and the emission pool hold what came in less what went out',
  async check(world) {
    const balance = await balances(world);
    const total = (contract: string, event: string): bigint =>
      sum(world.economy.events.filter((one) => one.contract === contract && one.event === event).map((one) => amount(one, 'amountWei')));
    const paid = total('insuranceFund', 'CoverPaid');
    expect(balance.get('insuranceFund')).toBe(total('insuranceFund', 'InsuranceDeposited') - paid);
    const owing = accountsOf(world).map((account): Question => ['insuranceFund', 'owed', [account]]);
    const owed = sum((await world.economy.read(owing)) as bigint[]);
    expect(owed).toBe(total('insuranceFund', 'CoverGranted') - paid);
    const [totalOwed, accrued] = (await world.economy.read([
      ['insuranceFund', 'totalOwed'],
      ['emissionPool', 'accrued'],
    ])) as [bigint, bigint];
    expect(totalOwed).toBe(owed);

    const came = total('emissionPool', 'EmissionDeposited') + total('emissionPool', 'SponsorshipReturned');
    expect(balance.get('emissionPool')).toBe(came - total('emissionPool', 'SponsorshipGiven'));
    expect(accrued).toBeLessThanOrEqual(balance.get('emissionPool') ?? 0n);
  },
};

/** A slot is final once it is convicted or missed, and a rewarded one can only become convicted. */
function slotsOnlyMoveOn(): Invariant<World> {
  const seen = new WeakMap<World, Map<string, number>>();
  return {
    name: 'no slot goes back',
    async check(world) {
      // Reassigning opens nothing again, so states never decrease, except that a closed slot stays below a committed one.
      const before = seen.get(world) ?? new Map<string, number>();
      seen.set(world, before);
      const { Reassigned, Committed, Rewarded, Convicted, Missed } = SlotStatus;
      for (const job of world.jobs) {
        const { nextRound, rounds } = await world.job(job.id);
        const round = Number(nextRound < rounds ? nextRound : rounds - 1n);
        for (const [task, row] of (await world.slots(job, round)).entries()) {
          for (const [slot, status] of row.entries()) {
            const key = `${job.id} ${round} ${task} ${slot}`;
            const earlier = before.get(key) ?? 0;
            if (earlier > Reassigned) expect(status).toBeGreaterThanOrEqual(earlier);
            if (earlier === Convicted || earlier === Missed) expect(status).toBe(earlier);
            if (earlier === SlotStatus.Closed) expect(status).toBe(earlier);
            if (earlier === Rewarded) expect([Rewarded, Convicted]).toContain(status);
            if (earlier < Committed && status > Committed) throw new Error('a result without a commitment');
            before.set(key, status);
          }
        }
      }
    },
  };
}

/** No wei appears or vanishes: everybody's, the contracts' and what was burned stay `totalWei` together. */
function moneyIsConserved(): Invariant<World> {
  const totals = new WeakMap<World, bigint>();
  return {
    name: 'no money appears or vanishes',
    async check(world) {
      const now = await allMoney(world);
      expect(now).toBe(totals.get(world) ?? now);
      totals.set(world, now);
    },
  };
}

/** Everything that must hold after every call. */
export const economyInvariants: readonly Invariant<World>[] = [
  moneyIsConserved(),
  everyContractHoldsItsOwn,
  stakesFollowEvents,
  rewardsHaveReceipts,
  creditsFollowRewards,
  fundsFollowEvents,
  slotsOnlyMoveOn(),
];
