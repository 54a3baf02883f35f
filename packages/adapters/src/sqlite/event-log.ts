/**
 * The event log in one SQLite file: every append is one transaction, on disk when it returns.
 */
import type { EventLog, LogEntry } from '@muster/ports';
import { maxObjectBytes, MusterError } from '@muster/protocol';
import { inTransaction, openDatabase, storeError } from './database.ts';

const schema = `
  CREATE TABLE streams (name TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE entries (
    stream TEXT NOT NULL, sequence INTEGER NOT NULL, time_ms INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (stream, sequence)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * The log in the file `path`, created if need be. Several processes may append. Entries are at most 4 MiB (BYTES_TOO_LARGE).
 * Throws STORE_DAMAGED for a broken file.
 */
export function openEventLog(path: string): EventLog & { close(): void } {
  const database = openDatabase(path, 'event-log', schema);
  const selectLast = database.prepare('SELECT last FROM streams WHERE name = ?');
  const upsertLast = database.prepare(
    'INSERT INTO streams (name, last) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last',
  );
  const insert = database.prepare('INSERT INTO entries (stream, sequence, time_ms, bytes) VALUES (?, ?, ?, ?)');
  const select = database.prepare(
    'SELECT sequence, time_ms, bytes FROM entries WHERE stream = ? AND sequence > ? ORDER BY sequence LIMIT ?',
  );
  const selectStreams = database.prepare('SELECT name FROM streams ORDER BY name');
  const lastOf = (stream: string): number => Number(selectLast.get(stream)?.['last'] ?? 0);
  return {
    async append(stream, timeMs, entries) {
      if (entries.length === 0) return lastOf(stream);
      for (const bytes of entries) {
        if (bytes.length > maxObjectBytes) {
          throw new MusterError('BYTES_TOO_LARGE', `an entry of ${bytes.length} bytes, at most ${maxObjectBytes}`, { bytes: bytes.length });
        }
      }
      return inTransaction(database, path, () => {
        let sequence = lastOf(stream);
        for (const bytes of entries) insert.run(stream, ++sequence, timeMs, bytes);
        upsertLast.run(stream, sequence);
        return sequence;
      });
    },
    async read(stream, after, limit) {
      try {
        return select.all(stream, after, limit).map((row): LogEntry => {
          const bytes = row['bytes'];
          if (!(bytes instanceof Uint8Array)) throw new MusterError('STORE_DAMAGED', `${path}: an entry is not bytes`, { file: path });
          return { stream, sequence: Number(row['sequence']), timeMs: Number(row['time_ms']), bytes };
        });
      } catch (error) {
        throw storeError(error, path);
      }
    },
    async streams() {
      return selectStreams.all().map((row) => String(row['name']));
    },
    close() {
      if (database.isOpen) database.close();
    },
  };
}
