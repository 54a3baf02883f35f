/**
 * A private copy of a chain's SQLite file and write-ahead log at one committed moment, taken without asking the process that may be
 * writing it, and without touching either file.
 *
 * Why a copy: the chain process holds its file exclusively, and SQLite cannot open a write-ahead-logged file without writing beside it.
 * Why it is whole: a checkpoint changes the file only where the log still has the same pages, and the log's header changes before any of
 * its frames is overwritten. So file first, log second, and the same log header before and after, give a state that SQLite recovers.
 *
 * Not to be used in a process that has the chain open: closing a copied file drops that process's POSIX locks on it.
 */
import { copyFile, mkdtemp, open, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fault } from './fault.ts';
import { logProblem, WAL_HEADER_BYTES } from './write-ahead-log.ts';

const ATTEMPTS = 20;
/** Damage must show this often: a log that is being written can look damaged for a moment. */
const DAMAGE_SEEN = 3;

export interface Snapshot {
  readonly path: string;
  remove(): Promise<void>;
}

/** Throws AUDIT_FAILED where there is no file, its log is damaged, or it never stood still for a copy. */
export async function takeSnapshot(path: string): Promise<Snapshot> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-verify-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  const copy = join(folder, 'chain.sqlite');
  try {
    let damageSeen = 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const before = await stateOf(path);
      if (before === null) throw fault(`chain file ${path}`, 'it does not exist');
      await copyFile(path, copy);
      const log = await readFile(`${path}-wal`).catch(absent);
      const after = await stateOf(path);
      const still = after !== null && before.log === after.log && (before.log !== '' || before.file === after.file);
      const sameLog = (log ?? Buffer.alloc(0)).subarray(0, WAL_HEADER_BYTES).toString('hex') === before.log;
      if (still && sameLog) {
        const problem = log === null ? null : logProblem(log);
        if (problem === null) {
          await writeLog(`${copy}-wal`, log);
          return { path: copy, remove };
        }
        if (++damageSeen >= DAMAGE_SEEN) throw fault(`write-ahead log ${path}-wal`, problem);
      }
      await pause(10 * attempt);
    }
    throw fault(`chain file ${path}`, `it changed during each of ${ATTEMPTS} attempts to copy it`);
  } catch (error) {
    await remove();
    throw error;
  }
}

/** What changes when a copy begun before may not fit one ended after; null where there is no file. */
async function stateOf(path: string): Promise<{ readonly file: string; readonly log: string } | null> {
  const file = await stat(path, { bigint: true }).catch(absent);
  if (file === null) return null;
  const log = await open(`${path}-wal`, 'r').catch(absent);
  if (log === null) return { file: `${file.size} ${file.mtimeNs}`, log: '' };
  try {
    const { buffer, bytesRead } = await log.read(Buffer.alloc(WAL_HEADER_BYTES), 0, WAL_HEADER_BYTES, 0);
    return { file: `${file.size} ${file.mtimeNs}`, log: buffer.subarray(0, bytesRead).toString('hex') };
  } finally {
    await log.close();
  }
}

async function writeLog(path: string, log: Buffer | null): Promise<void> {
  await rm(path, { force: true });
  if (log === null || log.length === 0) return;
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(log);
  } finally {
    await file.close();
  }
}

function absent(error: unknown): null {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
  throw error;
}
