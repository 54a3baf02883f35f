/**
 * Whether the contracts at a network's addresses are the ones of this repository, wired to one another: by the transactions that created
 * them, on a chain that can be read from its first block; or by the code that stands there, through any endpoint.
 *
 * An audit trusts the events of these addresses, so it must know whose code emitted them.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { decodeDeployData, getContractAddress, type Hex, keccak256, toHex } from 'viem';
import { argumentProblem, type ContractName, contractNames, defaultSettings, type DeploymentSettings, entryOf } from './catalogue.ts';
import { ask, type ChainEndpoint, type Connection, openConnection } from './connection.ts';
import { lowerAddress } from './events.ts';
import { expectedCode } from './expected-code.ts';

/**
 * Returns when every contract in `info` was created with this repository's code and wired to the others. Throws AUDIT_FAILED with the
 * details `{object, problem}` naming the first contract that was not; CHAIN_UNREACHABLE.
 *
 * Public chains are not searched from their first block in reasonable time: see `verifyCode`.
 */
export async function verifyDeployment(endpoint: ChainEndpoint, info: ChainInfo): Promise<void> {
  const connection = openConnection(endpoint);
  const { client } = connection;
  const missing = new Map<string, ContractName>(contractNames.map((name) => [info.contracts[name], name]));
  for (const [address, name] of missing) {
    if (address !== entryOf(name).predeployedAt) continue;
    await checkPredeployed(connection, name, info);
    missing.delete(address);
  }
  const head = await ask('deployment', () => client.getBlockNumber({ cacheTime: 0 }));
  for (let number = 0n; number <= head && missing.size > 0; number++) {
    const block = await ask('deployment', () => client.getBlock({ blockNumber: number, includeTransactions: true }));
    for (const { to, from, nonce, input } of block.transactions) {
      if (to !== null) continue;
      const address = lowerAddress(getContractAddress({ from, nonce: BigInt(nonce) }));
      const name = missing.get(address);
      if (name === undefined) continue;
      checkCreation(name, address, input, info);
      missing.delete(address);
    }
  }
  for (const [address, name] of missing) throw foreign(name, address as Address, 'no transaction of this chain created it');
}

function checkCreation(name: ContractName, address: Address, input: Hex, info: ChainInfo): void {
  const { abi, bytecode, constructor } = entryOf(name);
  if (!input.startsWith(bytecode)) throw foreign(name, address, 'it was created with other code than this repository’s');
  const { args } = decodeDeployData({ abi, bytecode, data: input });
  const problem = argumentProblem(constructor, args ?? [], info.contracts, null);
  if (problem !== null) throw foreign(name, address, problem);
}

/** A contract of the genesis: its code, and the other contracts in its storage. */
async function checkPredeployed(connection: Connection, name: ContractName, info: ChainInfo): Promise<void> {
  const { client } = connection;
  const address = info.contracts[name];
  const code = await ask('deployment', () => client.request({ method: 'eth_getCode', params: [address, 'latest'] }));
  // Who made the network chose its other settings; they do not show in the code.
  const expected = await expectedCode(name, info, defaultSettings(address));
  const problem = codeProblem(code, expected);
  if (problem !== null) throw foreign(name, address, problem);
  const wiring = await storageProblem(connection, name, info);
  if (wiring !== null) throw foreign(name, address, wiring);
}

/** What a contract that keeps its constructor's arguments in storage works with, where that is not what it should be. */
async function storageProblem(connection: Connection, name: ContractName, info: ChainInfo): Promise<string | null> {
  const { predeployedAt, constructor } = entryOf(name);
  if (predeployedAt === undefined) return null;
  for (const [slot, argument] of constructor.entries()) {
    if (!('contract' in argument)) continue;
    const params = [info.contracts[name], toHex(slot), 'latest'] as const;
    const word = await ask('deployment', () => connection.client.request({ method: 'eth_getStorageAt', params: [...params] }));
    const found = `0x${(word ?? '0x').slice(2).padStart(64, '0').slice(24)}`;
    const other = info.contracts[argument.contract];
    if (found !== other) return `it works with ${found} as ${argument.contract} instead of ${other}`;
  }
  return null;
}

function foreign(name: ContractName, address: Address, problem: string): MusterError {
  return new MusterError('AUDIT_FAILED', `contract ${name} at ${address}: ${problem}`, {
    object: `contract ${address}`,
    problem: `${name}: ${problem}`,
  });
}

/** What stands at one contract's address. */
export interface CodeReport {
  readonly name: ContractName;
  readonly address: Address;
  /** keccak256 of the runtime code found; null where there is none. */
  readonly codeHash: Hex | null;
  /** Null where the code is exactly what this repository's contract leaves, immutables included. */
  readonly problem: string | null;
}

/**
 * Compares the code at every address with what this repository's contract would have left there, wired as `info` says and made with
 * `settings`. Settings that a contract keeps in its storage do not show in its code. Throws CHAIN_UNREACHABLE.
 */
export async function verifyCode(endpoint: ChainEndpoint, info: ChainInfo, settings: DeploymentSettings): Promise<CodeReport[]> {
  const connection = openConnection(endpoint);
  const { client } = connection;
  return await Promise.all(
    contractNames.map(async (name) => {
      const address = info.contracts[name];
      const code = await ask('code', () => client.request({ method: 'eth_getCode', params: [address, 'latest'] }));
      if (code === '0x') return { name, address, codeHash: null, problem: 'there is no code' };
      const expected = await expectedCode(name, info, settings);
      const problem = codeProblem(code, expected) ?? (await storageProblem(connection, name, info));
      return { name, address, codeHash: keccak256(code), problem };
    }),
  );
}

function codeProblem(code: Hex, expected: Hex): string | null {
  if (code.toLowerCase() === expected) return null;
  if (code.length !== expected.length) {
    return `${code.length / 2 - 1} bytes of code, where this repository's contract has ${expected.length / 2 - 1}`;
  }
  let index = 2;
  while (code.charAt(index).toLowerCase() === expected.charAt(index)) index++;
  const start = Math.floor((index - 2) / 2);
  return `its code differs at byte ${start}: other code, or wired to other contracts`;
}
