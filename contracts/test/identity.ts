/**
 * The identity contracts on a test chain, and its actors as writers of them. Actor 0 pays where somebody else is to pay.
 */
import {
  arthaDIDRegistryAbi,
  arthaDIDRegistryBytecode,
  dataConsentAbi,
  dataConsentBytecode,
  musterForwarderAbi,
  musterForwarderBytecode,
} from '../../packages/adapters/src/evm/generated/index.ts';
import { encodeOrder, type IdentityContracts, type IdentityOrder, IdentityWriter } from '@muster/adapters';
import type { Address, Root } from '@muster/protocol';
import { openConnection } from '../../packages/adapters/src/evm/contracts/connection.ts';
import { privateKeyToAccount } from 'viem/accounts';
import type { CallRequest } from '../../packages/adapters/src/evm/contracts/calls.ts';
import { AccountSender } from '../../packages/adapters/src/evm/contracts/transactions.ts';
import { create, execute, rootOf, type TestChain } from './harness.ts';

export interface Identity {
  readonly chain: TestChain;
  readonly forwarder: Address;
  readonly contracts: IdentityContracts;
  /** Actor `index`, who sends its own transactions. */
  self(index: number): IdentityWriter;
  /** Actor `index`, whose orders actor 0 delivers. */
  relayed(index: number): IdentityWriter;
  time(): Promise<number>;
}

export async function deployIdentity(chain: TestChain): Promise<Identity> {
  const forwarder = await create(chain, 0, { abi: musterForwarderAbi, bytecode: musterForwarderBytecode }, []);
  const contracts = await deployPair(chain, forwarder);
  const writer = (index: number, payerKey?: `0x${string}`): IdentityWriter =>
    new IdentityWriter({
      transport: chain.transport,
      pollMs: 1,
      contracts,
      privateKey: chain.keyOf(index),
      ...(payerKey === undefined ? {} : { payerKey }),
    });
  return {
    chain,
    forwarder,
    contracts,
    self: (index) => writer(index),
    relayed: (index) => writer(index, chain.keyOf(0)),
    time: () => timeOf(chain),
  };
}

/** Another registry and another consent contract, on the same chain. */
export async function deployPair(chain: TestChain, forwarder: Address): Promise<IdentityContracts> {
  const didRegistry = await create(chain, 0, { abi: arthaDIDRegistryAbi, bytecode: arthaDIDRegistryBytecode }, [forwarder]);
  const dataConsent = await create(chain, 0, { abi: dataConsentAbi, bytecode: dataConsentBytecode }, [forwarder, didRegistry]);
  return { chainId: chain.info.chainId, didRegistry, dataConsent };
}

/** Time of the newest block, seconds. */
export async function timeOf(chain: TestChain): Promise<number> {
  const { client } = openConnection({ transport: chain.transport });
  return Number((await client.getBlock({ blockTag: 'latest' })).timestamp);
}

/** Sends `request` as actor `index`: who delivers a signed order does not matter. */
export async function deliver(chain: TestChain, index: number, request: CallRequest): Promise<void> {
  const account = privateKeyToAccount(chain.keyOf(index));
  await new AccountSender(openConnection({ transport: chain.transport, pollMs: 1 }), chain.info.chainId, account).send(
    'delivering',
    request,
  );
}

/** The forwarder's request that `request` is, signed by actor `index`. */
export async function forwardRequest(identity: Identity, index: number, request: CallRequest, offset = 0) {
  const { chain, forwarder } = identity;
  const account = privateKeyToAccount(chain.keyOf(index));
  const { client } = openConnection({ transport: chain.transport });
  const abi = musterForwarderAbi;
  const nonce = await client.readContract({ address: forwarder, abi, functionName: 'nonces', args: [account.address] });
  const message = {
    from: account.address,
    to: request.to as Address,
    value: 0n,
    gas: 500_000n,
    nonce: nonce + BigInt(offset),
    deadline: (await identity.time()) + 3600,
    data: request.data,
  };
  const signature = await account.signTypedData({
    domain: { name: 'Muster', version: '1', chainId: chain.info.chainId, verifyingContract: forwarder },
    types: { ForwardRequest: forwardFields },
    primaryType: 'ForwardRequest',
    message,
  });
  const { nonce: _, ...rest } = message;
  return { ...rest, signature };
}

const forwardFields = [
  { name: 'from', type: 'address' },
  { name: 'to', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'gas', type: 'uint256' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint48' },
  { name: 'data', type: 'bytes' },
] as const;

/** Orders of actor `index` through the forwarder in one transaction that actor 0 pays. */
export async function forward(identity: Identity, index: number, orders: readonly IdentityOrder[]): Promise<void> {
  const requests = [];
  for (const [offset, order] of orders.entries())
    requests.push(await forwardRequest(identity, index, encodeOrder(order, identity.contracts), offset));
  const args = [requests, `0x${'0'.repeat(40)}`] as const;
  await execute(identity.chain, 0, { to: identity.forwarder, abi: musterForwarderAbi, functionName: 'executeBatch', args });
}

/** An order to create a DID whose keys belong to `label`. */
export function creation(label: string, metaCid: Root | null = null): IdentityOrder & { readonly order: 'createDID' } {
  return { order: 'createDID', authKey: rootOf(`auth ${label}`), encKey: rootOf(`enc ${label}`), metaCid };
}
