import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountOf, compiled, deploy, type Handle, handleAt, relayedBy } from './handles.ts';
import { ether, JobDriver, refusal, rootOf, startTestChain, type TestChain } from './harness.ts';

const owner = 1;
const job = rootOf('sponsored');
const reward = 20_000n;
const shareBasisPoints = 500;

let chain: TestChain;
let forwarder: Handle;
let jobs: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  forwarder = await deploy(chain, 0, 'MusterForwarder', []);
  jobs = await deploy(chain, 0, 'SponsoredJobs', []);
});
afterAll(() => chain.close());

const newPool = (
  blockRewardWei = reward,
  share = shareBasisPoints,
  manager = jobs.address,
  by = accountOf(chain, owner),
): Promise<Handle> => deploy(chain, 0, 'EmissionPool', [forwarder.address, by, manager, blockRewardWei, share]);
const balanceOf = (pool: Handle): Promise<bigint> => chain.reader.balance(pool.address);
const block = async (): Promise<bigint> => BigInt((await chain.request('eth_blockNumber')) as string);

test('a share above everything and a reward above 128 bits are refused', async () => {
  expect(await refusal(newPool(reward, 10_001))).toMatchObject({ error: 'ShareTooHigh' });
  expect(await refusal(newPool(2n ** 128n))).toMatchObject({ error: 'BlockRewardTooLarge' });
  const pool = await newPool(2n ** 128n - 1n, 10_000);
  expect(await pool.refused(owner, 'setBlockReward', [2n ** 128n])).toEqual(['BlockRewardTooLarge', 2n ** 128n]);
  expect(await pool.read('jobManager')).toMatch(new RegExp(jobs.address, 'i'));
  expect(await pool.read('shareBasisPoints')).toBe(10_000);
});

test('five percent of the block reward stream per block, and never more than there is', async () => {
  const pool = await newPool();
  expect(await pool.read('accrued')).toBe(0n);
  const from = accountOf(chain, 5);
  expect((await pool.call(5, 'deposit', [], 4_000n)).events).toEqual([{ event: 'EmissionDeposited', from, amountWei: 4_000n }]);
  expect(await pool.read('accrued')).toBe(1_000n);
  await chain.mine();
  expect(await pool.read('accrued')).toBe(2_000n);
  await chain.mine(100);
  expect(await pool.read('accrued')).toBe(4_000n);
  // What has streamed while there was too little is there as soon as the money is.
  expect((await pool.transfer(5, 90_000n)).events).toEqual([{ event: 'EmissionDeposited', from, amountWei: 90_000n }]);
  expect(await pool.read('accrued')).toBe(94_000n);
});

test('a changed reward counts from its block on, and fractions of a wei are kept', async () => {
  const pool = await newPool(3n, 1);
  const created = await block();
  await pool.transfer(5, 1_000_000n);
  expect((await pool.call(owner, 'setBlockReward', [7n])).events).toEqual([{ event: 'BlockRewardChanged', blockRewardWei: 7n }]);
  const changed = await block();
  await chain.mine(9_999);
  const streamed = (changed - created) * 3n + 9_999n * 7n;
  expect(await pool.read('accrued')).toBe(streamed / 10_000n);
  expect(await pool.read('blockRewardWei')).toBe(7n);
});

test('only the owner sponsors and sets the reward, and the pool always has an owner', async () => {
  const pool = await newPool();
  for (const [name, args] of [
    ['sponsor', [job, 1n]],
    ['setBlockReward', [1n]],
    ['renounceOwnership', []],
    ['transferOwnership', [accountOf(chain, 5)]],
  ] as const) {
    expect(await pool.refused(5, name, args)).toEqual(['OwnableUnauthorizedAccount', accountOf(chain, 5)]);
  }
  expect(await pool.refused(owner, 'renounceOwnership')).toEqual(['OwnershipNotRenounceable']);
  await pool.call(owner, 'transferOwnership', [accountOf(chain, 5)]);
  expect(await pool.read('owner')).toBe(accountOf(chain, 5));
});

test('what has accrued sponsors a job, and what the job does not use comes back', async () => {
  const pool = await newPool();
  await pool.transfer(5, 100_000n);
  await chain.mine(9);
  expect(await pool.refused(owner, 'sponsor', [job, 0n])).toEqual(['SponsorshipEmpty', job]);
  // The refused call would be in the block after, when one more share has streamed.
  expect(await pool.refused(owner, 'sponsor', [job, 50_000n])).toMatchObject(['AccruedTooLow', expect.any(BigInt), 50_000n]);
  const start = (await pool.read('accrued')) as bigint;
  expect((await pool.call(owner, 'sponsor', [job, 6_000n])).events).toEqual([{ event: 'SponsorshipGiven', job, amountWei: 6_000n }]);
  expect(await jobs.read('budgets', [job])).toBe(6_000n);
  expect([await pool.read('accrued'), await pool.read('outstandingWei')]).toEqual([start + 1_000n - 6_000n, 6_000n]);

  expect(await pool.refused(7, 'reclaim')).toMatchObject(['NothingToWithdraw', expect.any(String)]);
  await jobs.call(3, 'settle', [job, pool.address, 2_500n]);
  const before = (await pool.read('accrued')) as bigint;
  expect((await pool.call(7, 'reclaim')).events).toEqual([{ event: 'SponsorshipReturned', amountWei: 2_500n }]);
  expect(await pool.read('accrued')).toBe(before + 1_000n + 2_500n);
  expect([await pool.read('outstandingWei'), await balanceOf(pool)]).toEqual([3_500n, 100_000n - 3_500n]);
});

test('a gift through the job manager does not count as streamed', async () => {
  const pool = await newPool(0n);
  await jobs.call(5, 'creditTo', [pool.address], 700n);
  expect((await pool.call(6, 'reclaim')).events).toMatchObject([
    { event: 'SponsorshipReturned', amountWei: 0n },
    { event: 'EmissionDeposited', amountWei: 700n },
  ]);
  expect([await pool.read('accrued'), await balanceOf(pool)]).toEqual([0n, 700n]);
});

test('sponsoring again from within a sponsorship spends nothing twice', async () => {
  const hostile = await deploy(chain, 4, 'HostileJobs', []);
  const pool = await newPool(reward, shareBasisPoints, hostile.address, hostile.address);
  await hostile.call(4, 'target', [pool.address]);
  await pool.transfer(5, 1_000_000n);
  const available = (await pool.read('accrued')) as bigint;
  // After the first, all but what streamed in one block is spent, which is less than is asked for again.
  await hostile.call(4, 'attack', [available]);
  expect(await hostile.read('successes')).toBe(0n);
  expect(await balanceOf(pool)).toBe(1_000_000n - available);
  expect(await pool.read('outstandingWei')).toBe(available);
  await pool.call(6, 'reclaim');
  expect([await pool.read('outstandingWei'), await balanceOf(pool)]).toEqual([0n, 1_000_000n]);
});

test('the network’s pool sponsors a real job, and a cancelled job gives it back', async () => {
  const pool = handleAt(chain, chain.info.contracts.emissionPool, compiled('EmissionPool').abi);
  await pool.call(0, 'setBlockReward', [ether]);
  await pool.transfer(5, ether);
  await chain.mine(10);
  const sponsored = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 70n }, 'sponsored');
  await pool.call(0, 'sponsor', [sponsored.job, ether / 4n]);
  expect(await chain.reader.job(sponsored.job)).toMatchObject({ budgetWei: ether / 4n + 70n });
  await sponsored.owner.send({ call: 'cancelJob', job: sponsored.job });
  expect((await pool.call(6, 'reclaim')).events).toEqual([{ event: 'SponsorshipReturned', amountWei: ether / 4n }]);
  expect([await pool.read('outstandingWei'), await balanceOf(pool)]).toEqual([0n, ether]);
  expect(await chain.reader.credit(sponsored.owner.account)).toBe(70n);
});

test('a relayer submits what the owner has signed', async () => {
  const pool = await newPool();
  await pool.transfer(5, 9_000n);
  await relayedBy(chain, forwarder, 7, owner, pool, 'sponsor', [job, 500n]);
  expect(await pool.read('outstandingWei')).toBe(500n);
  await expect(relayedBy(chain, forwarder, 7, 6, pool, 'sponsor', [job, 1n])).rejects.toThrow();
  await relayedBy(chain, forwarder, 7, 6, pool, 'deposit', [], 11n);
  expect(await balanceOf(pool)).toBe(8_511n);
});

const amount = fc.bigInt({ min: 0n, max: 30_000n });
const step = fc.oneof(
  fc.record({ does: fc.constant('deposit' as const), actor: fc.nat(7), amount, plain: fc.boolean() }),
  fc.record({ does: fc.constant('mine' as const), blocks: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ does: fc.constant('sponsor' as const), amount }),
  fc.record({ does: fc.constant('settle' as const), percent: fc.bigInt({ min: 0n, max: 100n }) }),
  fc.record({ does: fc.constant('reclaim' as const), actor: fc.nat(7) }),
  fc.record({ does: fc.constant('setBlockReward' as const), amount }),
);

test('money is conserved to the wei over random deposits, blocks, sponsorships and returns', async () => {
  const pool = await newPool();
  const created = await block();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 40 }), (steps) =>
      chain.reverting(async () => {
        let [deposited, sponsored, returned, credit, budget, spent] = [0n, 0n, 0n, 0n, 0n, 0n];
        let [rate, settledAt, streamed] = [reward, created, 0n];
        /** Streamed by the end of block `at`, in wei × 10 000. */
        const scaledAt = (at: bigint): bigint => streamed + (at - settledAt) * rate * BigInt(shareBasisPoints);
        const accruedAt = (at: bigint): bigint => {
          const free = (scaledAt(at) + (returned - sponsored) * 10_000n) / 10_000n;
          const balance = deposited - sponsored + returned;
          return free < balance ? free : balance;
        };
        for (const next of steps) {
          if (next.does === 'deposit') {
            await (next.plain ? pool.transfer(next.actor, next.amount) : pool.call(next.actor, 'deposit', [], next.amount));
            deposited += next.amount;
          } else if (next.does === 'mine') {
            await chain.mine(next.blocks);
          } else if (next.does === 'setBlockReward') {
            await pool.call(owner, 'setBlockReward', [next.amount]);
            const now = await block();
            streamed = scaledAt(now);
            [rate, settledAt] = [next.amount, now];
          } else if (next.does === 'sponsor') {
            const wanted = next.amount;
            if (wanted === 0n) expect(await pool.refused(owner, 'sponsor', [job, wanted])).toEqual(['SponsorshipEmpty', job]);
            else if (wanted > accruedAt((await block()) + 1n)) {
              expect(await pool.refused(owner, 'sponsor', [job, wanted])).toMatchObject(['AccruedTooLow', expect.any(BigInt), wanted]);
            } else {
              await pool.call(owner, 'sponsor', [job, wanted]);
              sponsored += wanted;
              budget += wanted;
            }
          } else if (next.does === 'settle') {
            const refund = (budget * next.percent) / 100n;
            await jobs.call(3, 'settle', [job, pool.address, refund]);
            credit += refund;
            spent += budget - refund;
            budget = 0n;
          } else if (credit === 0n) {
            expect(await pool.refused(next.actor, 'reclaim')).toMatchObject(['NothingToWithdraw', expect.any(String)]);
          } else {
            await pool.call(next.actor, 'reclaim');
            returned += credit;
            credit = 0n;
          }
          expect(await balanceOf(pool)).toBe(deposited - sponsored + returned);
          expect(await pool.read('outstandingWei')).toBe(sponsored - returned);
          expect(await pool.read('accrued')).toBe(accruedAt(await block()));
          expect(sponsored - returned).toBe(credit + budget + spent);
        }
      }),
    ),
    { numRuns: 15 },
  );
}, 120_000);
