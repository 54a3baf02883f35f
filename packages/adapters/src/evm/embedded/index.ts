/** The embedded chain of record and its HTTP server. */
export { openEmbeddedChain, type EmbeddedChain, type EmbeddedChainOptions } from './embedded-chain.ts';
export { RpcError } from './rpc-error.ts';
export type { GenesisAccount } from './sequencer.ts';
export { serveChain, type ChainServer, type ServeChainOptions } from './server.ts';
