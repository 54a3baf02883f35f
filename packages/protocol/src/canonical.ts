/**
 * Canonical bytes: DAG-CBOR in its one strict form, and content ids over them.
 *
 * Everything that is hashed or signed goes through `encodeCanonical`; everything from outside through `decodeCanonical`,
 * which refuses bytes that are not exactly what `encodeCanonical` would have written.
 * Integers must be safe integers; links are `CID` instances (see `linkOf`). Source: IPLD DAG-CBOR specification.
 */
import * as dagCbor from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import * as digest from 'multiformats/hashes/digest';
import { MusterError } from './errors.ts';
import { sha256 } from './hash.ts';
import { bytesToHex, type CidText, hexToBytes, type Root } from './ids.ts';

export type Codec = 'dag-cbor' | 'raw';

const codecCodes = { 'dag-cbor': 0x71, raw: 0x55 } as const;

/** Largest object `decodeCanonical` accepts unless told otherwise: 4 MiB. Bulk bytes travel as raw blocks. */
export const maxObjectBytes = 4 * 1024 * 1024;

/** DAG-CBOR of `value`: sorted keys, shortest integers, 64-bit floats. Throws INTERNAL for what IPLD cannot hold (undefined, NaN). */
export function encodeCanonical(value: unknown): Uint8Array {
  try {
    return dagCbor.encode(value);
  } catch (cause) {
    throw new MusterError('INTERNAL', `cannot encode: ${cause instanceof Error ? cause.message : String(cause)}`, {}, { cause });
  }
}

/** The value of canonical `bytes`. Throws BYTES_TOO_LARGE, BYTES_MALFORMED, BYTES_NOT_CANONICAL. */
export function decodeCanonical(bytes: Uint8Array, maxBytes = maxObjectBytes): unknown {
  if (bytes.length > maxBytes) {
    throw new MusterError('BYTES_TOO_LARGE', `${bytes.length} bytes, at most ${maxBytes}`, { bytes: bytes.length, maxBytes });
  }
  let value: unknown;
  let again: Uint8Array;
  try {
    value = dagCbor.decode(bytes);
    again = dagCbor.encode(value);
  } catch (cause) {
    throw new MusterError(
      'BYTES_MALFORMED',
      `not DAG-CBOR: ${cause instanceof Error ? cause.message.slice(0, 200) : 'unreadable'}`,
      {},
      { cause },
    );
  }
  if (!equalBytes(bytes, again)) throw new MusterError('BYTES_NOT_CANONICAL', 'the bytes are not the canonical encoding of their value');
  return value;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Content id of `bytes` under `codec`. */
export function cidOfBytes(bytes: Uint8Array, codec: Codec): CidText {
  return cidOfDigest(sha256(bytes), codec);
}

/** Content id of the canonical encoding of `value`, with that encoding. */
export function encodeObject(value: unknown): { readonly cid: CidText; readonly bytes: Uint8Array } {
  const bytes = encodeCanonical(value);
  return { cid: cidOfBytes(bytes, 'dag-cbor'), bytes };
}

/** Content id with a known SHA-256 digest of 32 bytes. */
export function cidOfDigest(sha256Digest: Uint8Array, codec: Codec): CidText {
  return CID.createV1(codecCodes[codec], digest.create(0x12, sha256Digest)).toString() as CidText;
}

export function codecOf(cid: CidText): Codec {
  return CID.parse(cid).code === codecCodes.raw ? 'raw' : 'dag-cbor';
}

/** The 32-byte SHA-256 digest inside `cid`: its `bytes32` form on chain. */
export function digestOf(cid: CidText): Root {
  return bytesToHex(CID.parse(cid).multihash.digest) as Root;
}

/** The content id whose on-chain form is `root`. */
export function cidOfRoot(root: string, codec: Codec): CidText {
  return cidOfDigest(hexToBytes(root), codec);
}

/** `cid` as a DAG-CBOR link value. */
export function linkOf(cid: CidText): CID {
  return CID.parse(cid);
}

/** Throws CID_MISMATCH unless `bytes` hash to `cid`. */
export function verifyCid(cid: CidText, bytes: Uint8Array): void {
  if (cidOfBytes(bytes, codecOf(cid)) !== cid) {
    throw new MusterError('CID_MISMATCH', `the bytes do not hash to ${cid}`, { cid, bytes: bytes.length });
  }
}
