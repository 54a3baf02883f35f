/**
 * The home folder: everything one network, or one trainer, keeps on this machine.
 *
 * network.json   where chain and coordinator listen, contracts, chain id
 * keys/          organizer, coordinator, validator: account and node keys
 * chain/         the embedded chain        store/       content-addressed objects
 * coordinator/   event log, nonces         trainers/    one home per trainer of the demonstration
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { addressText, type Infer, integer, MusterError, struct, text } from '@muster/protocol';

export const defaultHome = (): string => process.env['MUSTER_HOME'] ?? join(homedir(), '.muster');

export interface HomePaths {
  readonly root: string;
  readonly network: string;
  readonly chain: string;
  readonly store: string;
  readonly coordinator: string;
  readonly key: (name: string) => string;
  readonly trainer: (index: number) => string;
}

export function homePaths(path: string): HomePaths {
  const root = resolve(path);
  return {
    root,
    network: join(root, 'network.json'),
    chain: join(root, 'chain'),
    store: join(root, 'store'),
    coordinator: join(root, 'coordinator'),
    key: (name) => join(root, 'keys', name),
    trainer: (index) => join(root, 'trainers', String(index).padStart(3, '0')),
  };
}

/** Addresses of the network's contracts. */
const contractsFields = {
  forwarder: addressText,
  insuranceFund: addressText,
  reputationRegistry: addressText,
  nodeCertRegistry: addressText,
  jobManager: addressText,
  faultVerifier: addressText,
  proofOfCompute: addressText,
  batchedProofOfCompute: addressText,
  trainProofLog: addressText,
  modelRegistry: addressText,
  emissionPool: addressText,
  didRegistry: addressText,
  dataConsent: addressText,
  teeVerifier: addressText,
  trainRequest: addressText,
};
export const contractsSchema = struct(contractsFields);

const networkSchema = struct({
  version: integer(1, 1),
  chainId: integer(1),
  host: text(255),
  chainPort: integer(1, 65_535),
  coordinatorPort: integer(1, 65_535),
  contracts: contractsSchema,
  accounts: struct({ organizer: addressText, coordinator: addressText, validator: addressText }),
});
export type Network = Infer<typeof networkSchema>;

export const chainUrl = (network: Pick<Network, 'host' | 'chainPort'>): string => `http://${network.host}:${network.chainPort}`;
export const coordinatorUrl = (network: Network): string => `http://${network.host}:${network.coordinatorPort}`;

/**
 * The network of a home; null where `muster up` never ran. Throws FIELD_INVALID for a damaged file, USAGE for a network whose contracts are
 * those of an earlier version.
 */
export async function readNetwork(paths: HomePaths): Promise<Network | null> {
  let source: string;
  try {
    source = await readFile(paths.network, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw new MusterError('FIELD_INVALID', `${paths.network} is not JSON`, { file: paths.network }, { cause });
  }
  try {
    return networkSchema(value, paths.network);
  } catch (cause) {
    const contracts: unknown = (value as { readonly contracts?: unknown } | null)?.contracts;
    const missing = Object.keys(contractsFields).filter(
      (name) => typeof contracts === 'object' && contracts !== null && !(name in contracts),
    );
    if (missing.length === 0) throw cause;
    throw new MusterError(
      'USAGE',
      `${paths.root} holds a network of an earlier Muster, without the contracts ${missing.join(', ')}: start a new one with \`muster up --home <new folder>\``,
      { home: paths.root, missing: missing.join() },
      { cause },
    );
  }
}

/** The network of a home. Throws USAGE where there is none. */
export async function requireNetwork(paths: HomePaths): Promise<Network> {
  const network = await readNetwork(paths);
  if (network === null)
    throw new MusterError('USAGE', `there is no network in ${paths.root}: start one with \`muster up\`, or name another --home`, {
      home: paths.root,
    });
  return network;
}

export async function writeNetwork(paths: HomePaths, network: Network): Promise<void> {
  await writeFileAtomically(paths.network, `${JSON.stringify(network, null, 2)}\n`);
}

/** Writes a file that is either the old or the new one, whatever happens. */
export async function writeFileAtomically(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.new`;
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
