/**
 * Opening a SQLite file for durable use: write-ahead log, fsync on every commit, one schema version.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MusterError } from '@muster/protocol';

/** Waiting time for another process's transaction. */
const busyTimeoutMs = 10_000;

/** SQLite's primary result codes for a file that is no database or a broken one. */
const damageCodes: readonly number[] = [11, 26];

/**
 * The database in `path`, created with `schema` (statements) on first use. `name` tells the kinds of files apart.
 * Throws STORE_DAMAGED with the detail `file` for a file that is not such a database.
 */
export function openDatabase(path: string, name: string, schema: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true });
  const database = new DatabaseSync(path, { timeout: busyTimeoutMs });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    inTransaction(database, path, () => {
      database.exec('CREATE TABLE IF NOT EXISTS muster (name TEXT NOT NULL, version INTEGER NOT NULL) STRICT');
      const found = database.prepare('SELECT name, version FROM muster').get();
      if (found === undefined) {
        database.exec(schema);
        database.prepare('INSERT INTO muster (name, version) VALUES (?, 1)').run(name);
      } else if (found['name'] !== name || found['version'] !== 1) {
        const actual = `${String(found['name'])} ${String(found['version'])}`;
        throw new MusterError('STORE_DAMAGED', `${path}: expected ${name} version 1, found ${actual}`, { file: path });
      }
    });
    return database;
  } catch (error) {
    database.close();
    throw storeError(error, path);
  }
}

/** What `body` returns, its writes made durable together or not at all. Throws STORE_DAMAGED with the detail `file`. */
export function inTransaction<T>(database: DatabaseSync, path: string, body: () => T): T {
  try {
    database.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      database.exec('COMMIT');
      return result;
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  } catch (error) {
    throw storeError(error, path);
  }
}

/** `error` as STORE_DAMAGED where SQLite found the file broken, unchanged otherwise. */
export function storeError(error: unknown, path: string): unknown {
  if (error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' && damageCodes.includes(error.errcode & 0xff)) {
    return new MusterError('STORE_DAMAGED', `${path}: ${error.message}`, { file: path }, { cause: error });
  }
  return error;
}
