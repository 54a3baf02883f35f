import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPublicClient, createWalletClient, http } from 'viem';
import { verifyChainFile, type ChainReport } from '../src/index.ts';
import { CHAIN_ID, ETHER, probeContract, RICH, viemChain } from './embedded-chain-helpers.ts';
import { faultOf, picker } from './verify-chain-helpers.ts';

const SEED = 20_261_122;
const options = { chainId: CHAIN_ID, genesis: { accounts: RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER })) } };

let folder: string;
let path: string;
let child: ChildProcess;
let url: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-verify-live-'));
  path = join(folder, 'chain.sqlite');
  child = spawn(process.execPath, [fileURLToPath(new URL('embedded-chain-child.ts', import.meta.url)), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  [url] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
}, 60_000);
afterAll(async () => {
  child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

test('a chain whose process is writing verifies, and after a kill every acknowledged block does; damage to its log is found', async () => {
  const transport = http(url, { retryCount: 0 });
  const reader = createPublicClient({ chain: viemChain(url), transport, pollingInterval: 20, cacheTime: 0 });
  const wallet = createWalletClient({ chain: viemChain(url), transport, account: RICH[0]! });
  const { abi, bytecode } = probeContract();
  const receipt = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
  const address = receipt.contractAddress!;
  const load = { on: true };
  const writing = (async () => {
    for (let nonce = 1; load.on; nonce++) {
      const args = [BigInt(nonce), 1n, 'load'];
      await wallet.writeContract({ abi, address, functionName: 'store', args, nonce, gas: 200_000n });
    }
  })();
  const reports: ChainReport[] = [];
  for (let turn = 0; turn < 4; turn++) reports.push(await verifyChainFile(path, options));
  load.on = false;
  await writing;
  const blocks = reports.map((report) => report.blocks);
  expect(blocks).toEqual([...blocks].sort((a, b) => a - b));
  expect(blocks[3]).toBeGreaterThan(blocks[0]!);
  const acknowledged = Number(await reader.getBlockNumber());
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;

  const report = await verifyChainFile(path, options);
  expect(report.head.number).toBeGreaterThanOrEqual(acknowledged);
  const log = await readFile(`${path}-wal`);
  expect(log.length).toBeGreaterThan(4096 * 20);
  const scratch = join(folder, 'scratch.sqlite');
  await copyFile(path, scratch);
  const pick = picker(SEED);
  // Frames of the log up to the last commit, the last frame apart: its salt cannot be told from the end of the log.
  const frame = 24 + 4096;
  const written = committedFrames(log);
  for (let sample = 0; sample < 25; sample++) {
    const changed = Buffer.from(log);
    const at = pick(32 + (written - 1) * frame);
    changed[at] = (changed[at] ?? 0) ^ (1 + pick(255));
    await writeFile(`${scratch}-wal`, changed);
    expect(await faultOf(() => verifyChainFile(scratch, options)), `offset ${at}`).toBe(`write-ahead log ${scratch}-wal`);
  }
  await writeFile(`${scratch}-wal`, log);
  expect((await verifyChainFile(scratch, options)).head).toEqual(report.head);
}, 120_000);

/** Frames of the log's present run, up to the last that says "commit". */
function committedFrames(log: Buffer): number {
  const frame = 24 + log.readUInt32BE(8);
  let last = 0;
  for (let index = 0; 32 + (index + 1) * frame <= log.length; index++) {
    const header = log.subarray(32 + index * frame, 32 + index * frame + 24);
    if (header.subarray(8, 16).equals(log.subarray(16, 24)) && header.readUInt32BE(4) !== 0) last = index + 1;
  }
  return last;
}
