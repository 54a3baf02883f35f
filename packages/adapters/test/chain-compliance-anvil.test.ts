import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { createTestClient, http, publicActions } from 'viem';
import { chainCompliance } from '../../ports/compliance/chain.ts';
import { ACCOUNTS, addressOf, COMPLIANCE_CHAIN_ID, ETHER, underTest } from './chain-compliance-setup.ts';

/** The anvil of npm's platform package. Its absence is a failure, not a reason to skip. */
function anvilBinary(): string {
  const platform = `@foundry-rs/anvil-${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve(`${platform}/package.json`));
  } catch (error) {
    throw new Error(`anvil is not installed: ${platform} is missing; run npm ci on a platform that has it`, { cause: error });
  }
  const binary = join(folder, 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  if (!existsSync(binary)) throw new Error(`anvil is not installed: ${binary} is missing; run npm ci`);
  return binary;
}

chainCompliance('anvil', async () => {
  const child = spawn(anvilBinary(), ['--port', '0', '--chain-id', String(COMPLIANCE_CHAIN_ID), '--accounts', '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`anvil ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /Listening on (127\.0\.0\.1:\d+)/.exec(line);
      if (found !== null) resolve(`http://${found[1]}`);
    });
  });
  const client = createTestClient({ mode: 'anvil', transport: http(url) }).extend(publicActions);
  for (let index = 0; index < ACCOUNTS; index++) await client.setBalance({ address: addressOf(index), value: 1000n * ETHER });
  return underTest(
    { rpcUrl: url },
    {
      nextBlock: () => client.mine({ blocks: 1 }),
      async close() {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      },
    },
  );
});
