/**
 * What every blob store does, as tests. Call `blobStoreCompliance` from a test file of the implementation.
 */
import { cidOfBytes, encodeCanonical, maxObjectBytes, MusterError } from '@muster/protocol';
import type { BlobStore } from '@muster/ports';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

export interface OpenedBlobStore {
  readonly store: BlobStore;
  close(): Promise<void>;
}

export function blobStoreCompliance(name: string, open: () => Promise<OpenedBlobStore>): void {
  describe(`blob store: ${name}`, () => {
    let opened: OpenedBlobStore;
    let store: BlobStore;
    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(async () => {
      await opened.close();
    });

    it('gives back any bytes under their content id, for both codecs', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), fc.constantFrom('raw' as const, 'dag-cbor' as const), async (bytes, codec) => {
          const block = codec === 'raw' ? bytes : encodeCanonical({ bytes });
          const cid = await store.put(block, codec);
          expect(cid).toBe(cidOfBytes(block, codec));
          expect(await store.has(cid)).toBe(true);
          expect(await store.get(cid)).toEqual(new Uint8Array(block));
        }),
        { numRuns: 30 },
      );
    });

    it('answers null and false for what it does not hold', async () => {
      const cid = cidOfBytes(Uint8Array.of(9, 9, 9, 9, 9), 'raw');
      expect(await store.get(cid)).toBeNull();
      expect(await store.has(cid)).toBe(false);
    });

    it('keeps raw and dag-cbor blocks of equal bytes apart', async () => {
      const bytes = encodeCanonical(['apart']);
      const raw = await store.put(bytes, 'raw');
      const object = cidOfBytes(bytes, 'dag-cbor');
      expect(raw).not.toBe(object);
      expect(await store.has(object)).toBe(false);
    });

    it('takes the same block again, one after the other and at once', async () => {
      const bytes = new Uint8Array(100_000).fill(7);
      const ids = await Promise.all(Array.from({ length: 8 }, () => store.put(bytes, 'raw')));
      ids.push(await store.put(bytes, 'raw'));
      expect(new Set(ids).size).toBe(1);
      expect(await store.get(cidOfBytes(bytes, 'raw'))).toEqual(bytes);
    });

    it('does not share memory with its callers', async () => {
      const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6);
      const cid = await store.put(bytes, 'raw');
      bytes.fill(0);
      const first = await store.get(cid);
      expect(first).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
      first?.fill(0);
      expect(await store.get(cid)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
    });

    it('holds a block of exactly the largest size and refuses one byte more', async () => {
      const largest = new Uint8Array(maxObjectBytes).fill(3);
      const cid = await store.put(largest, 'raw');
      expect((await store.get(cid))?.length).toBe(maxObjectBytes);
      const refused: unknown = await store.put(new Uint8Array(maxObjectBytes + 1), 'raw').catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(MusterError);
      expect(refused).toMatchObject({ code: 'BYTES_TOO_LARGE' });
    });

    it('holds the empty block', async () => {
      const cid = await store.put(new Uint8Array(0), 'raw');
      expect(await store.get(cid)).toEqual(new Uint8Array(0));
    });
  });
}
