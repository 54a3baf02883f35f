import { spawn } from 'node:child_process';
import { createHash, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesToHex, hexToBytes, type NodeId, sha256 } from '@muster/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockHome } from '../src/node/home-lock.ts';
import { loadOrCreateAccountKey, loadOrCreateNodeKey, nodeKeyFromSeed, verifySignature } from '../src/node/keys.ts';
import { installFastSha256, nodeSha256, systemClock, systemEntropy } from '../src/node/platform.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-node-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('node key', () => {
  it('is made once, kept with mode 0600, and the same after a restart', async () => {
    const path = join(folder, 'deep', 'node.pem');
    const first = await loadOrCreateNodeKey(path);
    const second = await loadOrCreateNodeKey(path);
    expect(second.node).toBe(first.node);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(createPrivateKey(await readFile(path, 'utf8')).asymmetricKeyType).toBe('ed25519');
    expect(await readdir(join(folder, 'deep'))).toEqual(['node.pem']);
  });

  it('is one key for everybody who makes it at once', async () => {
    const path = join(folder, 'node.pem');
    const keys = await Promise.all(Array.from({ length: 8 }, async () => await loadOrCreateNodeKey(path)));
    expect(new Set(keys.map((key) => key.node)).size).toBe(1);
    expect(await readdir(folder)).toEqual(['node.pem']);
  });

  it('signs as RFC 8032 test 2 does', () => {
    const key = nodeKeyFromSeed(hexToBytes('0x4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb'));
    expect(key.node).toBe('0x3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c');
    const signature = key.sign(Uint8Array.of(0x72));
    expect(bytesToHex(signature)).toBe(
      '0x92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
    expect(verifySignature(key.node, Uint8Array.of(0x72), signature)).toBe(true);
  });

  it('derives secrets that depend on key and label alone', async () => {
    const one = nodeKeyFromSeed(new Uint8Array(32).fill(1));
    const same = nodeKeyFromSeed(new Uint8Array(32).fill(1));
    const other = nodeKeyFromSeed(new Uint8Array(32).fill(2));
    expect(one.derive('salt/1')).toEqual(same.derive('salt/1'));
    expect(one.derive('salt/1').length).toBe(32);
    const all = [one.derive('salt/1'), one.derive('salt/2'), one.derive(''), other.derive('salt/1')].map(bytesToHex);
    expect(new Set(all).size).toBe(4);
  });

  it('refuses a file that holds something else and leaves it alone', async () => {
    const path = join(folder, 'node.pem');
    for (const text of ['', 'not a key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n']) {
      await writeFile(path, text);
      await expect(loadOrCreateNodeKey(path)).rejects.toMatchObject({ code: 'FIELD_INVALID', details: { file: path } });
      expect(await readFile(path, 'utf8')).toBe(text);
    }
  });
});

describe('signature check', () => {
  it('is false for another message, key or signature, and for what is none', () => {
    const key = nodeKeyFromSeed(new Uint8Array(32).fill(1));
    const other = nodeKeyFromSeed(new Uint8Array(32).fill(2));
    const message = Uint8Array.of(1, 2, 3);
    const signature = key.sign(message);
    expect(verifySignature(key.node, message, signature)).toBe(true);
    expect(verifySignature(key.node, Uint8Array.of(1, 2, 4), signature)).toBe(false);
    expect(verifySignature(other.node, message, signature)).toBe(false);
    for (let bit = 0; bit < 512; bit += 37) {
      const changed = signature.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(verifySignature(key.node, message, changed)).toBe(false);
    }
    expect(verifySignature(key.node, message, new Uint8Array(0))).toBe(false);
    expect(verifySignature(key.node, message, new Uint8Array(65))).toBe(false);
    expect(verifySignature('0x12' as NodeId, message, signature)).toBe(false);
    expect(verifySignature('0xzz' as NodeId, message, signature)).toBe(false);
    expect(verifySignature(`0x${'ff'.repeat(32)}` as NodeId, message, signature)).toBe(false);
  });
});

describe('account key', () => {
  it('is made once, kept with mode 0600, and the same after a restart', async () => {
    const path = join(folder, 'account.key');
    const key = await loadOrCreateAccountKey(path);
    expect(key).toMatch(/^0x[0-9a-f]{64}$/);
    expect(await loadOrCreateAccountKey(path)).toBe(key);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('refuses what is no key of the curve without repeating it', async () => {
    const path = join(folder, 'account.key');
    const order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141';
    for (const text of ['', `0x${'0'.repeat(64)}`, `0x${order}`, `0x${'f'.repeat(64)}`, 'f'.repeat(64)]) {
      await writeFile(path, text);
      const failure: unknown = await loadOrCreateAccountKey(path).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'FIELD_INVALID', details: { file: path } });
      if (text.length > 10) expect(String(failure)).not.toContain(text.slice(2));
    }
  });
});

describe('home lock', () => {
  it('refuses a second holder in this process, and gives way once released', async () => {
    const lock = await lockHome(folder);
    await expect(lockHome(folder)).rejects.toMatchObject({ code: 'HOME_LOCKED', details: { home: folder, processId: process.pid } });
    lock.release();
    lock.release();
    (await lockHome(folder)).release();
  });

  it('refuses while another process holds it, and is free once that process was killed', async () => {
    const module = new URL('../src/node/home-lock.ts', import.meta.url).href;
    const script = `import { lockHome } from ${JSON.stringify(module)}; await lockHome(${JSON.stringify(folder)}); process.stdout.write('held'); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    await expect(lockHome(folder)).rejects.toMatchObject({ code: 'HOME_LOCKED', details: { processId: holder.pid } });
    holder.kill('SIGKILL');
    await once(holder, 'close');
    const lock = await lockHome(folder);
    lock.release();
  });
});

describe('platform', () => {
  it('hashes as createHash does, also after it was installed for the protocol', () => {
    installFastSha256();
    for (const length of [0, 1, 63, 64, 65, 100_000]) {
      const bytes = new Uint8Array(length).fill(length & 0xff);
      const expected = new Uint8Array(createHash('sha256').update(bytes).digest());
      expect(nodeSha256(bytes)).toEqual(expected);
      expect(sha256(bytes)).toEqual(expected);
    }
  });

  it('tells the time in milliseconds and draws bytes that differ', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000);
    expect(systemEntropy.bytes(16).length).toBe(16);
    expect(systemEntropy.bytes(16)).not.toEqual(systemEntropy.bytes(16));
  });
});
