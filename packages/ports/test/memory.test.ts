import { cachedBlobStore, memoryBlobStore, memoryEventLog, memoryNonceStore } from '@muster/ports';
import { cidOfBytes, type CidText, MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import { blobStoreCompliance } from '../compliance/blob-store.ts';
import { eventLogCompliance } from '../compliance/event-log.ts';
import { nonceStoreCompliance } from '../compliance/nonce-store.ts';

const close = async (): Promise<void> => {};
blobStoreCompliance('memory', async () => ({ store: memoryBlobStore(), close }));
blobStoreCompliance('memory cached over memory', async () => ({ store: cachedBlobStore(memoryBlobStore(), memoryBlobStore()), close }));
eventLogCompliance('memory', async () => ({ log: memoryEventLog(), reopen: null, close }));
nonceStoreCompliance('memory', async () => ({ nonces: memoryNonceStore(), reopen: null, close }));

describe('memory blob store', () => {
  it('lists what it holds in ascending order, with its size', async () => {
    const store = memoryBlobStore();
    const ids = await Promise.all([3, 1, 2].map(async (length) => await store.put(new Uint8Array(length), 'raw')));
    expect(await store.list()).toEqual(ids.sort());
    expect(await store.size()).toEqual({ blocks: 3, bytes: 6 });
  });
});

describe('cached blob store', () => {
  it('keeps a local copy of what it reads', async () => {
    const [local, remote] = [memoryBlobStore(), memoryBlobStore()];
    const cid = await remote.put(Uint8Array.of(1, 2, 3), 'dag-cbor');
    const store = cachedBlobStore(local, remote);
    expect(await store.get(cid)).toEqual(Uint8Array.of(1, 2, 3));
    expect(await local.get(cid)).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('writes to both', async () => {
    const [local, remote] = [memoryBlobStore(), memoryBlobStore()];
    const cid = await cachedBlobStore(local, remote).put(Uint8Array.of(5), 'raw');
    expect([await local.has(cid), await remote.has(cid)]).toEqual([true, true]);
  });

  it('refuses remote bytes that do not hash to their id, and does not keep them', async () => {
    const local = memoryBlobStore();
    const cid = cidOfBytes(Uint8Array.of(1), 'raw');
    const store = cachedBlobStore(local, { ...memoryBlobStore(), get: async () => Uint8Array.of(2) });
    await expect(store.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED', details: { cid } });
    expect(await local.has(cid)).toBe(false);
  });

  it('goes to the remote store for a damaged local copy, and reports the damage if there is none', async () => {
    const remote = memoryBlobStore();
    const damaged = {
      ...memoryBlobStore(),
      get: async (cid: CidText): Promise<Uint8Array> => {
        throw new MusterError('STORE_DAMAGED', 'damaged', { cid });
      },
    };
    const cid = cidOfBytes(Uint8Array.of(1), 'raw');
    const store = cachedBlobStore(damaged, remote);
    await expect(store.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED' });
    await remote.put(Uint8Array.of(1), 'raw');
    expect(await store.get(cid)).toEqual(Uint8Array.of(1));
  });

  it('passes on any other failure of the local store', async () => {
    const failing = {
      ...memoryBlobStore(),
      get: async (): Promise<Uint8Array> => {
        throw new Error('disk on fire');
      },
    };
    await expect(cachedBlobStore(failing, memoryBlobStore()).get(cidOfBytes(Uint8Array.of(1), 'raw'))).rejects.toThrow('disk on fire');
  });
});
