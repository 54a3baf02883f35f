/**
 * A DID's X25519 encryption key in a file that only its owner may read, and data keys sealed for one.
 *
 * Sealing: an ephemeral X25519 key, HKDF-SHA256 over the shared secret with both public keys as salt, AES-256-GCM. Whoever opens knows
 * that nobody changed the bytes, not who sealed them. Not here: the Ed25519 key, which is a node key (`node/keys.ts`).
 */
import { createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { bytesToHex, hexToBytes, MusterError, type Root } from '@muster/protocol';
import { readOrCreateSecret } from '../../node/files.ts';

/** DER before the 32 key bytes: SubjectPublicKeyInfo for X25519 (RFC 8410). */
const publicKeyPrefix = hexToBytes('0x302a300506032b656e032100');
const label = 'muster-sealed-key-v1';
const [KEY, NONCE, TAG] = [32, 12, 16];

export interface EncryptionKey {
  /** Raw X25519 public key. */
  readonly publicKey: Root;
  /** What `sealFor` sealed for this key. Throws SIGNATURE_INVALID for bytes that were not. */
  open(sealed: Uint8Array): Uint8Array;
}

/**
 * The X25519 key in the PKCS #8 PEM file `path`, created on first use with mode 0600.
 * Throws FIELD_INVALID if the file holds anything else; it is never overwritten.
 */
export async function loadOrCreateEncryptionKey(path: string): Promise<EncryptionKey> {
  const pem = await readOrCreateSecret(path, () =>
    generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  );
  const invalid = (what: string, cause?: unknown) =>
    new MusterError('FIELD_INVALID', `${path}: ${what}`, { field: 'encryptionKey', file: path }, { cause });
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw invalid('not a private key in PEM', cause);
  }
  if (key.asymmetricKeyType !== 'x25519') throw invalid(`expected an X25519 key, got ${key.asymmetricKeyType}`);
  const publicKey = rawPublicKey(key);
  return { publicKey, open: (sealed) => open(key, publicKey, sealed) };
}

/** `secret`, readable only with the private key of `publicKey`: ephemeral key, nonce, ciphertext, tag. */
export function sealFor(publicKey: Root, secret: Uint8Array): Uint8Array {
  const ephemeral = generateKeyPairSync('x25519').privateKey;
  const ephemeralPublic = rawPublicKey(ephemeral);
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', sharedKey(ephemeral, publicKey, ephemeralPublic, publicKey), nonce);
  const body = Buffer.concat([cipher.update(secret), cipher.final()]);
  return new Uint8Array(Buffer.concat([hexToBytes(ephemeralPublic), nonce, body, cipher.getAuthTag()]));
}

function open(key: KeyObject, publicKey: Root, sealed: Uint8Array): Uint8Array {
  try {
    const ephemeralPublic = bytesToHex(sealed.subarray(0, KEY)) as Root;
    const nonce = sealed.subarray(KEY, KEY + NONCE);
    const decipher = createDecipheriv('aes-256-gcm', sharedKey(key, ephemeralPublic, ephemeralPublic, publicKey), nonce, {
      authTagLength: TAG,
    });
    decipher.setAuthTag(sealed.subarray(-TAG));
    return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(KEY + NONCE, -TAG)), decipher.final()]));
  } catch (cause) {
    throw new MusterError('SIGNATURE_INVALID', 'the bytes are not sealed for this key, or were changed', {}, { cause });
  }
}

function sharedKey(own: KeyObject, other: Root, ephemeralPublic: Root, recipient: Root): Uint8Array {
  const publicKey = createPublicKey({ key: Buffer.concat([publicKeyPrefix, hexToBytes(other)]), format: 'der', type: 'spki' });
  const secret = diffieHellman({ privateKey: own, publicKey });
  const salt = Buffer.concat([hexToBytes(ephemeralPublic), hexToBytes(recipient)]);
  return new Uint8Array(hkdfSync('sha256', secret, salt, label, KEY));
}

function rawPublicKey(key: KeyObject): Root {
  return bytesToHex(createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32)) as Root;
}
