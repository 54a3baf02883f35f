/**
 * `did:artha:<hash>` as text and as the hash the registry knows, and public keys in Multikey form.
 *
 * The hash is keccak-256 over the first authentication key and the first owner, so it is known before anything is on chain.
 */
import { type Address, hexToBytes, MusterError, type Root } from '@muster/protocol';
import { base58btc } from 'multiformats/bases/base58';
import { encodeAbiParameters, keccak256, stringToHex } from 'viem';

const pattern = /^did:artha:([0-9a-f]{64})$/;

/** The hash in a DID. Throws FIELD_INVALID for anything but `did:artha:` and 64 lower-case hex digits. */
export function parseDid(text: string): Root {
  const hash = pattern.exec(text)?.[1];
  if (hash === undefined) {
    throw new MusterError('FIELD_INVALID', `a DID is did:artha: and 64 lower-case hex digits, got "${text.slice(0, 90)}"`, {
      field: 'did',
    });
  }
  return `0x${hash}` as Root;
}

/** The DID with `didHash`. */
export const didText = (didHash: Root): string => `did:artha:${didHash.slice(2)}`;

/** The hash of the DID that `controller` can register with `authKey`: the twin of `didHashOf` in the contract. */
export function didHashOf(authKey: Root, controller: Address): Root {
  return keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'address' }], [authKey, controller])) as Root;
}

/** How a purpose in words stands in a consent: its keccak-256. */
export const purposeOf = (words: string): Root => keccak256(stringToHex(words)) as Root;

/** Multicodec prefixes of public keys, as varints: `ed25519-pub` 0xed and `x25519-pub` 0xec. */
const multicodec = { ed25519: [0xed, 0x01], x25519: [0xec, 0x01] } as const;

/** A 32-byte public key as `publicKeyMultibase` of a Multikey: base58-btc with the key's multicodec. */
export function multikeyOf(kind: keyof typeof multicodec, key: Root): string {
  return base58btc.encode(Uint8Array.from([...multicodec[kind], ...hexToBytes(key)]));
}
