/**
 * An operator's signature over a commitment that its node sends to the coordinator of a batched job: EIP-712, as
 * `BatchedProofOfCompute.commitmentDigest` hashes it. Signatures of contract accounts do not count.
 */
import type { ChainInfo } from '@muster/ports';
import type { Address, Root } from '@muster/protocol';
import { type Hex, type PrivateKeyAccount, recoverTypedDataAddress } from 'viem';
import { lowerAddress } from './events.ts';

const typedCommitment = (info: ChainInfo, commitment: Root) =>
  ({
    domain: { name: 'Muster', version: '1', chainId: info.chainId, verifyingContract: info.contracts.batchedProofOfCompute },
    types: { BatchCommitment: [{ name: 'commitment', type: 'bytes32' }] },
    primaryType: 'BatchCommitment',
    message: { commitment },
  }) as const;

export function signCommitment(account: PrivateKeyAccount, info: ChainInfo, commitment: Root): Promise<Hex> {
  return account.signTypedData(typedCommitment(info, commitment));
}

/** Whether `operator` signed. A signature that is none is nobody's. */
export async function signsCommitment(operator: Address, info: ChainInfo, commitment: Root, signature: Hex): Promise<boolean> {
  try {
    return lowerAddress(await recoverTypedDataAddress({ ...typedCommitment(info, commitment), signature })) === operator;
  } catch {
    return false;
  }
}
