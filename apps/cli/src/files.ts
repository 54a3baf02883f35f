/** Files that a command names: read within a limit, and written whole or not at all. */
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { MusterError } from '@muster/protocol';

/** The bytes of the file at `path`, at most `maxBytes`. Throws DATA_UNREADABLE naming the path; devices and pipes are not read. */
export async function readBytes(path: string, maxBytes: number): Promise<Uint8Array> {
  const unreadable = (reason: string, cause?: unknown): MusterError =>
    new MusterError('DATA_UNREADABLE', `${path}: ${reason}`, { file: path }, { cause });
  try {
    const found = await stat(resolve(path));
    if (!found.isFile()) throw unreadable('not a file');
    if (found.size > maxBytes) throw unreadable(`${found.size} bytes, at most ${maxBytes}`);
    return await readFile(resolve(path));
  } catch (cause) {
    if (cause instanceof MusterError) throw cause;
    throw unreadable(`cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown reason'})`, cause);
  }
}

/** Writes `bytes` to `path`, which then is either what it was or complete. Throws DATA_UNREADABLE naming the path. */
export async function writeBytes(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${resolve(path)}.${process.pid}.new`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    await rename(temporary, resolve(path));
  } catch (cause) {
    await rm(temporary, { force: true });
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown reason';
    throw new MusterError('DATA_UNREADABLE', `${path}: cannot be written (${reason})`, { file: path }, { cause });
  }
}
