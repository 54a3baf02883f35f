/**
 * The coordinator process: one HTTP server over the coordinator role.
 */
import { join } from 'node:path';
import {
  addressOfKey,
  executorFromEnvironment,
  connectAccount,
  createServer,
  installFastSha256,
  loadOrCreateAccountKey,
  loadOrCreateNodeKey,
  lockHome,
  nodeFunctions,
  openAccountRelay,
  openEventLog,
  openFolderStore,
  openNonceStore,
  systemClock,
  verifySignature,
} from '@muster/adapters';
import type { ChainWriter } from '@muster/ports';
import { type Address, networkName } from '@muster/protocol';
import { Coordinator, reasonOf } from '@muster/roles';
import { chainUrl, type HomePaths, type Network } from '../home.ts';
import { costLimits } from '../machine.ts';
import { createScheduler, reportJson, stopOnSignals, stopWithParent, untilDone } from '../runtime.ts';

/** Stake of one ether and something to spare. */
export const grantWei = 2n * 10n ** 18n;
const presenceTimeoutMs = 4000;
/** Stakes that the relay gives away to nodes without ether while this process runs, and what its account is given for them. */
const sponsoredWei = 1000n * 10n ** 18n;

export interface CoordinatorProcessOptions {
  readonly paths: HomePaths;
  readonly network: Network;
}

export async function runCoordinatorProcess({ paths, network }: CoordinatorProcessOptions): Promise<void> {
  installFastSha256();
  const lock = await lockHome(paths.coordinator);
  const controller = stopOnSignals();
  stopWithParent(controller);
  const { signal } = controller;
  const privateKey = await loadOrCreateAccountKey(paths.key('coordinator.account'));
  const organizer = await loadOrCreateNodeKey(paths.key('organizer.node'));
  const info = { chainId: network.chainId, contracts: network.contracts };
  const chain = await untilDone(
    () => connectAccount({ rpcUrl: chainUrl(network), info, privateKey }),
    signal,
    (error) => reportJson('coordinator.waiting', { reason: reasonOf(error) }),
  );
  if (chain === null) return lock.release();
  const store = await openFolderStore(paths.store);
  const log = openEventLog(join(paths.coordinator, 'events.sqlite'));
  const nonces = openNonceStore(join(paths.coordinator, 'nonces.sqlite'));
  const scheduler = createScheduler();
  const executor = await executorFromEnvironment(process.env);
  const relayKey = await loadOrCreateAccountKey(paths.key('relay.account'));
  await untilDone(
    () => fill(chain, addressOfKey(relayKey)),
    signal,
    (error) => reportJson('coordinator.waiting', { reason: reasonOf(error) }),
  );
  const relay = openAccountRelay({
    rpcUrl: chainUrl(network),
    info,
    privateKey: relayKey,
    functions: nodeFunctions,
    sponsorship: { functions: { nodeCertRegistry: ['registerNode'] }, maxWei: grantWei, totalWei: sponsoredWei },
    onFault: (error) => reportJson('coordinator.fault', { reason: reasonOf(error) }),
  });
  const coordinator = new Coordinator({
    chain,
    blobs: store,
    log,
    executor,
    limits: costLimits(executor),
    verify: verifySignature,
    scheduler,
    report: reportJson,
    signal,
    presenceTimeoutMs,
    pollMs: 200,
    organizers: [organizer.node],
    grantWei,
    uploadBytesPerHour: 4 * 1024 ** 3,
  });
  const server = await createServer({
    network: networkName(network.chainId, network.contracts.proofOfCompute),
    store,
    nonces,
    clock: systemClock,
    verify: verifySignature,
    host: network.host,
    port: network.coordinatorPort,
    authorize: (node) => coordinator.authorize(node),
    admitUpload: (node, bytes) => coordinator.admitUpload(node, bytes),
    signedRoutes: coordinator.signedRoutes(),
    publicRoutes: {
      ...coordinator.publicRoutes(),
      chain: async () => ({ chainPort: network.chainPort, chainId: network.chainId, contracts: network.contracts, grantWei }),
    },
    onRefused: (refused) =>
      void coordinator.recordRefusal(refused).catch((error: unknown) => reportJson('coordinator.trouble', { reason: reasonOf(error) })),
    onFault: (error) => reportJson('coordinator.fault', { reason: reasonOf(error) }),
    fallback: (request) => relay.answer(request),
  });
  coordinator.onChange((event, data) => server.broadcast({ event, data }));
  chain.watch(() => scheduler.wake(), signal);
  reportJson('coordinator.listening', { url: server.url });
  await coordinator.run();
  await server.close();
  log.close();
  nonces.close();
  lock.release();
}

/** Brings the relay's account up to what it may give away. */
async function fill(chain: ChainWriter, relay: Address): Promise<void> {
  const missingWei = sponsoredWei - (await chain.balance(relay));
  if (missingWei > 0n) await chain.send({ call: 'transfer', to: relay, amountWei: missingWei });
}
