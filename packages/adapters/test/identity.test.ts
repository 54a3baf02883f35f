/** Identity on the embedded chain: DIDs with real keys, consents, logs, and the resolver over all of it. */
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesToHex, MusterError, type Address, type NodeId, type Root } from '@muster/protocol';
import { Resolver } from 'did-resolver';
import { custom, encodeDeployData, type Abi, type Hex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EmbeddedChain, openEmbeddedChain } from '../src/evm/embedded/index.ts';
import { openConnection } from '../src/evm/contracts/connection.ts';
import { AccountSender } from '../src/evm/contracts/transactions.ts';
import {
  arthaDIDRegistryAbi,
  arthaDIDRegistryBytecode,
  dataConsentAbi,
  dataConsentBytecode,
  musterForwarderAbi,
  musterForwarderBytecode,
} from '../src/evm/generated/index.ts';
import {
  accessLogHead,
  arthaDidResolver,
  didText,
  type IdentityContracts,
  IdentityReader,
  IdentityWriter,
  loadOrCreateEncryptionKey,
  parseDid,
  sealFor,
} from '../src/evm/identity/index.ts';
import { loadOrCreateNodeKey, verifySignature } from '../src/node/keys.ts';
import { movableClock, testAccount } from './embedded-chain-helpers.ts';

const chainId = 24_243;
const clock = movableClock();
const keyOf = (index: number): Hex => `0x${(index + 1).toString(16).padStart(64, '0')}`;
const rootOf = (label: string): Root => bytesToHex(new TextEncoder().encode(label.padEnd(32, '.'))) as Root;
let folder: string;
let chain: EmbeddedChain;
let contracts: IdentityContracts;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-identity-'));
  // Only account 0 has ether: the others have none to pay with.
  const accounts = [{ address: testAccount(0).address, balanceWei: 10n ** 21n }];
  chain = await openEmbeddedChain({ path: ':memory:', chainId, genesis: { accounts }, clock, followMs: null });
  const sender = new AccountSender(openConnection({ transport: custom(chain), pollMs: 1 }), chainId, testAccount(0));
  const create = async (abi: Abi, bytecode: Hex, args: readonly unknown[]): Promise<Address> => {
    const { created } = await sender.send('creating', { to: null, data: encodeDeployData({ abi, bytecode, args }), valueWei: 0n });
    return (created ?? '0x').toLowerCase() as Address;
  };
  const forwarder = await create(musterForwarderAbi, musterForwarderBytecode, []);
  const didRegistry = await create(arthaDIDRegistryAbi, arthaDIDRegistryBytecode, [forwarder]);
  const dataConsent = await create(dataConsentAbi, dataConsentBytecode, [forwarder, didRegistry]);
  contracts = { chainId, didRegistry, dataConsent };
});
afterAll(async () => {
  await chain.close();
  await rm(folder, { recursive: true });
});

const endpoint = () => ({ transport: custom(chain), pollMs: 1, contracts });
/** Account `index`, whose orders account 0 pays. */
const writer = (index: number): IdentityWriter => new IdentityWriter({ ...endpoint(), privateKey: keyOf(index), payerKey: keyOf(0) });
const resolver = () => new Resolver({ ...arthaDidResolver({ reader: new IdentityReader(endpoint()) }) });

const errorOf = async (url: string): Promise<string | undefined> => (await resolver().resolve(url)).didResolutionMetadata.error;
const codeOf = (failing: Promise<unknown>): Promise<unknown> =>
  failing.catch((error: unknown) => (error instanceof MusterError ? error.code : error));
/** A reader whose chain answers for logs what `change` makes of them. */
const lying = (change: (logs: { data: string }[]) => unknown): IdentityReader => {
  const request = async (asked: { method: string; params?: unknown }): Promise<unknown> => {
    const answer = await chain.request(asked);
    return asked.method === 'eth_getLogs' ? change(structuredClone(answer) as { data: string }[]) : answer;
  };
  return new IdentityReader({ transport: custom({ request }), contracts });
};

test('the life of a DID with keys of one’s own is read back from the chain at any time of it', async () => {
  const alice = writer(1);
  const node = await loadOrCreateNodeKey(join(folder, 'alice', 'auth.pem'));
  const encryption = await loadOrCreateEncryptionKey(join(folder, 'alice', 'enc.pem'));
  const [authKey, encKey] = [node.node as string as Root, encryption.publicKey];
  const { id } = await alice.send({ order: 'createDID', authKey, encKey, metaCid: null });
  const did = didText(id);
  const created = await resolver().resolve(did);
  expect(created.didDocument).toMatchObject({ id: did, controller: `did:pkh:eip155:${chainId}:${testAccount(1).address}` });
  expect(created.didDocumentMetadata).toMatchObject({ versionId: '1' });

  clock.advance(60_000);
  const between = new Date(clock.now() - 30_000).toISOString();
  const next = await loadOrCreateNodeKey(join(folder, 'alice', 'auth-2.pem'));
  await alice.send({ order: 'rotateKeys', didHash: id, authKey: next.node as string as Root, encKey });
  clock.advance(60_000);
  await alice.send({ order: 'updateMetadata', didHash: id, metaCid: rootOf('about alice') });
  clock.advance(60_000);
  await alice.send({ order: 'revokeDID', didHash: id });

  const now = await resolver().resolve(did);
  expect(now).toMatchObject({ didDocument: { id: did }, didDocumentMetadata: { deactivated: true, versionId: '4' } });
  expect(now.didDocument?.verificationMethod).toBeUndefined();
  const before = await resolver().resolve(did, { versionTime: between });
  expect(before.didDocument).toEqual(created.didDocument);
  expect(before.didDocumentMetadata).toMatchObject({ versionId: '1', nextVersionId: '2' });
  const third = await resolver().resolve(`${did}?versionId=3`);
  expect(third.didDocument?.service?.[0]?.serviceEndpoint).toMatch(/^artha:\/\/bafkrei/);
  expect(third.didDocument?.authentication).not.toEqual(created.didDocument?.authentication);
  expect(third.didDocument?.keyAgreement).toEqual(created.didDocument?.keyAgreement);

  // What the first key signed counts for the time in which it was the DID's.
  const message = new TextEncoder().encode('signed early');
  expect(verifySignature(authKey as string as NodeId, message, node.sign(message))).toBe(true);
  const signedAt = Math.floor(Date.parse(between) / 1000);
  expect(await alice.keyValidAt(id, 'authentication', authKey, signedAt)).toBe(true);
  expect(await alice.keyValidAt(id, 'authentication', authKey, signedAt + 60)).toBe(false);
});

test('resolving says in its metadata what went wrong and throws nothing', async () => {
  expect(await errorOf(`did:artha:${'0'.repeat(64)}`)).toBe('notFound');
  expect(await errorOf('did:artha:0x12')).toBe('invalidDid');
  expect(await errorOf('did:other:1')).toBe('unsupportedDidMethod');
  const gone = custom({ request: () => Promise.reject(new Error('no chain')) });
  const unreachable = new Resolver({ ...arthaDidResolver({ reader: new IdentityReader({ transport: gone, contracts }) }) });
  const result = await unreachable.resolve(`did:artha:${'0'.repeat(64)}`);
  expect(result).toMatchObject({ didDocument: null, didResolutionMetadata: { error: 'internalError' } });
});

/** Bob's DID and Carol's, with a consent between them. */
async function consented(label: string) {
  const [bob, carol] = [writer(2), writer(3)];
  const make = async (who: IdentityWriter, name: string): Promise<Root> => {
    const [authKey, encKey] = [rootOf(`auth ${name} ${label}`), rootOf(`enc ${name} ${label}`)];
    return (await who.send({ order: 'createDID', authKey, encKey, metaCid: null })).id;
  };
  const [ownerDid, granteeDid] = [await make(bob, 'bob'), await make(carol, 'carol')];
  const expiresAt = Math.floor(clock.now() / 1000) + 10_000;
  const terms = { datasetCid: rootOf('data'), ownerDid, granteeDid, purpose: rootOf('purpose'), permissionKeyCid: null, expiresAt };
  const { id } = await bob.send({ order: 'grant', ...terms });
  return { bob, carol, id, ownerDid };
}

test('accounts without ether grant, log and revoke, and the log is checked as it is read', async () => {
  const { bob, carol, id, ownerDid } = await consented('log');
  for (const what of ['one', 'two', 'three']) await carol.send({ order: 'logAccess', consentId: id, accessCid: rootOf(what) });
  await bob.send({ order: 'revokeConsent', consentId: id });
  const late = carol.send({ order: 'logAccess', consentId: id, accessCid: rootOf('four') });
  await expect(late).rejects.toMatchObject({ code: 'CHAIN_REVERTED' });
  const log = await bob.accessLog(id);
  expect(log.map(({ accessCid }) => accessCid)).toEqual([rootOf('one'), rootOf('two'), rootOf('three')]);
  expect(await bob.consent(id)).toMatchObject({ accessCount: 3, accessHead: accessLogHead(id, log) });
  expect(await bob.grants(ownerDid)).toEqual([id]);
});

test('a chain that leaves out or changes entries of a log or a history is found out', async () => {
  const { carol, id, ownerDid } = await consented('lies');
  for (const what of ['one', 'two']) await carol.send({ order: 'logAccess', consentId: id, accessCid: rootOf(what) });
  const another = lying((logs) => logs.map((log) => ({ ...log, data: log.data.replace(rootOf('one').slice(2), rootOf('six').slice(2)) })));
  expect(await codeOf(another.accessLog(id))).toBe('AUDIT_FAILED');
  const silent = lying(() => []);
  expect(await codeOf(silent.accessLog(id))).toBe('AUDIT_FAILED');
  expect(await codeOf(silent.grants(ownerDid))).toBe('AUDIT_FAILED');
  expect(await codeOf(silent.history(ownerDid))).toBe('AUDIT_FAILED');
  expect(await another.document(ownerDid)).toMatchObject({ didHash: ownerDid });
});

test('encryption keys are kept for their owner alone, and open what was sealed for them only', async () => {
  const path = join(folder, 'keys', 'enc.pem');
  const key = await loadOrCreateEncryptionKey(path);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await loadOrCreateEncryptionKey(path)).publicKey).toBe(key.publicKey);
  expect(await readdir(join(folder, 'keys'))).toEqual(['enc.pem']);
  const other = await loadOrCreateEncryptionKey(join(folder, 'keys-2', 'enc.pem'));
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const sealed = sealFor(key.publicKey, secret);
  expect(key.open(sealed)).toEqual(secret);
  expect(sealFor(key.publicKey, secret)).not.toEqual(sealed);
  const changed = sealed.with(40, (sealed[40] ?? 0) ^ 1);
  for (const opening of [() => other.open(sealed), () => key.open(changed), () => key.open(sealed.subarray(0, 20))]) {
    expect(opening).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }));
  }
  await writeFile(join(folder, 'not-a-key'), 'text');
  await expect(loadOrCreateEncryptionKey(join(folder, 'not-a-key'))).rejects.toMatchObject({ code: 'FIELD_INVALID' });
  await loadOrCreateNodeKey(join(folder, 'signing'));
  await expect(loadOrCreateEncryptionKey(join(folder, 'signing'))).rejects.toThrow('expected an X25519 key, got ed25519');
});

test('a DID is written one way only', () => {
  const hash = rootOf('hash');
  expect(parseDid(didText(hash))).toBe(hash);
  for (const wrong of ['', 'did:artha:', didText(hash).toUpperCase(), `${didText(hash)}0`, didText(hash).replace('artha', 'ethr')]) {
    expect(() => parseDid(wrong)).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
  }
});
