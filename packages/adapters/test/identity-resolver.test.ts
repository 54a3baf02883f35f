/** The resolver of did:artha over a source in memory: documents, versions, options and errors. */
import { bytesToHex, type Address, type Root } from '@muster/protocol';
import { type DIDResolutionOptions, Resolver } from 'did-resolver';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { arthaDidResolver, type DidSource, didText, type DidVersion, multikeyOf } from '../src/evm/identity/index.ts';
import { nodeKeyFromSeed } from '../src/node/keys.ts';

const didHash = `0x${'ab'.repeat(32)}` as Root;
const did = didText(didHash);
const word = (byte: number): Root => bytesToHex(new Uint8Array(32).fill(byte)) as Root;
const owner = '0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed' as Address;
const startSeconds = Date.parse('2026-01-01T00:00:00Z') / 1000;

/** Versions 1 to `count`, ten seconds apart, the last one revoked if asked. */
function history(count: number, revoked = false): DidVersion[] {
  return Array.from({ length: count }, (_, index) => ({
    change: index === 0 ? 'created' : 'keysRotated',
    block: index + 1,
    document: {
      didHash,
      owner,
      authKey: word(index + 1),
      encKey: word(100),
      metaCid: index === 1 ? word(7) : null,
      createdAt: startSeconds,
      updatedAt: startSeconds + 10 * index,
      version: index + 1,
      revoked: revoked && index === count - 1,
    },
  }));
}

function sourceOf(versions: readonly DidVersion[]): DidSource {
  return {
    chainId: 5,
    document: (hash) => Promise.resolve(hash === didHash ? (versions.at(-1)?.document ?? null) : null),
    async *versions(hash) {
      if (hash === didHash) yield* versions.toReversed();
    },
  };
}

const resolve = (versions: readonly DidVersion[], url = did, options: DIDResolutionOptions = {}) =>
  new Resolver({ ...arthaDidResolver({ reader: sourceOf(versions) }) }).resolve(url, options);

test('a document holds two Multikeys and says who controls it', async () => {
  const [signing, agreement] = [multikeyOf('ed25519', word(1)), multikeyOf('x25519', word(100))];
  expect(await resolve(history(1))).toEqual({
    didResolutionMetadata: { contentType: 'application/did' },
    didDocumentMetadata: { created: '2026-01-01T00:00:00Z', versionId: '1' },
    didDocument: {
      '@context': 'https://www.w3.org/ns/did/v1.1',
      id: did,
      controller: 'did:pkh:eip155:5:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
      verificationMethod: [
        { id: `${did}#${signing}`, type: 'Multikey', controller: did, publicKeyMultibase: signing },
        { id: `${did}#${agreement}`, type: 'Multikey', controller: did, publicKeyMultibase: agreement },
      ],
      authentication: [`${did}#${signing}`],
      assertionMethod: [`${did}#${signing}`],
      keyAgreement: [`${did}#${agreement}`],
    },
  });
});

test('Multikeys are those of the did:key test vectors', () => {
  const { node } = nodeKeyFromSeed(new Uint8Array(32));
  expect(multikeyOf('ed25519', node as string as Root)).toBe('z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp');
  expect(multikeyOf('x25519', word(1))).toMatch(/^z6LS/);
});

test('metadata is a service with the content id of raw bytes', async () => {
  const { didDocument, didDocumentMetadata } = await resolve(history(2));
  const serviceEndpoint = 'artha://bafkreiaha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4';
  expect(didDocument?.service).toEqual([{ id: `${did}#metadata`, type: 'ArthaMetadata', serviceEndpoint }]);
  expect(didDocumentMetadata).toEqual({ created: '2026-01-01T00:00:00Z', updated: '2026-01-01T00:00:10Z', versionId: '2' });
});

test('a revoked DID is deactivated and bare, and its earlier versions stay', async () => {
  const revoked = await resolve(history(3, true));
  expect(revoked.didDocument).toEqual({ '@context': 'https://www.w3.org/ns/did/v1.1', id: did });
  expect(revoked.didDocumentMetadata).toMatchObject({ deactivated: true, versionId: '3' });
  const earlier = await resolve(history(3, true), did, { versionTime: '2026-01-01T00:00:19.999Z' });
  expect(earlier.didDocument?.authentication).toEqual([`${did}#${multikeyOf('ed25519', word(2))}`]);
  const { versionId, nextUpdate, nextVersionId, deactivated } = earlier.didDocumentMetadata;
  expect({ versionId, nextUpdate, nextVersionId, deactivated }).toEqual({
    versionId: '2',
    nextUpdate: '2026-01-01T00:00:20Z',
    nextVersionId: '3',
    deactivated: undefined,
  });
});

test('any time names the newest version that is not younger', async () => {
  const count = fc.integer({ min: 1, max: 6 });
  await fc.assert(
    fc.asyncProperty(count, fc.integer({ min: -20, max: 80 }), fc.boolean(), async (length, offset, inQuery) => {
      const versionTime = new Date((startSeconds + offset) * 1000).toISOString();
      const result = await (inQuery
        ? resolve(history(length), `${did}?versionTime=${versionTime}`)
        : resolve(history(length), did, { versionTime }));
      if (offset < 0) expect(result.didResolutionMetadata.error).toBe('notFound');
      else expect(result.didDocumentMetadata.versionId).toBe(String(Math.min(length, Math.floor(offset / 10) + 1)));
    }),
  );
});

test.each([
  ['did:artha:xyz', {}, 'invalidDid'],
  [did.toUpperCase().replace('DID:ARTHA', 'did:artha'), {}, 'invalidDid'],
  [`did:artha:main:${'0'.repeat(64)}`, {}, 'invalidDid'],
  [didText(word(1)), {}, 'notFound'],
  [`${did}?versionId=3`, {}, 'notFound'],
  [`${did}/path`, {}, 'unsupportedDidUrl'],
  [`${did}?service=metadata`, {}, 'unsupportedDidUrl'],
  [`${did}?versionId=0`, {}, 'invalidOptions'],
  [`${did}?versionTime=yesterday`, {}, 'invalidOptions'],
  [`${did}?versionTime=2026-13-01T00:00:00Z`, {}, 'invalidOptions'],
  [`${did}?versionId=1&versionTime=2026-01-01T00:00:00Z`, {}, 'invalidOptions'],
  [did, { versionId: 1 }, 'invalidOptions'],
  [did, { versionTime: 0 }, 'invalidOptions'],
  [did, { accept: 'text/html' }, 'representationNotSupported'],
])('resolving %s with %o gives the error %s and no document', async (url, options, error) => {
  const result = await resolve(history(2), url, options);
  expect(result).toMatchObject({ didDocument: null, didDocumentMetadata: {}, didResolutionMetadata: { error } });
  expect(result.didResolutionMetadata.contentType).toBeUndefined();
});

test('a fragment names a key in the document and changes nothing in resolving', async () => {
  expect((await resolve(history(1), `${did}#${multikeyOf('ed25519', word(1))}`)).didDocument?.id).toBe(did);
});

test('plain JSON has no context', async () => {
  const result = await resolve(history(1), did, { accept: 'application/did+json' });
  expect(result.didResolutionMetadata).toEqual({ contentType: 'application/did+json' });
  expect(result.didDocument).not.toHaveProperty('@context');
});
