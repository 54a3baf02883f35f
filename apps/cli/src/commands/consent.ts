/**
 * `muster consent …`: who may use which data for what, until when, and what was done under it.
 */
import { didText, purposeOf, systemClock } from '@muster/adapters';
import { cidOfRoot, digestOf, MusterError, parseCid, parseRoot, type Root } from '@muster/protocol';
import type { Command } from 'commander';
import { didArgument, identityReader, type IdentityAccess, localIdentity } from '../identity.ts';
import type { Context } from './context.ts';
import { identityContext, rawDigest, timeText } from './did.ts';

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
  const terms = {
    datasetCid: digestOf(parseCid(flags.dataset)),
    ownerDid: owner.didHash,
    granteeDid: await didArgument(paths, flags.to),
    purpose: purposeOf(flags.purpose),
    permissionKeyCid: flags.key === undefined ? null : await rawDigest(context, '--key', flags.key),
    expiresAt: Math.floor(systemClock.now() / 1000 + days * 86_400),
  };
  const { id, transaction } = await owner.writer(access).send({ order: 'grant', ...terms });
  const said = { consent: id, owner: owner.did, grantee: didText(terms.granteeDid), dataset: flags.dataset, purpose: flags.purpose };
  const text = `consent ${id}\n  ${said.grantee}\n  may use ${flags.dataset} for "${flags.purpose}" until ${timeText(terms.expiresAt)}`;
  output.event('consent.granted', { ...said, expiresAt: terms.expiresAt, transaction }, text);
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
    .option('--key <file>', 'the key of the data, sealed for the other one: a file to be stored, or its content id')
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
