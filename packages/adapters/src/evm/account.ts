/** Address of a secp256k1 account key. */
import type { Address } from '@muster/protocol';
import { privateKeyToAccount } from 'viem/accounts';

/** Lower-case address of the account with `privateKey`, 32 bytes 0x-hex. */
export function addressOfKey(privateKey: `0x${string}`): Address {
  return privateKeyToAccount(privateKey).address.toLowerCase() as Address;
}
