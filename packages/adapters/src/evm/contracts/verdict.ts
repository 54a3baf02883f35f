/**
 * The validator's signed verdict: EIP-712 over Verdict, and the evidence bytes the SignedVerdictVerifier contract reads.
 */
import type { ChainInfo, VerdictStatement } from '@muster/ports';
import { offences } from '@muster/protocol';
import { encodeAbiParameters, type Hex, type PrivateKeyAccount } from 'viem';

/** Fields of a Verdict, in the order that is hashed. */
const verdictTypes = {
  Verdict: [
    { name: 'job', type: 'bytes32' },
    { name: 'round', type: 'uint64' },
    { name: 'task', type: 'uint32' },
    { name: 'resultRoot', type: 'bytes32' },
    { name: 'verdictCid', type: 'bytes32' },
    { name: 'offence', type: 'uint8' },
  ],
} as const;

/** `abi.encode(resultRoot, verdictCid, offence, signature)`, signed by `account`. It convicts only if `account` is the job's validator. */
export async function signedVerdict(account: PrivateKeyAccount, info: ChainInfo, statement: VerdictStatement): Promise<Hex> {
  const { job, round, task, resultRoot, verdictCid } = statement;
  const offence = offences.indexOf(statement.offence);
  const signature = await account.signTypedData({
    domain: { name: 'Muster', version: '1', chainId: info.chainId, verifyingContract: info.contracts.faultVerifier },
    types: verdictTypes,
    primaryType: 'Verdict',
    message: { job, round: BigInt(round), task, resultRoot, verdictCid, offence },
  });
  return encodeAbiParameters(
    [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint8' }, { type: 'bytes' }],
    [resultRoot, verdictCid, offence, signature],
  );
}
