/**
 * Which contract functions a relay carries: what a node and a contributor need, and nothing that organizes a job.
 */
import type { ChainInfo } from '@muster/ports';
import { MusterError } from '@muster/protocol';
import { toFunctionSelector } from 'viem';
import { type ContractName, entryOf } from '../evm/contracts/catalogue.ts';

/** Functions that are carried, by contract. */
export type RelayedFunctions = Partial<Readonly<Record<ContractName, readonly string[]>>>;

/** Everything a node does on chain, and what a contributor does with an identity. */
export const nodeFunctions: RelayedFunctions = {
  nodeCertRegistry: [
    'registerNode',
    'topUp',
    'heartbeat',
    'startUnbonding',
    'cancelUnbonding',
    'withdrawStake',
    'verifyHardware',
    'verifyTee',
    'reportMissedHeartbeats',
  ],
  jobManager: ['withdraw'],
  proofOfCompute: ['commit', 'closeCommits', 'reveal', 'creditNodes', 'settleTask', 'reportUnrevealed'],
  batchedProofOfCompute: ['commit', 'reveal', 'claim', 'claimMany'],
  trainProofLog: ['recordTrainProof', 'forceInclude'],
  insuranceFund: ['claim'],
  didRegistry: ['createDID', 'rotateKeys', 'updateMetadata', 'changeOwner', 'acceptOwner', 'revoke'],
  dataConsent: ['grant', 'revoke', 'logAccess'],
};

/** `<address> <selector>` of every function listed. Throws INTERNAL for one that a contract does not have. */
export function doorsOf(info: ChainInfo, functions: RelayedFunctions): Set<string> {
  const doors = new Set<string>();
  for (const [contract, names] of Object.entries(functions)) {
    for (const name of names) {
      const found = entryOf(contract as ContractName).abi.filter((entry) => entry.type === 'function' && entry.name === name);
      if (found.length === 0) throw new MusterError('INTERNAL', `${contract} has no function ${name}`, { contract, function: name });
      for (const entry of found) {
        if (entry.type === 'function') doors.add(`${info.contracts[contract as ContractName]} ${toFunctionSelector(entry)}`);
      }
    }
  }
  return doors;
}
