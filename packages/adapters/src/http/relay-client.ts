/**
 * The other side of `POST /relay`: hands what an account has signed to a coordinator. `docs/spec/29-relaying.md`.
 */
import { errorCatalogue, type ErrorCode, type ErrorDetails, integer, MusterError, rootText, struct } from '@muster/protocol';
import type { HandOver } from '../evm/contracts/relayed-sender.ts';
import { chunksOf, readBody } from './body.ts';
import { toJsonText } from './json.ts';

const MAX_ANSWER_BYTES = 64 * 1024;

const answerSchema = struct({ transaction: rootText, block: integer(), gasUsed: integer() });

/** Hands requests to the relay of the coordinator at `url`. Throws its refusals with their codes, and PEER_UNREACHABLE. */
export function relayOverHttp(url: string, timeoutMs = 120_000): HandOver {
  return async (request) => {
    let response: Response;
    let value: unknown;
    try {
      response = await fetch(new URL('/relay', url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: toJsonText(request),
        signal: AbortSignal.timeout(timeoutMs),
      });
      value = JSON.parse(
        new TextDecoder().decode(await readBody(response.body && chunksOf(response.body), null, MAX_ANSWER_BYTES)),
      ) as unknown;
    } catch (cause) {
      throw new MusterError('PEER_UNREACHABLE', `the relay at ${url} does not answer`, { url }, { cause });
    }
    if (response.ok) return answerSchema(value, 'answer');
    throw refusalOf(value, url);
  };
}

function refusalOf(value: unknown, url: string): MusterError {
  const error = (value as { readonly error?: { readonly code?: unknown; readonly message?: unknown; readonly details?: unknown } } | null)
    ?.error;
  const code = typeof error?.code === 'string' && error.code in errorCatalogue ? (error.code as ErrorCode) : 'PEER_UNREACHABLE';
  const message = typeof error?.message === 'string' ? error.message.slice(0, 1000) : `the relay at ${url} does not answer as one`;
  const details = typeof error?.details === 'object' && error.details !== null ? (error.details as ErrorDetails) : {};
  return new MusterError(code, message, details);
}
