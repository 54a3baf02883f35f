/**
 * The coordinator's HTTP side: gateway, signed uploads, signed messages, public JSON, events. `docs/spec/07-transport.md`.
 *
 * It checks who speaks and that each request is new, whole and within limits, and hands it to the handlers given. It decides
 * nothing about jobs. Loopback by default; TLS is for a reverse proxy.
 */
import type { Server as NodeServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { BlobStore, Clock, NonceStore, VerifySignature } from '@muster/ports';
import {
  bytesToHex,
  cidOfBytes,
  cidText,
  codecOf,
  type Envelope,
  type ErrorCode,
  type ErrorDetails,
  integer,
  maxEnvelopeBytes,
  maxObjectBytes,
  MusterError,
  type NodeId,
  openEnvelope,
  parseCid,
  struct,
} from '@muster/protocol';
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { fromBase64Url, readBody } from './body.ts';
import { createEventStream, type StreamEvent } from './event-stream.ts';
import { answerGateway } from './gateway.ts';
import { errorResponse, jsonResponse, publicError } from './json.ts';
import { createOutcomeMemory, type MessageOutcome } from './outcomes.ts';

/** A request that was turned away. `node` and `kind` are null unless the signature held: nobody is blamed for what he did not sign. */
export interface RefusedRequest {
  readonly code: ErrorCode;
  readonly node: NodeId | null;
  readonly kind: string | null;
  readonly details: ErrorDetails;
}

/** Acts on a verified request and returns the answer (see `toJsonText`), or throws the MusterError to answer with. */
export type SignedHandler = (envelope: Envelope) => Promise<unknown>;

/** Answers a public question: `params` from the path, `query` from the address. */
export type PublicHandler = (params: Readonly<Record<string, string>>, query: URLSearchParams) => Promise<unknown>;

export interface ServerOptions {
  /** See `networkName`; envelopes for another network are refused. */
  readonly network: string;
  readonly store: BlobStore;
  readonly nonces: NonceStore;
  readonly clock: Clock;
  readonly verify: VerifySignature;
  /** Handlers of `POST /v1/messages` by the envelope's kind; `put` is taken. */
  readonly signedRoutes: Readonly<Record<string, SignedHandler>>;
  /** Handlers of `GET /v1/<path>`; `:name` in a path is a parameter. `events` and `network` are taken. */
  readonly publicRoutes: Readonly<Record<string, PublicHandler>>;
  /** Whether `node` may store objects; false answers NODE_UNKNOWN. */
  readonly authorize: (node: NodeId) => boolean | Promise<boolean>;
  /** Called before an upload of `bytes` bytes by `node`; throws the MusterError to refuse it with. */
  readonly admitUpload?: (node: NodeId, bytes: number) => void | Promise<void>;
  /** Told of every signed (or unsigned) upload or message that is turned away, for the record. Must not throw. */
  readonly onRefused?: (refused: RefusedRequest) => void;
  /** Told of errors that are the coordinator's own; their text never leaves the process. */
  readonly onFault?: (error: unknown) => void;
  /** Answers what no route does, such as the dashboard's files; null: 404. */
  readonly fallback?: (request: Request) => Response | null | Promise<Response | null>;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** How far a request's time may lie from this clock. Default two minutes. */
  readonly windowMs?: number;
  readonly limits?: Partial<ServerLimits>;
}

export interface ServerLimits {
  readonly maxMessageBytes: number;
  readonly maxBlockBytes: number;
  readonly maxCarBlocks: number;
  readonly maxCarBytes: number;
  readonly replayEvents: number;
  readonly maxEventReaders: number;
  readonly maxWaitingEventBytes: number;
  readonly keepAliveMs: number;
  readonly maxConnections: number;
  readonly headersTimeoutMs: number;
  /** For headers and body of one request together. */
  readonly requestTimeoutMs: number;
  /** A connection on which nothing moves for so long is closed. */
  readonly idleTimeoutMs: number;
}

export const defaultServerLimits: ServerLimits = {
  maxMessageBytes: maxEnvelopeBytes,
  maxBlockBytes: maxObjectBytes,
  maxCarBlocks: 100_000,
  maxCarBytes: 8 * 1024 ** 3,
  replayEvents: 4096,
  maxEventReaders: 256,
  maxWaitingEventBytes: 1024 * 1024,
  keepAliveMs: 15_000,
  maxConnections: 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  idleTimeoutMs: 120_000,
};

export interface CoordinatorServer {
  /** `http://host:port`, without a slash at the end. */
  readonly url: string;
  /** Sends `event` to every reader of `GET /v1/events`. */
  broadcast(event: StreamEvent): void;
  eventReaders(): number;
  /** Stops listening and ends every connection. */
  close(): Promise<void>;
}

type App = Hono<{ Bindings: HttpBindings }>;
type Request_ = Context<{ Bindings: HttpBindings }>;

const putBody = struct({ cid: cidText, bytes: integer(0) });

/** A server that listens when the promise resolves. Throws USAGE with the details `host` and `port` where it cannot listen. */
export async function createServer(options: ServerOptions): Promise<CoordinatorServer> {
  const limits: ServerLimits = { ...defaultServerLimits, ...options.limits };
  const events = createEventStream(bytesToHex(crypto.getRandomValues(new Uint8Array(6))).slice(2), {
    replayEvents: limits.replayEvents,
    maxReaders: limits.maxEventReaders,
    maxWaitingBytes: limits.maxWaitingEventBytes,
  });
  const app: App = new Hono<{ Bindings: HttpBindings }>();
  app.use(
    cors({
      origin: '*',
      allowMethods: ['GET', 'HEAD', 'PUT', 'POST'],
      allowHeaders: ['authorization', 'content-type', 'accept', 'if-none-match', 'last-event-id', 'range', 'cache-control'],
      exposeHeaders: ['content-length', 'etag', 'x-ipfs-path', 'x-ipfs-roots'],
      maxAge: 86_400,
    }),
  );
  addGateway(app, options, limits);
  addMessages(app, options, limits);
  app.get('/v1/events', (context) => {
    const body = events.connect(context.req.header('last-event-id') ?? context.req.query('lastEventId') ?? null, () =>
      context.env.outgoing.destroy(),
    );
    if (body === null) return errorResponse(new MusterError('PEER_UNREACHABLE', 'too many readers of events'));
    return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' } });
  });
  app.get('/v1/network', () => jsonResponse({ version: 1, network: options.network, timeMs: options.clock.now() }));
  for (const [path, handler] of Object.entries(options.publicRoutes)) {
    app.get(`/v1/${path}`, async (context) =>
      jsonResponse(await handler(context.req.param() as Record<string, string>, new URL(context.req.url).searchParams)),
    );
  }
  app.notFound(async (context) => {
    const answer = (await options.fallback?.(context.req.raw)) ?? null;
    return answer ?? errorResponse(new MusterError('ROUTE_UNKNOWN', 'there is no such route'));
  });
  app.onError((error) => {
    const known = publicError(error);
    if (known.code === 'INTERNAL' || known.code === 'STORE_DAMAGED') options.onFault?.(error);
    return errorResponse(known);
  });
  const { server, url } = await listen(app, options, limits);
  const keepAlive = setInterval(() => events.keepAlive(), limits.keepAliveMs);
  keepAlive.unref();
  return {
    url,
    broadcast: (event) => events.broadcast(event),
    eventReaders: () => events.readers(),
    async close() {
      clearInterval(keepAlive);
      events.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function addGateway(app: App, options: ServerOptions, limits: ServerLimits): void {
  const carLimits = { maxBlocks: limits.maxCarBlocks, maxBytes: limits.maxCarBytes };
  app.get('/ipfs/:cid', async (context) => {
    const breakOff = (error: unknown): void => {
      if (!(error instanceof MusterError) || error.code === 'STORE_DAMAGED') options.onFault?.(error);
      context.env.outgoing.destroy();
    };
    return await answerGateway(context.req.raw, context.req.param('cid'), options.store, carLimits, breakOff);
  });
  app.put('/ipfs/:cid', async (context) =>
    guarded(options, async (opened) => {
      const cid = parseCid(context.req.param('cid'));
      const header = context.req.header('authorization');
      const sealed = header?.startsWith('Muster ') === true ? fromBase64Url(header.slice('Muster '.length).trim()) : null;
      if (sealed === null)
        throw new MusterError('SIGNATURE_MISSING', 'PUT needs the header "authorization: Muster <base64url of an envelope>"');
      const envelope = open(sealed, ['put'], options, limits);
      opened(envelope);
      const promised = putBody(envelope.body, 'envelope.body');
      if (promised.cid !== cid) throw new MusterError('CID_MISMATCH', `signed for ${promised.cid}, sent to ${cid}`, { cid });
      if (!(await options.authorize(envelope.node)))
        throw new MusterError('NODE_UNKNOWN', 'this node may not store objects here', { node: envelope.node });
      if (promised.bytes > limits.maxBlockBytes) {
        throw new MusterError('BYTES_TOO_LARGE', `a block of ${promised.bytes} bytes, at most ${limits.maxBlockBytes}`, {
          bytes: promised.bytes,
        });
      }
      await claimNonce(envelope, options, () => 'unknown');
      await options.admitUpload?.(envelope.node, promised.bytes);
      const bytes = await bodyOf(context, promised.bytes);
      if (bytes.length !== promised.bytes || cidOfBytes(bytes, codecOf(cid)) !== cid) {
        throw new MusterError('CID_MISMATCH', `the bytes do not hash to ${cid}`, { cid, bytes: bytes.length });
      }
      await options.store.put(bytes, codecOf(cid));
      return jsonResponse({ cid, bytes: bytes.length });
    }),
  );
}

function addMessages(app: App, options: ServerOptions, limits: ServerLimits): void {
  const kinds = Object.keys(options.signedRoutes);
  const outcomes = createOutcomeMemory();
  app.post('/v1/messages', async (context) =>
    guarded(options, async (opened) => {
      const type = context.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
      if (type !== 'application/cbor')
        throw new MusterError('SIGNATURE_MISSING', 'a message is a sealed envelope, content-type application/cbor');
      const envelope = open(await bodyOf(context, limits.maxMessageBytes), kinds, options, limits);
      opened(envelope);
      const message = `${envelope.node}/${bytesToHex(envelope.nonce)}`;
      await claimNonce(envelope, options, () => outcomes.of(message));
      outcomes.record(message, 'running');
      const handler = Object.hasOwn(options.signedRoutes, envelope.kind) ? options.signedRoutes[envelope.kind] : undefined;
      if (handler === undefined) throw new MusterError('INTERNAL', `no handler for ${envelope.kind}`);
      try {
        const answer = jsonResponse((await handler(envelope)) ?? null);
        outcomes.record(message, 'accepted');
        return answer;
      } catch (error) {
        outcomes.record(message, publicError(error).code);
        throw error;
      }
    }),
  );
}

const defaultWindowMs = 120_000;

function open(sealed: Uint8Array, kinds: readonly string[], options: ServerOptions, limits: ServerLimits): Envelope {
  const { network, verify, windowMs = defaultWindowMs } = options;
  return openEnvelope(sealed, { network, kinds, verify, nowMs: options.clock.now(), windowMs, maxBytes: limits.maxMessageBytes });
}

/** Throws REQUEST_REPLAYED, with what became of the first, unless this is the first request with its nonce. */
async function claimNonce(envelope: Envelope, options: ServerOptions, outcome: () => MessageOutcome): Promise<void> {
  const nonce = bytesToHex(envelope.nonce);
  // Twice the window: a clock that is set back does not let old requests in again.
  const forgetBeforeMs = options.clock.now() - 2 * (options.windowMs ?? defaultWindowMs);
  if (!(await options.nonces.claim(envelope.node, nonce, envelope.issuedAtMs, forgetBeforeMs))) {
    throw new MusterError('REQUEST_REPLAYED', 'a request with this nonce was already received', { nonce, outcome: outcome() });
  }
}

/** Runs one signed request and reports its refusal, attributed only as far as a signature proves. */
async function guarded(options: ServerOptions, handle: (opened: (envelope: Envelope) => void) => Promise<Response>): Promise<Response> {
  let envelope: Envelope | null = null;
  try {
    return await handle((found) => {
      envelope = found;
    });
  } catch (error) {
    const { code, details } = publicError(error);
    const from = envelope as Envelope | null;
    // `openEnvelope` puts these in once the signature has held.
    const proven = code === 'REQUEST_EXPIRED' || (code === 'FIELD_INVALID' && 'node' in details && 'kind' in details);
    const node = from?.node ?? (proven ? (details['node'] as NodeId) : null);
    const kind = from?.kind ?? (proven ? String(details['kind']) : null);
    if (error instanceof MusterError) options.onRefused?.({ code, node, kind, details });
    throw error;
  }
}

async function bodyOf(context: Request_, maxBytes: number): Promise<Uint8Array> {
  try {
    return await readBody(context.env.incoming, context.req.header('content-length'), maxBytes);
  } catch (cause) {
    if (cause instanceof MusterError) throw cause;
    throw new MusterError('BYTES_MALFORMED', 'the body ended early', {}, { cause });
  }
}

async function listen(
  app: App,
  options: ServerOptions,
  limits: ServerLimits,
): Promise<{ readonly server: NodeServer; readonly url: string }> {
  const host = options.host ?? '127.0.0.1';
  const port = options.port ?? 0;
  const server = createAdaptorServer({
    fetch: (request, env) => app.fetch(request, env),
    hostname: host,
    overrideGlobalObjects: false,
    serverOptions: {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: 10_000,
      maxHeaderSize: 16_384,
    },
  }) as NodeServer;
  server.maxConnections = limits.maxConnections;
  server.timeout = limits.idleTimeoutMs;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new MusterError('USAGE', `cannot listen on ${host}:${port}: ${cause.message}`, { host, port }, { cause })),
    );
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = host.includes(':') ? `[${host}]` : host;
  return { server, url: `http://${shown}:${address.port}` };
}
