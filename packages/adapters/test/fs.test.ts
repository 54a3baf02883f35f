import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cidOfBytes, type CidText } from '@muster/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobStoreCompliance } from '../../ports/compliance/blob-store.ts';
import { openFolderStore } from '../src/fs/folder-store.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-fs-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

blobStoreCompliance('folder', async () => {
  const path = await mkdtemp(join(tmpdir(), 'muster-fs-'));
  return { store: await openFolderStore(path), close: async () => await rm(path, { recursive: true, force: true }) };
});

const fileOf = (cid: CidText): string => join(folder, 'blocks', cid.slice(-3, -1), cid);

/** A Node process that runs `source` as a module with `store` open on the folder. */
function child(source: string): ReturnType<typeof spawn> {
  const module = new URL('../src/fs/folder-store.ts', import.meta.url).href;
  const script = `import { openFolderStore } from ${JSON.stringify(module)}; const store = await openFolderStore(${JSON.stringify(folder)}); ${source}`;
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
}

describe('folder store', () => {
  it('lists blocks in ascending order with their total size, and finds them again after a restart', async () => {
    const store = await openFolderStore(folder);
    const ids = await Promise.all([1, 2, 3, 4].map(async (length) => await store.put(new Uint8Array(length), 'raw')));
    const again = await openFolderStore(folder);
    expect(await again.list()).toEqual(ids.sort());
    expect(await again.size()).toEqual({ blocks: 4, bytes: 10 });
  });

  it('names a block whose bytes changed, were cut short or are no file, and never returns them', async () => {
    const store = await openFolderStore(folder);
    const cid = await store.put(new Uint8Array(1000).fill(1), 'raw');
    await writeFile(fileOf(cid), new Uint8Array(1000).fill(2));
    await expect(store.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED', details: { cid } });
    await truncate(fileOf(cid), 10);
    await expect(store.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED', details: { cid } });
    await rm(fileOf(cid));
    const inner = await openFolderStore(fileOf(cid));
    expect(await inner.list()).toEqual([]);
    await expect(store.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED', details: { cid } });
  });

  it('heals a damaged block when the right bytes are put again', async () => {
    const store = await openFolderStore(folder);
    const bytes = new Uint8Array(1000).fill(1);
    const cid = await store.put(bytes, 'raw');
    await writeFile(fileOf(cid), new Uint8Array(1000).fill(2));
    await store.put(bytes, 'raw');
    expect(await store.get(cid)).toEqual(bytes);
  });

  it('refuses ids that are none, so that no other file is reachable', async () => {
    const store = await openFolderStore(folder);
    for (const id of ['../../etc/passwd', '', 'bafy', `${cidOfBytes(Uint8Array.of(1), 'raw')}/..`]) {
      await expect(store.get(id as CidText)).rejects.toMatchObject({ code: 'CID_INVALID' });
      await expect(store.has(id as CidText)).rejects.toMatchObject({ code: 'CID_INVALID' });
    }
  });

  it('removes temporary files of dead processes when it opens, and leaves those of live ones', async () => {
    await openFolderStore(folder);
    const dead = spawn(process.execPath, ['--eval', '0']);
    await once(dead, 'exit');
    const left = [`${dead.pid}-abc-0`, `${process.pid}-another-life-0`, 'stray'];
    const live = `${process.ppid}-abc-0`;
    for (const name of [...left, live]) await writeFile(join(folder, 'tmp', name), 'part');
    await openFolderStore(folder);
    expect(await readdir(join(folder, 'tmp'))).toEqual([live]);
  });

  it('takes the same blocks from several processes at once', async () => {
    const source = `for (let i = 0; i < 40; i++) await store.put(new Uint8Array(20000).fill(i), 'raw'); process.stdout.write('done');`;
    const outputs = await Promise.all(
      [1, 2, 3].map(async () => {
        let text = '';
        const started = child(source);
        started.stdout?.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        await once(started, 'close');
        return text;
      }),
    );
    expect(outputs).toEqual(['done', 'done', 'done']);
    const store = await openFolderStore(folder);
    const ids = await store.list();
    expect(ids).toEqual(Array.from({ length: 40 }, (_, i) => cidOfBytes(new Uint8Array(20_000).fill(i), 'raw')).sort());
    for (const cid of ids) await store.get(cid);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });

  it('holds only whole blocks, and all it had acknowledged, after kill -9', async () => {
    const writer = child(
      `for (let i = 0; ; i++) { const cid = await store.put(new Uint8Array(200000).fill(i % 251).fill(i >> 8, 0, 8), 'raw'); process.stdout.write(cid + '\\n'); }`,
    );
    let text = '';
    await new Promise<void>((resolve) => {
      writer.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split('\n').length > 15) resolve();
      });
    });
    writer.kill('SIGKILL');
    await once(writer, 'close');
    const acknowledged = text.split('\n').filter((line) => line.length === 59) as CidText[];
    const store = await openFolderStore(folder);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    for (const cid of acknowledged) expect(await store.get(cid)).not.toBeNull();
    for (const cid of await store.list()) expect(cidOfBytes(await readFile(fileOf(cid)), 'raw')).toBe(cid);
  });
});
