/**
 * Whether the contracts at a network's addresses are the ones of this repository, by the transactions that created them.
 *
 * An audit trusts the events of these addresses, so it must know whose code emitted them. Public chains are not searched from their
 * first block in reasonable time; this is for the embedded one.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { type Abi, decodeDeployData, getContractAddress, type Hex } from 'viem';
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
import { ask, type ChainEndpoint, openConnection } from './connection.ts';
import { lowerAddress } from './events.ts';

type ContractName = keyof ChainInfo['contracts'];

/** Code of each contract, and which contracts its constructor must have been given, by position. */
const expected: Readonly<
  Record<ContractName, { readonly abi: Abi; readonly bytecode: Hex; readonly given: Readonly<Record<number, ContractName>> }>
> = {
  nodeCertRegistry: { abi: nodeCertRegistryAbi, bytecode: nodeCertRegistryBytecode, given: { 1: 'proofOfCompute', 2: 'jobManager' } },
  jobManager: { abi: aiJobManagerAbi, bytecode: aiJobManagerBytecode, given: { 0: 'nodeCertRegistry', 1: 'proofOfCompute' } },
  faultVerifier: { abi: signedVerdictVerifierAbi, bytecode: signedVerdictVerifierBytecode, given: { 0: 'jobManager' } },
  proofOfCompute: {
    abi: proofOfComputeAbi,
    bytecode: proofOfComputeBytecode,
    given: { 0: 'nodeCertRegistry', 1: 'jobManager', 2: 'faultVerifier' },
  },
  modelRegistry: { abi: modelRegistryAbi, bytecode: modelRegistryBytecode, given: { 0: 'jobManager' } },
};

/**
 * Returns when every contract in `info` was created with this repository's code and wired to the others. Throws AUDIT_FAILED with the
 * details `{object, problem}` naming the first contract that was not; CHAIN_UNREACHABLE.
 */
export async function verifyDeployment(endpoint: ChainEndpoint, info: ChainInfo): Promise<void> {
  const { client } = openConnection(endpoint);
  const missing = new Map<string, ContractName>(Object.entries(info.contracts).map(([name, address]) => [address, name as ContractName]));
  const head = await ask('deployment', () => client.getBlockNumber({ cacheTime: 0 }));
  for (let number = 0n; number <= head && missing.size > 0; number++) {
    const block = await ask('deployment', () => client.getBlock({ blockNumber: number, includeTransactions: true }));
    for (const { to, from, nonce, input } of block.transactions) {
      if (to !== null) continue;
      const address = lowerAddress(getContractAddress({ from, nonce: BigInt(nonce) }));
      const name = missing.get(address);
      if (name === undefined) continue;
      checkCreation(name, address, input, info);
      missing.delete(address);
    }
  }
  for (const [address, name] of missing) throw foreign(name, address as Address, 'no transaction of this chain created it');
}

function checkCreation(name: ContractName, address: Address, input: Hex, info: ChainInfo): void {
  const { abi, bytecode, given } = expected[name];
  if (!input.startsWith(bytecode)) throw foreign(name, address, 'it was created with other code than this repository’s');
  const { args } = decodeDeployData({ abi, bytecode, data: input });
  for (const [position, other] of Object.entries(given)) {
    const found = String(args[Number(position)]).toLowerCase();
    if (found !== info.contracts[other])
      throw foreign(name, address, `it works with ${found} as ${other} instead of ${info.contracts[other]}`);
  }
}

function foreign(name: ContractName, address: Address, problem: string): MusterError {
  return new MusterError('AUDIT_FAILED', `contract ${name} at ${address}: ${problem}`, {
    object: `contract ${address}`,
    problem: `${name}: ${problem}`,
  });
}
