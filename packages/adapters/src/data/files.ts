/**
 * Reading of data files with limits: what a path holds, and bytes of one file.
 *
 * Names are sorted by code unit, so the order of records does not depend on the file system. Hidden entries are left out.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { dataError, type SourceFile } from '@muster/data';

export interface FolderEntry {
  readonly name: string;
  readonly path: string;
  readonly isFolder: boolean;
}

/** Whether `path` is a folder. Throws DATA_UNREADABLE if it is neither file nor folder. */
export async function isFolder(path: string): Promise<boolean> {
  const found = await readable(path, () => stat(path));
  if (!found.isDirectory() && !found.isFile()) throw dataError('DATA_UNREADABLE', path, null, 'neither a file nor a folder');
  return found.isDirectory();
}

/** Entries of a folder, at most `maxEntries`. Throws DATA_UNREADABLE. */
export async function listFolder(path: string, maxEntries: number): Promise<FolderEntry[]> {
  const names = (await readable(path, () => readdir(path))).filter((name) => !name.startsWith('.')).sort();
  if (names.length > maxEntries) throw dataError('DATA_UNREADABLE', path, null, `${names.length} entries, at most ${maxEntries}`);
  const entries: FolderEntry[] = [];
  for (const name of names) entries.push({ name, path: join(path, name), isFolder: await isFolder(join(path, name)) });
  return entries;
}

/** The file at `path`, of at most `maxBytes`; errors call it `name`. Throws DATA_UNREADABLE; devices and pipes are not read. */
export async function readSource(path: string, maxBytes: number, name: string = basename(path)): Promise<SourceFile> {
  const found = await readable(path, () => stat(path));
  if (!found.isFile()) throw dataError('DATA_UNREADABLE', path, null, 'not a file');
  if (found.size > maxBytes) throw dataError('DATA_UNREADABLE', name, null, `${found.size} bytes, at most ${maxBytes}`);
  const bytes = await readable(path, () => readFile(path));
  if (bytes.length > maxBytes) throw dataError('DATA_UNREADABLE', name, null, `${bytes.length} bytes, at most ${maxBytes}`);
  return { name, bytes };
}

async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
    throw dataError('DATA_UNREADABLE', path, null, `cannot be read (${reason})`, cause);
  }
}
