/** `muster did` and `muster consent` on a chain in this process: what they print, keep and refuse. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateEncryptionKey, parseDid } from '@muster/adapters';
import { cidOfRoot, encodeLinked, MusterError, type Root } from '@muster/protocol';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { deployIdentity } from '../../../contracts/test/identity.ts';
import { startTestChain, type TestChain } from '../../../contracts/test/harness.ts';
import { consentGrant, consentKey, consentList, consentLog, consentRevoke, consentShow } from '../src/commands/consent.ts';
import type { Context } from '../src/commands/context.ts';
import { didCreate, didResolve, didRevoke, didRotate, didShow } from '../src/commands/did.ts';
import { homePaths } from '../src/home.ts';
import { identityAccess, type IdentityAccess } from '../src/identity.ts';
import type { Fields } from '../src/output.ts';

let chain: TestChain;
let access: IdentityAccess;
let folder: string;
/** What was printed since the test began. */
let events: [string, Fields][] = [];
let lines: string[] = [];
let context: Context;

beforeAll(async () => {
  chain = await startTestChain();
  const { contracts } = await deployIdentity(chain);
  access = { transport: chain.transport, pollMs: 1, contracts, payerKey: chain.keyOf(0) };
  folder = await mkdtemp(join(tmpdir(), 'muster-cli-identity-'));
  context = {
    paths: homePaths(folder),
    homeGiven: true,
    output: {
      json: false,
      event: (event, fields, text) => {
        events.push([event, fields]);
        if (text !== null) lines.push(text);
      },
      line: (text) => lines.push(text),
      progress: () => ({ update: () => undefined, stop: () => undefined }),
    },
  };
});
beforeEach(() => {
  events = [];
  lines = [];
});
afterAll(async () => {
  await chain.close();
  await rm(folder, { recursive: true });
});

function fieldOf(event: string, name: string): string {
  const value = events.findLast(([said]) => said === event)?.[1][name];
  if (typeof value !== 'string') throw new Error(`no ${name} of ${event}`);
  return value;
}
const codeOf = (failing: Promise<unknown>): Promise<unknown> =>
  failing.then(
    () => 'nothing was refused',
    (error: unknown) => (error instanceof MusterError ? (error.details['error'] ?? error.code) : error),
  );

test('an identity is made, shown, rotated, resolved and revoked', async () => {
  const about = join(folder, 'about.json');
  await writeFile(about, '{"name":"Alice"}');
  await didCreate(context, 'alice', { metadata: about }, access);
  const did = fieldOf('did.created', 'did');
  const keys = join(folder, 'identities', 'alice');
  expect((await readdir(keys)).toSorted()).toEqual(['account', 'auth.1.pem', 'enc.1.pem']);
  for (const file of await readdir(keys)) expect((await stat(join(keys, file))).mode & 0o777).toBe(0o600);
  expect(await codeOf(didCreate(context, 'alice', {}, access))).toBe('DIDAlreadyRegistered');

  await didResolve(context, 'alice', {}, access);
  const service = { serviceEndpoint: expect.stringMatching(/^artha:\/\/bafkrei/) as string };
  expect(events.at(-1)?.[1]).toMatchObject({ didDocument: { id: did, service: [service] } });

  await didRotate(context, 'alice', {}, access);
  await didRotate(context, 'alice', { only: 'enc' }, access);
  // A rotation that was cut off after its key was made takes that key up.
  const left = (await loadOrCreateEncryptionKey(join(keys, 'enc.4.pem'))).publicKey;
  await didRotate(context, 'alice', { only: 'enc' }, access);
  expect(fieldOf('did.rotated', 'encKey')).toBe(left);
  expect((await readdir(keys)).toSorted()).toEqual([
    'account',
    'auth.1.pem',
    'auth.2.pem',
    ...[1, 2, 3, 4].map((number) => `enc.${number}.pem`),
  ]);
  await didShow(context, 'alice', access);
  expect(events.at(-1)?.[1]).toMatchObject({ did, version: 4, versions: 4, revoked: false });
  expect(lines.filter((line) => line.includes('keysRotated'))).toHaveLength(3);

  await didRevoke(context, 'alice', access);
  expect(await didResolve(context, did, {}, access)).toBe(true);
  expect(events.at(-1)?.[1]).toMatchObject({ didDocumentMetadata: { deactivated: true } });
  await didResolve(context, did, { didVersion: '1' }, access);
  expect(events.at(-1)?.[1]).toMatchObject({ didDocumentMetadata: { versionId: '1', nextVersionId: '2' } });
  expect(await didResolve(context, did, { at: '2001-01-01T00:00:00Z' }, access)).toBe(false);
  expect(await codeOf(didRotate(context, 'alice', {}, access))).toBe('DIDRevoked');
  for (const line of lines) expect(line).not.toMatch(/undefined|NaN/);
});

test('names, options and DIDs that are wrong are told apart from the chain’s refusals', async () => {
  await didCreate(context, 'bob', {}, access);
  const unknown = `did:artha:${'0'.repeat(64)}`;
  expect(await codeOf(didCreate(context, '../bob', {}, access))).toBe('USAGE');
  expect(await codeOf(didRevoke(context, 'nobody', access))).toBe('USAGE');
  expect(await codeOf(didRotate(context, 'bob', { only: 'both' }, access))).toBe('USAGE');
  expect(await codeOf(didShow(context, unknown, access))).toBe('USAGE');
  expect(await codeOf(didShow(context, 'did:artha:1', access))).toBe('FIELD_INVALID');
  expect(await codeOf(didCreate(context, 'carol', { metadata: encodeLinked({ a: 1 }).cid }, access))).toBe('USAGE');
  expect(await codeOf(identityAccess(context.paths))).toBe('USAGE');
  expect(await didResolve(context, unknown, {}, access)).toBe(false);
});

test('a consent is granted, used, read back by its owner and taken back', async () => {
  await didCreate(context, 'owner', {}, access);
  await didCreate(context, 'grantee', {}, access);
  const dataset = encodeLinked({ a: 'dataset' }).cid;
  const key = join(folder, 'key');
  await writeFile(key, 'secret');
  const flags = { as: 'owner', to: 'grantee', dataset, purpose: 'training digits', key, days: '30' };
  await consentGrant(context, flags, access);
  const consent = fieldOf('consent.granted', 'consent') as Root;
  expect(parseDid(fieldOf('consent.granted', 'grantee'))).toMatch(/^0x/);

  const opened = join(folder, 'opened-key');
  await didRotate(context, 'grantee', {}, access);
  await consentKey(context, consent, { as: 'grantee', out: opened }, access);
  expect(await readFile(opened, 'utf8')).toBe('secret');
  expect((await stat(opened)).mode & 0o777).toBe(0o600);
  expect(await codeOf(consentKey(context, consent, { as: 'grantee', out: opened }, access))).toBe('DATA_UNREADABLE');
  expect(await codeOf(consentKey(context, consent, { as: 'owner', out: opened }, access))).toBe('SIGNATURE_INVALID');

  const record = join(folder, 'record.txt');
  await writeFile(record, 'round 1');
  await consentLog(context, consent, record, 'grantee', access);
  expect(await codeOf(consentLog(context, consent, record, 'owner', access))).toBe('AuthorizationInvalid');
  await consentShow(context, consent, access);
  expect(events.at(-1)?.[1]).toMatchObject({ live: true, accessCount: 1, log: [{ index: 0 }] });
  const cid = fieldOf('consent.logged', 'record');
  expect(lines.some((line) => line.includes('access 1') && line.includes(cid))).toBe(true);

  await consentRevoke(context, consent, 'owner', access);
  expect(await codeOf(consentLog(context, consent, record, 'grantee', access))).toBe('ConsentRevokedAt');
  await consentShow(context, consent, access);
  expect(events.at(-1)?.[1]).toMatchObject({ live: false });
  await consentList(context, 'owner', access);
  expect(events.at(-1)).toEqual(['consent.list', { count: 1 }]);
  await consentList(context, 'grantee', access);
  expect(events.at(-1)).toEqual(['consent.list', { count: 0 }]);
  for (const days of ['0', 'x', '40000']) expect(await codeOf(consentGrant(context, { ...flags, days }, access))).toBe('USAGE');
  expect(await codeOf(consentGrant(context, { ...flags, dataset: 'x' }, access))).toBe('CID_INVALID');
  expect(await codeOf(consentShow(context, `0x${'12'.repeat(32)}` as Root, access))).toBe('USAGE');
  const bare = { as: 'owner', to: 'grantee', dataset, purpose: 'another', days: '1' };
  await consentGrant(context, bare, access);
  const keyless = fieldOf('consent.granted', 'consent') as Root;
  const key2 = { as: 'grantee', out: opened };
  expect(await codeOf(consentKey(context, keyless, key2, access))).toBe('USAGE');
  expect(await codeOf(consentKey(context, `0x${'12'.repeat(32)}` as Root, key2, access))).toBe('USAGE');
  const elsewhere = cidOfRoot(`0x${'34'.repeat(32)}`, 'raw');
  await consentGrant(context, { ...bare, purpose: 'sealed elsewhere', key: elsewhere }, access);
  const far = fieldOf('consent.granted', 'consent') as Root;
  expect(await codeOf(consentKey(context, far, key2, access))).toBe('OBJECT_MISSING');
  expect(await codeOf(consentGrant(context, { ...flags, to: `did:artha:${'0'.repeat(64)}` }, access))).toBe('USAGE');
});
