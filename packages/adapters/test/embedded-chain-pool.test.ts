import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keccak256, type Hex, type PrivateKeyAccount } from 'viem';
import type { EmbeddedChain } from '../src/evm/embedded/index.ts';
import { replay } from './embedded-chain-replay.ts';
import { CHAIN_ID, ETHER, openTestChain, probeContract, publicClient, RICH, testAccount, walletClient } from './embedded-chain-helpers.ts';

const GENESIS = RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER }));
let chain: EmbeddedChain;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-chain-'));
  chain = await openTestChain({ path: join(folder, 'chain.sqlite') });
});
afterEach(async () => {
  await chain.close();
  await rm(folder, { recursive: true });
});

const [alice, bob] = [RICH[0]!, RICH[1]!];
interface Fields {
  readonly nonce: number;
  readonly value?: bigint;
  readonly fee?: bigint;
  readonly gas?: bigint;
  readonly chainId?: number;
  readonly to?: Hex;
}
const sign = (account: PrivateKeyAccount, fields: Fields): Promise<Hex> =>
  account.signTransaction({
    type: 'eip1559',
    chainId: fields.chainId ?? CHAIN_ID,
    nonce: fields.nonce,
    to: fields.to ?? bob.address,
    value: fields.value ?? 1n,
    gas: fields.gas ?? 21_000n,
    maxFeePerGas: fields.fee ?? 0n,
    maxPriorityFeePerGas: 0n,
  });
const send = (raw: Hex): Promise<unknown> => chain.request({ method: 'eth_sendRawTransaction', params: [raw] });
const error = (raw: Hex): Promise<{ code: number; message: string }> =>
  send(raw).then(
    () => expect.fail('was taken'),
    (reason: unknown) => reason as { code: number; message: string },
  );
const count = async (account: PrivateKeyAccount, tag: string): Promise<number> =>
  Number(await chain.request({ method: 'eth_getTransactionCount', params: [account.address, tag] }));
const head = async (): Promise<number> => Number(await chain.request({ method: 'eth_blockNumber' }));

describe('taking transactions', () => {
  test('refusals use the words and codes that clients recognise', async () => {
    await send(await sign(alice, { nonce: 0 }));
    expect(await error(await sign(alice, { nonce: 0, value: 2n }))).toMatchObject({
      code: -32000,
      message: expect.stringContaining('nonce too low') as string,
    });
    const poor = testAccount(50);
    expect((await error(await sign(poor, { nonce: 0 }))).message).toContain('insufficient funds for gas * price + value');
    expect((await error(await sign(poor, { nonce: 0, value: 0n, fee: 1n }))).message).toContain('insufficient funds');
    expect((await error(await sign(alice, { nonce: 1, gas: 20_999n }))).message).toContain('intrinsic gas too low');
    expect((await error(await sign(alice, { nonce: 1, gas: 60_000_001n }))).message).toContain('exceeds block gas limit');
    expect((await error(await sign(alice, { nonce: 1, chainId: 5 }))).message).toContain('invalid chain id');
    expect((await error('0x02c0')).message).toContain('invalid transaction');
    expect((await error('0x')).code).toBe(-32000);
    const raw = await sign(alice, { nonce: 1 });
    expect((await error(`0x${raw.slice(2, -2)}ff`)).code).toBe(-32000);
    expect((await error(`0x${'02'.repeat(128 * 1024 + 1)}`)).code).toBe(-32602);
    expect(await count(alice, 'latest')).toBe(1);
  });

  test('consecutive transactions sent together share a block and keep their order', async () => {
    const raws = await Promise.all(Array.from({ length: 40 }, (_, nonce) => sign(alice, { nonce, value: BigInt(nonce) })));
    const before = await head();
    const hashes = await Promise.all(raws.map(send));
    expect((await head()) - before).toBe(1);
    const block = (await chain.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })) as { transactions: string[] };
    expect(block.transactions).toEqual(hashes);
  });

  test('a nonce gap is held back until it is filled, and counts in nothing but the held ones', async () => {
    const hash = await send(await sign(alice, { nonce: 2 }));
    await send(await sign(alice, { nonce: 1 }));
    expect(await head()).toBe(0);
    expect(await count(alice, 'pending')).toBe(0);
    expect(await chain.request({ method: 'eth_getTransactionByHash', params: [hash] })).toMatchObject({ blockNumber: null });
    await send(await sign(alice, { nonce: 0 }));
    expect(await head()).toBe(1);
    expect(await count(alice, 'latest')).toBe(3);
  });

  test('held-back transactions survive a restart', async () => {
    await send(await sign(alice, { nonce: 1 }));
    await send(await sign(alice, { nonce: 2, value: 5n }));
    await chain.close();
    chain = await openTestChain({ path: join(folder, 'chain.sqlite') });
    await send(await sign(alice, { nonce: 0 }));
    expect(await count(alice, 'latest')).toBe(3);
    expect(await replay(chain, GENESIS)).toBe(1);
  });

  test('held-back transactions survive a kill at the moment when their gap is filled', async () => {
    const path = join(folder, 'chain.sqlite');
    for (let nonce = 1; nonce <= 60; nonce++) await send(await sign(alice, { nonce }));
    for (let nonce = 70; nonce < 74; nonce++) await send(await sign(alice, { nonce }));
    // What fills the gap is not answered, only the state that a kill would leave is looked at.
    const filled = send(await sign(alice, { nonce: 0 })).catch(() => null);
    const stored = join(folder, 'killed.sqlite');
    await copyFile(path, stored);
    await copyFile(`${path}-wal`, `${stored}-wal`);
    await filled;
    const after = await openTestChain({ path: stored });
    const counted = async (): Promise<number> =>
      Number(await after.request({ method: 'eth_getTransactionCount', params: [alice.address, 'latest'] }));
    try {
      if ((await counted()) === 0) await after.request({ method: 'eth_sendRawTransaction', params: [await sign(alice, { nonce: 0 })] });
      await expect.poll(counted, { interval: 5 }).toBe(61);
      for (let nonce = 61; nonce < 70; nonce++)
        await after.request({ method: 'eth_sendRawTransaction', params: [await sign(alice, { nonce })] });
      await expect.poll(counted, { interval: 5 }).toBe(74);
    } finally {
      await after.close();
    }
  });

  test('a held-back transaction is replaced by one that pays as much, and refused when sent twice', async () => {
    const first = await sign(alice, { nonce: 1, fee: 10n });
    await send(first);
    expect((await error(first)).message).toContain('already known');
    expect((await error(await sign(alice, { nonce: 1, fee: 10n, value: 9n }))).message).toContain('underpriced');
    const better = await sign(alice, { nonce: 1, fee: 11n, value: 9n });
    await send(better);
    await send(await sign(alice, { nonce: 0 }));
    expect(await chain.request({ method: 'eth_getTransactionReceipt', params: [keccak256(first)] })).toBeNull();
    expect(await chain.request({ method: 'eth_getTransactionReceipt', params: [keccak256(better)] })).toMatchObject({ status: '0x1' });
  });

  test('the queue of held-back transactions is bounded per account', async () => {
    for (let nonce = 1; nonce <= 64; nonce++) await send(await sign(alice, { nonce }));
    expect((await error(await sign(alice, { nonce: 65 }))).message).toContain('nonce too high');
    await send(await sign(bob, { nonce: 0 }));
  });

  test('a transaction that arrives at any step of its predecessor’s block is neither lost nor held back', async () => {
    let nonce = 0;
    for (let steps = 0; steps < 1200; steps += 30) {
      const [first, second] = [await sign(alice, { nonce: nonce++ }), await sign(alice, { nonce: nonce++ })];
      const before = send(first);
      await new Promise((resolve) => setImmediate(resolve));
      for (let step = 0; step < steps; step++) await Promise.resolve();
      await Promise.all([before, send(second)]);
      expect(await count(alice, 'latest'), `after ${steps} steps`).toBe(nonce);
    }
  });

  test('one that cannot pay any more when its turn comes is refused, and so is what follows it', async () => {
    const all = 999n * ETHER;
    const raws = await Promise.all([0, 1, 2].map((nonce) => sign(alice, { nonce, value: nonce === 2 ? 1n : all })));
    const results = await Promise.allSettled(raws.map(send));
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'rejected']);
    await send(await sign(alice, { nonce: 1 }));
    expect(await count(alice, 'latest')).toBe(2);
  });

  test('gas limits that do not fit one block together go into the next', async () => {
    const raws = await Promise.all([0, 1, 2].map((nonce) => sign(alice, { nonce, gas: 40_000_000n })));
    await Promise.all(raws.map(send));
    expect(await count(alice, 'latest')).toBe(3);
    expect(await replay(chain, GENESIS)).toBe(1);
    const wide = await Promise.all([3, 4].map((nonce) => sign(alice, { nonce, gas: 60_000_000n })));
    await Promise.all(wide.map(send));
    expect(await replay(chain, GENESIS)).toBe(3);
  });
});

describe('the stored chain', () => {
  test('replays block by block with ethereumjs’ own processing, across restarts, creations, deletions and failures', async () => {
    const { abi, bytecode } = probeContract();
    const reader = publicClient(chain);
    const deployed = await walletClient(chain, alice).deployContract({ abi, bytecode, value: ETHER });
    const address = (await reader.getTransactionReceipt({ hash: deployed })).contractAddress!;
    const calls = [
      ...Array.from({ length: 30 }, (_, i) => ['store', [BigInt(i % 11), BigInt(i * i), 'n'.repeat(i)]] as const),
      ...Array.from({ length: 6 }, (_, i) => ['clear', [BigInt(i)]] as const),
      ['make', []] as const,
      ['pay', [testAccount(60).address, 5n]] as const,
      ['pay', [testAccount(60).address, 5000n * ETHER]] as const,
      ['rememberHash', [1n]] as const,
    ];
    for (let round = 0; round < 2; round++) {
      for (const account of RICH) {
        const wallet = walletClient(chain, account);
        const nonce = await count(account, 'latest');
        await Promise.all(
          calls.map(([functionName, args], index) =>
            wallet.writeContract({ abi, address, functionName, args, gas: 600_000n, nonce: nonce + index }),
          ),
        );
      }
      await chain.close();
      chain = await openTestChain({ path: join(folder, 'chain.sqlite') });
    }
    expect(await replay(chain, GENESIS)).toBeGreaterThan(8);
    expect(await publicClient(chain).getBalance({ address: testAccount(60).address })).toBe(40n);
  });

  test('a second opener of the same file is refused, and another chain id too', async () => {
    const path = join(folder, 'chain.sqlite');
    await expect(openTestChain({ path })).rejects.toMatchObject({ code: 'HOME_LOCKED' });
    await chain.close();
    await expect(openTestChain({ path, chainId: 5 })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    await expect(openTestChain({ path, genesis: { accounts: [] } })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    chain = await openTestChain({ path });
  });

  test('an empty block follows the last one with transactions, and only one', async () => {
    await chain.close();
    chain = await openTestChain({ path: join(folder, 'other.sqlite'), followMs: 1 });
    await send(await sign(alice, { nonce: 0 }));
    await expect.poll(head, { interval: 5 }).toBe(2);
    await send(await sign(alice, { nonce: 1 }));
    await expect.poll(head, { interval: 5 }).toBe(4);
    expect(await replay(chain, GENESIS)).toBe(4);
  });
});
