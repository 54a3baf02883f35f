/**
 * What stands on a chain right now: contracts and their code, parameters, and where the money is. Read through any endpoint at one block.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Abi, toHex } from 'viem';
import { type ContractName, type DeploymentSettings, entryOf } from './catalogue.ts';
import { blockAt, confirmationsOf } from './confirmations.ts';
import { ask, type ChainEndpoint, type Connection, type ConnectionOptions, openConnection } from './connection.ts';
import { type CodeReport, verifyCode } from './deployment.ts';

/** A parameter or figure as a contract's view gives it: a number, an address, or a struct of these. */
export type ChainFact = bigint | number | string | boolean | { readonly [field: string]: ChainFact };

export interface ChainStatus {
  readonly chainId: number;
  /** What the endpoint says it is. */
  readonly client: string | null;
  readonly head: number;
  readonly confirmations: number;
  readonly contracts: readonly (CodeReport & { readonly balanceWei: bigint })[];
  /** Whether every contract has this repository's code. */
  readonly verified: boolean;
  /** By contract and view. */
  readonly facts: Partial<Readonly<Record<ContractName, Readonly<Record<string, ChainFact>>>>>;
  /** By purpose, in the order that people read them; only those whose contracts are there. */
  readonly totals: Readonly<Record<string, bigint>>;
}

/** Views without arguments that are shown. */
const views: Readonly<Record<string, readonly string[]>> = {
  nodeCertRegistry: ['owner', 'minStake', 'stakeTiers', 'times', 'slashShares', 'teeVerifier'],
  insuranceFund: ['totalOwed'],
  emissionPool: ['owner', 'blockRewardWei', 'shareBasisPoints', 'accrued', 'outstandingWei'],
  trainRequest: ['owner', 'coordinator', 'validator'],
  teeVerifier: ['owner'],
};

/** Nobody is known to have this address's key; the burnt share of slashed stakes lies there. */
const burnAddress = `0x${'0'.repeat(36)}dead` as Address;

/** The status of the contracts in `info`, made with `settings`. Throws CHAIN_UNREACHABLE, and CHAIN_REVERTED (`WrongChain`). */
export async function readChainStatus(
  endpoint: ChainEndpoint & ConnectionOptions,
  info: ChainInfo,
  settings: DeploymentSettings,
): Promise<ChainStatus> {
  const connection = openConnection(endpoint);
  const { client } = connection;
  const chainId = await ask('status', () => client.getChainId());
  if (chainId !== info.chainId) {
    const details = { error: 'WrongChain', expected: info.chainId, actual: chainId };
    throw new MusterError('CHAIN_REVERTED', `the endpoint serves chain ${chainId}, the contracts are on chain ${info.chainId}`, details);
  }
  const head = await blockAt(connection, 'latest');
  if (head === null) throw new MusterError('CHAIN_UNREACHABLE', 'status: the chain has no newest block');
  const balance = async (address: Address): Promise<bigint> =>
    BigInt(await ask('status', () => client.request({ method: 'eth_getBalance', params: [address, toHex(head.block)] })));
  const reports = await verifyCode(endpoint, info, settings);
  const contracts = await Promise.all(reports.map(async (report) => ({ ...report, balanceWei: await balance(report.address) })));
  const verified = contracts.every(({ problem }) => problem === null);
  // What other code answers would mean nothing.
  const known = contracts.filter(({ problem }) => problem === null).map(({ name }) => name);
  const facts: Partial<Record<ContractName, Record<string, ChainFact>>> = {};
  for (const name of known) {
    const found = await factsOf(connection, name, info.contracts[name], BigInt(head.block));
    if (Object.keys(found).length > 0) facts[name] = found;
  }
  const held = (name: string): bigint | null => contracts.find((contract) => contract.name === name)?.balanceWei ?? null;
  return {
    chainId,
    client: await ask('status', () => client.request({ method: 'web3_clientVersion' })).catch(() => null),
    head: head.block,
    confirmations: await confirmationsOf(connection),
    contracts,
    verified,
    facts,
    totals: totalsOf(held, facts, await balance(burnAddress)),
  };
}

async function factsOf(
  connection: Connection,
  name: ContractName,
  address: Address,
  blockNumber: bigint,
): Promise<Record<string, ChainFact>> {
  const abi: Abi = entryOf(name).abi;
  const found: Record<string, ChainFact> = {};
  for (const functionName of views[name] ?? []) {
    if (!abi.some((entry) => entry.type === 'function' && entry.name === functionName && entry.inputs.length === 0)) continue;
    found[functionName] = (await ask('status', () =>
      connection.client.readContract({ address, abi, functionName, blockNumber }),
    )) as ChainFact;
  }
  return found;
}

function totalsOf(
  held: (name: string) => bigint | null,
  facts: Partial<Readonly<Record<string, Readonly<Record<string, ChainFact>>>>>,
  burntWei: bigint,
): Record<string, bigint> {
  const fact = (contract: string, view: string): bigint | null => {
    const value = facts[contract]?.[view];
    return typeof value === 'bigint' ? value : null;
  };
  const all: Readonly<Record<string, bigint | null>> = {
    stakesWei: held('nodeCertRegistry'),
    escrowAndCreditsWei: held('jobManager'),
    insuranceWei: held('insuranceFund'),
    insuranceOwedWei: fact('insuranceFund', 'totalOwed'),
    emissionWei: held('emissionPool'),
    emissionAccruedWei: fact('emissionPool', 'accrued'),
    emissionOutstandingWei: fact('emissionPool', 'outstandingWei'),
    burntWei,
  };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, bigint] => entry[1] !== null));
}
