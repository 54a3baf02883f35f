/**
 * A network on this machine: keys, chain, contracts, coordinator, validator. Shared by `up` and `demo`.
 */
import { createServer } from 'node:net';
import { addressOfKey, deployToFolder, loadOrCreateAccountKey, loadOrCreateNodeKey, readAddressBook } from '@muster/adapters';
import type { Address } from '@muster/protocol';
import { chainUrl, coordinatorUrl, type HomePaths, type Network, readNetwork, writeNetwork } from './home.ts';
import { chainId, predeployed } from './processes/chain.ts';
import { awaitReport, Child, type ChildReport } from './supervise.ts';

export interface NetworkOptions {
  readonly paths: HomePaths;
  readonly host: string;
  /** 0 takes a free one; a home keeps the address and ports of its first start. */
  readonly coordinatorPort: number;
  readonly chainPort: number;
  /** Environment of the processes: it says which executor they use. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onReport: (report: ChildReport, child: Child) => void;
}

export interface RunningNetwork {
  readonly network: Network;
  readonly url: string;
  readonly chain: Child;
  readonly coordinator: Child;
  readonly validator: Child;
  stop(): Promise<void>;
}

/** Starts a home's network, creating keys, chain and contracts the first time. Resolves when the coordinator answers. */
export async function startNetwork(options: NetworkOptions): Promise<RunningNetwork> {
  const { paths } = options;
  const known = await readNetwork(paths);
  const accounts = known?.accounts ?? (await createAccounts(paths));
  const host = known?.host ?? options.host;
  const chainPort = known?.chainPort ?? (options.chainPort || (await freePort(host)));
  const coordinatorPort = known?.coordinatorPort ?? (options.coordinatorPort || (await freePort(host)));
  const started: Child[] = [];
  const start = async (name: string, childArguments: readonly string[], ready: string): Promise<Child> => {
    const seen = new Set<string>();
    const onReport = (report: ChildReport, child: Child): void => {
      seen.add(report.event);
      options.onReport(report, child);
    };
    const { environment } = options;
    const child = new Child({
      name,
      arguments: ['run', name, '--home', paths.root, ...childArguments],
      environment,
      restart: true,
      onReport,
    });
    started.push(child);
    child.start();
    await awaitReport(child, seen, ready, 60_000);
    return child;
  };
  const stop = async (): Promise<void> => {
    for (const child of started.toReversed()) await child.stop();
  };
  try {
    const genesis = [accounts.organizer, accounts.coordinator, accounts.validator];
    const chain = await start('chain', ['--host', host, '--port', String(chainPort), '--accounts', genesis.join()], 'chain.listening');
    const network = known ?? (await deploy(options, accounts, chainPort, coordinatorPort));
    const coordinator = await start('coordinator', [], 'coordinator.listening');
    const validator = await start('validator', [], 'node.ready');
    return { network, url: coordinatorUrl(network), chain, coordinator, validator, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function createAccounts(paths: HomePaths): Promise<Network['accounts']> {
  const account = async (name: string): Promise<Address> => addressOfKey(await loadOrCreateAccountKey(paths.key(`${name}.account`)));
  await loadOrCreateNodeKey(paths.key('organizer.node'));
  return { organizer: await account('organizer'), coordinator: await account('coordinator'), validator: await account('validator') };
}

async function deploy(
  options: NetworkOptions,
  accounts: Network['accounts'],
  chainPort: number,
  coordinatorPort: number,
): Promise<Network> {
  const { paths, host } = options;
  const privateKey = await loadOrCreateAccountKey(paths.key('organizer.account'));
  const draft = { version: 1, chainId, host, chainPort, coordinatorPort, accounts };
  const finished = await readAddressBook(paths.chain, chainId);
  const { contracts } =
    finished ??
    (await deployToFolder(paths.chain, {
      rpcUrl: chainUrl(draft),
      privateKey,
      existing: predeployed,
      coordinator: accounts.coordinator,
      validator: accounts.validator,
    }));
  const network: Network = { ...draft, contracts };
  await writeNetwork(paths, network);
  return network;
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
