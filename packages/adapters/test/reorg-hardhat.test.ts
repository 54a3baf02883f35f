/** A whole job on Hardhat while blocks are taken back under it: nothing is counted, paid or told twice. */
import type { ChainEvent, ChainWriter } from '@muster/ports';
import { custom, type Hex } from 'viem';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JobDriver, rootOf, startTestChain, type TestChain } from '../../../contracts/test/harness.ts';
import { settledBlock } from '../src/evm/contracts/confirmations.ts';
import { openConnection } from '../src/evm/contracts/connection.ts';
import { connectAccount } from '../src/index.ts';
import { type ReorganisingChain, reorganising } from './reorg-chain.ts';

const confirmations = 2;
let chain: TestChain;
let shaky: ReorganisingChain;
beforeEach(async () => {
  chain = await startTestChain();
  shaky = reorganising({
    request: (method, params) => chain.request(method, params),
    mine: () => chain.mine(),
    mark: async () => {
      const snapshot = await chain.request('evm_snapshot');
      return () => chain.request('evm_revert', [snapshot]);
    },
    // Every transaction's block is taken back, every third one's twice.
    drops: (index) => (index % 3 === 0 ? 2 : 1),
  });
});
afterEach(() => chain.close());

/** The same actors, each speaking through the chain that takes blocks back. */
function unsettled(): TestChain {
  const { info } = chain;
  const writers = new Map<number, Promise<ChainWriter>>();
  return {
    ...chain,
    actor(index) {
      const options = { transport: shaky.transport, info, privateKey: chain.keyOf(index), pollMs: 1, confirmations };
      const writer = writers.get(index) ?? connectAccount(options);
      writers.set(index, writer);
      return writer;
    },
  };
}

/** Reads settled events as a coordinator does, each range once. */
function follower(): { readonly seen: ChainEvent[]; follow(): Promise<void> } {
  const seen: ChainEvent[] = [];
  const transport = custom({ request: ({ method, params }: { method: string; params?: unknown[] }) => chain.request(method, params) });
  const connection = openConnection({ transport, confirmations });
  let from = 0;
  return {
    seen,
    async follow() {
      const { block } = await settledBlock(connection);
      if (block < from) return;
      seen.push(...(await chain.reader.events(from, block)));
      from = block + 1;
    },
  };
}

test('a round is committed, finalized, paid and withdrawn once, though every one of its blocks was taken back', async () => {
  const events = follower();
  const budgetWei = 6_000n;
  const job = await JobDriver.submit(unsettled(), { rounds: 1, tasks: 2, redundancy: 3, budgetWei }, 'shaky');
  await events.follow();
  await job.open(0);
  for (const phase of ['commit', 'reveal'] as const) {
    for (const [task, row] of job.seats.entries()) {
      for (const slot of row.keys()) await job[phase](0, task, slot, rootOf(`result ${task}`));
      await events.follow();
    }
  }
  await job.finalize(
    0,
    job.seats.map((_, task) => [task, rootOf(`result ${task}`)] as const),
  );
  await events.follow();
  const { operator } = job.seat(0, 0);
  const credit = await operator.credit(operator.account);
  expect(credit).toBeGreaterThan(0n);
  const before = await operator.balance(operator.account);
  const receipt = await operator.send({ call: 'withdraw' });
  const { effectiveGasPrice, gasUsed } = (await chain.request('eth_getTransactionReceipt', [receipt.transaction])) as {
    effectiveGasPrice: Hex;
    gasUsed: Hex;
  };
  const fee = BigInt(effectiveGasPrice) * BigInt(gasUsed);
  expect((await operator.balance(operator.account)) - before).toBe(credit - fee);
  expect(await operator.credit(operator.account)).toBe(0n);
  await chain.mine(confirmations);
  await events.follow();

  // Every transaction was taken back at least once and sent again with the same bytes.
  expect(shaky.dropped()).toBeGreaterThanOrEqual(shaky.sends.size);
  for (const sends of shaky.sends.values()) expect(sends).toBeGreaterThanOrEqual(2);
  // What was told while it went on is what the chain says in the end, each event once.
  expect(events.seen).toEqual(await chain.reader.events(0));
  const rewards = events.seen.filter((event) => event.event === 'RewardCredited');
  expect(rewards.length).toBe(6);
  expect(rewards.reduce((sum, { amountWei }) => sum + amountWei, 0n)).toBeLessThanOrEqual(budgetWei);
  expect(events.seen.filter(({ event }) => event === 'Withdrawn').length).toBe(1);
});
