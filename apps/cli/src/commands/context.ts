/**
 * What commands share: global options, and connections made from a home folder.
 */
import { connectAccount, connectCoordinator, type CoordinatorClient, loadOrCreateAccountKey, loadOrCreateNodeKey } from '@muster/adapters';
import type { ChainWriter } from '@muster/ports';
import { networkName, parseJobId, type JobId } from '@muster/protocol';
import type { Command } from 'commander';
import { chainUrl, coordinatorUrl, defaultHome, homePaths, type HomePaths, type Network, requireNetwork } from '../home.ts';
import { createOutput, type Output } from '../output.ts';

export interface Context {
  readonly paths: HomePaths;
  readonly output: Output;
  /** Whether --home was given. */
  readonly homeGiven: boolean;
}

export function contextOf(command: Command): Context {
  const { home, json } = command.optsWithGlobals<{ readonly home?: string; readonly json?: boolean }>();
  return { paths: homePaths(home ?? defaultHome()), output: createOutput(json === true), homeGiven: home !== undefined };
}

export interface OrganizerConnection {
  readonly network: Network;
  readonly client: CoordinatorClient;
  readonly chain: ChainWriter;
}

/** The organizer's side of a home's network, which must be running. */
export async function connectOrganizer(paths: HomePaths, patienceMs = 10_000): Promise<OrganizerConnection> {
  const network = await requireNetwork(paths);
  const key = await loadOrCreateNodeKey(paths.key('organizer.node'));
  const privateKey = await loadOrCreateAccountKey(paths.key('organizer.account'));
  const info = { chainId: network.chainId, contracts: network.contracts };
  const name = networkName(network.chainId, network.contracts.proofOfCompute);
  const client = connectCoordinator({ url: coordinatorUrl(network), key, network: name, patienceMs });
  return { network, client, chain: await connectAccount({ rpcUrl: chainUrl(network), info, privateKey }) };
}

export const jobArgument = (text: string): JobId => parseJobId(text.toLowerCase());
