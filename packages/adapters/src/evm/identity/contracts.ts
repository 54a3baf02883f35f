/**
 * What the two identity contracts hold, in this project's types. Addresses are lower case, times seconds, absent content ids null.
 */
import type { Address, Root } from '@muster/protocol';

/** Where the identity contracts are. */
export interface IdentityContracts {
  readonly chainId: number;
  readonly didRegistry: Address;
  readonly dataConsent: Address;
}

/** A DID at one version. Keys are raw public keys: `authKey` Ed25519, `encKey` X25519. */
export interface DidRecord {
  readonly didHash: Root;
  readonly owner: Address;
  readonly authKey: Root;
  readonly encKey: Root;
  readonly metaCid: Root | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Counts from 1. */
  readonly version: number;
  readonly revoked: boolean;
}

/** What changed with a version, in the order of the contract's `DIDChange`. */
export const didChanges = ['created', 'keysRotated', 'metadataUpdated', 'ownerChanged', 'revoked'] as const;
export type DidChange = (typeof didChanges)[number];

export interface DidVersion {
  readonly change: DidChange;
  readonly block: number;
  readonly document: DidRecord;
}

/** When a key was one of a DID's. `validUntil` is null while it is. */
export interface KeyValidity {
  readonly purpose: 'authentication' | 'encryption';
  readonly validFrom: number;
  readonly validUntil: number | null;
}

/** What an owner allows a grantee. `expiresAt` in seconds; `permissionKeyCid` is the wrapped data key, or null. */
export interface ConsentTerms {
  readonly datasetCid: Root;
  readonly ownerDid: Root;
  readonly granteeDid: Root;
  readonly purpose: Root;
  readonly permissionKeyCid: Root | null;
  readonly expiresAt: number;
}

export interface ConsentRecord extends ConsentTerms {
  readonly consentId: Root;
  readonly grantedAt: number;
  readonly revokedAt: number | null;
  readonly accessCount: number;
  readonly accessHead: Root;
}

/** One access that a grantee logged. `head` is the log's hash with it. */
export interface AccessEntry {
  readonly index: number;
  readonly accessCid: Root;
  readonly time: number;
  readonly head: Root;
  readonly block: number;
  readonly transaction: `0x${string}`;
}
