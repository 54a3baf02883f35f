/**
 * Request nonces in one SQLite file, so that a request accepted before a restart is refused after it.
 */
import type { NonceStore } from '@muster/ports';
import { inTransaction, openDatabase } from './database.ts';

const schema = `
  CREATE TABLE nonces (node TEXT NOT NULL, nonce TEXT NOT NULL, issued_ms INTEGER NOT NULL, PRIMARY KEY (node, nonce)) STRICT, WITHOUT ROWID;
  CREATE INDEX nonces_by_time ON nonces (issued_ms);
`;

/** The nonces in the file `path`, created if need be. A claim is on disk when it returns. Throws STORE_DAMAGED for a broken file. */
export function openNonceStore(path: string): NonceStore & { close(): void } {
  const database = openDatabase(path, 'nonce-store', schema);
  const forget = database.prepare('DELETE FROM nonces WHERE issued_ms < ?');
  const insert = database.prepare('INSERT OR IGNORE INTO nonces (node, nonce, issued_ms) VALUES (?, ?, ?)');
  return {
    async claim(node, nonce, issuedAtMs, forgetBeforeMs) {
      return inTransaction(database, path, () => {
        forget.run(forgetBeforeMs);
        return Number(insert.run(node, nonce, issuedAtMs).changes) === 1;
      });
    },
    close() {
      if (database.isOpen) database.close();
    },
  };
}
