/**
 * What a deployment is going to do: which contracts, at which addresses, with which settings, for how much. Nothing is signed or sent here.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Hex, keccak256, type PrivateKeyAccount, stringToHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { DeploymentJournal, JournalState } from './address-book.ts';
import {
  type ContractName,
  createdNames,
  creationOf,
  defaultSettings,
  type DeploymentSettings,
  type Existing,
  planContracts,
} from './catalogue.ts';
import { ask, type ChainEndpoint, type Connection, type ConnectionOptions, openConnection } from './connection.ts';
import { requestError } from './errors.ts';
import { lowerAddress } from './events.ts';
import { type Fees, feesAt } from './transactions.ts';

export type DeployOptions = ChainEndpoint &
  ConnectionOptions &
  Partial<DeploymentSettings> & {
    /** Key of the account that deploys; nothing else may use the account meanwhile. */
    readonly privateKey: Hex;
    /** The chain that must answer; any other is refused before anything is sent. */
    readonly chainId?: number;
    /** Contracts that stand already, such as those of the chain's genesis. */
    readonly existing?: Existing;
    /** Kept until the deployment is finished. Default: none, and an interrupted deployment begins anew. */
    readonly journal?: DeploymentJournal;
    /** Told what happens, in order; awaited. */
    readonly onProgress?: (progress: DeploymentProgress) => void | Promise<void>;
  };

export type DeploymentProgress =
  | ({ readonly step: 'planned'; readonly resumed: boolean } & DeploymentPlan)
  | { readonly step: 'sending' | 'created'; readonly name: ContractName; readonly address: Address; readonly transaction: Hex }
  | { readonly step: 'settling'; readonly confirmations: number };

/** What a deployment is going to do and cost. */
export interface DeploymentPlan {
  readonly chainId: number;
  readonly deployer: Address;
  readonly contracts: ChainInfo['contracts'];
  readonly settings: DeploymentSettings;
  /** Contracts still to be created. */
  readonly remaining: number;
  /** Estimated gas of these. */
  readonly gas: bigint;
  /** At the present base fee, and at twice that, which is the most that is signed for. */
  readonly costWei: bigint;
  readonly mostWei: bigint;
  readonly balanceWei: bigint;
}

/** A deployment that is about to begin or to go on. */
export interface DeploymentRun {
  readonly connection: Connection;
  readonly account: PrivateKeyAccount;
  readonly plan: DeploymentPlan;
  readonly resumed: boolean;
  readonly state: JournalState;
  readonly names: readonly ContractName[];
  /** Gas estimates by name, for the contracts not begun yet. */
  readonly estimates: ReadonlyMap<ContractName, bigint>;
  readonly fees: Fees & { readonly baseFee: bigint };
  readonly journal: DeploymentJournal | undefined;
}

/** Plans a deployment, or what is left of the one in the journal. Throws as `deploy`, except for a lack of funds. */
export async function prepareDeployment(options: DeployOptions): Promise<DeploymentRun> {
  const connection = openConnection(options);
  const { client } = connection;
  const account = privateKeyToAccount(options.privateKey);
  const deployer = lowerAddress(account.address);
  const chainId = Number(await ask('deploying', () => client.request({ method: 'eth_chainId' })));
  if (options.chainId !== undefined && options.chainId !== chainId) throw wrongChain(options.chainId, chainId);
  const settings = settingsOf(options, deployer);
  const existing = options.existing ?? {};
  const names = createdNames(existing);
  const found = (await options.journal?.read()) ?? null;
  const firstNonce = found === null ? await freeNonce(connection, deployer) : found.firstNonce;
  const contracts = planContracts(deployer, firstNonce, existing);
  const plan = keccak256(stringToHex(names.map((name) => creationOf(name, contracts, settings)).join()));
  if (found !== null && (found.chainId !== chainId || found.deployer !== deployer || found.plan !== plan)) {
    throw unfinished(found, options.journal?.place ?? '');
  }
  const state: JournalState = found ?? { version: 1, chainId, deployer, firstNonce, plan, begun: [] };
  const block = await ask('deploying', () => client.getBlock({ blockTag: 'latest' }));
  const baseFee = block.baseFeePerGas ?? 0n;
  const fees = { ...(await feesAt(connection, baseFee)), baseFee };
  const estimates = new Map<ContractName, bigint>();
  for (const name of names.slice(state.begun.length)) {
    const data = creationOf(name, contracts, settings);
    const call = { from: account.address, data };
    try {
      estimates.set(name, BigInt(await client.request({ method: 'eth_estimateGas', params: [call, 'pending'] })));
    } catch (error) {
      const known = requestError(`creating ${name}`, error);
      // Some nodes already look at the balance here; how much is missing is said when all of it is known.
      if (known.details['error'] !== 'InsufficientFunds') throw known;
      estimates.set(name, estimateBySize(data));
    }
  }
  const gas = [...estimates.values()].reduce((sum, estimate) => sum + estimate, 0n);
  const balanceWei = await ask('deploying', () => client.getBalance({ address: account.address }));
  const facts = { chainId, deployer, contracts, settings, remaining: estimates.size, gas, balanceWei };
  return {
    connection,
    account,
    plan: { ...facts, costWei: gas * (baseFee + fees.maxPriorityFeePerGas), mostWei: withHeadroom(gas) * fees.maxFeePerGas },
    resumed: found !== null,
    state,
    names,
    estimates,
    fees,
    journal: options.journal,
  };
}

function settingsOf(options: DeployOptions, deployer: Address): DeploymentSettings {
  const defaults = defaultSettings(deployer, options.minStakeWei);
  const given = Object.entries(options).filter(([name, value]) => name in defaults && value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** The deployer's next nonce. Throws DeployerBusy where transactions of it are on their way: they would get in between. */
async function freeNonce(connection: Connection, deployer: Address): Promise<number> {
  const [included, pending] = await Promise.all(
    (['latest', 'pending'] as const).map((blockTag) =>
      ask('deploying', () => connection.client.getTransactionCount({ address: deployer, blockTag })),
    ),
  );
  if (included === undefined || pending === undefined || included !== pending) {
    const details = { error: 'DeployerBusy', account: deployer, included: included ?? 0, pending: pending ?? 0 };
    throw new MusterError('DEPLOYMENT_REFUSED', `transactions of ${deployer} are still on their way: deploy when they have ended`, details);
  }
  return included;
}

/** Intrinsic gas, storing the code and its calldata, with a quarter for what the constructor does. */
export const estimateBySize = (data: Hex): bigint => ((53_000n + BigInt(data.length / 2 - 1) * (200n + 16n + 2n)) * 5n) / 4n;
export const withHeadroom = (gas: bigint): bigint => (gas * 13n) / 10n;

function wrongChain(expected: number, actual: number): MusterError {
  const details = { error: 'WrongChain', expected, actual };
  return new MusterError('CHAIN_REVERTED', `the endpoint serves chain ${actual}, not chain ${expected}`, details);
}

function unfinished(found: JournalState, place: string): MusterError {
  const { chainId, deployer } = found;
  const details = { error: 'DeploymentUnfinished', file: place, chainId, deployer, begun: found.begun.length };
  return new MusterError(
    'DEPLOYMENT_REFUSED',
    `${place} holds an unfinished deployment by ${deployer} on chain ${chainId} of other contracts or settings: finish it as it was begun, or forget it with --restart`,
    details,
  );
}
