/** Deployments on anvil and the embedded chain: finished after any interruption, refused with a reason, verified by what stands there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Address } from '@muster/protocol';
import { type Hex, keccak256, toHex } from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addressBookFile, fileJournal, publicPartOf, readAddressBook } from '../src/evm/contracts/address-book.ts';
import { contractNames, defaultSettings, planContracts } from '../src/evm/contracts/catalogue.ts';
import { openConnection } from '../src/evm/contracts/connection.ts';
import { type DeploymentProgress, deployToFolder, estimateDeployment } from '../src/evm/contracts/deploy.ts';
import { verifyCode } from '../src/evm/contracts/deployment.ts';
import { AccountSender } from '../src/evm/contracts/transactions.ts';
import { addressOfKey, connectChain, inProcessTransport, openEmbeddedChain, systemClock, verifyDeployment } from '../src/index.ts';
import { type Anvil, startAnvil } from './anvil.ts';
import { privateKeyToAccount } from 'viem/accounts';

const CHAIN_ID = 31_339;
const ETHER = 10n ** 18n;
const childFile = fileURLToPath(new URL('deploy-child.ts', import.meta.url));
const somebody = `0x${'5b'.repeat(20)}` as Address;

let anvil: Anvil;
let folder: string;
let privateKey: Hex;
let deployer: Address;
let keys = 0;

beforeAll(async () => {
  anvil = await startAnvil(CHAIN_ID);
});
afterAll(() => anvil.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-deploy-'));
  privateKey = keccak256(toHex(`deployer ${keys++}`));
  deployer = addressOfKey(privateKey);
  await anvil.fund(deployer, 10n * ETHER);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const options = () => ({ rpcUrl: anvil.url, privateKey, pollMs: 1 });
const transfer = (): Promise<unknown> =>
  new AccountSender(openConnection({ rpcUrl: anvil.url, pollMs: 1 }), CHAIN_ID, privateKeyToAccount(privateKey)).send('transfer', {
    to: somebody,
    data: '0x',
    valueWei: 1n,
  });

/** Runs a deployment in another process and kills it with SIGKILL right after `steps` steps were told. */
async function killAfter(steps: number): Promise<string[]> {
  const child = spawn(process.execPath, [childFile, anvil.url, folder, privateKey], { stdio: ['pipe', 'pipe', 'inherit'] });
  const told: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    told.push(line.trim());
    if (told.length === steps || line.startsWith('finished')) break;
    child.stdin.write('on\n');
  }
  const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null;
  child.kill('SIGKILL');
  await ended;
  return told;
}

describe('deployToFolder', () => {
  it('creates every contract, checks its code and keeps an address book without secrets', async () => {
    const steps: DeploymentProgress[] = [];
    const secret = `${anvil.url.replace('://', '://name:password@')}/v3/apikey?token=1`;
    const book = await deployToFolder(folder, { ...options(), owner: somebody, onProgress: (progress) => void steps.push(progress) });
    expect(book).toEqual(await readAddressBook(folder, CHAIN_ID));
    expect(book.contracts).toEqual(planContracts(deployer, 0));
    expect(book.settings.owner).toBe(somebody);
    expect(Object.keys(book.codeHashes)).toEqual(contractNames);
    expect(steps.filter(({ step }) => step === 'created').length).toBe(contractNames.length);
    expect(await readdir(folder)).toEqual([`addresses-${CHAIN_ID}.json`]);
    const reader = await connectChain({ rpcUrl: anvil.url, info: book });
    expect((await reader.head()).block).toBeGreaterThanOrEqual(book.block);
    expect(book.rpcUrl).toBe(anvil.url);
    expect(publicPartOf(secret)).toBe(anvil.url);
    expect(await readFile(addressBookFile(folder, CHAIN_ID), 'utf8')).not.toContain(privateKey.slice(2));
  });

  it('says before it sends what it will cost, and costs no more', async () => {
    const plan = await estimateDeployment(options());
    expect(plan.remaining).toBe(contractNames.length);
    expect(await readdir(folder)).toEqual([]);
    const book = await deployToFolder(folder, options());
    expect(book.contracts).toEqual(plan.contracts);
    const gas = Object.values(book.transactions).reduce((sum, made) => sum + BigInt(made?.gasUsed ?? 0), 0n);
    expect(gas).toBeLessThanOrEqual(plan.gas);
    expect(gas).toBeGreaterThan((plan.gas * 9n) / 10n);
    const spent = 10n * ETHER - BigInt((await anvil.request('eth_getBalance', [deployer, 'latest'])) as Hex);
    expect(spent).toBeGreaterThan(0n);
    expect(spent).toBeLessThanOrEqual(plan.mostWei);
  });

  it('goes on after kill -9 at any step, with the same addresses and each contract created once', async () => {
    const steps = 1 + 2 * contractNames.length;
    for (const at of [1, 2, 3, Math.floor(steps / 2), steps]) {
      privateKey = keccak256(toHex(`killed ${keys++}`));
      deployer = addressOfKey(privateKey);
      await anvil.fund(deployer, 10n * ETHER);
      const told = await killAfter(at);
      expect(told.length).toBe(at);
      const seen: DeploymentProgress[] = [];
      const book = await deployToFolder(folder, { ...options(), onProgress: (progress) => void seen.push(progress) });
      // Nothing is written down before the plan is told.
      expect(seen[0]).toMatchObject({ step: 'planned', resumed: at > 1 });
      expect(book.contracts).toEqual(planContracts(deployer, 0));
      expect(Number(await anvil.request('eth_getTransactionCount', [deployer, 'latest']))).toBe(contractNames.length);
      expect(await readdir(folder)).toEqual([`addresses-${CHAIN_ID}.json`]);
      await rm(addressBookFile(folder, CHAIN_ID));
    }
  });

  it('goes on when the fee it had signed for no longer suffices', async () => {
    await anvil.request('evm_setAutomine', [false]);
    await expect(deployToFolder(folder, { ...options(), timeoutMs: 50 })).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    await anvil.request('anvil_dropAllTransactions');
    await anvil.request('anvil_setNextBlockBaseFeePerGas', [toHex(50n * 10n ** 9n)]);
    await anvil.request('evm_mine');
    await anvil.request('evm_setAutomine', [true]);
    const book = await deployToFolder(folder, options());
    expect(book.contracts).toEqual(planContracts(deployer, 0));
    const first = book.transactions[contractNames[0] ?? 'jobManager']?.transaction;
    const made = (await anvil.request('eth_getTransactionByHash', [first])) as { maxFeePerGas: Hex };
    expect(BigInt(made.maxFeePerGas)).toBeGreaterThan(40n * 10n ** 9n);
  });

  it('says how much is missing', async () => {
    await anvil.fund(deployer, 1000n);
    const refused = await deployToFolder(folder, options()).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'CHAIN_REVERTED',
      details: { error: 'InsufficientFunds', account: deployer, balanceWei: 1000n },
    });
    const { neededWei } = (refused as { details: { neededWei: bigint } }).details;
    expect(neededWei).toBeGreaterThan(10n ** 12n);
    expect((refused as Error).message).toContain(String(neededWei));
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses another chain than the one named', async () => {
    const details = { error: 'WrongChain', expected: 1, actual: CHAIN_ID };
    await expect(deployToFolder(folder, { ...options(), chainId: 1 })).rejects.toMatchObject({ code: 'CHAIN_REVERTED', details });
  });

  it('refuses settings that a constructor cannot take', async () => {
    const bad = { ...options(), minStakeWei: -1n };
    await expect(deployToFolder(folder, bad)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
  });

  it('says that the addresses are lost when the account was used in between, and begins anew only when told', async () => {
    await killAfter(3);
    await transfer();
    const details = { error: 'DeploymentDisturbed', nonce: 1, account: deployer };
    await expect(deployToFolder(folder, options())).rejects.toMatchObject({ code: 'DEPLOYMENT_REFUSED', details });
    await expect(deployToFolder(folder, options())).rejects.toMatchObject({ details });
    const book = await deployToFolder(folder, { ...options(), restart: true });
    expect(book.contracts).toEqual(planContracts(deployer, 2));
  });

  it('does not mix an unfinished deployment with another', async () => {
    await killAfter(3);
    const details = { error: 'DeploymentUnfinished', begun: 1 };
    await expect(deployToFolder(folder, { ...options(), owner: somebody })).rejects.toMatchObject({ details });
    await expect(deployToFolder(folder, { ...options(), privateKey: keccak256('0x01') })).rejects.toMatchObject({ details });
    await deployToFolder(folder, options());
    await expect(deployToFolder(folder, options())).rejects.toMatchObject({ details: { error: 'AlreadyDeployed', chainId: CHAIN_ID } });
  });

  it('waits for transactions of the account that are on their way', async () => {
    await anvil.request('evm_setAutomine', [false]);
    const sent = transfer();
    for (;;) {
      const pending = await anvil.request('eth_getTransactionCount', [deployer, 'pending']);
      if (Number(pending) === 1) break;
    }
    await expect(deployToFolder(folder, options())).rejects.toMatchObject({ details: { error: 'DeployerBusy', included: 0, pending: 1 } });
    await anvil.request('evm_setAutomine', [true]);
    await anvil.request('evm_mine');
    await sent;
  });

  it('says which file is damaged', async () => {
    await writeFile(addressBookFile(folder, CHAIN_ID), '{');
    await expect(readAddressBook(folder, CHAIN_ID)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    await writeFile(addressBookFile(folder, CHAIN_ID), '{"version":2}');
    await expect(readAddressBook(folder, CHAIN_ID)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
    const journal = fileJournal(folder, CHAIN_ID);
    await writeFile(journal.place, '{"version":1}');
    await expect(journal.read()).rejects.toMatchObject({ code: 'FIELD_INVALID' });
  });
});

describe('verifyCode', () => {
  it('takes what was deployed, and names what is missing, foreign or wired to others', async () => {
    const first = await deployToFolder(folder, options());
    const settings = defaultSettings(deployer);
    const verify = async (contracts: Partial<typeof first.contracts>) => {
      const reports = await verifyCode(
        { rpcUrl: anvil.url },
        { chainId: CHAIN_ID, contracts: { ...first.contracts, ...contracts } },
        settings,
      );
      return reports.filter(({ problem }) => problem !== null);
    };
    expect(await verify({})).toEqual([]);
    expect(await verify({ modelRegistry: somebody })).toContainEqual({
      name: 'modelRegistry',
      address: somebody,
      codeHash: null,
      problem: 'there is no code',
    });
    const { modelRegistry } = first.contracts;
    expect((await verify({ faultVerifier: modelRegistry })).map(({ name }) => name)).toContain('faultVerifier');
    const second = await deployToFolder(folder, { ...options(), restart: true });
    const [wired] = await verify({ faultVerifier: second.contracts.faultVerifier }).then((all) =>
      all.filter(({ name }) => name === 'faultVerifier'),
    );
    expect(wired?.problem).toContain('wired to other contracts');
  });

  it('agrees with the creating transactions on the embedded chain', async () => {
    const accounts = [{ address: deployer, balanceWei: 0n }];
    const chain = await openEmbeddedChain({ path: ':memory:', chainId: 4243, genesis: { accounts }, clock: systemClock, followMs: null });
    const transport = inProcessTransport(chain);
    const book = await deployToFolder(folder, { transport, privateKey });
    expect(book).toEqual(await readAddressBook(folder, 4243));
    expect(book.rpcUrl).toBeNull();
    await verifyDeployment({ transport }, book);
    await chain.close();
  });
});
