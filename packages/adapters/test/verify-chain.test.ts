import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { createBlock, createBlockFromRLP, type Block, type HeaderData } from '@ethereumjs/block';
import type { ChainInfo } from '@muster/ports';
import { parseAddress } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectChain, inProcessTransport, openVerifiedChain, verifyChainFile } from '../src/index.ts';
import { contractNames } from '../src/evm/contracts/catalogue.ts';
import { blockOptions, openHeader, sealBlock } from '../src/evm/embedded/machine.ts';
import { addressOf } from './chain-compliance-setup.ts';
import { common, dump, faultOf, genesis, open, options, picker, quickCheck, recordChain, tableNames } from './verify-chain-helpers.ts';

const SEED = 20_261_121;
const TRANSACTIONS = 52;

let folder: string;
let path: string;
let scratch: string;
let check: (file: DatabaseSync) => Promise<void>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-verify-test-'));
  path = join(folder, 'chain.sqlite');
  scratch = join(folder, 'scratch.sqlite');
  await recordChain(path);
  await copyFile(path, scratch);
  const file = open(scratch);
  check = await quickCheck(file);
  file.close();
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

/** A copy of the chain, changed by `change`; the name of what full verification finds. */
async function found(change: (file: DatabaseSync) => void): Promise<string | null> {
  await copyFile(path, scratch);
  const file = open(scratch);
  change(file);
  file.close();
  return faultOf(() => verifyChainFile(scratch, options));
}

const headBlock = (file: DatabaseSync): Block => {
  const row = file.prepare('SELECT rlp FROM blocks ORDER BY number DESC LIMIT 1').get();
  return createBlockFromRLP(row?.['rlp'] as Uint8Array, blockOptions(common));
};

/** The first two nodes' values, exchanged. */
function swapNodes(file: DatabaseSync): void {
  const [a, b] = file.prepare('SELECT key, value FROM nodes ORDER BY key LIMIT 2').all();
  const put = file.prepare('UPDATE nodes SET value = ? WHERE key = ?');
  put.run(a?.['value'] ?? null, b?.['key'] ?? null);
  put.run(b?.['value'] ?? null, a?.['key'] ?? null);
}

test('an untouched record passes, is counted, and nothing on disk changes', async () => {
  const before = [await readdir(folder), await readFile(path)];
  const progress: string[] = [];
  const report = await verifyChainFile(path, { ...options, onProgress: (done, all) => progress.push(`${done}/${all}`) });
  expect(report).toMatchObject({ transactions: TRANSACTIONS, receipts: TRANSACTIONS, head: { number: report.blocks - 1 } });
  expect(report.logs).toBeGreaterThan(15);
  expect(report.trieNodes).toBeGreaterThan(200);
  expect(progress.at(-1)).toBe(`${report.blocks}/${report.blocks}`);
  expect([await readdir(folder), await readFile(path)]).toEqual(before);
});

test('the verified record answers reads like the chain and takes no transactions', async () => {
  const { chain, report } = await openVerifiedChain(path, options);
  const zero = parseAddress(addressOf(0).toLowerCase());
  const contracts = Object.fromEntries(contractNames.map((name) => [name, zero])) as ChainInfo['contracts'];
  const info = { chainId: options.chainId, contracts };
  const reader = await connectChain({ transport: inProcessTransport(chain), info });
  expect((await reader.head()).block).toBe(report.head.number);
  expect(await reader.balance(parseAddress(addressOf(41).toLowerCase()))).toBe(1n);
  const logs = await chain.request({ method: 'eth_getLogs', params: [{ fromBlock: '0x0' }] });
  expect(logs).toHaveLength(report.logs);
  await expect(chain.request({ method: 'eth_sendRawTransaction', params: ['0x00'] })).rejects.toThrow(/takes no transactions/);
  await chain.close();
});

const objects: Readonly<Record<(typeof tableNames)[number], RegExp>> = {
  meta: /^meta /,
  blocks: /^block \d+$/,
  transactions: /^(receipt of )?transaction 0x[0-9a-f]{64} in block \d+$/,
  logs: /^log \d+ of block \d+$/,
  nodes: /^(trie node|code) 0x[0-9a-f]{64}$/,
  held: /^held-back transaction 0x[0-9a-f]{64}$/,
};
const KEYS: Readonly<Record<string, readonly string[]>> = {
  meta: ['key'],
  blocks: ['number'],
  transactions: ['hash'],
  logs: ['block', 'log'],
  nodes: ['key'],
  held: ['hash'],
};

/** The value with one bit changed; a null becomes bytes, and an empty blob gets a byte. */
function flipped(value: SQLInputValue, pick: (limit: number) => number): SQLInputValue {
  if (value === null || (value instanceof Uint8Array && value.length === 0)) return Buffer.from([pick(256)]);
  if (value instanceof Uint8Array) {
    const copy = Buffer.from(value);
    const at = pick(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << pick(8));
    return copy;
  }
  if (typeof value === 'string') {
    const at = pick(value.length);
    return value.slice(0, at) + String.fromCharCode(value.charCodeAt(at) ^ (1 << pick(7))) + value.slice(at + 1);
  }
  return BigInt(value as number) ^ (1n << BigInt(pick(62)));
}

test(`one bit changed in any column of any table is found and named (seed ${SEED})`, async () => {
  const pick = picker(SEED);
  await copyFile(path, scratch);
  const file = open(scratch);
  const silent: string[] = [];
  let changes = 0;
  for (const table of tableNames) {
    const rows = file.prepare(`SELECT * FROM ${table}`).all();
    expect(rows.length, table).toBeGreaterThan(0);
    for (const column of Object.keys(rows[0] ?? {})) {
      for (let sample = 0; sample < 7; sample++) {
        const row = rows[pick(rows.length)] ?? {};
        const keys = KEYS[table] ?? [];
        const where = keys.map((key) => `${key} = ?`).join(' AND ');
        file.exec('BEGIN');
        const update = file.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${where}`);
        // Where the changed value is another row's key, another bit is changed.
        for (let done = false; !done;) {
          try {
            update.run(flipped(row[column] ?? null, pick), ...keys.map((key) => row[key] ?? null));
            done = true;
          } catch (error) {
            expect(String(error)).toMatch(/UNIQUE/);
          }
        }
        const object = await faultOf(() => check(file));
        if (object === null || !objects[table].test(object)) silent.push(`${table}.${column} ${sample}: ${object}`);
        file.exec('ROLLBACK');
        changes++;
      }
    }
  }
  expect(await faultOf(() => check(file))).toBeNull();
  file.close();
  expect(silent).toEqual([]);
  expect(changes).toBeGreaterThan(200);
}, 120_000);

test(`a byte changed anywhere in the file is found, unless every row still reads the same (seed ${SEED})`, async () => {
  const pick = picker(SEED + 1);
  const image = await readFile(path);
  await copyFile(path, scratch);
  const untouched = open(scratch);
  const original = dump(untouched);
  untouched.close();
  let faults = 0;
  for (let flip = 0; flip < 112; flip++) {
    const changed = Buffer.from(image);
    const at = pick(image.length);
    changed[at] = (changed[at] ?? 0) ^ (1 + pick(255));
    await Promise.all(['', '-wal', '-shm'].map((suffix) => rm(scratch + suffix, { force: true })));
    await writeFile(scratch, changed);
    // Some go the whole way; the others differ from it only in not executing unchanged blocks again.
    const whole = flip % 16 === 0;
    const object = await faultOf(async () => {
      if (whole) return verifyChainFile(scratch, options);
      const file = open(scratch);
      return check(file).finally(() => file.close());
    });
    if (whole && object === 'chain file') expect.fail(`offset ${at}: an error that is not AUDIT_FAILED`);
    if (object === null) {
      const file = open(scratch);
      expect(dump(file) === original, `offset ${at} of ${image.length}`).toBe(true);
      file.close();
    } else faults++;
  }
  expect(faults).toBeGreaterThan(60);
}, 120_000);

test('rows that are missing, swapped or added are found', async () => {
  const report = await verifyChainFile(path, options);
  const head = report.head.number;
  expect(await found((file) => file.exec('DELETE FROM blocks WHERE number = 20'))).toBe('block 20');
  expect(await found((file) => file.exec('DELETE FROM blocks WHERE number = 0'))).toBe('block 0');
  expect(await found((file) => file.exec('DELETE FROM blocks'))).toBe(`chain file ${scratch}`);
  expect(await found((file) => file.exec(`DELETE FROM blocks WHERE number = ${head}`))).toMatch(
    new RegExp(`^transaction .* in block ${head}$`),
  );
  expect(
    await found((file) =>
      file.exec(
        'UPDATE blocks SET number = 33 - number - 1000 WHERE number IN (16, 17); UPDATE blocks SET number = number + 1000 WHERE number < 0',
      ),
    ),
  ).toBe('block 16');
  expect(await found((file) => file.exec('DELETE FROM logs WHERE block = 22'))).toBe('log 0 of block 22');
  expect(await found((file) => file.exec('DELETE FROM transactions WHERE block = 9'))).toMatch(/^transaction .* in block 9$/);
  expect(await found((file) => file.exec('DELETE FROM nodes WHERE length(key) = 33'))).toMatch(/^code /);
  expect(await found((file) => file.exec("INSERT INTO meta VALUES ('more', 'x')"))).toBe('meta more');
  expect(await found((file) => file.exec('CREATE TABLE more (x INTEGER)'))).toBe('schema of more');
  expect(await found((file) => file.exec('DROP INDEX logs_by_topic'))).toBe('schema of logs_by_topic');
  expect(await found(swapNodes)).toMatch(/^trie node /);
}, 60_000);

test('a forged log is found, also with a header made to fit it', async () => {
  const forge =
    'INSERT INTO logs SELECT block, log + 1, tx, position, address, topic0, topic1, topic2, topic3, data FROM logs WHERE block = 22';
  expect(await found((file) => file.exec(forge))).toBe('log 1 of block 22');
  let number = 0n;
  const withHeader = (file: DatabaseSync): void => {
    const head = headBlock(file);
    number = head.header.number;
    const { transactions } = head;
    const made = (header: HeaderData): Block => createBlock({ header, transactions, withdrawals: [] }, blockOptions(common));
    const header = head.header.toJSON() as HeaderData;
    expect(made(header).hash()).toEqual(head.hash());
    const forged = made({ ...header, logsBloom: Buffer.alloc(256, 1), receiptTrie: Buffer.alloc(32, 7) });
    file.prepare('UPDATE blocks SET hash = ?, rlp = ? WHERE number = ?').run(forged.hash(), forged.serialize(), number);
  };
  expect(await found(withHeader)).toBe(`block ${number}`);
});

test('a forged block after the head is found: its state follows from no transaction', async () => {
  await copyFile(path, scratch);
  const file = open(scratch);
  const head = headBlock(file);
  const header = openHeader(head, Number(head.header.timestamp) + 1, Buffer.alloc(32, 3));
  const [other] = file.prepare('SELECT key FROM nodes WHERE length(key) = 32 LIMIT 1').all();
  const block = await sealBlock(header, [], other?.['key'] as Uint8Array, common);
  const number = Number(block.header.number);
  file.prepare('INSERT INTO blocks VALUES (?, ?, ?, ?)').run(number, block.hash(), Number(block.header.timestamp), block.serialize());
  file.close();
  await expect(verifyChainFile(scratch, options)).rejects.toMatchObject({
    code: 'AUDIT_FAILED',
    details: { object: `block ${number}`, problem: expect.stringContaining('another state root') as string },
  });
});

test('another chain id, other genesis accounts, no file and no database are found', async () => {
  const [first, ...others] = genesis.accounts;
  expect(await faultOf(() => verifyChainFile(path, { ...options, genesis: { accounts: others } }))).toBe('block 0');
  const poorer = { address: first?.address ?? '', balanceWei: 1n };
  expect(await faultOf(() => verifyChainFile(path, { ...options, genesis: { accounts: [poorer, ...others] } }))).toBe('block 0');
  expect(await faultOf(() => verifyChainFile(path, { ...options, chainId: 5 }))).toMatch(/block 1$/);
  expect(await faultOf(() => verifyChainFile(join(folder, 'none.sqlite'), options))).toBe(`chain file ${join(folder, 'none.sqlite')}`);
  for (const content of ['', 'not a database at all'.repeat(300)]) {
    await writeFile(scratch, content);
    expect(await faultOf(() => verifyChainFile(scratch, options))).toBe(`chain file ${scratch}`);
  }
});
