/**
 * A node's Ed25519 key and an operator's account key, each in a file that only its owner may read.
 *
 * Signatures follow RFC 8032 as OpenSSL checks it. Not here: key rotation, hardware keys, encryption at rest.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import type { NodeKey, VerifySignature } from '@muster/ports';
import { bytesToHex, hexToBytes, MusterError, type NodeId } from '@muster/protocol';
import { readOrCreateSecret } from './files.ts';

/** DER before the 32 key bytes: SubjectPublicKeyInfo for Ed25519 (RFC 8410). */
const publicKeyPrefix = hexToBytes('0x302a300506032b6570032100');
const derivationSalt = 'muster-node-secret-v1';

/**
 * The node key in the PKCS #8 PEM file `path`, created on first use with mode 0600.
 * Throws FIELD_INVALID if the file holds anything else; it is never overwritten.
 */
export async function loadOrCreateNodeKey(path: string): Promise<NodeKey> {
  const pem = await readOrCreateSecret(path, () =>
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  );
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new MusterError('FIELD_INVALID', `${path}: not a private key in PEM`, { field: 'nodeKey', file: path }, { cause });
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new MusterError('FIELD_INVALID', `${path}: expected an Ed25519 key, got ${key.asymmetricKeyType}`, {
      field: 'nodeKey',
      file: path,
    });
  }
  return nodeKeyOf(key);
}

/** A node key that is not stored anywhere, from a seed of 32 bytes: for tests and simulations. */
export function nodeKeyFromSeed(seed: Uint8Array): NodeKey {
  const pkcs8 = Buffer.concat([hexToBytes('0x302e020100300506032b657004220420'), seed]);
  return nodeKeyOf(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
}

function nodeKeyOf(key: KeyObject): NodeKey {
  const publicDer = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const seed = key.export({ type: 'pkcs8', format: 'der' }).subarray(-32);
  return {
    node: bytesToHex(publicDer.subarray(-32)) as NodeId,
    sign: (message) => new Uint8Array(sign(null, message, key)),
    derive: (label) => new Uint8Array(hkdfSync('sha256', seed, derivationSalt, label, 32)),
  };
}

const maxCachedKeys = 4096;
const publicKeys = new Map<NodeId, KeyObject>();

function publicKeyOf(node: NodeId): KeyObject {
  let key = publicKeys.get(node);
  if (key === undefined) {
    key = createPublicKey({ key: Buffer.concat([publicKeyPrefix, hexToBytes(node)]), format: 'der', type: 'spki' });
    if (publicKeys.size >= maxCachedKeys) publicKeys.clear();
    publicKeys.set(node, key);
  }
  return key;
}

/** Ed25519 by `node:crypto`; false for anything that is not a key or a signature. */
export const verifySignature: VerifySignature = (node, message, signature) => {
  if (signature.length !== 64) return false;
  try {
    return verify(null, message, publicKeyOf(node), signature);
  } catch {
    return false;
  }
};

/** Order of the secp256k1 group; a private key lies in [1, order − 1]. */
const secp256k1Order = 0xffffffff_ffffffff_ffffffff_fffffffe_baaedce6_af48a03b_bfd25e8c_d0364141n;

/**
 * The account's private key in the file `path`, 32 bytes as 0x-hex, created on first use with mode 0600.
 * Throws FIELD_INVALID if the file holds anything else; the message does not repeat its content.
 */
export async function loadOrCreateAccountKey(path: string): Promise<`0x${string}`> {
  const text = (await readOrCreateSecret(path, () => `${randomAccountKey()}\n`)).trim();
  if (!/^0x[0-9a-f]{64}$/.test(text) || !isAccountKey(BigInt(text))) {
    throw new MusterError('FIELD_INVALID', `${path}: not a secp256k1 private key in 0x-hex`, { field: 'accountKey', file: path });
  }
  return text as `0x${string}`;
}

function isAccountKey(scalar: bigint): boolean {
  return scalar > 0n && scalar < secp256k1Order;
}

function randomAccountKey(): `0x${string}` {
  for (;;) {
    const hex = bytesToHex(randomBytes(32));
    if (isAccountKey(BigInt(hex))) return hex;
  }
}
