/**
 * Orders to the identity contracts: as calls by the account itself, or signed (EIP-712) for anybody to deliver and pay for.
 *
 * A signed order holds for one contract on one chain, once, until its deadline.
 */
import type { Address, Root } from '@muster/protocol';
import { encodeFunctionData, type Hex, type PrivateKeyAccount } from 'viem';
import type { CallRequest } from '../contracts/calls.ts';
import { arthaDIDRegistryAbi, dataConsentAbi } from '../generated/index.ts';
import { lowerAddress } from '../contracts/events.ts';
import type { ConsentTerms, IdentityContracts } from './contracts.ts';

export type DidOrder =
  | { readonly order: 'createDID'; readonly authKey: Root; readonly encKey: Root; readonly metaCid: Root | null }
  | { readonly order: 'rotateKeys'; readonly didHash: Root; readonly authKey: Root; readonly encKey: Root }
  | { readonly order: 'updateMetadata'; readonly didHash: Root; readonly metaCid: Root | null }
  | { readonly order: 'changeOwner'; readonly didHash: Root; readonly newOwner: Address }
  | { readonly order: 'acceptOwner'; readonly didHash: Root }
  | { readonly order: 'revokeDID'; readonly didHash: Root };

export type ConsentOrder =
  | ({ readonly order: 'grant' } & ConsentTerms)
  | { readonly order: 'revokeConsent'; readonly consentId: Root }
  | { readonly order: 'logAccess'; readonly consentId: Root; readonly accessCid: Root };

export type IdentityOrder = DidOrder | ConsentOrder;

/** `nonce` is the account's next one in the contract, `deadline` seconds since 1970. */
export interface OrderTerms {
  readonly nonce: bigint;
  readonly deadline: bigint;
}

const zero = `0x${'0'.repeat(64)}` as Root;
const field = (type: string) => (name: string) => ({ name, type });
const [word, uint64, address] = [field('bytes32'), field('uint64'), field('address')];
const terms = [field('uint256')('nonce'), uint64('deadline')];

/** EIP-712 type of each order, its name and its fields in the order hashed. */
const orderTypes = {
  createDID: ['CreateDID', [address('controller'), word('authKey'), word('encKey'), word('metaCid')]],
  rotateKeys: ['RotateKeys', [word('didHash'), word('authKey'), word('encKey')]],
  updateMetadata: ['UpdateMetadata', [word('didHash'), word('metaCid')]],
  changeOwner: ['ChangeOwner', [word('didHash'), address('newOwner')]],
  acceptOwner: ['AcceptOwner', [word('didHash')]],
  revokeDID: ['Revoke', [word('didHash')]],
  grant: ['Grant', [...['datasetCid', 'ownerDid', 'granteeDid', 'purpose', 'permissionKeyCid'].map(word), uint64('expiresAt')]],
  revokeConsent: ['RevokeConsent', [word('consentId')]],
  logAccess: ['LogAccess', [word('consentId'), word('accessCid')]],
} as const;

/** Whether `order` is for the registry of DIDs rather than of consents. */
export function isDidOrder(order: IdentityOrder): order is DidOrder {
  return order.order !== 'grant' && order.order !== 'revokeConsent' && order.order !== 'logAccess';
}

/** The contract that `order` is for. */
export const contractOf = (order: IdentityOrder, contracts: IdentityContracts): Address =>
  isDidOrder(order) ? contracts.didRegistry : contracts.dataConsent;

/** The call that `order` is when the account that gives it sends it itself, or through the forwarder. */
export function encodeOrder(order: IdentityOrder, contracts: IdentityContracts): CallRequest {
  return { to: contractOf(order, contracts), data: callData(order), valueWei: 0n };
}

/** The signature of `account` under `order`. */
export function signOrder(
  account: PrivateKeyAccount,
  contracts: IdentityContracts,
  order: IdentityOrder,
  { nonce, deadline }: OrderTerms,
): Promise<Hex> {
  const [primaryType, fields] = orderTypes[order.order];
  return account.signTypedData({
    domain: {
      name: isDidOrder(order) ? 'ArthaDIDRegistry' : 'DataConsent',
      version: '1',
      chainId: contracts.chainId,
      verifyingContract: contractOf(order, contracts),
    },
    types: { [primaryType]: [...fields, ...terms] },
    primaryType,
    message: { ...messageOf(order, lowerAddress(account.address)), nonce, deadline },
  });
}

/** The call that delivers `order` of `signer`: anybody may send it. */
export function encodeSignedOrder(
  order: IdentityOrder,
  contracts: IdentityContracts,
  signer: Address,
  { nonce, deadline }: OrderTerms,
  signature: Hex,
): CallRequest {
  return { to: contractOf(order, contracts), data: signedCallData(order, signer, { nonce, deadline, signature }), valueWei: 0n };
}

function messageOf(order: IdentityOrder, controller: Address): Record<string, unknown> {
  const { order: name, ...fields } = order;
  if (name === 'createDID') return { controller, ...fields, metaCid: order.metaCid ?? zero };
  if (order.order === 'updateMetadata') return { ...fields, metaCid: order.metaCid ?? zero };
  if (order.order === 'grant') return contractTerms(order);
  return fields;
}

function contractTerms({ datasetCid, ownerDid, granteeDid, purpose, permissionKeyCid, expiresAt }: ConsentTerms) {
  return { datasetCid, ownerDid, granteeDid, purpose, permissionKeyCid: permissionKeyCid ?? zero, expiresAt: BigInt(expiresAt) };
}

function callData(order: IdentityOrder): Hex {
  const abi = arthaDIDRegistryAbi;
  switch (order.order) {
    case 'createDID':
      return encodeFunctionData({ abi, functionName: 'createDID', args: [order.authKey, order.encKey, order.metaCid ?? zero] });
    case 'rotateKeys':
      return encodeFunctionData({ abi, functionName: 'rotateKeys', args: [order.didHash, order.authKey, order.encKey] });
    case 'updateMetadata':
      return encodeFunctionData({ abi, functionName: 'updateMetadata', args: [order.didHash, order.metaCid ?? zero] });
    case 'changeOwner':
      return encodeFunctionData({ abi, functionName: 'changeOwner', args: [order.didHash, order.newOwner] });
    case 'acceptOwner':
      return encodeFunctionData({ abi, functionName: 'acceptOwner', args: [order.didHash] });
    case 'revokeDID':
      return encodeFunctionData({ abi, functionName: 'revoke', args: [order.didHash] });
    case 'grant':
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'grant', args: [contractTerms(order)] });
    case 'revokeConsent':
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'revoke', args: [order.consentId] });
    case 'logAccess':
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'logAccess', args: [order.consentId, order.accessCid] });
    default:
      return order satisfies never;
  }
}

interface Authorization extends OrderTerms {
  readonly signature: Hex;
}

function signedCallData(order: IdentityOrder, signer: Address, by: Authorization): Hex {
  const abi = arthaDIDRegistryAbi;
  switch (order.order) {
    case 'createDID': {
      const args = [signer, order.authKey, order.encKey, order.metaCid ?? zero, by] as const;
      return encodeFunctionData({ abi, functionName: 'createDIDBySignature', args });
    }
    case 'rotateKeys': {
      const args = [order.didHash, order.authKey, order.encKey, by] as const;
      return encodeFunctionData({ abi, functionName: 'rotateKeysBySignature', args });
    }
    case 'updateMetadata':
      return encodeFunctionData({ abi, functionName: 'updateMetadataBySignature', args: [order.didHash, order.metaCid ?? zero, by] });
    case 'changeOwner':
      return encodeFunctionData({ abi, functionName: 'changeOwnerBySignature', args: [order.didHash, order.newOwner, by] });
    case 'acceptOwner':
      return encodeFunctionData({ abi, functionName: 'acceptOwnerBySignature', args: [order.didHash, by] });
    case 'revokeDID':
      return encodeFunctionData({ abi, functionName: 'revokeBySignature', args: [order.didHash, by] });
    case 'grant':
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'grantBySignature', args: [contractTerms(order), by] });
    case 'revokeConsent':
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'revokeBySignature', args: [order.consentId, by] });
    case 'logAccess': {
      const args = [order.consentId, order.accessCid, by] as const;
      return encodeFunctionData({ abi: dataConsentAbi, functionName: 'logAccessBySignature', args });
    }
    default:
      return order satisfies never;
  }
}
