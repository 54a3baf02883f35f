/** The embedded chain of record and its HTTP server. */
export { openEmbeddedChain, type EmbeddedChain, type EmbeddedChainOptions } from './embedded-chain.ts';
export { RpcError } from './rpc-error.ts';
export type { GenesisAccount, StorageWord } from './genesis.ts';
export { trainRequestAddress, type TrainRequestConfiguration, trainRequestGenesis } from './predeploy.ts';
export { serveChain, type ChainServer, type ServeChainOptions } from './server.ts';
