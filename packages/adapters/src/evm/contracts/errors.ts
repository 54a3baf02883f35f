/**
 * From what a node or a contract answers to a MusterError: CHAIN_REVERTED with the contract's error, or CHAIN_UNREACHABLE.
 */
import { type ErrorDetails, MusterError } from '@muster/protocol';
import { type Abi, type AbiParameter, decodeErrorResult, type Hex, toFunctionSelector } from 'viem';
import { catalogue } from './catalogue.ts';

type AbiError = Extract<Abi[number], { readonly type: 'error' }>;

const errorAbi: Abi = Object.values(catalogue).flatMap(({ abi }): Abi => abi);

/** The custom errors of all contracts by selector: one call may revert in another contract than the one called. */
const errorsBySelector = new Map<string, AbiError>(
  errorAbi.filter((entry) => entry.type === 'error').map((entry) => [toFunctionSelector(errorSignature(entry)), entry]),
);

function errorSignature({ name, inputs }: AbiError): string {
  return `${name}(${inputs.map(typeOf).join(',')})`;
}

function typeOf(parameter: AbiParameter): string {
  if (!parameter.type.startsWith('tuple') || !('components' in parameter)) return parameter.type;
  return `(${parameter.components.map(typeOf).join(',')})${parameter.type.slice('tuple'.length)}`;
}

/** CHAIN_REVERTED for revert bytes; `details.error` is the custom error's name, `Error`, `Panic`, or `Unknown` for none of these. */
export function revertError(action: string, data: Hex, cause?: unknown): MusterError {
  const details = decodeRevert(data);
  const facts = Object.entries(details)
    .filter(([key]) => key !== 'error')
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(', ');
  return new MusterError('CHAIN_REVERTED', `${action} refused: ${details.error}${facts === '' ? '' : ` (${facts})`}`, details, {
    cause,
  });
}

function decodeRevert(data: Hex): ErrorDetails & { readonly error: string } {
  try {
    const known = errorsBySelector.get(data.slice(0, 10));
    const decoded = decodeErrorResult({ abi: known === undefined ? [] : [known], data });
    const inputs: readonly AbiParameter[] = 'inputs' in decoded.abiItem ? decoded.abiItem.inputs : [];
    const values: readonly unknown[] = decoded.args ?? [];
    const facts = inputs.map((input, index) => [input.name ?? `argument${index}`, plain(values[index])] as const);
    return { ...Object.fromEntries(facts), error: decoded.errorName };
  } catch {
    return { error: 'Unknown', data };
  }
}

function plain(value: unknown): string | number | bigint | boolean {
  if (typeof value === 'string') return value.startsWith('0x') ? value.toLowerCase() : value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return value;
  return JSON.stringify(value);
}

/** The revert bytes somewhere in a node's error, or null where it carries none. */
export function revertDataOf(error: unknown): Hex | null {
  for (const link of chainOf(error)) {
    const data: unknown =
      typeof link['data'] === 'object' && link['data'] !== null ? (link['data'] as Record<string, unknown>)['data'] : link['data'];
    if (typeof data === 'string' && /^0x(?:[0-9a-fA-F]{2})*$/.test(data)) return data as Hex;
  }
  return null;
}

/** The message of a JSON-RPC error answer, or of an HTTP one that says the request is at fault; null where no answer came at all. */
export function rpcRefusalOf(error: unknown): string | null {
  for (const link of chainOf(error)) {
    const status = link['status'];
    if (typeof status === 'number' && status >= 400 && status < 500 && status !== 408 && status !== 429) return `HTTP status ${status}`;
    if (typeof link['code'] !== 'number' || typeof link['message'] !== 'string') continue;
    // viem gives its wrapper of any failure code −1; the answer itself is further down.
    if (link['code'] === -1) continue;
    return typeof link['details'] === 'string' && link['details'] !== '' ? link['details'] : link['message'];
  }
  return null;
}

/** `error` of a request for `action` as a MusterError. A MusterError stays itself. */
export function requestError(action: string, error: unknown): MusterError {
  if (error instanceof MusterError) return error;
  const data = revertDataOf(error);
  const refusal = rpcRefusalOf(error);
  if (data !== null && (data !== '0x' || /revert/i.test(refusal ?? ''))) return revertError(action, data, error);
  if (refusal === null) return unreachable(action, error);
  if (/revert/i.test(refusal)) return revertError(action, '0x', error);
  const name = /insufficient (?:funds|balance)|enough funds/i.test(refusal) ? 'InsufficientFunds' : 'RequestRefused';
  return new MusterError('CHAIN_REVERTED', `${action} refused: ${refusal}`, { error: name, message: refusal }, { cause: error });
}

export function unreachable(action: string, cause: unknown): MusterError {
  const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
  return new MusterError('CHAIN_UNREACHABLE', `${action}: the chain does not answer: ${why}`, {}, { cause });
}

function* chainOf(error: unknown): Generator<Record<string, unknown>> {
  let link: unknown = error;
  for (let depth = 0; depth < 12 && typeof link === 'object' && link !== null; depth++) {
    yield link as Record<string, unknown>;
    link = (link as { readonly cause?: unknown }).cause;
  }
}
