/**
 * What the identity contracts say: DIDs with their history, consents with their access logs. Read only.
 *
 * Histories are followed back from event to event, each naming the block of the one before, so a reader asks only for blocks that
 * have something to say. A log of accesses is hashed again and compared with the contract's head.
 */
import { type Address, MusterError, type Root } from '@muster/protocol';
import { encodeAbiParameters, getAbiItem, keccak256 } from 'viem';
import { ask, type ChainEndpoint, type Connection, type ConnectionOptions, openConnection } from '../contracts/connection.ts';
import { lowerAddress } from '../contracts/events.ts';
import { arthaDIDRegistryAbi, dataConsentAbi } from '../generated/index.ts';
import { type AccessEntry, type ConsentRecord, didChanges, type DidRecord, type DidVersion } from './contracts.ts';
import type { IdentityContracts, KeyValidity } from './contracts.ts';

export type IdentityReaderOptions = ChainEndpoint & ConnectionOptions & { readonly contracts: IdentityContracts };

const zero = `0x${'0'.repeat(64)}` as Root;
const orNull = (word: string): Root | null => (word === zero ? null : (word as Root));
const purposes = ['none', 'authentication', 'encryption'] as const;
const didChanged = getAbiItem({ abi: arthaDIDRegistryAbi, name: 'DIDChanged' });
const accessLogged = getAbiItem({ abi: dataConsentAbi, name: 'AccessLogged' });
const consentGranted = getAbiItem({ abi: dataConsentAbi, name: 'ConsentGranted' });

export class IdentityReader {
  readonly contracts: IdentityContracts;
  protected readonly connection: Connection;

  constructor(options: IdentityReaderOptions) {
    this.connection = openConnection(options);
    this.contracts = options.contracts;
  }

  get chainId(): number {
    return this.contracts.chainId;
  }

  /** Time of the newest block, seconds since 1970. */
  async time(): Promise<number> {
    return Number((await ask('identity', () => this.connection.client.getBlock({ blockTag: 'latest' }))).timestamp);
  }

  /** The DID as it stands, or null where there is none. */
  async document(didHash: Root): Promise<DidRecord | null> {
    const found = await nullOn('DIDUnknown', () =>
      this.connection.client.readContract({ ...this.registry, functionName: 'documentOf', args: [didHash] }),
    );
    return found === null ? null : recordOf(found);
  }

  /** The DID's versions, newest first. Throws AUDIT_FAILED where the chain does not give the events it ought to have. */
  async *versions(didHash: Root): AsyncGenerator<DidVersion> {
    const last = await this.read('changedBlockOf', didHash);
    const logsAt = (block: bigint) =>
      this.connection.client.getLogs({
        address: this.contracts.didRegistry,
        event: didChanged,
        args: { didHash },
        fromBlock: block,
        toBlock: block,
        strict: true,
      });
    for await (const { args, blockNumber } of walkBack(last, logsAt)) {
      const change = didChanges[args.change];
      if (change === undefined) throw broken(`a change of kind ${args.change}`, blockNumber);
      yield { change, block: Number(blockNumber), document: recordOf(args.document) };
    }
  }

  /** All of the DID's versions, newest first; none where there is no DID. Throws as `versions`. */
  async history(didHash: Root): Promise<DidVersion[]> {
    const versions: DidVersion[] = [];
    for await (const version of this.versions(didHash)) versions.push(version);
    return versions;
  }

  /** Whether `key` was the DID's for `purpose` at `time`, seconds since 1970. */
  keyValidAt(didHash: Root, purpose: KeyValidity['purpose'], key: Root, time: number): Promise<boolean> {
    const args = [didHash, purposes.indexOf(purpose), key, BigInt(time)] as const;
    return ask('identity', () => this.connection.client.readContract({ ...this.registry, functionName: 'keyValidAt', args }));
  }

  /** When `key` was the DID's; null for a key that never was. */
  async keyValidity(didHash: Root, key: Root): Promise<KeyValidity | null> {
    const found = await ask('identity', () =>
      this.connection.client.readContract({ ...this.registry, functionName: 'keyValidityOf', args: [didHash, key] }),
    );
    const purpose = purposes[found.purpose];
    if (purpose === undefined || purpose === 'none') return null;
    return { purpose, validFrom: Number(found.validFrom), validUntil: found.validUntil === 0n ? null : Number(found.validUntil) };
  }

  /** The nonce that the next signed order of `account` to a contract must have. */
  nonce(contract: 'didRegistry' | 'dataConsent', account: Address): Promise<bigint> {
    const address = this.contracts[contract];
    return ask('identity', () =>
      this.connection.client.readContract({ address, abi: arthaDIDRegistryAbi, functionName: 'nonces', args: [account] }),
    );
  }

  async consent(consentId: Root): Promise<ConsentRecord | null> {
    const found = await nullOn('ConsentUnknown', () =>
      this.connection.client.readContract({ ...this.consents, functionName: 'consentOf', args: [consentId] }),
    );
    if (found === null) return null;
    return {
      consentId,
      datasetCid: found.datasetCid as Root,
      ownerDid: found.ownerDid as Root,
      granteeDid: found.granteeDid as Root,
      purpose: found.purpose as Root,
      permissionKeyCid: orNull(found.permissionKeyCid),
      grantedAt: Number(found.grantedAt),
      expiresAt: Number(found.expiresAt),
      revokedAt: found.revokedAt === 0n ? null : Number(found.revokedAt),
      accessCount: Number(found.accessCount),
      accessHead: found.accessHead as Root,
    };
  }

  /** Whether a consent of `ownerDid` for these was live at `time`, seconds since 1970. */
  isAllowed(ownerDid: Root, datasetCid: Root, granteeDid: Root, purpose: Root, time: number): Promise<boolean> {
    const args = [ownerDid, datasetCid, granteeDid, purpose, BigInt(time)] as const;
    return ask('identity', () => this.connection.client.readContract({ ...this.consents, functionName: 'isAllowed', args }));
  }

  /** Ids of all consents that `ownerDid` has granted, newest first. */
  async grants(ownerDid: Root): Promise<Root[]> {
    const { client } = this.connection;
    const address = this.contracts.dataConsent;
    const last = await ask('identity', () => client.readContract({ ...this.consents, functionName: 'grantedBlockOf', args: [ownerDid] }));
    const logsAt = (block: bigint) =>
      client.getLogs({ address, event: consentGranted, args: { ownerDid }, fromBlock: block, toBlock: block, strict: true });
    const ids: Root[] = [];
    for await (const { args } of walkBack(last, logsAt)) ids.push(args.consentId as Root);
    return ids;
  }

  /**
   * The accesses logged under a consent, oldest first, checked against the head and count that the contract keeps.
   * Throws AUDIT_FAILED where they do not give that head.
   */
  async accessLog(consentId: Root): Promise<AccessEntry[]> {
    const { client } = this.connection;
    const address = this.contracts.dataConsent;
    const [head, count, last] = await ask('identity', () =>
      client.readContract({ ...this.consents, functionName: 'accessLogOf', args: [consentId] }),
    );
    const logsAt = (block: bigint) =>
      client.getLogs({ address, event: accessLogged, args: { consentId }, fromBlock: block, toBlock: block, strict: true });
    const entries: AccessEntry[] = [];
    for await (const { args, blockNumber, transactionHash } of walkBack(last, logsAt)) {
      // Written after the head was read.
      if (args.index >= count) continue;
      const { accessCid, head: after } = args;
      const place = { block: Number(blockNumber), transaction: transactionHash };
      entries.push({ index: Number(args.index), accessCid: accessCid as Root, time: Number(args.time), head: after as Root, ...place });
    }
    entries.reverse();
    const recomputed = accessLogHead(consentId, entries);
    if (entries.length !== Number(count) || recomputed !== head) {
      throw new MusterError('AUDIT_FAILED', `the access log of consent ${consentId} does not give the head on chain`, {
        object: consentId,
        expected: head,
        actual: recomputed,
      });
    }
    return entries;
  }

  private get registry() {
    return { address: this.contracts.didRegistry, abi: arthaDIDRegistryAbi } as const;
  }

  private get consents() {
    return { address: this.contracts.dataConsent, abi: dataConsentAbi } as const;
  }

  private read(functionName: 'changedBlockOf', didHash: Root): Promise<bigint> {
    return ask('identity', () => this.connection.client.readContract({ ...this.registry, functionName, args: [didHash] }));
  }
}

/** The head of an access log with `entries`, from the empty log's 0: what the contract computes. */
export function accessLogHead(consentId: Root, entries: readonly Pick<AccessEntry, 'accessCid' | 'time'>[]): Root {
  const types = [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint64' }, { type: 'bytes32' }, { type: 'uint64' }] as const;
  return entries.reduce(
    (head, { accessCid, time }, index) =>
      keccak256(encodeAbiParameters(types, [head, consentId, BigInt(index), accessCid, BigInt(time)])) as Root,
    zero,
  );
}

interface BackLinked {
  readonly args: { readonly previousBlock: bigint };
  readonly blockNumber: bigint;
  readonly logIndex: number;
}

/** Events from block `last` back, newest first, to the one that has none before it. */
async function* walkBack<L extends BackLinked>(last: bigint, logsAt: (block: bigint) => Promise<readonly L[]>): AsyncGenerator<L> {
  for (let block = last; block !== 0n;) {
    const logs = [...(await ask('identity', () => logsAt(block)))].sort((a, b) => b.logIndex - a.logIndex);
    const earliest = logs.at(-1);
    if (earliest === undefined || earliest.args.previousBlock >= block) throw broken('no event', block);
    yield* logs;
    block = earliest.args.previousBlock;
  }
}

function broken(what: string, block: bigint): MusterError {
  return new MusterError('AUDIT_FAILED', `the chain has ${what} in block ${block}, where a change is recorded`, { block });
}

function recordOf(document: {
  readonly didHash: string;
  readonly owner: string;
  readonly authKey: string;
  readonly encKey: string;
  readonly metaCid: string;
  readonly createdAt: bigint;
  readonly updatedAt: bigint;
  readonly version: number;
  readonly revoked: boolean;
}): DidRecord {
  return {
    didHash: document.didHash as Root,
    owner: lowerAddress(document.owner as Address),
    authKey: document.authKey as Root,
    encKey: document.encKey as Root,
    metaCid: orNull(document.metaCid),
    createdAt: Number(document.createdAt),
    updatedAt: Number(document.updatedAt),
    version: document.version,
    revoked: document.revoked,
  };
}

async function nullOn<T>(error: string, read: () => Promise<T>): Promise<T | null> {
  try {
    return await ask('identity', read);
  } catch (failure) {
    if (failure instanceof MusterError && failure.code === 'CHAIN_REVERTED' && failure.details['error'] === error) return null;
    throw failure;
  }
}
