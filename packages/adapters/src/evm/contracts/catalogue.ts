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
  arthaDIDRegistryAbi,
  arthaDIDRegistryBytecode,
  batchedProofOfComputeAbi,
  batchedProofOfComputeBytecode,
  dataConsentAbi,
  dataConsentBytecode,
  emissionPoolAbi,
  emissionPoolBytecode,
  insuranceFundAbi,
  insuranceFundBytecode,
  modelRegistryAbi,
  modelRegistryBytecode,
  musterForwarderAbi,
  musterForwarderBytecode,
  nodeCertRegistryAbi,
  nodeCertRegistryBytecode,
  proofOfComputeAbi,
  proofOfComputeBytecode,
  reputationRegistryAbi,
  reputationRegistryBytecode,
  signedQuoteVerifierAbi,
  signedQuoteVerifierBytecode,
  signedVerdictVerifierAbi,
  signedVerdictVerifierBytecode,
  trainProofLogAbi,
  trainProofLogBytecode,
  trainRequestAbi,
  trainRequestBytecode,
} from '../generated/index.ts';

export type ContractName = keyof ChainInfo['contracts'];

/** What a network may choose when its contracts are made. Decimal, boolean and address values only: the address book keeps them. */
export interface DeploymentSettings {
  /** May change what the contracts let an owner change. Default: the deployer. */
  readonly owner: Address;
  /** Coordinates and validates the jobs that TRAIN_REQUEST opens. Default: the deployer. */
  readonly coordinator: Address;
  readonly validator: Address;
  /** Smallest stakes, ascending. Default 1, 10, 50 and 100 ether, or as many times `minStakeWei`. */
  readonly minStakeWei: bigint;
  readonly gpuStakeWei: bigint;
  readonly teeStakeWei: bigint;
  readonly priorityStakeWei: bigint;
  /** Seconds between two heartbeats. Default an hour. */
  readonly heartbeatSeconds: number;
  /** Seconds for which a node's stake stays after it revealed a result. Default a day. */
  readonly challengeSeconds: number;
  /** Seconds between leaving and taking the stake, at least `challengeSeconds`. Default two days. */
  readonly unbondingSeconds: number;
  /** Seconds in which a node can still act itself where a round is settled in batches. Default ten minutes. */
  readonly forceWindowSeconds: number;
  /** Where a slashed amount goes, basis points, together 10 000. Default 4000, 4000, 2000. */
  readonly challengerShare: number;
  readonly insuranceShare: number;
  readonly burnShare: number;
  /** What a block is worth, and which part of it streams to the training pool, basis points. Default 2 ether, 500. */
  readonly blockRewardWei: bigint;
  readonly emissionShare: number;
}

const ETHER = 10n ** 18n;

/** The settings of a deployment by `deployer` that chooses nothing but perhaps the smallest stake. */
export const defaultSettings = (deployer: Address, minStakeWei = ETHER): DeploymentSettings => ({
  owner: deployer,
  coordinator: deployer,
  validator: deployer,
  minStakeWei,
  gpuStakeWei: 10n * minStakeWei,
  teeStakeWei: 50n * minStakeWei,
  priorityStakeWei: 100n * minStakeWei,
  heartbeatSeconds: 3600,
  challengeSeconds: 24 * 3600,
  unbondingSeconds: 48 * 3600,
  forceWindowSeconds: 600,
  challengerShare: 4000,
  insuranceShare: 4000,
  burnShare: 2000,
  blockRewardWei: 2n * ETHER,
  emissionShare: 500,
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
  /** Where the contract stands without a deployment, on chains whose genesis holds it: its constructor's arguments are in slots 0, 1, … */
  readonly predeployedAt?: Address;
}

const at = (contract: ContractName): Argument => ({ contract });
const chosen = (setting: keyof DeploymentSettings): Argument => ({ setting });

const fields = (given: Readonly<Record<string, Argument>>): Argument => ({ fields: given });

/** What both contracts that settle rounds work with. */
const settlementDoors = fields({
  registry: at('nodeCertRegistry'),
  jobManager: at('jobManager'),
  faultVerifier: at('faultVerifier'),
  reputation: at('reputationRegistry'),
  insuranceFund: at('insuranceFund'),
});

/** The contracts in the order in which they are created. */
export const catalogue = {
  forwarder: { abi: musterForwarderAbi, bytecode: musterForwarderBytecode, constructor: [] },
  insuranceFund: {
    abi: insuranceFundAbi,
    bytecode: insuranceFundBytecode,
    constructor: [at('forwarder'), [at('proofOfCompute'), at('batchedProofOfCompute')]],
  },
  reputationRegistry: {
    abi: reputationRegistryAbi,
    bytecode: reputationRegistryBytecode,
    constructor: [[at('nodeCertRegistry'), at('proofOfCompute'), at('batchedProofOfCompute'), at('modelRegistry')], at('nodeCertRegistry')],
  },
  nodeCertRegistry: {
    abi: nodeCertRegistryAbi,
    bytecode: nodeCertRegistryBytecode,
    constructor: [
      at('forwarder'),
      chosen('owner'),
      fields({
        proofOfCompute: at('proofOfCompute'),
        batchedProofOfCompute: at('batchedProofOfCompute'),
        credits: at('jobManager'),
        insuranceFund: at('insuranceFund'),
        reputation: at('reputationRegistry'),
      }),
      fields({
        teeVerifier: at('teeVerifier'),
        tiers: fields({
          basic: chosen('minStakeWei'),
          gpu: chosen('gpuStakeWei'),
          tee: chosen('teeStakeWei'),
          priority: chosen('priorityStakeWei'),
        }),
        times: fields({
          heartbeat: chosen('heartbeatSeconds'),
          challenge: chosen('challengeSeconds'),
          unbonding: chosen('unbondingSeconds'),
        }),
        shares: fields({
          challenger: chosen('challengerShare'),
          insurance: chosen('insuranceShare'),
          burn: chosen('burnShare'),
        }),
      }),
    ],
  },
  jobManager: {
    abi: aiJobManagerAbi,
    bytecode: aiJobManagerBytecode,
    constructor: [
      at('forwarder'),
      fields({
        registry: at('nodeCertRegistry'),
        proofOfCompute: at('proofOfCompute'),
        batchedProofOfCompute: at('batchedProofOfCompute'),
        trainRequest: at('trainRequest'),
        emissionPool: at('emissionPool'),
      }),
    ],
  },
  faultVerifier: { abi: signedVerdictVerifierAbi, bytecode: signedVerdictVerifierBytecode, constructor: [at('jobManager')] },
  proofOfCompute: { abi: proofOfComputeAbi, bytecode: proofOfComputeBytecode, constructor: [at('forwarder'), settlementDoors] },
  batchedProofOfCompute: {
    abi: batchedProofOfComputeAbi,
    bytecode: batchedProofOfComputeBytecode,
    constructor: [at('forwarder'), settlementDoors, chosen('forceWindowSeconds')],
  },
  trainProofLog: {
    abi: trainProofLogAbi,
    bytecode: trainProofLogBytecode,
    constructor: [at('forwarder'), at('nodeCertRegistry'), at('jobManager')],
  },
  modelRegistry: {
    abi: modelRegistryAbi,
    bytecode: modelRegistryBytecode,
    constructor: [at('forwarder'), at('jobManager'), at('reputationRegistry')],
  },
  emissionPool: {
    abi: emissionPoolAbi,
    bytecode: emissionPoolBytecode,
    constructor: [at('forwarder'), chosen('owner'), at('jobManager'), chosen('blockRewardWei'), chosen('emissionShare')],
  },
  didRegistry: { abi: arthaDIDRegistryAbi, bytecode: arthaDIDRegistryBytecode, constructor: [at('forwarder')] },
  dataConsent: { abi: dataConsentAbi, bytecode: dataConsentBytecode, constructor: [at('forwarder'), at('didRegistry')] },
  teeVerifier: { abi: signedQuoteVerifierAbi, bytecode: signedQuoteVerifierBytecode, constructor: [chosen('owner')] },
  trainRequest: {
    abi: trainRequestAbi,
    bytecode: trainRequestBytecode,
    constructor: [at('jobManager'), at('forwarder'), chosen('owner'), chosen('coordinator'), chosen('validator')],
    predeployedAt: '0x0000000000000000000000000000000000000014' as Address,
  },
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
  const created = createdNames(existing);
  const planned: Partial<Record<ContractName, Address>> = {};
  for (const name of contractNames) {
    const nonce = BigInt(firstNonce + created.indexOf(name));
    planned[name] = existing[name] ?? (getContractAddress({ from: deployer, nonce }).toLowerCase() as Address);
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
