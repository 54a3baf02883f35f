/**
 * Branded identifiers: strings that cannot be swapped for one another.
 * Hex ids are lower case with the `0x` prefix, as on chain.
 */
import { CID } from 'multiformats/cid';
import { MusterError } from './errors.ts';

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** CIDv1, SHA-256, base32 text form. Codec dag-cbor (`bafy…`) for objects, raw (`bafk…`) for bytes. */
export type CidText = Branded<string, 'CidText'>;
/** 32 bytes as 0x-hex: Merkle roots and SHA-256 digests. */
export type Root = Branded<`0x${string}`, 'Root'>;
/** Ed25519 public key of a node, 0x-hex of 32 bytes; `nodePubkey` on chain. */
export type NodeId = Branded<`0x${string}`, 'NodeId'>;
/** `bytes32` job id given by the chain. */
export type JobId = Branded<`0x${string}`, 'JobId'>;
/** 20-byte account address, 0x-hex, lower case. */
export type Address = Branded<`0x${string}`, 'Address'>;

const hexPattern = /^0x(?:[0-9a-f]{2})*$/;

function parseHexId(text: string, bytes: number, kind: string): `0x${string}` {
  if (text.length !== 2 + 2 * bytes || !hexPattern.test(text)) {
    throw new MusterError('FIELD_INVALID', `${kind} must be 0x and ${2 * bytes} lower-case hex digits, got "${text.slice(0, 80)}"`, {
      field: kind,
    });
  }
  return text as `0x${string}`;
}

export const parseRoot = (text: string): Root => parseHexId(text, 32, 'root') as Root;
export const parseNodeId = (text: string): NodeId => parseHexId(text, 32, 'nodeId') as NodeId;
export const parseJobId = (text: string): JobId => parseHexId(text, 32, 'jobId') as JobId;
export const parseAddress = (text: string): Address => parseHexId(text, 20, 'address') as Address;

/** The content id in `text`. Throws CID_INVALID unless it is a base32 CIDv1 with SHA-256 over raw or dag-cbor. */
export function parseCid(text: string): CidText {
  let cid: CID | undefined;
  try {
    if (text.length <= 128) cid = CID.parse(text);
  } catch {
    cid = undefined;
  }
  const valid = cid?.version === 1 && cid.multihash.code === 0x12 && cid.multihash.size === 32 && (cid.code === 0x55 || cid.code === 0x71);
  if (cid === undefined || !valid || cid.toString() !== text) {
    throw new MusterError('CID_INVALID', `not a CIDv1 with SHA-256 over raw or dag-cbor: "${text.slice(0, 80)}"`);
  }
  return text as CidText;
}

export function bytesToHex(bytes: Uint8Array): `0x${string}` {
  let text = '0x';
  for (const byte of bytes) text += (byte + 0x100).toString(16).slice(1);
  return text as `0x${string}`;
}

/** Bytes of lower-case 0x-hex. Throws FIELD_INVALID. */
export function hexToBytes(hex: string): Uint8Array<ArrayBuffer> {
  if (!hexPattern.test(hex)) throw new MusterError('FIELD_INVALID', `not lower-case 0x-hex: "${hex.slice(0, 80)}"`, { field: 'hex' });
  const bytes = new Uint8Array((hex.length - 2) / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 + 2 * i, 4 + 2 * i), 16);
  return bytes;
}
