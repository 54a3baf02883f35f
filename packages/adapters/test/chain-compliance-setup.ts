/** Chains for the compliance suite: each with Muster's contracts on it and eight accounts with ether. */
import type { ChainWriter } from '@muster/ports';
import { privateKeyToAccount } from 'viem/accounts';
import { keccak256, toHex, type Hex, type Transport } from 'viem';
import type { ChainUnderTest } from '../../ports/compliance/chain.ts';
import { connectAccount, connectChain, deployContracts, type ChainEndpoint } from '../src/index.ts';

export const ACCOUNTS = 8;
export const ETHER = 10n ** 18n;
export const COMPLIANCE_CHAIN_ID = 31_337;

export const keyOf = (index: number): Hex => keccak256(toHex(`compliance account ${index}`));
export const addressOf = (index: number): Hex => privateKeyToAccount(keyOf(index)).address;

/** Deploys the contracts from account 0 and hands out writers. */
export async function underTest(
  endpoint: { readonly rpcUrl: string } | { readonly transport: Transport },
  chain: { nextBlock(): Promise<void>; close(): Promise<void> },
): Promise<ChainUnderTest> {
  const connection = { ...(endpoint satisfies ChainEndpoint), pollMs: 5 };
  const minStakeWei = ETHER / 10n;
  const info = await deployContracts({ ...connection, privateKey: keyOf(0), minStakeWei });
  const reader = await connectChain({ ...connection, info });
  const writers = new Map<number, Promise<ChainWriter>>();
  return {
    reader,
    minStakeWei,
    account(index) {
      const writer = writers.get(index) ?? connectAccount({ ...connection, info, privateKey: keyOf(index) });
      writers.set(index, writer);
      return writer;
    },
    nextBlock: () => chain.nextBlock(),
    close: () => chain.close(),
  };
}
