/**
 * Content-addressed blocks in a folder: one file per block, named by its content id.
 *
 * Layout: `blocks/<two characters>/<cid>`, and `tmp/` for files being written. A block appears by one rename of a file whose bytes
 * are already on disk, so a reader, another process or a crash never sees half of one. Not here: deciding what to keep.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ListedBlobStore } from '@muster/ports';
import { cidOfDigest, type CidText, type Codec, codecOf, equalBytes, maxObjectBytes, MusterError, parseCid } from '@muster/protocol';
import { hasCode, isAlive, syncFolder } from '../node/files.ts';
import { nodeSha256 } from '../node/platform.ts';

/** Tells this process's temporary files from those of an earlier process with the same id. */
const processTag = `${process.pid}-${randomBytes(6).toString('hex')}`;
let temporaryCount = 0;

/**
 * The store in the folder `path`, which is created if need be; temporary files that dead processes left are removed.
 * Several processes may use one folder. Blocks are at most 4 MiB (BYTES_TOO_LARGE). `put` returns when the block would survive
 * power loss, and replaces a damaged copy. `get` throws STORE_DAMAGED with the detail `cid`.
 */
export async function openFolderStore(path: string): Promise<ListedBlobStore> {
  const blocks = join(path, 'blocks');
  const temporary = join(path, 'tmp');
  await mkdir(blocks, { recursive: true });
  await mkdir(temporary, { recursive: true });
  await removeLeftovers(temporary);
  const writing = new Map<CidText, Promise<void>>();
  // The last character of a base32 id carries only three bits; the two before it spread evenly over 1024 folders.
  const shardOf = (cid: CidText): string => join(blocks, cid.slice(-3, -1));
  const fileOf = (cid: CidText): string => join(shardOf(cid), cid);

  const write = async (cid: CidText, bytes: Uint8Array): Promise<void> => {
    const shard = shardOf(cid);
    if (!(await holds(fileOf(cid), bytes))) {
      if ((await mkdir(shard, { recursive: true })) !== undefined) await syncFolder(blocks);
      await writeDurably(join(temporary, `${processTag}-${temporaryCount++}`), fileOf(cid), bytes);
    }
    await syncFolder(shard);
  };

  const list = async (): Promise<readonly CidText[]> => {
    const files = await Promise.all((await readdir(blocks)).map((shard) => readdir(join(blocks, shard))));
    return files.flat().filter(isCid).sort();
  };

  return {
    list,
    async put(bytes, codec) {
      if (bytes.length > maxObjectBytes) {
        throw new MusterError('BYTES_TOO_LARGE', `a block of ${bytes.length} bytes, at most ${maxObjectBytes}`, { bytes: bytes.length });
      }
      const cid = idOf(bytes, codec);
      const pending = writing.get(cid) ?? write(cid, bytes);
      writing.set(cid, pending);
      try {
        await pending;
      } catch (cause) {
        if (cause instanceof MusterError) throw cause;
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new MusterError('INTERNAL', `cannot store ${cid}: ${reason}`, { cid }, { cause });
      } finally {
        writing.delete(cid);
      }
      return cid;
    },
    async get(cid) {
      let bytes: Uint8Array;
      try {
        bytes = await readFile(fileOf(parseCid(cid)));
      } catch (cause) {
        if (hasCode(cause, 'ENOENT')) return null;
        throw cause instanceof MusterError ? cause : new MusterError('STORE_DAMAGED', `${cid} cannot be read`, { cid }, { cause });
      }
      if (bytes.length > maxObjectBytes || idOf(bytes, codecOf(cid)) !== cid) {
        throw new MusterError('STORE_DAMAGED', `the stored bytes of ${cid} no longer hash to it`, { cid, file: fileOf(cid) });
      }
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    async has(cid) {
      return (await sizeOf(fileOf(parseCid(cid)))) !== null;
    },
    async size() {
      const sizes = await Promise.all((await list()).map((cid) => sizeOf(fileOf(cid))));
      return { blocks: sizes.length, bytes: sizes.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0) };
    },
  };
}

function idOf(bytes: Uint8Array, codec: Codec): CidText {
  return cidOfDigest(nodeSha256(bytes), codec);
}

function isCid(name: string): name is CidText {
  return /^baf[yk][a-z2-7]{55}$/.test(name);
}

async function sizeOf(file: string): Promise<number | null> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Whether `file` already has exactly these bytes; reading is cheaper than writing and finds damage. */
async function holds(file: string, bytes: Uint8Array): Promise<boolean> {
  if ((await sizeOf(file)) !== bytes.length) return false;
  try {
    return equalBytes(await readFile(file), bytes);
  } catch {
    return false;
  }
}

async function writeDurably(temporary: string, target: string, bytes: Uint8Array): Promise<void> {
  try {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

/** Removes temporary files of processes that are gone, and of an earlier process that had this one's id. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const owner = Number.parseInt(name, 10);
    const live = owner === process.pid ? name.startsWith(`${processTag}-`) : isAlive(owner);
    if (!live) await unlink(join(folder, name)).catch(() => {});
  }
}
