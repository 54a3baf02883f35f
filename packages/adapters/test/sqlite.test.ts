import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventLogCompliance } from '../../ports/compliance/event-log.ts';
import { nonceStoreCompliance } from '../../ports/compliance/nonce-store.ts';
import { openEventLog } from '../src/sqlite/event-log.ts';
import { openNonceStore } from '../src/sqlite/nonce-store.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-sqlite-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

eventLogCompliance('SQLite', async () => {
  const path = await mkdtemp(join(tmpdir(), 'muster-sqlite-'));
  let log = openEventLog(join(path, 'log.sqlite'));
  return {
    log,
    reopen: async () => {
      log.close();
      log = openEventLog(join(path, 'log.sqlite'));
      return log;
    },
    close: async () => {
      log.close();
      await rm(path, { recursive: true, force: true });
    },
  };
});

nonceStoreCompliance('SQLite', async () => {
  const path = await mkdtemp(join(tmpdir(), 'muster-sqlite-'));
  let nonces = openNonceStore(join(path, 'nonces.sqlite'));
  return {
    nonces,
    reopen: async () => {
      nonces.close();
      nonces = openNonceStore(join(path, 'nonces.sqlite'));
      return nonces;
    },
    close: async () => {
      nonces.close();
      await rm(path, { recursive: true, force: true });
    },
  };
});

/** A small generator with a printed seed, so that a failing moment can be had again. */
function* moments(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe('SQLite event log', () => {
  it('loses no acknowledged append and keeps none by half when its process is killed at seeded moments', async () => {
    const path = join(folder, 'log.sqlite');
    const module = new URL('../src/sqlite/event-log.ts', import.meta.url).href;
    const script = `import { openEventLog } from ${JSON.stringify(module)};
      const log = openEventLog(${JSON.stringify(path)});
      for (let i = 0; ; i++) {
        const batch = [0, 1, 2].map((k) => Uint8Array.of(k, ...new Uint8Array(500).fill(i)));
        process.stdout.write(await log.append('s' + (i % 2), i, batch) + ' ' + (i % 2) + '\\n');
        await new Promise((resolve) => setImmediate(resolve));
      }`;
    const random = moments(20_260_101);
    for (let round = 0; round < 5; round++) {
      const before = [0, 0];
      const writer = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'ignore'] });
      const killAfter = 3 + Math.floor(random.next().value * 60);
      let text = '';
      await new Promise<void>((resolve) => {
        writer.stdout.on('data', (chunk: Buffer) => {
          text += chunk.toString();
          if (text.split('\n').length > killAfter) resolve();
        });
      });
      writer.kill('SIGKILL');
      await once(writer, 'close');
      for (const line of text.split('\n').slice(0, -1)) {
        const [last = 0, stream = 0] = line.split(' ').map(Number);
        before[stream] = last;
      }
      const log = openEventLog(path);
      for (const stream of [0, 1]) {
        const entries = await log.read(`s${stream}`, 0, 1_000_000);
        expect(entries.length, `round ${round}`).toBeGreaterThanOrEqual(before[stream] ?? 0);
        expect(entries.length % 3).toBe(0);
        expect(entries.every((entry, index) => entry.sequence === index + 1 && entry.bytes[0] === index % 3)).toBe(true);
        expect(await log.append(`s${stream}`, 0, [])).toBe(entries.length);
      }
      log.close();
    }
  });

  it('refuses an entry over 4 MiB and appends nothing of its batch', async () => {
    const log = openEventLog(join(folder, 'log.sqlite'));
    const batch = [Uint8Array.of(1), new Uint8Array(4 * 1024 * 1024 + 1)];
    await expect(log.append('s', 1, batch)).rejects.toMatchObject({ code: 'BYTES_TOO_LARGE' });
    expect(await log.read('s', 0, 10)).toEqual([]);
    log.close();
  });

  it('rolls a batch back whole when one entry cannot be written', async () => {
    const log = openEventLog(join(folder, 'log.sqlite'));
    await expect(log.append('s', 1, [Uint8Array.of(1), null as unknown as Uint8Array])).rejects.toThrow();
    expect(await log.append('s', 1, [Uint8Array.of(2)])).toBe(1);
    log.close();
  });

  it('is written by two connections in turn without gaps', async () => {
    const path = join(folder, 'log.sqlite');
    const [one, two] = [openEventLog(path), openEventLog(path)];
    for (let i = 0; i < 10; i++) {
      expect(await one.append('s', i, [Uint8Array.of(1)])).toBe(2 * i + 1);
      expect(await two.append('s', i, [Uint8Array.of(2)])).toBe(2 * i + 2);
    }
    one.close();
    two.close();
    two.close();
  });

  it('reports a file that is no database, a database of another kind, and one damaged inside', async () => {
    const path = join(folder, 'other.sqlite');
    await writeFile(path, 'not a database, but long enough to be looked at as one'.repeat(100));
    expect(() => openEventLog(path)).toThrow(expect.objectContaining({ code: 'STORE_DAMAGED', details: { file: path } }));
    const nonces = join(folder, 'nonces.sqlite');
    openNonceStore(nonces).close();
    expect(() => openEventLog(nonces)).toThrow(expect.objectContaining({ code: 'STORE_DAMAGED' }));
    const damaged = join(folder, 'damaged.sqlite');
    const log = openEventLog(damaged);
    for (let i = 0; i < 50; i++) await log.append('s', i, [new Uint8Array(1000).fill(i)]);
    log.close();
    const bytes = await readFile(damaged);
    await writeFile(damaged, bytes.fill(0xee, 8192));
    let failure: unknown = null;
    try {
      const again = openEventLog(damaged);
      await again.read('s', 0, 1000).catch((error: unknown) => {
        failure = error;
      });
      again.close();
    } catch (error) {
      failure = error;
    }
    expect(failure).toMatchObject({ code: 'STORE_DAMAGED' });
  });
});

describe('SQLite nonce store', () => {
  it('forgets what was issued before the horizon', async () => {
    const nonces = openNonceStore(join(folder, 'nonces.sqlite'));
    expect(await nonces.claim('n', 'old', 1000, 0)).toBe(true);
    expect(await nonces.claim('n', 'new', 9000, 5000)).toBe(true);
    expect(await nonces.claim('n', 'old', 1000, 5000)).toBe(true);
    nonces.close();
  });
});
