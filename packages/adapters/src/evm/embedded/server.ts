/**
 * The embedded chain over HTTP: JSON-RPC 2.0 with batches, for viem, wallets and `cast`.
 *
 * Bounded body, batch, time and connections; open to any web page by default, as public nodes are: it holds no keys. It does no
 * authentication: bind it to loopback or put a proxy before it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MusterError } from '@muster/protocol';
import type { EmbeddedChain } from './embedded-chain.ts';
import { isRecord } from './params.ts';
import { internalError, invalidRequest, parseError, RpcError } from './rpc-error.ts';

export interface ServeChainOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Value of Access-Control-Allow-Origin; default `*`. */
  readonly corsOrigin?: string;
}

export interface ChainServer {
  readonly url: string;
  /** Stops listening and ends open connections; the chain stays open. */
  close(): Promise<void>;
}

export const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** What viem sends at most by default, and go-ethereum's limit. */
export const MAX_BATCH = 1000;
const MAX_CONNECTIONS = 256;

/** Serves `chain` at `host:port`. Throws CHAIN_UNREACHABLE where the address cannot be bound. */
export async function serveChain(chain: EmbeddedChain, options: ServeChainOptions): Promise<ChainServer> {
  const cors = {
    'access-control-allow-origin': options.corsOrigin ?? '*',
    'access-control-allow-methods': 'POST, OPTIONS',
    'access-control-allow-headers': 'content-type',
    'access-control-max-age': '86400',
  };
  const server = createServer((request, response) => {
    answer(chain, request).then(
      ({ status, body }) => reply(response, status, body, cors),
      // The connection broke while the body was read.
      () => response.destroy(),
    );
  });
  server.requestTimeout = 30_000;
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 30_000;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new MusterError('CHAIN_UNREACHABLE', `cannot listen on ${options.host}:${options.port}`, { port: options.port }, { cause: error }),
      );
    });
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly body: string | null;
}

async function answer(chain: EmbeddedChain, request: IncomingMessage): Promise<Answer> {
  if (request.method === 'OPTIONS') return { status: 204, body: null };
  if (request.method !== 'POST') return { status: 405, body: encode(failed(null, invalidRequest('use POST'))) };
  const text = await readBody(request);
  if (text === null) return { status: 413, body: encode(failed(null, invalidRequest(`the body is longer than ${MAX_BODY_BYTES} bytes`))) };
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { status: 200, body: encode(failed(null, parseError())) };
  }
  return { status: 200, body: await answerBody(chain, body) };
}

/** The JSON text of the answer to one request or a batch; null where only notifications were sent. */
export async function answerBody(chain: EmbeddedChain, body: unknown): Promise<string | null> {
  if (!Array.isArray(body)) {
    const single = await answerOne(chain, body);
    return single === null ? null : encode(single);
  }
  if (body.length === 0) return encode(failed(null, invalidRequest('empty batch')));
  if (body.length > MAX_BATCH) return encode(failed(null, invalidRequest(`batch of more than ${MAX_BATCH}`)));
  // Started in order and at once: consecutive transactions of a batch share a block.
  const answers = await Promise.all(body.map((entry: unknown) => answerOne(chain, entry)));
  const given = answers.filter((entry) => entry !== null);
  return given.length === 0 ? null : encode(given);
}

type Id = string | number | null;
interface Response {
  readonly jsonrpc: '2.0';
  readonly id: Id;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: string };
}

async function answerOne(chain: EmbeddedChain, request: unknown): Promise<Response | null> {
  if (!isRecord(request)) return failed(null, invalidRequest('not an object'));
  const { id, method, params } = request;
  const known: Id = typeof id === 'string' || typeof id === 'number' ? id : null;
  const isNotification = id === undefined;
  try {
    if (typeof method !== 'string') throw invalidRequest('method must be a string');
    const result = await chain.request({ method, params });
    return isNotification ? null : { jsonrpc: '2.0', id: known, result };
  } catch (error) {
    if (isNotification && typeof method === 'string') return null;
    return failed(known, error instanceof RpcError ? error : internalError(error));
  }
}

function failed(id: Id, error: RpcError): Response {
  const { code, message, data } = error;
  return { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } };
}

const encode = (value: unknown): string => JSON.stringify(value);

/** The body as text, or null where it is too long. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function reply(response: ServerResponse, status: number, body: string | null, cors: Readonly<Record<string, string>>): void {
  const close = status === 413 ? { connection: 'close' } : {};
  response.writeHead(body === null ? 204 : status, { ...cors, ...close, ...(body === null ? {} : { 'content-type': 'application/json' }) });
  response.end(body ?? undefined);
}
