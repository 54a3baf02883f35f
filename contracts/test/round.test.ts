import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobDriver, rootOf, startTestChain, type TestChain } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

test('a job of two rounds pays every honest slot and refunds the rest to the wei', async () => {
  const budgetWei = 1_000_000_000_000_000_003n;
  const driver = await JobDriver.submit(chain, { rounds: 2, tasks: 2, redundancy: 3, budgetWei });
  for (const round of [0, 1]) await driver.honestRound(round, (task) => rootOf(`result ${round} ${task}`));
  const { events } = await driver.coordinator.send({ call: 'completeJob', job: driver.job });
  const share = budgetWei / 12n;
  expect(events.map((event) => event.event)).toEqual(['JobCompleted']);
  expect(await chain.reader.credit(driver.owner.account)).toBe(budgetWei - 12n * share);
  expect(await chain.reader.job(driver.job)).toMatchObject({ status: 'completed', paidWei: 12n * share, nextRound: 2 });
});
