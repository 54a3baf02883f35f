/** Senders and the settled head on anvil, whose blocks `anvil_reorg` replaces. */
import type { Address } from '@muster/protocol';
import { custom, type Hex, http, keccak256, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { confirmationsOf, settledBlock } from '../src/evm/contracts/confirmations.ts';
import { openConnection } from '../src/evm/contracts/connection.ts';
import { AccountSender } from '../src/evm/contracts/transactions.ts';
import { type Anvil, startAnvil } from './anvil.ts';
import { reorganising } from './reorg-chain.ts';

const CHAIN_ID = 31_338;
const key = keccak256(toHex('reorganised'));
const account = privateKeyToAccount(key);
let anvil: Anvil;
let target: Address;
let next = 0;

beforeAll(async () => {
  anvil = await startAnvil(CHAIN_ID);
  await anvil.fund(account.address, 10n ** 21n);
});
afterAll(() => anvil.close());
beforeEach(() => {
  target = keccak256(toHex(`target ${next++}`)).slice(0, 42) as Address;
});

const mine = (): Promise<unknown> => anvil.request('evm_mine');
const balance = async (): Promise<bigint> => BigInt((await anvil.request('eth_getBalance', [target, 'latest'])) as Hex);
let replacements = 0;
/** Replaces the newest blocks by empty ones of another producer, so that they differ even where the old ones were empty too. */
async function replaceNewest(depth: number): Promise<void> {
  await anvil.request('anvil_setCoinbase', [toHex(++replacements, { size: 20 })]);
  await anvil.request('anvil_reorg', [depth, []]);
}
const pay = { data: '0x', valueWei: 1n } as const;

function sender(drops: number, afterDrop?: () => Promise<unknown>) {
  const chain = reorganising({
    request: (method, params) => anvil.request(method, params),
    mine,
    mark: () => Promise.resolve(() => replaceNewest(1)),
    drops: () => drops,
    ...(afterDrop === undefined ? {} : { afterDrop }),
  });
  const connection = openConnection({ transport: chain.transport, pollMs: 1, timeoutMs: 20_000, confirmations: 3 });
  return { chain, sender: new AccountSender(connection, CHAIN_ID, account) };
}

test.each([0, 1, 3])('a transaction whose block is taken back %i times happens once, and is reported when it is deep', async (drops) => {
  const { chain, sender: writer } = sender(drops);
  const included = await writer.send('paying', { to: target, ...pay });
  expect(chain.dropped()).toBe(drops);
  expect(await balance()).toBe(1n);
  // The same bytes every time, and often enough.
  expect([...chain.sends.keys()]).toEqual([included.transaction]);
  expect(chain.sends.get(included.transaction)).toBeGreaterThanOrEqual(drops > 0 ? 2 : 1);
  const head = Number(await anvil.request('eth_blockNumber'));
  expect(head - included.block).toBeGreaterThanOrEqual(3);
  const block = (await anvil.request('eth_getBlockByNumber', [toHex(included.block), false])) as { transactions: Hex[] };
  expect(block.transactions).toContain(included.transaction);
});

test('a nonce that something else took after a re-organisation is told, and the call is not made again', async () => {
  const rival = new AccountSender(openConnection({ rpcUrl: anvil.url, pollMs: 1 }), CHAIN_ID, account);
  const other = keccak256(toHex('other target')).slice(0, 42) as Address;
  const { sender: writer } = sender(1, () => rival.send('rival', { to: other, data: '0x', valueWei: 7n }));
  await expect(writer.send('paying', { to: target, ...pay })).rejects.toMatchObject({
    code: 'CHAIN_REORGANISED',
    details: { error: 'NonceReplaced', account: account.address.toLowerCase() },
  });
  expect(await balance()).toBe(0n);
});

test('a chain that stops short of the confirmations is waited for as long as the timeout', async () => {
  const connection = openConnection({ rpcUrl: anvil.url, pollMs: 1, timeoutMs: 100, confirmations: 2 });
  const writer = new AccountSender(connection, CHAIN_ID, account);
  await expect(writer.send('paying', { to: target, ...pay })).rejects.toMatchObject({
    code: 'CHAIN_UNREACHABLE',
    message: expect.stringContaining('2 confirmations'),
  });
});

test('the settled head stays below what may be taken back and never goes down', async () => {
  const connection = openConnection({ transport: http(anvil.url, { retryCount: 0 }), confirmations: 3 });
  for (let i = 0; i < 4; i++) await mine();
  const first = await settledBlock(connection);
  expect(first.block).toBe(Number(await anvil.request('eth_blockNumber')) - 3);
  await replaceNewest(3);
  expect(await settledBlock(connection)).toEqual(first);
  await mine();
  expect((await settledBlock(connection)).block).toBe(first.block + 1);
});

test('a re-organisation deeper than the confirmations is told, from then on each time', async () => {
  const connection = openConnection({ rpcUrl: anvil.url, confirmations: 2 });
  for (let i = 0; i < 4; i++) await mine();
  const { block } = await settledBlock(connection);
  await replaceNewest(4);
  for (let i = 0; i < 2; i++) {
    await expect(settledBlock(connection)).rejects.toMatchObject({
      code: 'CHAIN_REORGANISED',
      details: { error: 'DeepReorganisation', block, confirmations: 2 },
    });
    await mine();
  }
  // Whoever starts afresh reads the chain as it is.
  expect((await settledBlock(openConnection({ rpcUrl: anvil.url, confirmations: 2 }))).block).toBeGreaterThanOrEqual(block);
});

/** A connection to a chain that answers everything by `answer`. */
const elsewhere = (answer: () => Promise<unknown>) => openConnection({ transport: custom({ request: answer }, { retryCount: 0 }) });

test('a client that makes its chain alone needs no confirmations, others five', async () => {
  expect(await confirmationsOf(openConnection({ rpcUrl: anvil.url }))).toBe(0);
  expect(await confirmationsOf(elsewhere(() => Promise.resolve('Geth/v1.17.0')))).toBe(5);
  const closed = Object.assign(new Error('the method is not available'), { code: -32601 });
  expect(await confirmationsOf(elsewhere(() => Promise.reject(closed)))).toBe(5);
  const away = elsewhere(() => Promise.reject(new TypeError('fetch failed')));
  await expect(confirmationsOf(away)).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
});
