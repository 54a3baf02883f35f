/**
 * Identities of a home: the keys of each, and the way to the identity contracts of its network.
 *
 * identities/<name>/account      the account that controls the DID
 * identities/<name>/auth.1.pem   Ed25519 keys, the last one is the DID's, or about to be
 * identities/<name>/enc.1.pem    X25519 keys; earlier ones still open what was sealed for them
 *
 * All with mode 0600. The organizer's account pays for what identities do: they sign their orders and need no ether.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addressOfKey,
  type ChainEndpoint,
  type ConnectionOptions,
  didHashOf,
  didText,
  type IdentityContracts,
  IdentityReader,
  IdentityWriter,
  loadOrCreateAccountKey,
  loadOrCreateEncryptionKey,
  loadOrCreateNodeKey,
  parseDid,
} from '@muster/adapters';
import { type Address, MusterError, type Root } from '@muster/protocol';
import { chainUrl, type HomePaths, requireNetwork } from './home.ts';

/** Where the identity contracts are, and who pays. */
export type IdentityAccess = ChainEndpoint &
  ConnectionOptions & { readonly contracts: IdentityContracts; readonly payerKey: `0x${string}` };

/** The identity contracts of a home's network, paid by its organizer. Throws USAGE where there is no network. */
export async function identityAccess(paths: HomePaths): Promise<IdentityAccess> {
  const network = await requireNetwork(paths);
  const { didRegistry, dataConsent } = network.contracts;
  const payerKey = await loadOrCreateAccountKey(paths.key('organizer.account'));
  return { rpcUrl: chainUrl(network), contracts: { chainId: network.chainId, didRegistry, dataConsent }, payerKey };
}

export const identityReader = (access: IdentityAccess): IdentityReader => new IdentityReader(access);

type KeyKind = 'auth' | 'enc';

/** An identity whose keys are in the home. */
export interface LocalIdentity {
  readonly name: string;
  readonly folder: string;
  readonly account: Address;
  readonly didHash: Root;
  readonly did: string;
  /** Public key number `number`, from 1, made if it is not there yet. */
  key(kind: KeyKind, number: number): Promise<Root>;
  /** Number of the newest key of a kind. */
  newest(kind: KeyKind): Promise<number>;
  /** What was sealed for any of its X25519 keys. Throws SIGNATURE_INVALID. */
  open(sealed: Uint8Array): Promise<Uint8Array>;
  writer(access: IdentityAccess): IdentityWriter;
}

/** The identity `name`; with `create` its first keys are made. Throws USAGE for a bad name, and for one that is not there. */
export async function localIdentity(paths: HomePaths, name: string, { create = false } = {}): Promise<LocalIdentity> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) {
    throw new MusterError('USAGE', `a name of an identity is lower-case letters, digits and "-", got "${name.slice(0, 70)}"`, { name });
  }
  const folder = join(paths.root, 'identities', name);
  const numbers = async (kind: KeyKind): Promise<number[]> => {
    const files = await readdir(folder).catch(() => []);
    return files.flatMap((file) => {
      const found = new RegExp(`^${kind}\\.([1-9]\\d*)\\.pem$`).exec(file)?.[1];
      return found === undefined ? [] : [Number(found)];
    });
  };
  if (!create && (await numbers('auth')).length === 0) {
    throw new MusterError('USAGE', `there is no identity "${name}" in ${paths.root}: make it with \`muster did create ${name}\``, { name });
  }
  const key = async (kind: KeyKind, number: number): Promise<Root> => {
    const path = join(folder, `${kind}.${number}.pem`);
    return kind === 'auth' ? ((await loadOrCreateNodeKey(path)).node as string as Root) : (await loadOrCreateEncryptionKey(path)).publicKey;
  };
  const privateKey = await loadOrCreateAccountKey(join(folder, 'account'));
  const account = addressOfKey(privateKey);
  const didHash = didHashOf(await key('auth', 1), account);
  return {
    name,
    folder,
    account,
    didHash,
    did: didText(didHash),
    key,
    newest: async (kind) => Math.max(1, ...(await numbers(kind))),
    async open(sealed) {
      let failure: unknown = null;
      for (const number of (await numbers('enc')).toSorted((a, b) => b - a)) {
        try {
          return (await loadOrCreateEncryptionKey(join(folder, `enc.${number}.pem`))).open(sealed);
        } catch (error) {
          if (!(error instanceof MusterError) || error.code !== 'SIGNATURE_INVALID') throw error;
          failure ??= error;
        }
      }
      throw failure ?? new MusterError('USAGE', `identity "${name}" has no encryption key in ${folder}`, { name });
    },
    writer: (access) => new IdentityWriter({ ...access, privateKey }),
  };
}

/** The hash of the DID that `text` is, or of the home's identity with this name. */
export async function didArgument(paths: HomePaths, text: string): Promise<Root> {
  return text.startsWith('did:') ? parseDid(text) : (await localIdentity(paths, text)).didHash;
}
