/**
 * `muster consent …`: who may use which data for what, until when, and what was done under it.
 */
import { writeFile } from 'node:fs/promises';
import { didText, openFolderStore, purposeOf, sealFor, systemClock } from '@muster/adapters';
import { cidOfRoot, digestOf, MusterError, parseCid, parseRoot, type Root } from '@muster/protocol';
import type { Command } from 'commander';
import { didArgument, identityReader, type IdentityAccess, localIdentity } from '../identity.ts';
import { readBytes } from '../files.ts';
import { asCid } from '../jobs.ts';
import type { Context } from './context.ts';
import { identityContext, rawDigest, timeText } from './did.ts';

const MAX_KEY_BYTES = 1 << 16;

export interface ConsentGrantFlags {
  readonly as: string;
  readonly to: string;
  readonly dataset: string;
  readonly purpose: string;
  readonly key?: string;
  readonly days: string;
}

export async function consentGrant(context: Context, flags: ConsentGrantFlags, access: IdentityAccess): Promise<void> {
  const { paths, output } = context;
  const days = Number(flags.days);
  if (!(days > 0 && days <= 36_525))
    throw new MusterError('USAGE', '--days must be a number of days up to a century', { option: '--days' });
  const owner = await localIdentity(paths, flags.as);
  const granteeDid = await didArgument(paths, flags.to);
  const terms = {
    datasetCid: digestOf(parseCid(flags.dataset)),
    ownerDid: owner.didHash,
    granteeDid,
    purpose: purposeOf(flags.purpose),
    permissionKeyCid: flags.key === undefined ? null : await sealedKey(context, flags.key, granteeDid, access),
    expiresAt: Math.floor(systemClock.now() / 1000 + days * 86_400),
  };
  const { id, transaction } = await owner.writer(access).send({ order: 'grant', ...terms });
  const said = { consent: id, owner: owner.did, grantee: didText(terms.granteeDid), dataset: flags.dataset, purpose: flags.purpose };
  const text = `consent ${id}\n  ${said.grantee}\n  may use ${flags.dataset} for "${flags.purpose}" until ${timeText(terms.expiresAt)}`;
  output.event('consent.granted', { ...said, expiresAt: terms.expiresAt, transaction }, text);
}

/** The digest of a key that is sealed already and given by content id, or of one in a file, which is sealed for the grantee and stored. */
async function sealedKey(context: Context, key: string, granteeDid: Root, access: IdentityAccess): Promise<Root> {
  if (asCid(key) !== null) return rawDigest(context, '--key', key);
  const secret = await readBytes(key, MAX_KEY_BYTES);
  const grantee = await identityReader(access).document(granteeDid);
  if (grantee === null) throw new MusterError('USAGE', `the chain has no ${didText(granteeDid)}`, { did: didText(granteeDid) });
  return digestOf(await (await openFolderStore(context.paths.store)).put(sealFor(grantee.encKey, secret), 'raw'));
}

/** Opens the key that came with a consent, from this home's store, and writes it to a file. */
export async function consentKey(
  { paths, output }: Context,
  consent: Root,
  { as, out }: { readonly as: string; readonly out: string },
  access: IdentityAccess,
): Promise<void> {
  const found = await identityReader(access).consent(consent);
  if (found === null) throw new MusterError('USAGE', `the chain has no consent ${consent}`, { consent });
  if (found.permissionKeyCid === null) throw new MusterError('USAGE', `consent ${consent} came without a key`, { consent });
  const cid = cidOfRoot(found.permissionKeyCid, 'raw');
  const sealed = await (await openFolderStore(paths.store)).get(cid);
  if (sealed === null) throw new MusterError('OBJECT_MISSING', `this home's store does not have ${cid}`, { cid });
  await writeSecret(out, await (await localIdentity(paths, as)).open(sealed));
  output.event('consent.key', { consent, file: out }, `key written to ${out}`);
}

/** Writes a file that only its owner may read. Throws DATA_UNREADABLE where there is one already. */
async function writeSecret(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown reason';
    throw new MusterError('DATA_UNREADABLE', `${path}: cannot be written (${reason})`, { file: path }, { cause });
  }
}

export async function consentRevoke({ paths, output }: Context, consent: Root, as: string, access: IdentityAccess): Promise<void> {
  const owner = await localIdentity(paths, as);
  const { transaction } = await owner.writer(access).send({ order: 'revokeConsent', consentId: consent });
  output.event('consent.revoked', { consent, owner: owner.did, transaction }, `consent ${consent} is taken back`);
}

export async function consentLog(context: Context, consent: Root, record: string, as: string, access: IdentityAccess): Promise<void> {
  const grantee = await localIdentity(context.paths, as);
  const accessCid = await rawDigest(context, '<record>', record);
  const { transaction } = await grantee.writer(access).send({ order: 'logAccess', consentId: consent, accessCid });
  const cid = cidOfRoot(accessCid, 'raw');
  context.output.event('consent.logged', { consent, grantee: grantee.did, record: cid, transaction }, `access ${cid} is logged`);
}

/** One consent with its log, which is checked against the chain's hash of it. */
export async function consentShow({ output }: Context, consent: Root, access: IdentityAccess): Promise<void> {
  const reader = identityReader(access);
  const found = await reader.consent(consent);
  if (found === null) throw new MusterError('USAGE', `the chain has no consent ${consent}`, { consent });
  const log = await reader.accessLog(consent);
  const { ownerDid, granteeDid, datasetCid, purpose, grantedAt, expiresAt, revokedAt } = found;
  // The newest block of an idle chain is old, and a chain whose blocks come fast may be ahead of the clock.
  const now = Math.max(await reader.time(), Math.floor(systemClock.now() / 1000));
  const live = revokedAt === null && (await reader.isAllowed(ownerDid, datasetCid, granteeDid, purpose, now));
  const ended = revokedAt === null ? (live ? 'live' : 'ended') : `taken back ${timeText(revokedAt)}`;
  output.line(`consent ${consent}  ${ended}`);
  output.line(`  owner    ${didText(ownerDid)}`);
  output.line(`  grantee  ${didText(granteeDid)}`);
  output.line(`  data     ${datasetCid}`);
  output.line(`  granted  ${timeText(grantedAt)}, until ${timeText(expiresAt)}`);
  for (const entry of log) output.line(`  access ${entry.index + 1}  ${timeText(entry.time)}  ${cidOfRoot(entry.accessCid, 'raw')}`);
  output.event('consent.shown', { ...found, live, log }, null);
}

/** The consents that an identity has granted, newest first. */
export async function consentList({ paths, output }: Context, who: string, access: IdentityAccess): Promise<void> {
  const ids = await identityReader(access).grants(await didArgument(paths, who));
  if (ids.length === 0) output.line('no consents yet: grant one with `muster consent grant`');
  for (const id of ids) output.event('consent.listed', { consent: id }, id);
  output.event('consent.list', { count: ids.length }, null);
}

const consentArgument = (text: string): Root => parseRoot(text.toLowerCase());

export function addConsent(program: Command): void {
  const consent = program.command('consent').description('consents to the use of data, and the log of what was done under them');
  consent
    .command('grant')
    .description('allow another identity to use a dataset for one purpose')
    .requiredOption('--as <name>', 'identity of this home whose data it is')
    .requiredOption('--to <identity>', 'DID, or identity of this home, that may use it')
    .requiredOption('--dataset <cid>', 'the dataset')
    .requiredOption('--purpose <text>', 'what for, in words; whoever asks later must use the same')
    .option('--key <file>', 'key of the data: a file, to be sealed for the other one and stored, or the content id of a sealed one')
    .option('--days <n>', 'how long it lasts', '365')
    .action(async (flags: ConsentGrantFlags, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentGrant(context, flags, access);
    });
  consent
    .command('revoke <consent>')
    .description('take a consent back, from now on')
    .requiredOption('--as <name>', 'identity of this home that granted it')
    .action(async (id: string, { as }: { readonly as: string }, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentRevoke(context, consentArgument(id), as, access);
    });
  consent
    .command('log <consent> <record>')
    .description('say on the chain that the data are used; the record is a file to be stored, or its content id')
    .requiredOption('--as <name>', 'identity of this home that it was granted to')
    .action(async (id: string, record: string, { as }: { readonly as: string }, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentLog(context, consentArgument(id), record, as, access);
    });
  consent
    .command('key <consent>')
    .description('open the key that came with a consent')
    .requiredOption('--as <name>', 'identity of this home that it was granted to')
    .requiredOption('--out <file>', 'file to write')
    .action(async (id: string, flags: { readonly as: string; readonly out: string }, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentKey(context, consentArgument(id), flags, access);
    });
  consent
    .command('show <consent>')
    .description('a consent and every access logged under it')
    .action(async (id: string, _: object, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentShow(context, consentArgument(id), access);
    });
  consent
    .command('list <identity>')
    .description('consents granted by an identity of this home or by any DID, newest first')
    .action(async (who: string, _: object, command: Command) => {
      const [context, access] = await identityContext(command);
      await consentList(context, who, access);
    });
}
