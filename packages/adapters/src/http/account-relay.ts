/**
 * A relay that pays from one account: `createRelay` with a connection and a sender of its own.
 */
import { privateKeyToAccount } from 'viem/accounts';
import { openConnection } from '../evm/contracts/connection.ts';
import type { ConnectAccountOptions } from '../evm/contracts/chain.ts';
import { AccountSender } from '../evm/contracts/transactions.ts';
import { createRelay, type Relay, type RelayOptions } from './relay.ts';

export type AccountRelayOptions = ConnectAccountOptions & Omit<RelayOptions, 'connection' | 'relayer' | 'info'>;

/** The relay of the account with `privateKey`. Nothing is sent until a request comes; an unreachable chain refuses each. */
export function openAccountRelay(options: AccountRelayOptions): Relay {
  const { info, privateKey } = options;
  // Depth is the business of who signed: it hands over again what a re-organisation takes back.
  const connection = openConnection({ ...options, confirmations: 0 });
  const relayer = new AccountSender(connection, info.chainId, privateKeyToAccount(privateKey));
  return createRelay({ ...options, connection, relayer });
}
