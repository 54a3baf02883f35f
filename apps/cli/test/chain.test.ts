/** `muster chain` through the program itself, on anvil. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addressOfKey, contractNames } from '@muster/adapters';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Anvil, startAnvil } from '../../../packages/adapters/test/anvil.ts';

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const compileCache = fileURLToPath(new URL('../../../node_modules/.cache/e2e-compile', import.meta.url));
const key = `0x${'3c'.repeat(32)}` as const;
const poor = `0x${'3d'.repeat(32)}` as const;

let anvil: Anvil;
let home: string;
beforeAll(async () => {
  anvil = await startAnvil(31_340);
  await anvil.fund(addressOfKey(key), 10n ** 19n);
  home = await mkdtemp(join(tmpdir(), 'muster-chain-'));
  await writeFile(join(home, 'key'), `${key}\n`);
});
afterAll(async () => {
  await anvil.close();
  await rm(home, { recursive: true, force: true });
});

async function muster(...given: readonly string[]) {
  const child = spawn(process.execPath, [program, '--home', home, ...given], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache, DEPLOYER: key, POOR: poor },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

interface StatusEvent {
  readonly event: string;
  readonly verified: boolean;
  readonly contracts: readonly { readonly name: string; readonly address: string; readonly problem: string | null }[];
  readonly totals: Readonly<Record<string, string>>;
}

async function statusJson(): Promise<{ readonly code: number | null; readonly status: StatusEvent }> {
  const { code, out } = await muster('--json', 'chain', 'status', '--rpc', anvil.url);
  return { code, status: JSON.parse(out) as StatusEvent };
}

test('contracts are priced, deployed and looked at; foreign code ends in exit code 1', async () => {
  const rpc = ['--rpc', anvil.url];
  const estimate = await muster('chain', 'deploy', ...rpc, '--key', 'env:DEPLOYER', '--estimate');
  expect(estimate).toMatchObject({ code: 0, err: '' });
  expect(estimate.out).toContain(`${contractNames.length} contracts to create`);

  const short = await muster('chain', 'deploy', ...rpc, '--key', 'env:POOR');
  expect(short.code).toBe(1);
  expect(short.err).toContain('send it');

  const deployed = await muster('chain', 'deploy', ...rpc, '--key', join(home, 'key'), '--min-stake', '0.25', '--chain-id', '31340');
  expect(deployed).toMatchObject({ code: 0, err: '' });
  for (const name of contractNames) expect(deployed.out).toContain(name);

  const { code, status } = await statusJson();
  expect({ code, event: status.event, verified: status.verified }).toEqual({ code: 0, event: 'chain.status', verified: true });
  expect(status.contracts.map(({ name }) => name)).toEqual(contractNames);
  expect(status.totals).toMatchObject({ stakesWei: '0', burntWei: '0' });
  const people = await muster('chain', 'status', ...rpc);
  expect(people.out).toContain('0.25 ether');
  expect(people.out).not.toContain('NOT VERIFIED');

  const address = status.contracts[0]?.address;
  await anvil.request('anvil_setCode', [address, '0x60006000fd']);
  const foreign = await statusJson();
  expect({ code: foreign.code, verified: foreign.status.verified }).toEqual({ code: 1, verified: false });
  expect(foreign.status.contracts[0]?.problem).toContain('bytes of code');
});

test.each([
  [['--rpc', 'ftp://somewhere', '--key', 'env:DEPLOYER'], '--rpc'],
  [['--key', 'env:NOT_SET'], 'NOT_SET'],
  [['--key', '/no/such/file'], '--key'],
  [['--key', 'env:DEPLOYER', '--min-stake', 'much'], 'ether'],
  [['--key', 'env:DEPLOYER', '--set', 'colour=blue'], 'minStakeWei'],
  [['--key', 'env:DEPLOYER', '--confirmations', '-1'], '--confirmations'],
])('`muster chain deploy %s` is refused with a reason', async (options, reason) => {
  const { code, err } = await muster('chain', 'deploy', ...(options.includes('--rpc') ? [] : ['--rpc', anvil.url]), ...options);
  expect(code).toBe(1);
  expect(err).toContain('error USAGE');
  expect(err).toContain(reason);
  expect(err).not.toContain(key.slice(2));
});

test('a chain without an address book is refused with what to do', async () => {
  const other = await startAnvil(31_341);
  const { code, err } = await muster('chain', 'status', '--rpc', other.url);
  await other.close();
  expect(code).toBe(1);
  expect(err).toContain('muster chain deploy --rpc');
});
