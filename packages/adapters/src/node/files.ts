/**
 * Small file operations that the durable adapters share: fsync of folders, exclusive creation, liveness of a process.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Whether `error` is a system error with this code, such as ENOENT. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Whether a process with this id runs here. A process of another user counts as running. */
export function isAlive(processId: number): boolean {
  if (!Number.isSafeInteger(processId) || processId <= 0) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}

/** Makes renames and creations inside `folder` durable. A no-op on Windows, where folders cannot be synced. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The text of the secret file `path`, made by `create` if it does not exist yet: mode 0600, all or nothing, and of several
 * processes that create it at once every one returns the text that won.
 */
export async function readOrCreateSecret(path: string, create: () => string): Promise<string> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString('hex')}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(create());
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    // Unlike rename, link refuses to replace a file that somebody else made in the meantime.
    await link(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    await unlink(temporary);
  }
  return await readFile(path, 'utf8');
}
