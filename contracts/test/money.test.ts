import { aiJobManagerAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { createPublicClient } from 'viem';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile, type CompiledContract } from '../build.ts';
import { accountOf, type Handle } from './handles.ts';
import { create, ether, execute, JobDriver, refusal, rootOf, startTestChain, type TestChain } from './harness.ts';
import { deployed } from './lone.ts';

let chain: TestChain;
let helpers: Map<string, CompiledContract>;
let manager: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  helpers = compile('test/helpers');
  manager = deployed(chain, 'jobManager');
}, 120_000);
afterAll(() => chain.close());

const helper = (name: string): CompiledContract => {
  const found = helpers.get(name);
  if (found === undefined) throw new Error(`no helper ${name}`);
  return found;
};

test('a job of two rounds pays every honest slot and refunds the rest to the wei', async () => {
  const budgetWei = ether + 3n;
  const driver = await JobDriver.submit(chain, { rounds: 2, tasks: 2, redundancy: 3, budgetWei });
  for (const round of [0, 1]) await driver.honestRound(round, (task) => rootOf(`result ${round} ${task}`));
  const share = budgetWei / 12n;
  const { events } = await driver.coordinator.send({ call: 'completeJob', job: driver.job });
  expect(events).toMatchObject([{ event: 'JobCompleted', refundWei: budgetWei - 12n * share }]);
  expect(await chain.reader.job(driver.job)).toMatchObject({ status: 'completed', paidWei: 12n * share, nextRound: 2 });

  const operators = new Map(driver.seats.flat().map(({ operator }) => [operator.account, operator]));
  let withdrawn = 0n;
  for (const person of [...operators.values(), driver.owner]) {
    const before = await chain.reader.balance(person.account);
    const credit = await chain.reader.credit(person.account);
    const receipt = await person.send({ call: 'withdraw' });
    expect(receipt.events).toMatchObject([{ event: 'Withdrawn', operator: person.account, amountWei: credit }]);
    expect(await chain.reader.balance(person.account)).toBe(before + credit);
    expect(await refusal(person.send({ call: 'withdraw' }))).toEqual({ error: 'NothingToWithdraw', account: person.account });
    withdrawn += credit;
  }
  expect(withdrawn).toBe(budgetWei);
  expect(await chain.reader.balance(chain.info.contracts.jobManager)).toBe(0n);
});

test('withdrawing again while being paid pays nothing more', async () => {
  const { jobManager } = chain.info.contracts;
  const reentrant = helper('Reentrant');
  const attacker = await create(chain, 4, reentrant, [jobManager]);
  const others = (await chain.actor(5)).account;
  for (const account of [attacker, others]) {
    await execute(chain, 5, { to: jobManager, abi: aiJobManagerAbi, functionName: 'creditTo', args: [account] }, 100n);
  }
  await execute(chain, 4, { to: attacker, abi: reentrant.abi, functionName: 'attack', args: [] });
  const client = createPublicClient({ transport: chain.transport });
  const count = (functionName: string) => client.readContract({ address: attacker, abi: reentrant.abi, functionName });
  expect([await count('attempts'), await count('successes')]).toEqual([1n, 0n]);
  expect(await chain.reader.balance(attacker)).toBe(100n);
  expect(await chain.reader.credit(others)).toBe(100n);
  expect(await chain.reader.balance(jobManager)).toBe(100n);
});

test('an account that takes no money keeps its credit', async () => {
  const { jobManager } = chain.info.contracts;
  const rejecting = helper('Rejecting');
  const account = await create(chain, 4, rejecting, []);
  await execute(chain, 5, { to: jobManager, abi: aiJobManagerAbi, functionName: 'creditTo', args: [account] }, 7n);
  const withdraw = execute(chain, 4, { to: account, abi: rejecting.abi, functionName: 'withdraw', args: [jobManager] });
  expect(await refusal(withdraw)).toEqual({ error: 'TransferFailed', account, amountWei: 7n });
  expect(await chain.reader.credit(account)).toBe(7n);
});

test('a recipient that gives its credit away while it is paid has nothing left to give', async () => {
  const { jobManager } = chain.info.contracts;
  const greedy = helper('GreedyRecipient');
  const friend = accountOf(chain, 7);
  const attacker = await create(chain, 4, greedy, [jobManager, friend]);
  const held = await chain.reader.balance(jobManager);
  await manager.call(5, 'creditTo', [attacker], 100n);
  await execute(chain, 4, { to: attacker, abi: greedy.abi, functionName: 'attack', args: [] });
  const client = createPublicClient({ transport: chain.transport });
  const count = (functionName: string) => client.readContract({ address: attacker, abi: greedy.abi, functionName });
  expect([await count('attempts'), await count('successes')]).toEqual([1n, 0n]);
  expect(await chain.reader.balance(attacker)).toBe(100n);
  expect(await chain.reader.credit(friend as never)).toBe(0n);
  expect(await chain.reader.balance(jobManager)).toBe(held);
});

test('credits given by anybody belong to the one named', async () => {
  const { account } = await chain.actor(8);
  await manager.call(9, 'creditTo', [account], 5n);
  expect(await chain.reader.credit(account)).toBe(5n);
  await manager.call(9, 'creditTo', [account], 0n);
  expect(await chain.reader.credit(account)).toBe(5n);
});

test('credit is handed on by the one who has it, and none of it is made or lost', async () => {
  const amount = fc.oneof(fc.constantFrom(0n, 1n, 2n ** 256n - 1n), fc.bigInt({ min: 0n, max: 300n }));
  const people = [1, 2, 3];
  const transfer = fc.record({ from: fc.constantFrom(...people), to: fc.constantFrom(...people), amount });
  await fc.assert(
    fc.asyncProperty(fc.array(transfer, { minLength: 1, maxLength: 8 }), (transfers) =>
      chain.reverting(async () => {
        const credit = new Map<number, bigint>(people.map((person) => [person, 0n]));
        const read = async (): Promise<Map<number, bigint>> =>
          new Map(await Promise.all(people.map(async (one) => [one, await chain.reader.credit(accountOf(chain, one) as never)] as const)));
        const before = await read();
        for (const [person, wei] of before) credit.set(person, wei + 100n);
        for (const person of people) await manager.call(0, 'creditTo', [accountOf(chain, person)], 100n);
        for (const { from, to, amount: wei } of transfers) {
          const [sender, receiver] = [accountOf(chain, from), accountOf(chain, to)];
          const has = credit.get(from) ?? 0n;
          if (wei > has) {
            expect(await manager.refused(from, 'transferCredit', [receiver, wei])).toEqual(['CreditTooLow', sender, has, wei]);
            continue;
          }
          const { events } = await manager.call(from, 'transferCredit', [receiver, wei]);
          expect(events).toEqual([{ event: 'CreditTransferred', from: sender, to: receiver, amountWei: wei }]);
          credit.set(from, has - wei);
          credit.set(to, (credit.get(to) ?? 0n) + wei);
          expect(await read()).toEqual(credit);
        }
      }),
    ),
    { numRuns: 20 },
  );
}, 60_000);

test('contracts refuse money sent without a call, but for the two funds', async () => {
  const sender = await chain.actor(4);
  const { insuranceFund, emissionPool, ...others } = chain.info.contracts;
  for (const to of Object.values(others)) {
    expect(await refusal(sender.send({ call: 'transfer', to, amountWei: 1n }))).toMatchObject({ error: 'Unknown' });
  }
  for (const to of [insuranceFund, emissionPool]) await sender.send({ call: 'transfer', to, amountWei: 1n });
});
