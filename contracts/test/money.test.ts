import { aiJobManagerAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { createPublicClient } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile, type CompiledContract } from '../build.ts';
import { create, ether, execute, JobDriver, refusal, rootOf, startTestChain, type TestChain } from './harness.ts';

let chain: TestChain;
let helpers: Map<string, CompiledContract>;
beforeAll(async () => {
  chain = await startTestChain();
  helpers = compile('test/helpers');
});
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

test('contracts refuse money sent without a call', async () => {
  const sender = await chain.actor(4);
  for (const to of Object.values(chain.info.contracts)) {
    expect(await refusal(sender.send({ call: 'transfer', to, amountWei: 1n }))).toMatchObject({ error: 'Unknown' });
  }
});
