/**
 * Where a network's money is: what its events say was paid in and out, beside what its contracts hold. The two must agree to the wei.
 *
 * Only for networks that can be read from their first block. Gas is no part of it.
 */
import type { ChainReader } from '@muster/ports';
import type { Address } from '@muster/protocol';
import { batchMoney, type ChainHistory } from '@muster/roles';

/** The address that slashed money is burned to. */
const burnAddress = '0x000000000000000000000000000000000000dead' as Address;

export interface MoneyLine {
  readonly what: string;
  readonly wei: bigint;
}

export interface Money {
  /** What came into the contracts. */
  readonly paidIn: readonly MoneyLine[];
  /** Where it is now, by the events. */
  readonly nowAt: readonly MoneyLine[];
  /** What each contract holds beside what it must hold by the events; equal where all is well. */
  readonly contracts: readonly { readonly name: string; readonly expectedWei: bigint; readonly balanceWei: bigint }[];
  /** Whether both sides have the same sum and every contract holds what it must. */
  readonly addsUp: boolean;
}

const total = (lines: readonly MoneyLine[]): bigint => sum(lines.map(({ wei }) => wei));
const row = (what: string, wei: bigint, note = ''): string => `  ${what.padEnd(30)}${wei.toString().padStart(24)}${note}`;
const sum = (amounts: Iterable<bigint>): bigint => [...amounts].reduce((total, wei) => total + wei, 0n);

/** The books of the network behind `chain`, whose whole record `history` has read. Throws CHAIN_UNREACHABLE. */
export async function booksOf(chain: ChainReader, history: ChainHistory): Promise<Money> {
  const { contracts } = chain.info;
  const slashes = history.divided;
  const challengers = sum(slashes.map(({ challengerWei }) => challengerWei));
  const insured = sum(slashes.map(({ insuranceWei }) => insuranceWei));
  const burned = sum(slashes.map(({ burnedWei }) => burnedWei));
  const registered = sum(history.registrations.map(({ stakeWei }) => stakeWei));
  const added = sum(history.stakeChanges.map((event) => (event.event === 'StakeAdded' ? event.amountWei : 0n)));
  const returned = sum(history.stakeChanges.map((event) => (event.event === 'StakeWithdrawn' ? event.amountWei : 0n)));
  const stakes = registered + added - returned - challengers - insured - burned;

  let budgets = 0n;
  let sponsored = 0n;
  let rewards = 0n;
  let refunds = 0n;
  let unclaimed = 0n;
  let returnedRewards = 0n;
  for (const job of history.jobs.values()) {
    budgets += job.submitted.budgetWei;
    sponsored += sum(job.sponsored.map(({ amountWei }) => amountWei));
    refunds += (job.ended?.refundWei ?? 0n) + (job.released?.refundWei ?? 0n);
    for (const round of job.rounds.values()) {
      for (const task of round.tasks.values()) {
        for (const { rewarded } of task.slots.values()) rewards += rewarded?.amountWei ?? 0n;
      }
      const batch = batchMoney(round.batch);
      rewards += batch.claimedWei;
      unclaimed += batch.unclaimedWei;
      returnedRewards += batch.returnedWei;
    }
  }
  const escrow = budgets + sponsored - rewards - unclaimed - returnedRewards - refunds;
  const withdrawn = sum(history.withdrawn.map(({ amountWei }) => amountWei));
  const covers = sum(history.covers.map((event) => (event.event === 'CoverPaid' ? event.amountWei : 0n)));
  const gifts = sum(history.deposits.map(({ amountWei, from }) => (from === contracts.nodeCertRegistry ? 0n : amountWei)));
  const insurance = insured + gifts - covers;
  const credits = rewards + unclaimed + returnedRewards + refunds + returned + challengers - withdrawn;

  const paidIn = [
    { what: 'stakes', wei: registered + added },
    { what: 'budgets of jobs', wei: budgets },
    { what: 'from the emission pool', wei: sponsored },
    { what: 'gifts to the insurance fund', wei: gifts },
  ].filter(({ what, wei }) => wei > 0n || what === 'stakes' || what === 'budgets of jobs');
  const nowAt = [
    { what: 'stakes held', wei: stakes },
    { what: 'in escrow for jobs', wei: escrow },
    { what: 'rewards to operators', wei: rewards },
    { what: 'rewards nobody has claimed yet', wei: unclaimed },
    { what: 'rewards returned to owners', wei: returnedRewards },
    { what: 'refunds to owners', wei: refunds },
    { what: 'shares of challengers', wei: challengers },
    { what: 'stakes given back', wei: returned },
    { what: 'insurance fund', wei: insurance },
    { what: 'paid by the insurance fund', wei: covers },
    { what: 'burned', wei: burned },
  ].filter(({ wei }) => wei !== 0n);
  const balances = [
    { name: 'NodeCertRegistry', expectedWei: stakes, address: contracts.nodeCertRegistry },
    { name: 'AIJobManager', expectedWei: escrow + credits, address: contracts.jobManager },
    { name: 'InsuranceFund', expectedWei: insurance, address: contracts.insuranceFund },
    { name: 'burned', expectedWei: burned, address: burnAddress },
  ];
  const held = await Promise.all(
    balances.map(async ({ name, expectedWei, address }) => ({ name, expectedWei, balanceWei: await chain.balance(address) })),
  );
  const addsUp = total(paidIn) === total(nowAt) && held.every(({ expectedWei, balanceWei }) => expectedWei === balanceWei);
  return { paidIn, nowAt, contracts: held, addsUp };
}

/** The books as lines of a table, amounts in wei. */
export function booksTable({ paidIn, nowAt, contracts, addsUp }: Money): string[] {
  return [
    'money (wei)',
    ...paidIn.map(({ what, wei }) => row(what, wei)),
    row('= paid in', total(paidIn)),
    ...nowAt.map(({ what, wei }) => row(what, wei)),
    row('= accounted for', total(nowAt)),
    'contracts hold',
    ...contracts.map(({ name, expectedWei, balanceWei }) =>
      row(name, balanceWei, expectedWei === balanceWei ? '' : `  should be ${expectedWei}`),
    ),
    addsUp ? 'adds up to the wei' : 'DOES NOT ADD UP',
  ];
}
