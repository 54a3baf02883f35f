/**
 * What every nonce store does, as tests. Call `nonceStoreCompliance` from a test file of the implementation.
 */
import type { NonceStore } from '@muster/ports';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

export interface OpenedNonceStore {
  readonly nonces: NonceStore;
  /** Closes the store and opens it again, as after a restart; null where nothing survives one. */
  readonly reopen: (() => Promise<NonceStore>) | null;
  close(): Promise<void>;
}

export function nonceStoreCompliance(name: string, open: () => Promise<OpenedNonceStore>): void {
  describe(`nonce store: ${name}`, () => {
    let opened: OpenedNonceStore;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      await opened.close();
    });

    it('accepts a nonce once per node', async () => {
      const { nonces } = opened;
      expect(await nonces.claim('n1', 'x', 1000, 0)).toBe(true);
      expect(await nonces.claim('n1', 'x', 1000, 0)).toBe(false);
      expect(await nonces.claim('n1', 'x', 2000, 0)).toBe(false);
      expect(await nonces.claim('n2', 'x', 1000, 0)).toBe(true);
      expect(await nonces.claim('n1', 'y', 1000, 0)).toBe(true);
    });

    it('lets exactly one of many concurrent claims win', async () => {
      const results = await Promise.all(Array.from({ length: 20 }, async () => await opened.nonces.claim('n', 'x', 1, 0)));
      expect(results.filter((first) => first).length).toBe(1);
    });

    it('remembers what was issued inside the horizon, however far the horizon moves', async () => {
      const { nonces } = opened;
      for (let time = 0; time < 100; time++) expect(await nonces.claim('n', `nonce-${time}`, time * 1000, 0)).toBe(true);
      expect(await nonces.claim('n', 'newest', 100_000, 50_000)).toBe(true);
      for (let time = 50; time < 100; time++) expect(await nonces.claim('n', `nonce-${time}`, time * 1000, 50_000)).toBe(false);
    });

    it('remembers after a restart', async () => {
      await opened.nonces.claim('n', 'x', 1000, 0);
      const nonces = (await opened.reopen?.()) ?? opened.nonces;
      expect(await nonces.claim('n', 'x', 1000, 0)).toBe(false);
      expect(await nonces.claim('n', 'y', 1000, 0)).toBe(true);
    });
  });
}
