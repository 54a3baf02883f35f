/**
 * The chain's tables in one SQLite file: blocks, transactions with their receipts, logs, trie nodes, and held-back transactions.
 *
 * Each block is written in one transaction with `synchronous=FULL`, so what has been answered survives a crash and a block is there
 * whole or not at all. The file is held exclusively: a second process is refused. It stores; it does not execute or check.
 */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { MusterError } from '@muster/protocol';
import type { LogFilter } from './params.ts';

export interface StoredBlock {
  readonly number: number;
  readonly hash: Uint8Array;
  /** Seconds since 1970. */
  readonly timestamp: number;
  /** RLP of the whole block. */
  readonly rlp: Uint8Array;
}

export interface StoredTransaction {
  readonly hash: Uint8Array;
  readonly block: number;
  readonly position: number;
  readonly raw: Uint8Array;
  readonly sender: Uint8Array;
  readonly status: 0 | 1;
  readonly gasUsed: number;
  readonly cumulativeGas: number;
  readonly gasPrice: bigint;
  readonly bloom: Uint8Array;
  readonly created: Uint8Array | null;
}

export interface StoredLog {
  readonly block: number;
  readonly index: number;
  readonly transaction: Uint8Array;
  readonly position: number;
  readonly address: Uint8Array;
  readonly topics: readonly Uint8Array[];
  readonly data: Uint8Array;
}

export interface HeldTransaction {
  readonly hash: Uint8Array;
  readonly raw: Uint8Array;
}

export interface BlockRecord {
  readonly block: StoredBlock;
  readonly transactions: readonly StoredTransaction[];
  readonly logs: readonly StoredLog[];
  readonly nodes: ReadonlyMap<string, Uint8Array>;
  /** Hashes of held-back transactions that are no longer needed. */
  readonly released: readonly Uint8Array[];
}

const FORMAT = 'muster embedded chain 1';
const CACHED_NODES = 50_000;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, time INTEGER NOT NULL, rlp BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS transactions (
  hash BLOB PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, raw BLOB NOT NULL, sender BLOB NOT NULL,
  status INTEGER NOT NULL, gas_used INTEGER NOT NULL, cumulative_gas INTEGER NOT NULL, gas_price TEXT NOT NULL, bloom BLOB NOT NULL,
  created BLOB, UNIQUE (block, position)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS logs (
  block INTEGER NOT NULL, log INTEGER NOT NULL, tx BLOB NOT NULL, position INTEGER NOT NULL, address BLOB NOT NULL,
  topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL, PRIMARY KEY (block, log)) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS logs_by_address ON logs (address, block, log);
CREATE INDEX IF NOT EXISTS logs_by_topic ON logs (topic0, block, log);
CREATE TABLE IF NOT EXISTS nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS held (hash BLOB PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID, STRICT;
`;

export type Row = Record<string, SQLInputValue>;

export class ChainStore {
  private readonly database: DatabaseSync;
  private readonly statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  private readonly cache = new Map<string, Uint8Array>();

  /** Opens or creates the file. Throws HOME_LOCKED while another process has it, STORE_DAMAGED where it is not such a file. */
  constructor(path: string) {
    this.database = openDatabase(path);
    const format = this.meta('format');
    if (format === null) this.setMeta('format', FORMAT);
    else if (format !== FORMAT) throw new MusterError('STORE_DAMAGED', `${path} has the format "${format}"`, { path, format });
  }

  meta(key: string): string | null {
    return (this.one('SELECT value FROM meta WHERE key = ?', key)?.['value'] as string | undefined) ?? null;
  }

  setMeta(key: string, value: string): void {
    this.statement('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(key, value);
  }

  head(): StoredBlock | null {
    return asBlock(this.one('SELECT * FROM blocks ORDER BY number DESC LIMIT 1'));
  }

  block(place: number | { readonly hash: Uint8Array }): StoredBlock | null {
    return asBlock(
      typeof place === 'number'
        ? this.one('SELECT * FROM blocks WHERE number = ?', place)
        : this.one('SELECT * FROM blocks WHERE hash = ?', place.hash),
    );
  }

  /** Number of blocks, genesis included. */
  blockCount(): number {
    return Number(this.one('SELECT count(*) AS n FROM blocks')?.['n'] ?? 0);
  }

  transaction(hash: Uint8Array): StoredTransaction | null {
    const row = this.one('SELECT * FROM transactions WHERE hash = ?', hash);
    return row === null ? null : asTransaction(row);
  }

  /** In the order of the block. */
  transactionsOf(block: number): StoredTransaction[] {
    return this.all('SELECT * FROM transactions WHERE block = ? ORDER BY position', block).map(asTransaction);
  }

  logsOf(block: number, position: number): StoredLog[] {
    return this.all('SELECT * FROM logs WHERE block = ? AND position = ? ORDER BY log', block, position).map(asLog);
  }

  /** At most `limit` matching logs with `from <= block <= to`, in order. */
  logs(filter: Pick<LogFilter, 'addresses' | 'topics'>, from: number, to: number, limit: number): StoredLog[] {
    const clauses = ['block BETWEEN ? AND ?'];
    const values: SQLInputValue[] = [from, to];
    const oneOf = (column: string, options: readonly Uint8Array[]): void => {
      clauses.push(`${column} IN (${options.map(() => '?').join(', ')})`);
      values.push(...options);
    };
    if (filter.addresses.length > 0) oneOf('address', filter.addresses);
    filter.topics.forEach((options, position) => {
      if (options !== null) oneOf(`topic${position}`, options);
      else clauses.push(`topic${position} IS NOT NULL`);
    });
    return this.all(`SELECT * FROM logs WHERE ${clauses.join(' AND ')} ORDER BY block, log LIMIT ?`, ...values, limit).map(asLog);
  }

  /** A trie node or contract code by unprefixed hexadecimal key. */
  readonly node = (key: string): Uint8Array | undefined => {
    const cached = this.cache.get(key);
    if (cached !== undefined) return cached;
    const value = this.one('SELECT value FROM nodes WHERE key = ?', Buffer.from(key, 'hex'))?.['value'] as Uint8Array | undefined;
    if (value !== undefined) this.remember(key, value);
    return value;
  };

  /** Writes one block durably: when this returns it survives a crash. */
  append(record: BlockRecord): void {
    this.database.exec('BEGIN IMMEDIATE');
    try {
      const { block } = record;
      this.statement('INSERT INTO blocks VALUES (?, ?, ?, ?)').run(block.number, block.hash, block.timestamp, block.rlp);
      const addTransaction = this.statement('INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
      for (const t of record.transactions) {
        const results = [t.status, t.gasUsed, t.cumulativeGas, t.gasPrice.toString(), t.bloom, t.created];
        addTransaction.run(t.hash, t.block, t.position, t.raw, t.sender, ...results);
      }
      const addLog = this.statement('INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
      for (const log of record.logs) {
        const topics = [0, 1, 2, 3].map((position) => log.topics[position] ?? null);
        addLog.run(log.block, log.index, log.transaction, log.position, log.address, ...topics, log.data);
      }
      const addNode = this.statement('INSERT OR IGNORE INTO nodes VALUES (?, ?)');
      for (const [key, value] of record.nodes) addNode.run(Buffer.from(key, 'hex'), value);
      for (const hash of record.released) this.statement('DELETE FROM held WHERE hash = ?').run(hash);
      this.database.exec('COMMIT');
    } catch (error) {
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
      throw error;
    }
    for (const [key, value] of record.nodes) this.remember(key, value);
  }

  /** Keeps a transaction that cannot run yet; durable when this returns. */
  hold(held: HeldTransaction, replaced: readonly Uint8Array[]): void {
    this.database.exec('BEGIN IMMEDIATE');
    try {
      for (const hash of replaced) this.statement('DELETE FROM held WHERE hash = ?').run(hash);
      this.statement('INSERT OR REPLACE INTO held VALUES (?, ?)').run(held.hash, held.raw);
      this.database.exec('COMMIT');
    } catch (error) {
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
      throw error;
    }
  }

  release(hash: Uint8Array): void {
    this.statement('DELETE FROM held WHERE hash = ?').run(hash);
  }

  held(): HeldTransaction[] {
    return this.all('SELECT * FROM held').map((row) => ({ hash: row['hash'] as Uint8Array, raw: row['raw'] as Uint8Array }));
  }

  /** Rows of a query without parameters, one at a time; nothing may be written while they are read. */
  rows(sql: string): IterableIterator<Row> {
    return this.database.prepare(sql).iterate();
  }

  close(): void {
    this.database.close();
  }

  private remember(key: string, value: Uint8Array): void {
    if (this.cache.size >= CACHED_NODES) {
      let drop = CACHED_NODES / 10;
      for (const oldest of this.cache.keys()) {
        if (drop-- === 0) break;
        this.cache.delete(oldest);
      }
    }
    this.cache.set(key, value);
  }

  private statement(sql: string): ReturnType<DatabaseSync['prepare']> {
    let statement = this.statements.get(sql);
    if (statement === undefined) {
      // Log filters make many shapes; forgetting all of them now and then bounds the memory.
      if (this.statements.size >= 200) this.statements.clear();
      statement = this.database.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }

  private one(sql: string, ...values: SQLInputValue[]): Row | null {
    return this.statement(sql).get(...values) ?? null;
  }

  private all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.statement(sql).all(...values);
  }
}

function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path);
    database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768;');
    database.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT;`);
    return database;
  } catch (error) {
    database?.close();
    const text = error instanceof Error ? error.message : String(error);
    throw /locked|busy/i.test(text)
      ? new MusterError('HOME_LOCKED', `another process has the chain ${path} open`, { path }, { cause: error })
      : new MusterError('STORE_DAMAGED', `cannot open the chain ${path}: ${text}`, { path }, { cause: error });
  }
}

function asBlock(row: Row | null): StoredBlock | null {
  if (row === null) return null;
  return {
    number: row['number'] as number,
    hash: row['hash'] as Uint8Array,
    timestamp: row['time'] as number,
    rlp: row['rlp'] as Uint8Array,
  };
}

function asTransaction(row: Row): StoredTransaction {
  return {
    hash: row['hash'] as Uint8Array,
    block: row['block'] as number,
    position: row['position'] as number,
    raw: row['raw'] as Uint8Array,
    sender: row['sender'] as Uint8Array,
    status: row['status'] as 0 | 1,
    gasUsed: row['gas_used'] as number,
    cumulativeGas: row['cumulative_gas'] as number,
    gasPrice: BigInt(row['gas_price'] as string),
    bloom: row['bloom'] as Uint8Array,
    created: row['created'] as Uint8Array | null,
  };
}

function asLog(row: Row): StoredLog {
  const topics = [row['topic0'], row['topic1'], row['topic2'], row['topic3']].filter((topic) => topic !== null);
  return {
    block: row['block'] as number,
    index: row['log'] as number,
    transaction: row['tx'] as Uint8Array,
    position: row['position'] as number,
    address: row['address'] as Uint8Array,
    topics: topics as unknown as Uint8Array[],
    data: row['data'] as Uint8Array,
  };
}
