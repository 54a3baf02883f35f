import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountOf, deploy, type Handle, relayedBy } from './handles.ts';
import { startTestChain, type TestChain } from './harness.ts';

const coverer = 1;
const otherCoverer = 2;

let chain: TestChain;
let forwarder: Handle;
let fund: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  forwarder = await deploy(chain, 0, 'MusterForwarder', []);
  fund = await newFund([accountOf(chain, coverer), accountOf(chain, otherCoverer)]);
});
afterAll(() => chain.close());

const newFund = (coverers: readonly string[]): Promise<Handle> => deploy(chain, 0, 'InsuranceFund', [forwarder.address, coverers]);
const fundBalance = (): Promise<bigint> => chain.reader.balance(fund.address);

test('anyone deposits, by call or by plain transfer', () =>
  chain.reverting(async () => {
    const from = accountOf(chain, 5);
    expect((await fund.call(5, 'deposit', [], 7n)).events).toEqual([{ event: 'InsuranceDeposited', from, amountWei: 7n }]);
    expect((await fund.transfer(5, 8n)).events).toEqual([{ event: 'InsuranceDeposited', from, amountWei: 8n }]);
    expect(await fundBalance()).toBe(15n);
  }));

test('only coverers grant cover, and granting moves no money', () =>
  chain.reverting(async () => {
    const account = accountOf(chain, 6);
    for (const actor of [0, 3, 6]) {
      expect(await fund.refused(actor, 'cover', [account, 1n])).toEqual(['NotCoverer', accountOf(chain, actor)]);
      expect(await fund.read('isCoverer', [accountOf(chain, actor)])).toBe(false);
    }
    expect((await fund.call(coverer, 'cover', [account, 5n])).events).toEqual([{ event: 'CoverGranted', account, amountWei: 5n }]);
    await fund.call(otherCoverer, 'cover', [account, 6n]);
    expect([await fund.read('owed', [account]), await fund.read('totalOwed'), await fundBalance()]).toEqual([11n, 11n, 0n]);
  }));

test('a claim pays what is owed or what there is, and the rest stays owed', () =>
  chain.reverting(async () => {
    const account = accountOf(chain, 6);
    expect(await fund.refused(6, 'claim')).toEqual(['NothingOwed', account]);
    expect(await fund.refused(7, 'claimFor', [account])).toEqual(['NothingOwed', account]);
    await fund.call(coverer, 'cover', [account, 100n]);
    expect(await fund.refused(6, 'claim')).toEqual(['FundEmpty', account, 100n]);

    await fund.call(5, 'deposit', [], 40n);
    const before = await chain.reader.balance(account as never);
    expect((await fund.call(7, 'claimFor', [account])).events).toEqual([{ event: 'CoverPaid', account, amountWei: 40n }]);
    expect((await chain.reader.balance(account as never)) - before).toBe(40n);
    expect([await fund.read('owed', [account]), await fund.read('totalOwed'), await fundBalance()]).toEqual([60n, 60n, 0n]);

    await fund.call(5, 'deposit', [], 100n);
    expect((await fund.call(6, 'claim')).events).toEqual([{ event: 'CoverPaid', account, amountWei: 60n }]);
    expect([await fund.read('owed', [account]), await fund.read('totalOwed'), await fundBalance()]).toEqual([0n, 0n, 40n]);
    expect(await fund.refused(6, 'claim')).toEqual(['NothingOwed', account]);
  }));

test('claiming again while being paid pays nothing more', () =>
  chain.reverting(async () => {
    const attacker = await deploy(chain, 4, 'ReentrantClaimant', [fund.address]);
    await fund.call(coverer, 'cover', [attacker.address, 50n]);
    await fund.call(5, 'deposit', [], 500n);
    await attacker.call(4, 'attack');
    expect([await attacker.read('attempts'), await attacker.read('successes')]).toEqual([1n, 0n]);
    expect([await chain.reader.balance(attacker.address), await fundBalance()]).toEqual([50n, 450n]);
  }));

test('an account that takes no money keeps its claim and holds nobody else up', () =>
  chain.reverting(async () => {
    const rejecting = await deploy(chain, 4, 'Rejecting', []);
    await fund.call(coverer, 'cover', [rejecting.address, 50n]);
    await fund.call(coverer, 'cover', [accountOf(chain, 6), 5n]);
    await fund.call(5, 'deposit', [], 55n);
    const [error, account, amountWei] = (await fund.refused(7, 'claimFor', [rejecting.address])) as unknown[];
    expect([error, String(account).toLowerCase(), amountWei]).toEqual(['CoverNotPaid', rejecting.address, 50n]);
    await fund.call(6, 'claim');
    expect([await fund.read('owed', [rejecting.address]), await fund.read('totalOwed'), await fundBalance()]).toEqual([50n, 50n, 50n]);
  }));

test('a claim that a relayer submits is that of the account which signed', () =>
  chain.reverting(async () => {
    await fund.call(coverer, 'cover', [accountOf(chain, 6), 9n]);
    await fund.call(5, 'deposit', [], 9n);
    const before = await chain.reader.balance(accountOf(chain, 6) as never);
    await relayedBy(chain, forwarder, 7, 6, fund, 'claim', []);
    expect((await chain.reader.balance(accountOf(chain, 6) as never)) - before).toBe(9n);
    // A relayed call does not pass for one of a coverer's contract: the door looks at who calls.
    await expect(relayedBy(chain, forwarder, 7, coverer, fund, 'cover', [accountOf(chain, 6), 9n])).rejects.toThrow();
  }));

const step = fc.oneof(
  fc.record({ does: fc.constant('deposit' as const), actor: fc.nat(7), amount: fc.bigInt({ min: 0n, max: 1_000n }), plain: fc.boolean() }),
  fc.record({
    does: fc.constant('cover' as const),
    by: fc.constantFrom(coverer, otherCoverer),
    to: fc.nat(7),
    amount: fc.bigInt({ min: 0n, max: 1_000n }),
  }),
  fc.record({ does: fc.constant('claim' as const), by: fc.nat(7), to: fc.nat(7) }),
);

test('money is conserved to the wei over random deposits, covers and claims of many actors', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) =>
      chain.reverting(async () => {
        const owed = new Map<string, bigint>();
        let [deposited, covered, paid] = [0n, 0n, 0n];
        for (const next of steps) {
          if (next.does === 'deposit') {
            await (next.plain ? fund.transfer(next.actor, next.amount) : fund.call(next.actor, 'deposit', [], next.amount));
            deposited += next.amount;
          } else if (next.does === 'cover') {
            const account = accountOf(chain, next.to);
            await fund.call(next.by, 'cover', [account, next.amount]);
            owed.set(account, (owed.get(account) ?? 0n) + next.amount);
            covered += next.amount;
          } else {
            const account = accountOf(chain, next.to);
            const [debt, there] = [owed.get(account) ?? 0n, deposited - paid];
            const [name, args] = next.by === next.to ? ['claim', []] : ['claimFor', [account]];
            if (debt === 0n) expect(await fund.refused(next.by, name, args)).toEqual(['NothingOwed', account]);
            else if (there === 0n) expect(await fund.refused(next.by, name, args)).toEqual(['FundEmpty', account, debt]);
            else {
              const amountWei = debt < there ? debt : there;
              expect((await fund.call(next.by, name, args)).events).toEqual([{ event: 'CoverPaid', account, amountWei }]);
              owed.set(account, debt - amountWei);
              paid += amountWei;
            }
          }
          expect(await fundBalance()).toBe(deposited - paid);
          expect(await fund.read('totalOwed')).toBe(covered - paid);
        }
        for (const [account, debt] of owed) expect(await fund.read('owed', [account])).toBe(debt);
      }),
    ),
    { numRuns: 15 },
  );
}, 120_000);
