/**
 * Signed requests between a node and a coordinator, and signatures over stored objects.
 *
 * A sealed envelope is canonical DAG-CBOR `{payload, signature}`; the payload is itself canonical DAG-CBOR and names network,
 * sender, nonce and time. Not here: remembering nonces (a store does) and the Ed25519 arithmetic (the platform gives it).
 * Format: `docs/spec/07-transport.md`.
 */
import { CID } from 'multiformats/cid';
import { cidOfBytes, decodeCanonical, encodeCanonical } from './canonical.ts';
import { MusterError } from './errors.ts';
import type { Address, CidText, NodeId } from './ids.ts';
import type { Signed } from './objects.ts';
import { byteString, integer, literal, nodeIdText, type Schema, struct, text } from './schema.ts';

export const envelopeDomain = 'muster-envelope-v1';
export const nonceBytes = 16;
/** Largest sealed envelope accepted unless told otherwise: 1 MiB. Bulk bytes travel as blocks. */
export const maxEnvelopeBytes = 1024 * 1024;

/** What signs: the `NodeKey` port satisfies it. `sign` gives an Ed25519 signature of 64 bytes. */
export interface Signer {
  readonly node: NodeId;
  sign(message: Uint8Array): Uint8Array;
}

/** Whether `signature` is `node`'s Ed25519 signature over `message`. */
export type SignatureCheck = (node: NodeId, message: Uint8Array, signature: Uint8Array) => boolean;

export interface EnvelopeFields {
  /** What is asked for; lower-case words joined by `-` or `.`, at most 64 characters. */
  readonly kind: string;
  /** See `networkName`: binds the request to one chain and contract. */
  readonly network: string;
  /** 16 random bytes, never used twice by a node. */
  readonly nonce: Uint8Array;
  /** Milliseconds since 1970. */
  readonly issuedAtMs: number;
  /** Any DAG-CBOR value. */
  readonly body: unknown;
}

export interface Envelope extends EnvelopeFields {
  readonly node: NodeId;
}

export interface OpenOptions {
  readonly network: string;
  /** Kinds accepted here. */
  readonly kinds: readonly string[];
  readonly verify: SignatureCheck;
  readonly nowMs: number;
  /** How far `issuedAtMs` may lie from `nowMs`, to either side. */
  readonly windowMs: number;
  /** Default `maxEnvelopeBytes`. */
  readonly maxBytes?: number;
}

const anyValue: Schema<unknown> = (value) => value;

const payloadSchema = struct({
  version: literal(1),
  kind: text(64, /^[a-z][a-z0-9.-]*$/),
  network: text(128, /^[!-~]+$/),
  node: nodeIdText,
  nonce: byteString(nonceBytes, true),
  issuedAtMs: integer(0),
  body: anyValue,
});

const sealedSchema = struct({ payload: byteString(Number.MAX_SAFE_INTEGER), signature: byteString(64, true) });

/** Text form of one chain and the contract that anchors a network there, as CAIP-10: `eip155:31337:0x…`. */
export function networkName(chainId: number, anchor: Address): string {
  return `eip155:${chainId}:${anchor}`;
}

/**
 * The bytes an Ed25519 signature covers: `domain` in ASCII, then the 36 binary bytes of the content id.
 * The id has a fixed length, so different domains never give the same message. Throws INTERNAL for a domain that is not ASCII.
 */
export function signingBytes(domain: string, cid: CidText): Uint8Array {
  const id = CID.parse(cid).bytes;
  const message = new Uint8Array(domain.length + id.length);
  for (let i = 0; i < domain.length; i++) {
    const unit = domain.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) throw new MusterError('INTERNAL', 'a signing domain is printable ASCII');
    message[i] = unit;
  }
  message.set(id, domain.length);
  return message;
}

/** Bytes of the sealed envelope: `fields` signed by `key`. Throws FIELD_INVALID for fields that `openEnvelope` would refuse. */
export function sealEnvelope(key: Signer, fields: EnvelopeFields): Uint8Array {
  const { kind, network, nonce, issuedAtMs, body } = fields;
  const payload = encodeCanonical(payloadSchema({ version: 1, kind, network, node: key.node, nonce, issuedAtMs, body }, 'envelope'));
  return encodeCanonical({ payload, signature: key.sign(signingBytes(envelopeDomain, cidOfBytes(payload, 'dag-cbor'))) });
}

/**
 * The envelope in `bytes`, its signature, network, kind and time checked in this order; whether its nonce is new is for the caller to ask.
 *
 * Throws BYTES_TOO_LARGE, BYTES_MALFORMED, BYTES_NOT_CANONICAL, SIGNATURE_MISSING, FIELD_INVALID, SIGNATURE_INVALID,
 * REQUEST_EXPIRED. Errors raised after the signature held carry the details `node` and `kind`; SIGNATURE_INVALID carries
 * `claimedNode`, which proves nothing about that node.
 */
export function openEnvelope(bytes: Uint8Array, options: OpenOptions): Envelope {
  const { payload, signature } = readSealed(bytes, options.maxBytes ?? maxEnvelopeBytes);
  const { version: _version, ...envelope } = payloadSchema(decodeCanonical(payload, payload.length), 'envelope');
  const { node, kind } = envelope;
  if (!options.verify(node, signingBytes(envelopeDomain, cidOfBytes(payload, 'dag-cbor')), signature)) {
    throw new MusterError('SIGNATURE_INVALID', `the signature is not ${node}'s over this envelope`, { claimedNode: node });
  }
  if (envelope.network !== options.network) {
    const details = { node, kind, field: 'envelope.network', expected: options.network, actual: envelope.network };
    throw new MusterError('FIELD_INVALID', `envelope.network: signed for ${envelope.network}, this is ${options.network}`, details);
  }
  if (!options.kinds.includes(kind)) {
    throw new MusterError('FIELD_INVALID', `envelope.kind: "${kind}" is not accepted here`, { node, kind, field: 'envelope.kind' });
  }
  if (Math.abs(envelope.issuedAtMs - options.nowMs) > options.windowMs) {
    const details = { node, kind, issuedAtMs: envelope.issuedAtMs, nowMs: options.nowMs, windowMs: options.windowMs };
    throw new MusterError('REQUEST_EXPIRED', `issued ${Math.abs(envelope.issuedAtMs - options.nowMs)} ms away from the time here`, details);
  }
  return envelope;
}

function readSealed(bytes: Uint8Array, maxBytes: number): { readonly payload: Uint8Array; readonly signature: Uint8Array } {
  const value = bytes.length === 0 ? null : decodeCanonical(bytes, maxBytes);
  const signature =
    value !== null && typeof value === 'object' && Object.hasOwn(value, 'signature') ? (value as { signature: unknown }).signature : null;
  if (signature === null || (signature instanceof Uint8Array && signature.length === 0)) {
    throw new MusterError('SIGNATURE_MISSING', 'the request carries no signature');
  }
  return sealedSchema(value, 'sealed');
}

function objectDomain(kind: string): string {
  return `muster-object-v1/${kind}`;
}

/** `object`, of the kind named (`objectKinds.*.kind`), signed by `key`; ready for `encodeLinked`. */
export function signObject(key: Signer, kind: string, object: CidText): Signed {
  return { version: 1, object, node: key.node, signature: key.sign(signingBytes(objectDomain(kind), object)) };
}

/** Throws SIGNATURE_INVALID unless `signed` is its node's signature over that object as an object of this kind. */
export function verifyObject(kind: string, signed: Signed, verify: SignatureCheck): void {
  if (!verify(signed.node, signingBytes(objectDomain(kind), signed.object), signed.signature)) {
    throw new MusterError('SIGNATURE_INVALID', `the signature is not ${signed.node}'s over ${kind} ${signed.object}`, {
      object: signed.object,
      claimedNode: signed.node,
    });
  }
}
