/**
 * The one table of Muster's contracts: code, order of creation, and what each constructor is given.
 *
 * Deployment makes the contracts from it, verification checks contracts against it, and errors are decoded with its bindings. A contract
 * is added here and in ChainInfo, nowhere else.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Abi, encodeDeployData, getContractAddress, type Hex } from 'viem';
import {
  aiJobManagerAbi,
  aiJobManagerBytecode,
  modelRegistryAbi,
  modelRegistryBytecode,
  nodeCertRegistryAbi,
  nodeCertRegistryBytecode,
  proofOfComputeAbi,
  proofOfComputeBytecode,
  signedVerdictVerifierAbi,
  signedVerdictVerifierBytecode,
} from '../generated/index.ts';

export type ContractName = keyof ChainInfo['contracts'];

/** What a network may choose when its contracts are made. Decimal, boolean and address values only: the address book keeps them. */
export interface DeploymentSettings {
  /** May change what the contracts let an owner change. Default: the deployer. */
  readonly owner: Address;
  /** Is credited with slashed stakes. Default: the deployer. */
  readonly slashReceiver: Address;
  /** Stake that a registration needs. Default 1 ether. */
  readonly minStakeWei: bigint;
}

/** The settings of a deployment by `deployer` that chooses nothing. */
export const defaultSettings = (deployer: Address): DeploymentSettings => ({
  owner: deployer,
  slashReceiver: deployer,
  minStakeWei: 10n ** 18n,
});

/** Where a constructor's argument comes from: another contract's address, a setting, or a struct or list of these. */
export type Argument =
  | { readonly contract: ContractName }
  | { readonly setting: keyof DeploymentSettings }
  | { readonly fields: Readonly<Record<string, Argument>> }
  | readonly Argument[];

export interface CatalogueEntry {
  readonly abi: Abi;
  /** Creation code. */
  readonly bytecode: Hex;
  readonly constructor: readonly Argument[];
  /** Where the contract stands without a deployment, on chains whose genesis holds it. */
  readonly predeployedAt?: Address;
}

const at = (contract: ContractName): Argument => ({ contract });
const chosen = (setting: keyof DeploymentSettings): Argument => ({ setting });

/** The contracts in the order in which they are created. */
export const catalogue = {
  nodeCertRegistry: {
    abi: nodeCertRegistryAbi,
    bytecode: nodeCertRegistryBytecode,
    constructor: [chosen('owner'), at('proofOfCompute'), at('jobManager'), chosen('slashReceiver'), chosen('minStakeWei')],
  },
  jobManager: {
    abi: aiJobManagerAbi,
    bytecode: aiJobManagerBytecode,
    constructor: [at('nodeCertRegistry'), at('proofOfCompute')],
  },
  faultVerifier: { abi: signedVerdictVerifierAbi, bytecode: signedVerdictVerifierBytecode, constructor: [at('jobManager')] },
  proofOfCompute: {
    abi: proofOfComputeAbi,
    bytecode: proofOfComputeBytecode,
    constructor: [at('nodeCertRegistry'), at('jobManager'), at('faultVerifier')],
  },
  modelRegistry: { abi: modelRegistryAbi, bytecode: modelRegistryBytecode, constructor: [at('jobManager')] },
} as const satisfies Readonly<Record<ContractName, CatalogueEntry>>;

/** Names in the order of creation. */
export const contractNames = Object.keys(catalogue) as ContractName[];

export const entryOf = (name: ContractName): CatalogueEntry => catalogue[name];

/** Contracts that stand somewhere already and are not created. */
export type Existing = Partial<Record<ContractName, Address>>;

/** The names that a deployment creates, in order. */
export const createdNames = (existing: Existing): ContractName[] => contractNames.filter((name) => existing[name] === undefined);

/**
 * Where the contracts will stand if `deployer` creates them with nothing in between, from its nonce `firstNonce` on. So they can know
 * one another from their first moment, and the genesis of a chain can name them before they exist.
 */
export function planContracts(deployer: Address, firstNonce: number, existing: Existing = {}): ChainInfo['contracts'] {
  const planned: Partial<Record<ContractName, Address>> = { ...existing };
  for (const [position, name] of createdNames(existing).entries()) {
    planned[name] = getContractAddress({ from: deployer, nonce: BigInt(firstNonce + position) }).toLowerCase() as Address;
  }
  return planned as Record<ContractName, Address>;
}

/** Creation code of `name` followed by its constructor's arguments. */
export function creationOf(name: ContractName, contracts: ChainInfo['contracts'], settings: DeploymentSettings): Hex {
  const { abi, bytecode, constructor } = entryOf(name);
  const value = (argument: Argument): unknown => {
    if (isList(argument)) return argument.map(value);
    if ('contract' in argument) return contracts[argument.contract];
    if ('setting' in argument) return settings[argument.setting];
    return Object.fromEntries(Object.entries(argument.fields).map(([field, inner]) => [field, value(inner)]));
  };
  try {
    return encodeDeployData({ abi, bytecode, args: constructor.map(value) });
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new MusterError('FIELD_INVALID', `${name} cannot be created with these settings: ${problem}`, { field: name }, { cause });
  }
}

/** Contracts and settings that `args` differ in from `constructor`, as words. Without `settings`, those are taken as they are. */
export function argumentProblem(
  constructor: readonly Argument[],
  args: readonly unknown[],
  contracts: ChainInfo['contracts'],
  settings: DeploymentSettings | null,
): string | null {
  const compare = (argument: Argument, found: unknown): string | null => {
    if (isList(argument)) return first(argument.map((inner, index) => compare(inner, (found as readonly unknown[])[index])));
    if ('fields' in argument)
      return first(Object.entries(argument.fields).map(([field, inner]) => compare(inner, (found as Record<string, unknown>)[field])));
    if ('contract' in argument) {
      const expected = contracts[argument.contract];
      return plain(found) === expected ? null : `it works with ${plain(found)} as ${argument.contract} instead of ${expected}`;
    }
    if (settings === null) return null;
    const expected = plain(settings[argument.setting]);
    return plain(found) === expected ? null : `its ${argument.setting} is ${plain(found)} instead of ${expected}`;
  };
  return first(constructor.map((argument, index) => compare(argument, args[index])));
}

const isList = (argument: Argument): argument is readonly Argument[] => Array.isArray(argument);
const first = (problems: readonly (string | null)[]): string | null => problems.find((problem) => problem !== null) ?? null;

/** One text per value, whichever number type or capitals it came in. */
function plain(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item))
    .replaceAll('"', '')
    .toLowerCase();
}
