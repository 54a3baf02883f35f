/**
 * One process per home folder.
 *
 * The lock is SQLite's exclusive file lock, which the operating system releases when its process ends in any way, kill -9
 * included: there are no stale locks. The process id beside it is for the message only. Assumes a local file system.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MusterError } from '@muster/protocol';

export interface HomeLock {
  /** Gives the folder free; harmless when called again. */
  release(): void;
}

/** Holds the folder `path` for this process, creating it if need be. Throws HOME_LOCKED with the details `home` and `processId`. */
export async function lockHome(path: string): Promise<HomeLock> {
  await mkdir(path, { recursive: true });
  const ownerFile = join(path, 'lock.pid');
  const database = new DatabaseSync(join(path, 'lock.sqlite'), { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    const processId = readOwner(ownerFile);
    const who = processId === null ? 'another process' : `process ${processId}`;
    throw new MusterError('HOME_LOCKED', `${path} is in use by ${who}`, { home: path, processId }, { cause });
  }
  writeFileSync(ownerFile, `${process.pid}\n`);
  return {
    release() {
      if (!database.isOpen) return;
      rmSync(ownerFile, { force: true });
      database.close();
    },
  };
}

function readOwner(file: string): number | null {
  try {
    const processId = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return Number.isSafeInteger(processId) ? processId : null;
  } catch {
    return null;
  }
}
