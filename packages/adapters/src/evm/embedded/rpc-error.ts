/**
 * Errors as JSON-RPC clients expect them: a number, a sentence and, for a revert, the contract's bytes.
 *
 * The wording follows go-ethereum, because viem, wallets and `cast` recognise errors by it. Not a MusterError: these travel to any
 * Ethereum client and say nothing about Muster.
 */

export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number;
  readonly data: string | undefined;

  constructor(code: number, message: string, data?: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.data = data;
  }
}

export const parseError = (): RpcError => new RpcError(-32700, 'parse error: the body is not JSON');
export const invalidRequest = (why: string): RpcError => new RpcError(-32600, `invalid request: ${why}`);
export const methodNotFound = (method: string): RpcError =>
  new RpcError(-32601, `the method ${method.slice(0, 100)} does not exist/is not available`);
export const invalidParams = (why: string): RpcError => new RpcError(-32602, `invalid argument: ${why}`);
export const internalError = (cause: unknown): RpcError => new RpcError(-32603, 'internal error', undefined, { cause });
export const limitExceeded = (why: string): RpcError => new RpcError(-32005, why);
/** A transaction or call that the chain does not take: code -32000. */
export const refused = (why: string): RpcError => new RpcError(-32000, why);

/** Code 3 with the revert bytes; the reason of a plain `Error(string)` is put into the message as go-ethereum does. */
export function reverted(returned: Uint8Array): RpcError {
  const reason = revertReason(returned);
  const data = `0x${Buffer.from(returned).toString('hex')}`;
  return new RpcError(3, reason === null ? 'execution reverted' : `execution reverted: ${reason}`, data);
}

/** The string of `Error(string)` revert bytes, or null. */
function revertReason(returned: Uint8Array): string | null {
  const bytes = Buffer.from(returned);
  if (bytes.length < 68 || bytes.readUInt32BE(0) !== 0x08c379a0) return null;
  const length = bytes.readUInt32BE(64);
  return length <= bytes.length - 68 ? bytes.toString('utf8', 68, 68 + length) : null;
}
