/** A recorded chain with Muster's contracts for the tests of verification, and the same checks without executing everything each time. */
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { MusterError, parseAddress, sha256, type NodeId, type Root } from '@muster/protocol';
import { custom, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { openEmbeddedChain } from '../src/evm/embedded/index.ts';
import { canonicalGenesis } from '../src/evm/embedded/genesis.ts';
import { chainRules } from '../src/evm/embedded/machine.ts';
import type { ChainStore } from '../src/evm/embedded/store.ts';
import { checkLinks, checkRecord, rebuildRecord } from '../src/evm/verify/verify-chain.ts';
import { ACCOUNTS, addressOf, COMPLIANCE_CHAIN_ID as chainId, ETHER, keyOf, underTest } from './chain-compliance-setup.ts';

const SECONDS = 1_700_000_000;
export const genesis = {
  accounts: Array.from({ length: ACCOUNTS }, (_, index) => ({ address: addressOf(index), balanceWei: 1000n * ETHER })),
};
export const common = chainRules(chainId);
export const options = { chainId, genesis };

const root = (text: string): Root => `0x${Buffer.from(sha256(Buffer.from(text))).toString('hex')}` as Root;

/** Writes a chain of 41 transactions to `path`: contracts, registrations, jobs, a refused call and one that waits for its nonce. */
export async function recordChain(path: string): Promise<void> {
  let time = SECONDS * 1000;
  let drawn = 0;
  const chain = await openEmbeddedChain({
    path,
    ...options,
    clock: { now: () => (time += 700) },
    random: (length) => sha256(Buffer.from(`randomness ${drawn++}`)).subarray(0, length),
    followMs: null,
  });
  const chainUnderTest = await underTest({ transport: custom(chain) }, { nextBlock: () => Promise.resolve(), close: () => chain.close() });
  const writers = await Promise.all([1, 2, 3, 4].map((index) => chainUnderTest.account(index)));
  for (const [index, writer] of writers.entries()) {
    for (let turn = 0; turn < 4; turn++) {
      const node = root(`node ${index} ${turn}`) as string as NodeId;
      const rest = { region: 'eu', caps: `0x${'0'.repeat(62)}00` as Root, slaId: root('sla'), stakeWei: ETHER } as const;
      await writer.send({ call: 'registerNode', node, role: 'trainer', ...rest });
      await writer.send({ call: 'heartbeat', node });
    }
    await writer.send({ call: 'transfer', to: parseAddress(addressOf(index + 40).toLowerCase()), amountWei: BigInt(index) });
  }
  const key = privateKeyToAccount(keyOf(5));
  const sign = (nonce: number, data: Hex): Promise<Hex> =>
    key.signTransaction({ chainId, nonce, gas: 100_000n, maxFeePerGas: 0n, to: chainUnderTest.reader.info.contracts.jobManager, data });
  for (const nonce of [0, 9]) await chain.request({ method: 'eth_sendRawTransaction', params: [await sign(nonce, '0xdeadbeef')] });
  await chain.close();
}

/** Seeded whole numbers below `limit`, so that a failure can be repeated. */
export function picker(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return Math.floor(((state >>> 0) / 2 ** 32) * limit);
  };
}

export const open = (path: string): DatabaseSync => new DatabaseSync(path);

/** Object named by the fault that `check` throws; null where it throws none. Anything SQLite throws counts as a fault of the file. */
export async function faultOf(check: () => unknown): Promise<string | null> {
  try {
    await check();
    return null;
  } catch (error) {
    if (error instanceof MusterError) return error.code === 'AUDIT_FAILED' ? String(error.details['object']) : `unexpected ${error.code}`;
    return 'chain file';
  }
}

const blockRows = (file: DatabaseSync): string =>
  JSON.stringify(file.prepare('SELECT CAST(number AS TEXT), hash, rlp FROM blocks ORDER BY number').all());

const rebuild = (file: DatabaseSync): Promise<ChainStore> =>
  rebuildRecord(file, { chainId, common, genesis: canonicalGenesis(genesis.accounts) });

/** The checks of `verifyChainFile` on an open file; blocks that are those of `original` are not executed again. */
export async function quickCheck(original: DatabaseSync): Promise<(file: DatabaseSync) => Promise<void>> {
  const known = await rebuild(original);
  const knownBlocks = blockRows(original);
  return async (file) => {
    await checkLinks(file, common);
    checkRecord(file, blockRows(file) === knownBlocks ? known : await rebuild(file), common);
  };
}

export const tableNames = ['meta', 'blocks', 'transactions', 'logs', 'nodes', 'held'] as const;

const cell = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? `0x${Buffer.from(value).toString('hex')}` : typeof value === 'bigint' ? `${value}n` : value;

/** Every row of every table, with types. */
export function dump(file: DatabaseSync): string {
  const rows = (table: string): Record<string, SQLOutputValue>[] => file.prepare(`SELECT * FROM ${table}`).all();
  const schema = rows('sqlite_schema').map(({ name, sql }) => [name, sql]);
  return JSON.stringify([schema, tableNames.map(rows)], cell);
}
