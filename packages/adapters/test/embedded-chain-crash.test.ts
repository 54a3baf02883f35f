import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPublicClient, createWalletClient, http, type Hex } from 'viem';
import { replay } from './embedded-chain-replay.ts';
import { ETHER, openTestChain, probeContract, RICH, viemChain } from './embedded-chain-helpers.ts';

const KILLS = 8;
const SEED = 20_260_722;
const GENESIS = RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER }));

let folder: string;
let child: ChildProcess | null = null;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-crash-'));
});
afterAll(async () => {
  child?.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

/** Seeded 32-bit generator, so that a failure can be repeated. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

async function startChild(path: string): Promise<string> {
  child = spawn(process.execPath, [fileURLToPath(new URL('embedded-chain-child.ts', import.meta.url)), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await once(lines, 'line')) as [string];
  return line;
}

test(`no acknowledged transaction is lost over ${KILLS} kills under load`, async () => {
  const path = join(folder, 'chain.sqlite');
  const random = generator(SEED);
  const { abi, bytecode } = probeContract();
  const acknowledged = new Map<Hex, { key: bigint; value: bigint }>();
  let contract: Hex | null = null;
  let sent = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const url = await startChild(path);
    const transport = http(url, { retryCount: 0, batch: true });
    const reader = createPublicClient({ chain: viemChain(url), transport, pollingInterval: 20 });
    const wallets = RICH.map((account) => createWalletClient({ chain: viemChain(url), transport, account }));
    if (contract === null) {
      const hash = await wallets[0]!.deployContract({ abi, bytecode });
      contract = (await reader.waitForTransactionReceipt({ hash })).contractAddress!;
    }
    const address = contract;
    // Everything acknowledged before the last kill is there.
    const receipts = await Promise.all([...acknowledged.keys()].map((hash) => reader.getTransactionReceipt({ hash })));
    expect(receipts.every((receipt) => receipt.status === 'success')).toBe(true);
    const target = acknowledged.size + 5 + Math.floor(random() * 25);
    const load = { on: true };
    const reached = Promise.withResolvers<void>();
    const senders = wallets.map(async (wallet) => {
      let nonce = await reader.getTransactionCount({ address: wallet.account.address });
      while (load.on) {
        const [key, value] = [BigInt(sent++), BigInt(Math.floor(random() * 1e9))];
        try {
          const hash = await wallet.writeContract({
            abi,
            address,
            functionName: 'store',
            args: [key, value, 'load'],
            nonce: nonce++,
            gas: 200_000n,
          });
          acknowledged.set(hash, { key, value });
        } catch (error) {
          if (load.on) throw error;
        }
        if (acknowledged.size >= target) reached.resolve();
      }
    });
    await reached.promise;
    await after(random() * 30);
    load.on = false;
    const exited = once(child!, 'exit');
    child!.kill('SIGKILL');
    await exited;
    await Promise.all(senders);
  }
  expect(acknowledged.size).toBeGreaterThan(KILLS * 5);

  const chain = await openTestChain({ path });
  try {
    for (const hash of acknowledged.keys()) {
      expect(await chain.request({ method: 'eth_getTransactionReceipt', params: [hash] })).toMatchObject({ status: '0x1' });
    }
    // Every block follows from the one before it, up to the head's state root.
    expect(await replay(chain, GENESIS)).toBe(Number(await chain.request({ method: 'eth_blockNumber' })));
  } finally {
    await chain.close();
  }
}, 120_000);
