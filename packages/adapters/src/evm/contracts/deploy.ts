/**
 * Puts the contracts on a chain.
 *
 * They know one another by immutable addresses, so the addresses are worked out from the deployer's nonce beforehand and checked afterwards;
 * there is no moment at which anybody could set them, and nobody can change them later.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Abi, type ContractConstructorArgs, encodeDeployData, getContractAddress, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
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
import { ask, type ChainEndpoint, type ConnectionOptions, openConnection } from './connection.ts';
import { lowerAddress } from './events.ts';
import { AccountSender } from './transactions.ts';

export type DeployOptions = ChainEndpoint &
  ConnectionOptions & {
    /** Key of the account that deploys; nothing else may use the account meanwhile. */
    readonly privateKey: Hex;
    /** May change the minimum stake. Default: the deployer. */
    readonly owner?: Address;
    /** Is credited with slashed stakes. Default: the deployer. */
    readonly slashReceiver?: Address;
    /** Stake that a registration needs. Default 1 ether. */
    readonly minStakeWei?: bigint;
  };

/** Deploys the five contracts. Throws CHAIN_UNREACHABLE, and CHAIN_REVERTED (`DeploymentDisturbed`) if the account was used meanwhile. */
export async function deployContracts(options: DeployOptions): Promise<ChainInfo> {
  const connection = openConnection(options);
  const account = privateKeyToAccount(options.privateKey);
  const { client } = connection;
  const chainId = Number(await ask('deploying', () => client.request({ method: 'eth_chainId' })));
  const nonce = await ask('deploying', () => client.getTransactionCount({ address: account.address, blockTag: 'pending' }));
  const planned = (position: number): Address =>
    lowerAddress(getContractAddress({ from: account.address, nonce: BigInt(nonce + position) }));
  const contracts: ChainInfo['contracts'] = {
    nodeCertRegistry: planned(0),
    jobManager: planned(1),
    faultVerifier: planned(2),
    proofOfCompute: planned(3),
    modelRegistry: planned(4),
  };
  const { nodeCertRegistry, jobManager, faultVerifier, proofOfCompute } = contracts;
  const owner = options.owner ?? lowerAddress(account.address);
  const slashReceiver = options.slashReceiver ?? lowerAddress(account.address);
  const minStakeWei = options.minStakeWei ?? 10n ** 18n;

  const creations: readonly [Address, Hex][] = [
    [
      nodeCertRegistry,
      creation(nodeCertRegistryAbi, nodeCertRegistryBytecode, [owner, proofOfCompute, jobManager, slashReceiver, minStakeWei]),
    ],
    [jobManager, creation(aiJobManagerAbi, aiJobManagerBytecode, [nodeCertRegistry, proofOfCompute])],
    [faultVerifier, creation(signedVerdictVerifierAbi, signedVerdictVerifierBytecode, [jobManager])],
    [proofOfCompute, creation(proofOfComputeAbi, proofOfComputeBytecode, [nodeCertRegistry, jobManager, faultVerifier])],
    [contracts.modelRegistry, creation(modelRegistryAbi, modelRegistryBytecode, [jobManager])],
  ];
  const sender = new AccountSender(connection, chainId, account);
  for (const [expected, data] of creations) {
    const { created } = await sender.send('deploying', { to: null, data, valueWei: 0n });
    const actual = created === null ? null : lowerAddress(created);
    if (actual !== expected) {
      const details = { error: 'DeploymentDisturbed', expected, actual };
      throw new MusterError('CHAIN_REVERTED', 'the deploying account was used by something else meanwhile; deploy again', details);
    }
  }
  return { chainId, contracts };
}

/** Creation code followed by the constructor's arguments, typed by the ABI. */
function creation<const T extends Abi>(typedAbi: T, bytecode: Hex, args: ContractConstructorArgs<T>): Hex {
  const abi: Abi = typedAbi;
  return encodeDeployData({ abi, bytecode, args: args as readonly unknown[] });
}
