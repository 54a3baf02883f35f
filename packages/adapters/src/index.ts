export { type ExecutorChoice, executorFromEnvironment, type ExecutorReport, executorReports, openExecutor } from './compute/executors.ts';
export { createNativeExecutor, type NativeKernels, nativeKernels } from './compute/native.ts';
export { createWasmThreadsExecutor } from './compute/wasm-threads.ts';
export { addressOfKey } from './evm/account.ts';
export * from './evm/identity/index.ts';
export { type HardwareFindings, type QuoteFindings, signHardwareAttestation, signQuote, type StatementPlace } from './evm/attestation.ts';
export { inProcessTransport } from './evm/in-process.ts';
export {
  type DataFormat,
  importDataset,
  type ImportedDataset,
  type ImportOptions,
  type ImportProgress,
  type PutBlock,
  readDataset,
} from './data/import.ts';
export {
  type ChainServer,
  type EmbeddedChain,
  type EmbeddedChainOptions,
  type GenesisAccount,
  openEmbeddedChain,
  RpcError,
  serveChain,
  type ServeChainOptions,
  type StorageWord,
  trainRequestAddress,
  type TrainRequestConfiguration,
  trainRequestGenesis,
} from './evm/embedded/index.ts';
export { openFolderStore } from './fs/folder-store.ts';
export { type ClientOptions, connectCoordinator, type CoordinatorClient } from './http/client.ts';
export type { ReceivedEvent } from './http/event-reader.ts';
export type { StreamEvent } from './http/event-stream.ts';
export { toJsonText } from './http/json.ts';
export {
  type CoordinatorServer,
  createServer,
  defaultServerLimits,
  type PublicHandler,
  type RefusedRequest,
  type ServerLimits,
  type ServerOptions,
  type SignedHandler,
} from './http/server.ts';
export { type HomeLock, lockHome } from './node/home-lock.ts';
export { loadOrCreateAccountKey, loadOrCreateNodeKey, nodeKeyFromSeed, verifySignature } from './node/keys.ts';
export { installFastSha256, nodeSha256, systemClock, systemEntropy } from './node/platform.ts';
export { openEventLog } from './sqlite/event-log.ts';
export { openNonceStore } from './sqlite/nonce-store.ts';
export { type NodeCaps, packCapabilities, unpackCapabilities } from './evm/contracts/capabilities.ts';
export { type CodeReport, verifyCode, verifyDeployment } from './evm/contracts/deployment.ts';
export {
  connectAccount,
  type ConnectAccountOptions,
  connectChain,
  type ConnectChainOptions,
  connectRelayedAccount,
  type ConnectRelayedOptions,
} from './evm/contracts/chain.ts';
export { type ForwardRequest, submitForwardRequest } from './evm/contracts/relay.ts';
export { type HandOver } from './evm/contracts/relayed-sender.ts';
export { createRelay, type Relay, type RelayLimits, type RelayOptions, type Sponsorship } from './http/relay.ts';
export { type AccountRelayOptions, openAccountRelay } from './http/account-relay.ts';
export { relayOverHttp } from './http/relay-client.ts';
export { nodeFunctions, type RelayedFunctions } from './http/relayed-functions.ts';
export { type ChainEndpoint, chainIdOf, type ConnectionOptions } from './evm/contracts/connection.ts';
export { type ChainFact, type ChainStatus, readChainStatus } from './evm/contracts/status.ts';
export { type NodeStanding, readNodeStanding, type StakeTierName } from './evm/contracts/node-standing.ts';
export { predictRequestedJob } from './evm/contracts/predict-request.ts';
export { type AddressBook, readAddressBook, writeAddressBook } from './evm/contracts/address-book.ts';
export { contractNames, type ContractName, defaultSettings, type DeploymentSettings, planContracts } from './evm/contracts/catalogue.ts';
export {
  deployContracts,
  deployToFolder,
  type DeploymentPlan,
  type DeploymentProgress,
  type DeployOptions,
  estimateDeployment,
} from './evm/contracts/deploy.ts';
export { type ChainReport, openVerifiedChain, type VerifiedChain, type VerifyChainOptions, verifyChainFile } from './evm/verify/index.ts';
