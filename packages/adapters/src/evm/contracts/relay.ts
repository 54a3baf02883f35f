/**
 * Calls that an account signs and somebody else pays for: EIP-712 requests that MusterForwarder carries (ERC-2771). The contract called
 * sees the account that signed. `docs/spec/29-relaying.md`.
 *
 * Whoever relays can delay or drop a request, and no more: it cannot change it, make it twice, or make it after its deadline. What became
 * of a request is read from the chain, never from what the relayer says.
 */
import type { ChainInfo } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import { encodeFunctionData, type Hex, type PrivateKeyAccount, recoverTypedDataAddress, toHex } from 'viem';
import { musterForwarderAbi } from '../generated/index.ts';
import type { CallRequest } from './calls.ts';
import { ask, type Connection } from './connection.ts';
import { requestError } from './errors.ts';
import { lowerAddress } from './events.ts';
import type { CallSender, Included } from './transactions.ts';

/** Where requests are valid: one forwarder on one chain. */
export interface ForwarderPlace {
  readonly chainId: ChainInfo['chainId'];
  readonly forwarder: Address;
}

/** What an account has signed. */
export interface ForwardRequest {
  readonly from: Address;
  readonly to: Address;
  /** Sent along by the relayer. */
  readonly valueWei: bigint;
  /** Gas that the call itself gets. */
  readonly gas: bigint;
  /** The forwarder's count of the account's requests, not the account's own nonce. */
  readonly nonce: bigint;
  /** Seconds since 1970; the last second in which it may be made. */
  readonly deadline: number;
  readonly data: Hex;
  readonly signature: Hex;
}

export interface ForwardTerms {
  readonly nonce: bigint;
  readonly deadline: number;
  readonly gas: bigint;
}

/** What an account signs for the forwarder. */
export const forwardTypes = {
  ForwardRequest: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'gas', type: 'uint256' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint48' },
    { name: 'data', type: 'bytes' },
  ],
} as const;

function typedData(place: ForwarderPlace, request: Omit<ForwardRequest, 'signature'>) {
  const { valueWei, ...rest } = request;
  return {
    domain: { name: 'Muster', version: '1', chainId: place.chainId, verifyingContract: place.forwarder },
    types: forwardTypes,
    primaryType: 'ForwardRequest',
    message: { ...rest, value: valueWei },
  } as const;
}

/** `call` signed by `account` for the forwarder at `place`. Throws USAGE for a call that creates a contract. */
export async function signForwardRequest(
  account: PrivateKeyAccount,
  place: ForwarderPlace,
  call: CallRequest,
  terms: ForwardTerms,
): Promise<ForwardRequest> {
  if (call.to === null) throw new MusterError('USAGE', 'contracts are not created through a relayer');
  const request = { from: lowerAddress(account.address), to: call.to, valueWei: call.valueWei, data: call.data, ...terms };
  return { ...request, signature: await account.signTypedData(typedData(place, request)) };
}

/** Whether the request's signature is its sender's, for this forwarder, chain and nonce. */
export async function isSignedForwardRequest(place: ForwarderPlace, request: ForwardRequest): Promise<boolean> {
  try {
    const signer = await recoverTypedDataAddress({ ...typedData(place, request), signature: request.signature });
    return lowerAddress(signer) === request.from;
  } catch {
    return false;
  }
}

/** How many requests of `account` the forwarder has carried: the nonce of its next one. Throws CHAIN_UNREACHABLE. */
export function forwardNonce(connection: Connection, forwarder: Address, account: Address): Promise<bigint> {
  return ask('relaying', () =>
    connection.client.readContract({ address: forwarder, abi: musterForwarderAbi, functionName: 'nonces', args: [account] }),
  );
}

/**
 * Makes `request`, paid for by `relayer`. Throws CHAIN_UNREACHABLE, and CHAIN_REVERTED with the contract's own error where the call inside
 * fails, or the forwarder's (ERC2771ForwarderExpiredRequest, ERC2771ForwarderInvalidSigner …).
 */
export async function submitForwardRequest(
  relayer: CallSender,
  connection: Connection,
  forwarder: Address,
  request: ForwardRequest,
): Promise<Included> {
  const { from, to, valueWei, gas, deadline, data: inner, signature } = request;
  const args = [{ from, to, value: valueWei, gas, deadline, data: inner, signature }] as const;
  const data = encodeFunctionData({ abi: musterForwarderAbi, functionName: 'execute', args });
  try {
    return await relayer.send('relaying', { to: forwarder, data, valueWei });
  } catch (error) {
    if (!(error instanceof MusterError) || error.details['error'] !== 'FailedCall') throw error;
    throw (await whyRefused(connection, forwarder, request, relayer.account.address)) ?? error;
  }
}

/**
 * The error of the call inside, which the forwarder swallows: the call made as the forwarder makes it. Where that needs money which the
 * forwarder does not have and the node invents none, the call is made as the relayer's own instead.
 */
async function whyRefused(connection: Connection, forwarder: Address, request: ForwardRequest, relayer: Hex): Promise<MusterError | null> {
  const { client } = connection;
  const { to, valueWei } = request;
  const value = toHex(valueWei);
  const relayed = { from: forwarder, to, data: relayedData(request), value };
  const attempts: (() => Promise<unknown>)[] =
    valueWei === 0n
      ? [() => client.request({ method: 'eth_call', params: [relayed, 'pending'] })]
      : [
          () => client.request({ method: 'eth_call', params: [relayed, 'pending', { [forwarder]: { balance: value } }] }),
          () => client.request({ method: 'eth_call', params: [{ from: relayer, to, data: request.data, value }, 'pending'] }),
        ];
  for (const attempt of attempts) {
    try {
      await attempt();
    } catch (error) {
      const known = requestError('relaying', error);
      const name = known.details['error'];
      if (known.code === 'CHAIN_REVERTED' && name !== 'RequestRefused' && name !== 'InsufficientFunds') return known;
    }
  }
  return null;
}

/** Call data as a relayed contract gets it: followed by the account that signed. */
export const relayedData = ({ data, from }: Pick<ForwardRequest, 'data' | 'from'>): Hex => `${data}${from.slice(2)}`;
