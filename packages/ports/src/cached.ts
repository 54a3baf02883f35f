/**
 * Two blob stores as one: a near one that keeps what passes, in front of a far one.
 */
import { codecOf, MusterError, verifyCid } from '@muster/protocol';
import type { BlobStore } from './stores.ts';

/**
 * Reads through `local` to `remote`, keeping a verified copy; a damaged local copy is replaced by a good remote one.
 * `put` returns once both hold the block. Throws STORE_DAMAGED where the remote bytes do not hash to their id, or where the local
 * copy is damaged and the remote has none.
 */
export function cachedBlobStore(local: BlobStore, remote: BlobStore): BlobStore {
  return {
    async put(bytes, codec) {
      const [cid] = await Promise.all([local.put(bytes, codec), remote.put(bytes, codec)]);
      return cid;
    },
    async get(cid) {
      let damage: MusterError | null = null;
      try {
        const near = await local.get(cid);
        if (near !== null) return near;
      } catch (error) {
        if (!(error instanceof MusterError) || error.code !== 'STORE_DAMAGED') throw error;
        damage = error;
      }
      const far = await remote.get(cid);
      if (far === null) {
        if (damage !== null) throw damage;
        return null;
      }
      try {
        verifyCid(cid, far);
      } catch (cause) {
        throw new MusterError('STORE_DAMAGED', `the remote store's bytes do not hash to ${cid}`, { cid }, { cause });
      }
      await local.put(far, codecOf(cid));
      return far;
    },
    has: async (cid) => (await local.has(cid)) || (await remote.has(cid)),
  };
}
