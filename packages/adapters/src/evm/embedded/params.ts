/**
 * JSON-RPC parameters decoded from `unknown`, and quantities and bytes encoded for answers.
 *
 * Every decoder checks type and length first and throws −32602 with the name of what is wrong. Not a general JSON schema.
 */
import { invalidParams } from './rpc-error.ts';

export type Hex = `0x${string}`;
/** A block by number, or one of the tags; `latest` also stands for safe and finalized, which one sequencer makes the same. */
export type BlockTag = number | 'latest' | 'pending';

/** `0x`-prefixed minimal hexadecimal of a non-negative integer. */
export const quantity = (value: number | bigint): Hex => `0x${value.toString(16)}`;
/** `0x`-prefixed hexadecimal of bytes. */
export const hexOf = (bytes: Uint8Array): Hex => `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`;
/** Bytes of trusted hexadecimal, with or without `0x`. */
export const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.startsWith('0x') ? hex.slice(2) : hex, 'hex'));

/** Bytes from a `0x` string of at most `limit` bytes, or of exactly `exact` bytes. */
export function dataParam(value: unknown, name: string, limits: { readonly limit: number } | { readonly exact: number }): Uint8Array {
  if (typeof value !== 'string') throw invalidParams(`${name} must be a 0x-prefixed string`);
  const most = 'exact' in limits ? limits.exact : limits.limit;
  if (value.length > 2 + 2 * most) throw invalidParams(`${name} is longer than ${most} bytes`);
  if (!/^0x(?:[0-9a-fA-F]{2})*$/.test(value)) throw invalidParams(`${name} is not 0x-prefixed hexadecimal of whole bytes`);
  if ('exact' in limits && value.length !== 2 + 2 * most) throw invalidParams(`${name} must be ${most} bytes`);
  return bytesOf(value);
}

export const addressParam = (value: unknown, name = 'address'): Uint8Array => dataParam(value, name, { exact: 20 });
export const hashParam = (value: unknown, name = 'hash'): Uint8Array => dataParam(value, name, { exact: 32 });

/** A non-negative integer below 2^256 from a `0x` quantity. Leading zeros are tolerated, as go-ethereum's clients send them. */
export function quantityParam(value: unknown, name: string): bigint {
  if (typeof value !== 'string' || !/^0x[0-9a-fA-F]{1,64}$/.test(value)) throw invalidParams(`${name} must be a 0x-prefixed quantity`);
  return BigInt(value);
}

/** A quantity that fits a JavaScript integer. */
export function indexParam(value: unknown, name: string): number {
  const number = quantityParam(value, name);
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw invalidParams(`${name} is too large`);
  return Number(number);
}

/** A block tag or number; undefined and null mean `latest`. EIP-1898 objects with `blockNumber` are taken too. */
export function blockParam(value: unknown, name = 'block'): BlockTag | { readonly hash: Uint8Array } {
  if (value === undefined || value === null) return 'latest';
  if (isRecord(value)) {
    if ('blockHash' in value) return { hash: hashParam(value['blockHash'], 'blockHash') };
    return indexParam(value['blockNumber'], 'blockNumber');
  }
  switch (value) {
    case 'latest':
    case 'safe':
    case 'finalized':
      return 'latest';
    case 'pending':
      return 'pending';
    case 'earliest':
      return 0;
    default:
      return indexParam(value, name);
  }
}

export function booleanParam(value: unknown, name: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw invalidParams(`${name} must be a boolean`);
  return value;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What eth_call and eth_estimateGas are asked to run. */
export interface CallRequest {
  readonly from: Uint8Array;
  readonly to: Uint8Array | null;
  readonly data: Uint8Array;
  readonly value: bigint;
  readonly gas: bigint | null;
  readonly gasPrice: bigint;
}

/** Longest call data taken, bytes. */
export const MAX_CALL_BYTES = 512 * 1024;

export function callParam(value: unknown): CallRequest {
  if (!isRecord(value)) throw invalidParams('the transaction must be an object');
  const optional = <T>(name: string, decode: (field: unknown) => T, otherwise: T): T => {
    const field = value[name];
    return field === undefined || field === null ? otherwise : decode(field);
  };
  const data = (name: string): Uint8Array | null => optional(name, (field) => dataParam(field, name, { limit: MAX_CALL_BYTES }), null);
  const amount = (name: string): bigint | null => optional(name, (field) => quantityParam(field, name), null);
  return {
    from: optional('from', (field) => addressParam(field, 'from'), new Uint8Array(20)),
    to: optional('to', (field) => addressParam(field, 'to'), null),
    data: data('input') ?? data('data') ?? new Uint8Array(),
    value: amount('value') ?? 0n,
    gas: amount('gas'),
    gasPrice: amount('maxFeePerGas') ?? amount('gasPrice') ?? 0n,
  };
}

/** A log filter; `null` in `topics` matches anything at that position. */
export interface LogFilter {
  readonly from: BlockTag;
  readonly to: BlockTag;
  readonly blockHash: Uint8Array | null;
  readonly addresses: readonly Uint8Array[];
  readonly topics: readonly (readonly Uint8Array[] | null)[];
}

const MAX_ALTERNATIVES = 100;

function oneOrMany(field: unknown, name: string, decode: (item: unknown) => Uint8Array): Uint8Array[] {
  const items: readonly unknown[] = Array.isArray(field) ? field : [field];
  if (items.length > MAX_ALTERNATIVES) throw invalidParams(`${name} lists more than ${MAX_ALTERNATIVES} values`);
  return items.map(decode);
}

export function logFilterParam(value: unknown): LogFilter {
  if (!isRecord(value)) throw invalidParams('the filter must be an object');
  const side = (name: string): BlockTag => {
    const tag = blockParam(value[name], name);
    if (typeof tag === 'object') throw invalidParams(`${name} must be a number or tag`);
    return tag;
  };
  const blockHash = value['blockHash'] === undefined || value['blockHash'] === null ? null : hashParam(value['blockHash'], 'blockHash');
  if (blockHash !== null && (value['fromBlock'] ?? value['toBlock'] ?? null) !== null) {
    throw invalidParams('cannot specify both blockHash and fromBlock/toBlock, choose one or the other');
  }
  const address = value['address'];
  const topics = value['topics'] ?? [];
  if (!Array.isArray(topics) || topics.length > 4) throw invalidParams('topics must be an array of at most four');
  return {
    from: side('fromBlock'),
    to: side('toBlock'),
    blockHash,
    addresses: address === undefined || address === null ? [] : oneOrMany(address, 'address', (item) => addressParam(item)),
    topics: topics.map((topic: unknown) => {
      if (topic === null || topic === undefined || (Array.isArray(topic) && (topic.length === 0 || topic.includes(null)))) return null;
      return oneOrMany(topic, 'topics', (item) => hashParam(item, 'topic'));
    }),
  };
}
