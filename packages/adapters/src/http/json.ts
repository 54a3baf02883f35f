/**
 * JSON as the coordinator speaks it: values out, refusals out. Readers treat what arrives as unknown until a schema has read it.
 */
import { errorCatalogue, MusterError } from '@muster/protocol';

/** JSON text of `value`: bigints as decimal text, byte strings as 0x-hex. Throws INTERNAL for what JSON cannot hold. */
export function toJsonText(value: unknown): string {
  const text: string | undefined = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return item.toString();
    if (item instanceof Uint8Array) return `0x${Array.from(item, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
    return item;
  });
  if (text === undefined) throw new MusterError('INTERNAL', 'a route answered with no value');
  return text;
}

/** The public part of any error: a MusterError as it is, anything else as INTERNAL without its message. */
export function publicError(error: unknown): MusterError {
  return error instanceof MusterError ? error : new MusterError('INTERNAL', 'the coordinator failed', {}, { cause: error });
}

/** `{error: {code, message, details}}` with the catalogue's status, or `status`. */
export function errorResponse(error: MusterError, status: number = errorCatalogue[error.code].status): Response {
  const { code, message, details } = error;
  return jsonResponse({ error: { code, message, details } }, status);
}

export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(toJsonText(value), {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' },
  });
}
