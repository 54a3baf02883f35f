/**
 * The chain process: the embedded chain behind its JSON-RPC server.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type EmbeddedChain,
  type GenesisAccount,
  lockHome,
  openEmbeddedChain,
  planContracts,
  serveChain,
  systemClock,
  trainRequestAddress,
  trainRequestGenesis,
} from '@muster/adapters';
import { MusterError } from '@muster/protocol';
import type { HomePaths, Network } from '../home.ts';
import { reportJson, stopOnSignals, stopWithParent } from '../runtime.ts';

export const chainId = 777_001;
/** Each genesis account starts with a billion ether of this private chain. */
export const genesisBalanceWei = 10n ** 27n;

export interface ChainProcessOptions {
  readonly paths: HomePaths;
  readonly host: string;
  readonly port: number;
  readonly accounts: Network['accounts'];
}

export const chainFile = (paths: HomePaths): string => join(paths.chain, 'chain.sqlite');

/**
 * What the chain of a network starts with: ether for its accounts, and TRAIN_REQUEST at address 0x14. The contracts that this works with
 * come later, at the addresses that the organizer's first transactions give them.
 */
export async function genesisOf(accounts: Network['accounts']): Promise<{ readonly accounts: GenesisAccount[] }> {
  const { organizer, coordinator, validator } = accounts;
  const { jobManager, forwarder } = planContracts(organizer, 0, predeployed);
  const trainRequest = await trainRequestGenesis({ jobManager, forwarder, owner: organizer, coordinator, validator });
  const funded = [organizer, coordinator, validator].map((address) => ({ address, balanceWei: genesisBalanceWei }));
  return { accounts: [...funded, trainRequest] };
}

/** Contracts of the genesis. */
export const predeployed = { trainRequest: trainRequestAddress };

export async function runChainProcess(options: ChainProcessOptions): Promise<void> {
  await mkdir(options.paths.chain, { recursive: true });
  const lock = await lockHome(options.paths.chain);
  const controller = stopOnSignals();
  stopWithParent(controller);
  const opened = await openHomesChain(options);
  const server = await serveChain(opened, { host: options.host, port: options.port });
  reportJson('chain.listening', { url: server.url });
  await new Promise<void>((resolve) => controller.signal.addEventListener('abort', () => resolve(), { once: true }));
  await server.close();
  await opened.close();
  lock.release();
}

/** The chain of the home. Throws USAGE where another version of Muster made it, whose genesis holds other contracts. */
export async function openHomesChain({ paths, accounts }: Pick<ChainProcessOptions, 'paths' | 'accounts'>): Promise<EmbeddedChain> {
  try {
    return await openEmbeddedChain({ path: chainFile(paths), chainId, genesis: await genesisOf(accounts), clock: systemClock });
  } catch (cause) {
    if (!(cause instanceof MusterError) || cause.details['field'] !== 'genesis') throw cause;
    const message = `the chain of ${paths.root} was made by another version of Muster: start a new network with \`muster up --home <new folder>\``;
    throw new MusterError('USAGE', message, { home: paths.root }, { cause });
  }
}
