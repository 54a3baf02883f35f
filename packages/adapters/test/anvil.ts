/** An anvil of its own for a test, on a free port of this machine. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { createPublicClient, http, toHex } from 'viem';

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

export interface Anvil {
  readonly url: string;
  request(method: string, params?: readonly unknown[]): Promise<unknown>;
  fund(address: `0x${string}`, amountWei: bigint): Promise<void>;
  close(): Promise<void>;
}

export async function startAnvil(chainId: number, options: readonly string[] = []): Promise<Anvil> {
  const child = spawn(anvilBinary(), ['--port', '0', '--chain-id', String(chainId), '--accounts', '1', ...options], {
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
  const client = createPublicClient({ transport: http(url, { retryCount: 0 }) });
  const request = (method: string, params: readonly unknown[] = []): Promise<unknown> =>
    client.transport.request({ method, params: [...params] });
  return {
    url,
    request,
    async fund(address, amountWei) {
      await request('anvil_setBalance', [address, toHex(amountWei)]);
    },
    async close() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
