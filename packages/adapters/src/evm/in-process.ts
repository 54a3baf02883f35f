/** An embedded chain in this process as a viem transport: no server between. */
import { custom, type Transport } from 'viem';
import type { EmbeddedChain } from './embedded/index.ts';

export function inProcessTransport(chain: EmbeddedChain): Transport {
  return custom(chain);
}
