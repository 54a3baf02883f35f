/**
 * `muster did …`: identities of this home and of others. Keys stay in the home; what is said goes to the chain.
 */
import { didText, openFolderStore, resolveDidUrl } from '@muster/adapters';
import { digestOf, MusterError, type Root } from '@muster/protocol';
import type { Command } from 'commander';
import { readBytes } from '../files.ts';
import { didArgument, identityAccess, identityReader, type IdentityAccess, localIdentity, type LocalIdentity } from '../identity.ts';
import { asCid } from '../jobs.ts';
import { type Context, contextOf } from './context.ts';

const MAX_METADATA_BYTES = 1 << 20;

/** The digest of metadata given as the content id of raw bytes, or as a file, which is stored. */
export async function rawDigest({ paths }: Context, option: string, text: string): Promise<Root> {
  const cid = asCid(text);
  if (cid === null) return digestOf(await (await openFolderStore(paths.store)).put(await readBytes(text, MAX_METADATA_BYTES), 'raw'));
  if (!cid.startsWith('bafk'))
    throw new MusterError('USAGE', `${option} must be a file or the content id of raw bytes (bafk…)`, { option });
  return digestOf(cid);
}

export interface DidCreateFlags {
  readonly metadata?: string;
}

export async function didCreate(context: Context, name: string, flags: DidCreateFlags, access: IdentityAccess): Promise<void> {
  const metaCid = flags.metadata === undefined ? null : await rawDigest(context, '--metadata', flags.metadata);
  const identity = await localIdentity(context.paths, name, { create: true });
  const order = { order: 'createDID', authKey: await identity.key('auth', 1), encKey: await identity.key('enc', 1), metaCid } as const;
  const { transaction } = await identity.writer(access).send(order);
  const { did, account, folder } = identity;
  context.output.event('did.created', { name, did, account, transaction }, `${did}\n  account ${account}\n  keys    ${folder}`);
}

export async function didShow({ paths, output }: Context, who: string, access: IdentityAccess): Promise<void> {
  const didHash = await didArgument(paths, who);
  const reader = identityReader(access);
  const document = await required(reader.document(didHash), didHash);
  const did = didText(didHash);
  output.line(`${did}${document.revoked ? '  revoked' : ''}`);
  output.line(`  account    ${document.owner}`);
  output.line(`  signs with ${document.authKey}`);
  output.line(`  reads with ${document.encKey}`);
  if (document.metaCid !== null) output.line(`  metadata   ${document.metaCid}`);
  const history = await reader.history(didHash);
  for (const version of history.toReversed()) {
    output.line(`  version ${version.document.version}  ${timeText(version.document.updatedAt)}  ${version.change}`);
  }
  output.event('did.shown', { did, ...document, versions: history.length }, null);
}

export interface DidRotateFlags {
  /** Which key is replaced; both where it is not said. */
  readonly only?: string;
}

export async function didRotate({ paths, output }: Context, name: string, flags: DidRotateFlags, access: IdentityAccess): Promise<void> {
  const { only } = flags;
  if (only !== undefined && only !== 'auth' && only !== 'enc') {
    throw new MusterError('USAGE', '--only must be auth or enc', { option: '--only' });
  }
  const identity = await localIdentity(paths, name);
  const writer = identity.writer(access);
  const document = await required(writer.document(identity.didHash), identity.didHash);
  const authKey = only === 'enc' ? document.authKey : await nextKey(identity, 'auth', access);
  const encKey = only === 'auth' ? document.encKey : await nextKey(identity, 'enc', access);
  const { transaction } = await writer.send({ order: 'rotateKeys', didHash: identity.didHash, authKey, encKey });
  const { did } = identity;
  output.event('did.rotated', { name, did, authKey, encKey, transaction }, `${did}\n  signs with ${authKey}\n  reads with ${encKey}`);
}

/** A key that the DID never had: one that an unfinished rotation left, or a new one. */
async function nextKey(identity: LocalIdentity, kind: 'auth' | 'enc', access: IdentityAccess): Promise<Root> {
  const newest = await identity.newest(kind);
  const key = await identity.key(kind, newest);
  return (await identityReader(access).keyValidity(identity.didHash, key)) === null ? key : identity.key(kind, newest + 1);
}

export async function didRevoke({ paths, output }: Context, name: string, access: IdentityAccess): Promise<void> {
  const { did, didHash, ...identity } = await localIdentity(paths, name);
  const { transaction } = await identity.writer(access).send({ order: 'revokeDID', didHash });
  output.event('did.revoked', { name, did, transaction }, `${did} is revoked for good`);
}

export interface DidResolveFlags {
  readonly at?: string;
  /** `--did-version`: `--version` is the program's own. */
  readonly didVersion?: string;
}

/** Prints the resolution result; whether there is a document. */
export async function didResolve(
  { paths, output }: Context,
  who: string,
  flags: DidResolveFlags,
  access: IdentityAccess,
): Promise<boolean> {
  const url = who.startsWith('did:') ? who : (await localIdentity(paths, who)).did;
  const result = await resolveDidUrl(identityReader(access), url, {
    ...(flags.at === undefined ? {} : { versionTime: flags.at }),
    ...(flags.didVersion === undefined ? {} : { versionId: flags.didVersion }),
  });
  output.event('did.resolved', { ...result }, JSON.stringify(result, null, 2));
  return result.didDocument !== null;
}

/** Seconds since 1970 for people. */
export const timeText = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');

async function required<T>(found: Promise<T | null>, didHash: Root): Promise<T> {
  const value = await found;
  if (value === null) throw new MusterError('USAGE', `the chain has no ${didText(didHash)}`, { did: didText(didHash) });
  return value;
}

/** Context and identity contracts that a command line means. */
export async function identityContext(command: Command): Promise<[Context, IdentityAccess]> {
  const context = contextOf(command);
  return [context, await identityAccess(context.paths)];
}

export function addDid(program: Command, finish: (ok: boolean) => void): void {
  const did = program.command('did').description('decentralized identities: did:artha');
  did
    .command('create <name>')
    .description('a new identity: its keys in this home, its DID on the chain')
    .option('--metadata <file>', 'file about it, to be stored, or its content id')
    .action(async (name: string, flags: DidCreateFlags, command: Command) => {
      const [context, access] = await identityContext(command);
      await didCreate(context, name, flags, access);
    });
  did
    .command('show <identity>')
    .description('keys, account and history of an identity of this home or of any DID')
    .action(async (who: string, _: object, command: Command) => {
      const [context, access] = await identityContext(command);
      await didShow(context, who, access);
    });
  did
    .command('rotate <name>')
    .description('new keys for an identity; the DID stays')
    .option('--only <key>', 'auth or enc: replace this one (default: both)')
    .action(async (name: string, flags: DidRotateFlags, command: Command) => {
      const [context, access] = await identityContext(command);
      await didRotate(context, name, flags, access);
    });
  did
    .command('revoke <name>')
    .description('end an identity for good')
    .action(async (name: string, _: object, command: Command) => {
      const [context, access] = await identityContext(command);
      await didRevoke(context, name, access);
    });
  did
    .command('resolve <identity>')
    .description('the W3C DID document, of now or of an earlier version; exit code 0 only if there is one')
    .option('--at <time>', 'as of this time, such as 2026-01-31T12:00:00Z')
    .option('--did-version <n>', 'version n of it, from 1')
    .action(async (who: string, flags: DidResolveFlags, command: Command) => {
      const [context, access] = await identityContext(command);
      finish(await didResolve(context, who, flags, access));
    });
}
