/**
 * The chain process: the embedded chain behind its JSON-RPC server.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lockHome, openEmbeddedChain, serveChain, systemClock } from '@muster/adapters';
import type { Address } from '@muster/protocol';
import type { HomePaths } from '../home.ts';
import { reportJson, stopOnSignals, stopWithParent } from '../runtime.ts';

export const chainId = 777_001;
/** Each genesis account starts with a billion ether of this private chain. */
export const genesisBalanceWei = 10n ** 27n;

export interface ChainProcessOptions {
  readonly paths: HomePaths;
  readonly host: string;
  readonly port: number;
  readonly accounts: readonly Address[];
}

export const chainFile = (paths: HomePaths): string => join(paths.chain, 'chain.sqlite');

export const genesisOf = (
  accounts: readonly Address[],
): { readonly accounts: { readonly address: Address; readonly balanceWei: bigint }[] } => ({
  accounts: accounts.map((address) => ({ address, balanceWei: genesisBalanceWei })),
});

export async function runChainProcess(options: ChainProcessOptions): Promise<void> {
  await mkdir(options.paths.chain, { recursive: true });
  const lock = await lockHome(options.paths.chain);
  const controller = stopOnSignals();
  stopWithParent(controller);
  const chain = openEmbeddedChain({ path: chainFile(options.paths), chainId, genesis: genesisOf(options.accounts), clock: systemClock });
  const opened = await chain;
  const server = await serveChain(opened, { host: options.host, port: options.port });
  reportJson('chain.listening', { url: server.url });
  await new Promise<void>((resolve) => controller.signal.addEventListener('abort', () => resolve(), { once: true }));
  await server.close();
  await opened.close();
  lock.release();
}
