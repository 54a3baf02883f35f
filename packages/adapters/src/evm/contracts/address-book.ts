/**
 * What is kept about a deployment: an address book when it is finished, a journal while it is not. Both are one JSON file per chain in a
 * folder, written whole or not at all. No secrets: of an endpoint's URL only scheme and host are kept, and signed transactions are public.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ChainInfo } from '@muster/ports';
import { addressText, integer, list, MusterError, nullable, rootText, type Schema, struct, text, type Address } from '@muster/protocol';
import type { Hex } from 'viem';
import { hasCode, syncFolder } from '../../node/files.ts';
import { type ContractName, contractNames, type DeploymentSettings, defaultSettings } from './catalogue.ts';

const hexText = (maxBytes: number): Schema<Hex> => text(2 + 2 * maxBytes, /^0x(?:[0-9a-f]{2})*$/) as Schema<Hex>;

/** A schema with the same fields for every contract. */
function perContract<T>(schema: Schema<T>): Schema<Readonly<Record<ContractName, T>>> {
  return struct(Object.fromEntries(contractNames.map((name) => [name, schema]))) as Schema<Readonly<Record<ContractName, T>>>;
}

/** Settings as JSON holds them, read after the example of the defaults: numbers, decimal text for bigints, addresses, nested structs. */
const settingsSchema: Schema<DeploymentSettings> = (value, path) =>
  readLike(defaultSettings(`0x${'0'.repeat(40)}` as Address), value, path) as DeploymentSettings;

function readLike(example: unknown, value: unknown, path: string): unknown {
  if (typeof example === 'bigint') return BigInt(text(78, /^(?:0|[1-9][0-9]*)$/)(value, path));
  if (typeof example === 'number') return integer()(value, path);
  if (typeof example === 'string') return addressText(value, path);
  const fields = Object.entries(example as Record<string, unknown>);
  return struct(
    Object.fromEntries(fields.map(([field, inner]) => [field, (item: unknown, place: string) => readLike(inner, item, place)])),
  )(value, path);
}

const bookSchema = struct({
  version: integer(1, 1),
  chainId: integer(1),
  /** Scheme and host of the endpoint it was deployed through; null for one in the same process. */
  rpcUrl: nullable(text(512)),
  deployer: addressText,
  contracts: perContract(addressText),
  settings: settingsSchema,
  /** Blocks that must follow on this chain; null leaves it to the endpoint. */
  confirmations: nullable(integer()),
  /** The first block with one of the contracts: events are read from here on. */
  block: integer(),
  /** Creating transactions; null where the chain's genesis holds the contract. */
  transactions: perContract(nullable(struct({ transaction: rootText, block: integer(), gasUsed: integer() }))),
  /** keccak256 of each contract's runtime code. */
  codeHashes: perContract(rootText),
});

/** A finished deployment. */
export interface AddressBook {
  readonly version: number;
  readonly chainId: number;
  readonly rpcUrl: string | null;
  readonly deployer: Address;
  readonly contracts: ChainInfo['contracts'];
  readonly settings: DeploymentSettings;
  readonly confirmations: number | null;
  readonly block: number;
  readonly transactions: Readonly<
    Record<ContractName, { readonly transaction: Hex; readonly block: number; readonly gasUsed: number } | null>
  >;
  readonly codeHashes: Readonly<Record<ContractName, Hex>>;
}

const journalSchema = struct({
  version: integer(1, 1),
  chainId: integer(1),
  deployer: addressText,
  firstNonce: integer(),
  /** keccak256 of all creation code with its arguments: what is being deployed. */
  plan: rootText,
  /** Signed creations, oldest first, of the contracts begun so far, in order. */
  begun: list(list(hexText(131_072), 32, 1), 64),
});

/** An unfinished deployment: enough to go on with the same addresses after a crash. */
export interface JournalState {
  readonly version: number;
  readonly chainId: number;
  readonly deployer: Address;
  readonly firstNonce: number;
  readonly plan: Hex;
  readonly begun: readonly (readonly Hex[])[];
}

/** Where a deployment writes down what it has signed, before it sends it. */
export interface DeploymentJournal {
  /** For messages. */
  readonly place: string;
  read(): Promise<JournalState | null>;
  write(state: JournalState): Promise<void>;
  clear(): Promise<void>;
}

export const addressBookFile = (folder: string, chainId: number): string => join(folder, `addresses-${chainId}.json`);
const journalFile = (folder: string, chainId: number): string => join(folder, `deployment-${chainId}.json`);

/** The address book of a chain; null where there is none. Throws FIELD_INVALID for a damaged one. */
export async function readAddressBook(folder: string, chainId: number): Promise<AddressBook | null> {
  const path = addressBookFile(folder, chainId);
  const found = await readJson(path);
  return found === null ? null : bookSchema(found, path);
}

export async function writeAddressBook(folder: string, book: AddressBook): Promise<void> {
  await writeJson(addressBookFile(folder, book.chainId), book);
}

/** The journal of a chain's deployment in `folder`. Reading throws FIELD_INVALID for a damaged one. */
export function fileJournal(folder: string, chainId: number): DeploymentJournal {
  const path = journalFile(folder, chainId);
  return {
    place: path,
    async read() {
      const found = await readJson(path);
      return found === null ? null : journalSchema(found, path);
    },
    write: (state) => writeJson(path, state),
    async clear() {
      await rm(path, { force: true });
    },
  };
}

/** Scheme and host of `rpcUrl`: paths, queries and names before the host may hold keys. */
export function publicPartOf(rpcUrl: string): string {
  return URL.canParse(rpcUrl) ? new URL(rpcUrl).origin : '';
}

async function readJson(path: string): Promise<unknown> {
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
  try {
    return JSON.parse(source) as unknown;
  } catch (cause) {
    throw new MusterError('FIELD_INVALID', `${path} is not JSON`, { file: path }, { cause });
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  const content = JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item), 2);
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.new`;
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(`${content}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}
