/**
 * One JSON-RPC endpoint: requests whose failures are MusterErrors, and waiting that suits the distance.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createPublicClient, http, type PublicClient, type Transport } from 'viem';
import { requestError } from './errors.ts';

/** Where the chain is: the URL of its JSON-RPC endpoint, or any viem transport (an in-process chain: `custom(provider)`). */
export type ChainEndpoint = { readonly rpcUrl: string } | { readonly transport: Transport };

export interface ConnectionOptions {
  /** Time between two looks at the chain. Default 25 ms on this machine, 1000 ms elsewhere. */
  readonly pollMs?: number;
  /** How long `send` waits for a chain that does not answer, or does not include the transaction. Default 60 000 ms. */
  readonly timeoutMs?: number;
  /** Blocks per eth_getLogs. Default 2000, what public endpoints allow. */
  readonly logsBlocks?: number;
  /**
   * Blocks that must follow a block before what it says counts: what a re-organisation within them drops is sent again and was never
   * told to anybody. Default: 0 where the client is one that makes its chain alone (the embedded chain, anvil, Hardhat), else 5.
   */
  readonly confirmations?: number;
}

export interface Connection {
  readonly client: PublicClient;
  readonly pollMs: number;
  readonly timeoutMs: number;
  readonly logsBlocks: number;
  /** As given; null leaves it to `confirmationsOf`. */
  readonly confirmations: number | null;
}

export function openConnection(options: ChainEndpoint & ConnectionOptions): Connection {
  const given = 'rpcUrl' in options ? http(options.rpcUrl) : options.transport;
  // Retries are decided here, where it is known what may be repeated.
  const transport: Transport = (parameters) => given({ ...parameters, retryCount: 0 });
  const nearby = !('rpcUrl' in options) || /^https?:\/\/(?:localhost|127\.|\[::1\])/.test(options.rpcUrl);
  return {
    client: createPublicClient({ transport, cacheTime: 0 }),
    pollMs: options.pollMs ?? (nearby ? 25 : 1000),
    timeoutMs: options.timeoutMs ?? 60_000,
    logsBlocks: options.logsBlocks ?? 2000,
    confirmations: options.confirmations ?? null,
  };
}

/** The id of the chain behind an endpoint. Throws CHAIN_UNREACHABLE. */
export async function chainIdOf(endpoint: ChainEndpoint): Promise<number> {
  const { client } = openConnection(endpoint);
  return Number(await ask('connecting', () => client.request({ method: 'eth_chainId' })));
}

/** The answer of `request`. Throws CHAIN_UNREACHABLE or CHAIN_REVERTED, with `action` in the message. */
export async function ask<T>(action: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw requestError(action, error);
  }
}

export const pause = (milliseconds: number): Promise<void> => sleep(milliseconds);
