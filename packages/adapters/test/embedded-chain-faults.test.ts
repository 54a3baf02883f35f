import { copyFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import type { Hex } from 'viem';
import { inTurn } from '../src/evm/embedded/calls.ts';
import { chainRules } from '../src/evm/embedded/machine.ts';
import { bytesOf } from '../src/evm/embedded/params.ts';
import { Sequencer } from '../src/evm/embedded/sequencer.ts';
import { ChainStore, type BlockRecord } from '../src/evm/embedded/store.ts';
import { replay } from './embedded-chain-replay.ts';
import { CHAIN_ID, ETHER, openTestChain, RICH } from './embedded-chain-helpers.ts';

const GENESIS = RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER }));
const [alice, bob] = [RICH[0]!, RICH[1]!];
const transfer = (nonce: number): Promise<Hex> =>
  alice.signTransaction({
    type: 'eip1559',
    chainId: CHAIN_ID,
    nonce,
    to: bob.address,
    value: BigInt(nonce + 1),
    gas: 21_000n,
    maxFeePerGas: 0n,
  });

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-faults-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('storage faults', () => {
  test('a write-ahead log cut anywhere leaves whole blocks that replay, never a part of one', async () => {
    const path = join(folder, 'chain.sqlite');
    const chain = await openTestChain({ path });
    for (let nonce = 0; nonce < 12; nonce++) {
      await chain.request({ method: 'eth_sendRawTransaction', params: [await transfer(nonce)] });
    }
    // The files as a power failure would leave them: the log not yet folded into the database.
    const [main, log] = [join(folder, 'copy'), join(folder, 'copy-wal')];
    await copyFile(path, main);
    await copyFile(`${path}-wal`, log);
    await chain.close();
    const whole = { main: await readFile(main), log: await readFile(log) };
    const heads: number[] = [];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.log.length }), async (length) => {
        await writeFile(main, whole.main);
        await writeFile(log, whole.log);
        await truncate(log, length);
        const cut = await openTestChain({ path: main });
        try {
          const head = await replay(cut, GENESIS);
          heads.push(head);
          const next = await cut.request({ method: 'eth_sendRawTransaction', params: [await transfer(head)] });
          expect(await cut.request({ method: 'eth_getTransactionReceipt', params: [next] })).toMatchObject({ status: '0x1' });
        } finally {
          await cut.close();
        }
      }),
      { numRuns: 25, examples: [[whole.log.length], [whole.log.length - 1]] },
    );
    expect(Math.max(...heads)).toBe(12);
    expect(new Set(heads).size).toBeGreaterThan(3);
  });

  test('a block that cannot be stored is not acknowledged, and nothing after it is', async () => {
    class FullDisk extends ChainStore {
      full = false;
      override append(record: BlockRecord): void {
        if (this.full) throw new Error('disk full');
        super.append(record);
      }
    }
    const path = join(folder, 'chain.sqlite');
    const store = new FullDisk(path);
    store.setMeta('identity', 'test');
    const sequencer = await Sequencer.open({
      store,
      random: (length) => new Uint8Array(length),
      common: chainRules(CHAIN_ID),
      now: () => 1_700_000_000_000,
      followMs: null,
      genesis: GENESIS,
    });
    await sequencer.submit(bytesOf(await transfer(0)));
    store.full = true;
    await expect(sequencer.submit(bytesOf(await transfer(1)))).rejects.toThrow('the chain stopped');
    store.full = false;
    await expect(sequencer.submit(bytesOf(await transfer(2)))).rejects.toThrow('the chain stopped');
    await sequencer.close();
    store.close();
    const again = new ChainStore(path);
    expect(again.head()?.number).toBe(1);
    again.close();
  });

  test('a file that is not a chain, or lost a block or its state, is refused as damaged', async () => {
    const path = join(folder, 'chain.sqlite');
    await writeFile(path, 'not a database, but longer than a header would be '.repeat(40));
    await expect(openTestChain({ path })).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    await rm(path);
    const chain = await openTestChain({ path });
    for (let nonce = 0; nonce < 3; nonce++) await chain.request({ method: 'eth_sendRawTransaction', params: [await transfer(nonce)] });
    await chain.close();
    const damages = [
      'DELETE FROM blocks WHERE number = 2',
      'DELETE FROM nodes',
      "UPDATE blocks SET rlp = x'c0' WHERE number = 3",
      'UPDATE blocks SET rlp = (SELECT rlp FROM blocks WHERE number = 1) WHERE number = 3',
      "UPDATE meta SET value = 'another format' WHERE key = 'format'",
    ];
    for (const damage of damages) {
      const copy = join(folder, 'damaged.sqlite');
      await copyFile(path, copy);
      const database = new DatabaseSync(copy);
      database.exec(damage);
      database.close();
      await expect(openTestChain({ path: copy }), damage).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    }
    expect((await stat(path)).size).toBeGreaterThan(0);
  });

  test('genesis accounts are checked before anything is written', async () => {
    const path = join(folder, 'chain.sqlite');
    const address = alice.address;
    for (const accounts of [
      [{ address: '0x12', balanceWei: 1n }],
      [{ address, balanceWei: -1n }],
      [{ address, balanceWei: 1n << 256n }],
      [
        { address, balanceWei: 1n },
        { address: address.toLowerCase(), balanceWei: 2n },
      ],
      [{ address, balanceWei: 1n, code: 'zz' }],
    ]) {
      await expect(openTestChain({ path, genesis: { accounts } })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    }
    await expect(openTestChain({ path, chainId: 0 })).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    const chain = await openTestChain({ path, genesis: { accounts: [{ address, balanceWei: 1n, code: '0x600160005260206000f3' }] } });
    expect(await chain.request({ method: 'eth_call', params: [{ to: address }] })).toBe(`0x${'0'.repeat(63)}1`);
    await chain.close();
    await expect(chain.request({ method: 'eth_chainId' })).rejects.toThrow('closed');
  });
});

test('calls take turns, and too many at once are refused', async () => {
  const turn = inTurn();
  const order: number[] = [];
  let running = 0;
  const calls = Array.from({ length: 2001 }, (_, index) =>
    turn(async () => {
      expect(++running).toBe(1);
      await Promise.resolve();
      running--;
      order.push(index);
      if (index === 3) throw new Error('one fails');
    }),
  );
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([3, 2000]);
  expect(order).toEqual([...order].sort((a, b) => a - b));
});
