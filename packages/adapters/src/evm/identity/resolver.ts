/**
 * `did:artha` for the did-resolver package: W3C DID 1.1 documents made from the registry, of now or of any earlier version.
 *
 * The document holds two Multikeys: Ed25519 for authentication and assertions, X25519 for key agreement. A key's id ends in the key, so
 * the same id never means another key. Nothing is fetched from the store; the metadata is a
 * service with an `artha://` address. Resolution never throws: what went wrong is in the resolution metadata.
 */
import { cidOfRoot, MusterError } from '@muster/protocol';
import {
  type DIDDocument,
  type DIDResolutionOptions,
  type DIDResolutionResult,
  type DIDResolver,
  type ParsedDID,
  Resolver,
} from 'did-resolver';
import { getAddress } from 'viem';
import type { DidRecord, DidVersion } from './contracts.ts';
import { didText, multikeyOf, parseDid } from './did.ts';

/** What the resolver reads; `IdentityReader` is one. */
export interface DidSource {
  readonly chainId: number;
  document(didHash: DidRecord['didHash']): Promise<DidRecord | null>;
  /** Versions from the newest back to the first. */
  versions(didHash: DidRecord['didHash']): AsyncIterable<DidVersion>;
}

export type DidResolutionError =
  'invalidDid' | 'notFound' | 'unsupportedDidUrl' | 'invalidOptions' | 'representationNotSupported' | 'internalError';

/** Media type of DID 1.1, and the two of DID 1.0 that readers still ask for. */
const contentTypes = ['application/did', 'application/did+ld+json', 'application/did+json'];
const didContext = 'https://www.w3.org/ns/did/v1.1';

/**
 * The resolver of `did:artha`, for `new Resolver(arthaDidResolver({ reader }))`.
 *
 * A version is chosen by `versionId` or `versionTime` (an XML date and time), as an option or in the query of the DID URL. A revoked DID
 * resolves to a document without keys and `deactivated: true`; its earlier versions still resolve.
 */
export function arthaDidResolver({ reader }: { readonly reader: DidSource }): { readonly artha: DIDResolver } {
  const resolve: DIDResolver = async (_did, parsed, _resolver, options) => {
    try {
      return await resolveDid(reader, parsed, options);
    } catch (error) {
      return failure('internalError', error instanceof MusterError ? error.message : 'the DID cannot be read');
    }
  };
  return { artha: resolve };
}

/** What `didUrl` resolves to; a DID of another method is `unsupportedDidMethod`. Never throws. */
export function resolveDidUrl(reader: DidSource, didUrl: string, options: DIDResolutionOptions = {}): Promise<DIDResolutionResult> {
  return new Resolver({ ...arthaDidResolver({ reader }) }).resolve(didUrl, options);
}

interface Wanted {
  readonly version: number | null;
  /** Seconds since 1970. */
  readonly time: number | null;
}

async function resolveDid(reader: DidSource, parsed: ParsedDID, options: DIDResolutionOptions): Promise<DIDResolutionResult> {
  const didHash = hashIn(parsed.did);
  if (didHash === null) return failure('invalidDid', 'the identifier is 64 lower-case hex digits');
  const contentType = options.accept ?? 'application/did';
  if (!contentTypes.includes(contentType)) return failure('representationNotSupported', `one of ${contentTypes.join(', ')}`);
  const wanted = wantedVersion(parsed, options);
  if ('error' in wanted) return failure(wanted.error, wanted.message);

  const newest = wanted.version === null && wanted.time === null;
  const document = newest ? await reader.document(didHash) : null;
  const found = document === null ? null : { document, next: null };
  const chosen = newest ? found : await findVersion(reader.versions(didHash), wanted);
  if (chosen === null) return failure('notFound', newest ? 'no such DID' : 'no such version of the DID');
  const { next } = chosen;
  const { createdAt, updatedAt, version, revoked } = chosen.document;
  return {
    didResolutionMetadata: { contentType },
    didDocument: didDocument(chosen.document, reader.chainId, contentType !== 'application/did+json'),
    didDocumentMetadata: {
      created: dateTime(createdAt),
      ...(version === 1 ? {} : { updated: dateTime(updatedAt) }),
      ...(revoked ? { deactivated: true } : {}),
      versionId: String(version),
      ...(next === null ? {} : { nextUpdate: dateTime(next.updatedAt), nextVersionId: String(next.version) }),
    },
  };
}

function hashIn(did: string): DidRecord['didHash'] | null {
  try {
    return parseDid(did);
  } catch {
    return null;
  }
}

type OptionsWrong = { readonly error: DidResolutionError; readonly message: string };

function wantedVersion(parsed: ParsedDID, options: DIDResolutionOptions): Wanted | OptionsWrong {
  if (parsed.path !== undefined && parsed.path !== '') return { error: 'unsupportedDidUrl', message: 'a DID of this method has no paths' };
  const query = new URLSearchParams(parsed.query ?? '');
  for (const name of query.keys()) {
    if (name !== 'versionId' && name !== 'versionTime') return { error: 'unsupportedDidUrl', message: `no parameter "${name}"` };
  }
  const given = options as Readonly<Record<string, unknown>>;
  const versionId: unknown = query.get('versionId') ?? given['versionId'];
  const versionTime: unknown = query.get('versionTime') ?? given['versionTime'];
  if (versionId !== undefined && versionTime !== undefined) {
    return { error: 'invalidOptions', message: 'versionId or versionTime, not both' };
  }
  if (versionId !== undefined && !(typeof versionId === 'string' && /^[1-9]\d{0,9}$/.test(versionId))) {
    return { error: 'invalidOptions', message: 'versionId is a number from 1' };
  }
  const milliseconds = typeof versionTime === 'string' && dateTimePattern.test(versionTime) ? Date.parse(versionTime) : Number.NaN;
  if (versionTime !== undefined && Number.isNaN(milliseconds)) {
    return { error: 'invalidOptions', message: 'versionTime is a date and time such as 2026-01-31T12:00:00Z' };
  }
  return {
    version: versionId === undefined ? null : Number(versionId),
    time: versionTime === undefined ? null : Math.floor(milliseconds / 1000),
  };
}

const dateTimePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;

/** The version wanted and the one after it: that of the number, or the newest not younger than the time. */
async function findVersion(
  versions: AsyncIterable<DidVersion>,
  { version, time }: Wanted,
): Promise<{ readonly document: DidRecord; readonly next: DidRecord | null } | null> {
  let next: DidRecord | null = null;
  for await (const { document } of versions) {
    if (version === null ? document.updatedAt <= (time ?? 0) : document.version === version) return { document, next };
    next = document;
  }
  return null;
}

function didDocument(record: DidRecord, chainId: number, linked: boolean): DIDDocument {
  const id = didText(record.didHash);
  const head = { ...(linked ? { '@context': didContext } : {}), id };
  if (record.revoked) return head;
  const authentication = keyMethod(id, multikeyOf('ed25519', record.authKey));
  const agreement = keyMethod(id, multikeyOf('x25519', record.encKey));
  return {
    ...head,
    controller: `did:pkh:eip155:${chainId}:${getAddress(record.owner)}`,
    verificationMethod: [authentication, agreement],
    authentication: [authentication.id],
    assertionMethod: [authentication.id],
    keyAgreement: [agreement.id],
    ...(record.metaCid === null
      ? {}
      : { service: [{ id: `${id}#metadata`, type: 'ArthaMetadata', serviceEndpoint: `artha://${cidOfRoot(record.metaCid, 'raw')}` }] }),
  };
}

function keyMethod(did: string, publicKeyMultibase: string) {
  return { id: `${did}#${publicKeyMultibase}`, type: 'Multikey', controller: did, publicKeyMultibase };
}

function dateTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function failure(error: DidResolutionError, message: string): DIDResolutionResult {
  return { didResolutionMetadata: { error, message }, didDocument: null, didDocumentMetadata: {} };
}
