/**
 * A node's view of a coordinator over HTTP. Uses only `fetch`, so it also runs in a browser.
 *
 * Reads and uploads are retried after lost connections and passing failures (502–504), for as long as the caller's patience.
 * A message is retried as a new request if it surely never arrived, else as the same bytes: if it had arrived, the coordinator
 * says so (REQUEST_REPLAYED) and what became of it, and it counts as done, its answer lost (null), or as refused. If the coordinator
 * no longer knows, because it restarted in between, REQUEST_REPLAYED is thrown: the caller looks, and sends anew if need be.
 * Nothing that arrives is trusted: blocks are checked against their ids, JSON is `unknown`.
 */
import type { BlobStore, Clock, Entropy, NodeKey } from '@muster/ports';
import {
  cidOfBytes,
  codecOf,
  type ErrorCode,
  errorCatalogue,
  type ErrorDetails,
  maxObjectBytes,
  MusterError,
  nonceBytes,
  parseCid,
  sealEnvelope,
} from '@muster/protocol';
import { chunksOf, readBody, toBase64Url } from './body.ts';
import { readEvents, type ReceivedEvent } from './event-reader.ts';

const maxJsonBytes = 16 * 1024 * 1024;
/** From this size on an upload first asks whether the block is there already. */
const askFirstBytes = 64 * 1024;

export interface ClientOptions {
  /** `http://host:port`. */
  readonly url: string;
  /** Null: reading only; signed requests throw SIGNATURE_MISSING. */
  readonly key: NodeKey | null;
  /** The network to sign for. Left out: asked of the coordinator once, which a node that works on several networks should not do. */
  readonly network?: string;
  /** How long a coordinator may be out of reach before PEER_UNREACHABLE. Default 30 s. */
  readonly patienceMs?: number;
  /** Time for one attempt. Default 30 s. */
  readonly attemptTimeoutMs?: number;
  /** Shortest pause between attempts; doubles up to 5 s. Default 100 ms. */
  readonly backoffMs?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
  readonly entropy?: Entropy;
}

export interface CoordinatorClient {
  readonly url: string;
  /** The JSON of `GET /v1/<path>`. Throws the coordinator's coded error; PEER_UNREACHABLE. */
  get(path: string): Promise<unknown>;
  /** Sends `body` signed as `kind`; the answer's JSON, null where it was lost (see above). Throws as `get`, and REQUEST_REPLAYED. */
  message(kind: string, body: unknown): Promise<unknown>;
  /** The coordinator's store: `get` verifies, `put` is signed. */
  readonly blobs: BlobStore;
  /**
   * Events as they happen until `signal` aborts, over as many connections as it takes. Begins with `hello`, data `{resumed}`;
   * another `hello` with `resumed: false` says that events were missed. Throws PEER_UNREACHABLE when patience ends.
   */
  events(signal: AbortSignal): AsyncIterable<ReceivedEvent>;
}

/** One attempt's answer, body read within a limit. */
interface Answer {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** Opens no connection yet. Throws FIELD_INVALID for an address that is not http or https. */
export function connectCoordinator(options: ClientOptions): CoordinatorClient {
  const base = baseUrl(options.url);
  const { key, patienceMs = 30_000, attemptTimeoutMs = 30_000, backoffMs = 100 } = options;
  const now = (): number => options.clock?.now() ?? Date.now();
  const randomBytes = (length: number): Uint8Array => options.entropy?.bytes(length) ?? crypto.getRandomValues(new Uint8Array(length));
  let network: Promise<string> | null = options.network === undefined ? null : Promise.resolve(options.network);

  const attempt = async (path: string, init: RequestInit, maxBytes: number): Promise<Answer> => {
    const response = await fetch(`${base}${path}`, { ...init, signal: AbortSignal.timeout(attemptTimeoutMs), redirect: 'error' });
    return {
      status: response.status,
      bytes: await readBody(response.body && chunksOf(response.body), response.body && response.headers.get('content-length'), maxBytes),
    };
  };

  /** Attempts until one brings a lasting answer. `prepare` may make each one anew; `retryable` says what passes. */
  const persist = async (
    path: string,
    prepare: () => Promise<RequestInit>,
    maxBytes: number,
    retryable: (failure: unknown) => boolean,
    lasting: (answer: Answer) => boolean = isLasting,
  ): Promise<Answer> => {
    const until = Date.now() + patienceMs;
    for (let pauseMs = backoffMs; ; pauseMs = Math.min(2 * pauseMs, 5000)) {
      let failure: unknown;
      try {
        const answer = await attempt(path, await prepare(), maxBytes);
        if (lasting(answer)) return answer;
        failure = coded(answer);
      } catch (error) {
        failure = error;
      }
      if (failure instanceof MusterError && failure.code === 'BYTES_TOO_LARGE') throw failure;
      if (!retryable(failure) || Date.now() + pauseMs >= until) throw unreachable(base, failure);
      // Between half and the whole pause, so that many clients do not come back at once.
      await pause(pauseMs * (0.5 + 0.5 * ((randomBytes(1)[0] ?? 0) / 255)));
    }
  };

  const get = async (path: string): Promise<unknown> =>
    readJson(
      await persist(
        `/v1/${path}`,
        async () => ({ headers: { accept: 'application/json' } }),
        maxJsonBytes,
        () => true,
      ),
    );

  const networkOf = async (): Promise<string> => {
    network ??= get('network').then((answer) => {
      const name = answer !== null && typeof answer === 'object' && 'network' in answer ? answer.network : null;
      if (typeof name !== 'string')
        throw new MusterError('FIELD_INVALID', `${base} does not say which network it serves`, { field: 'network' });
      return name;
    });
    try {
      return await network;
    } catch (error) {
      network = null;
      throw error;
    }
  };

  const seal = async (kind: string, body: unknown): Promise<Uint8Array> => {
    if (key === null) throw new MusterError('SIGNATURE_MISSING', 'this client has no node key');
    return sealEnvelope(key, { kind, network: await networkOf(), nonce: randomBytes(nonceBytes), issuedAtMs: now(), body });
  };

  const message = async (kind: string, body: unknown): Promise<unknown> => {
    let sealed: Uint8Array | null = null;
    let mayHaveArrived = false;
    const prepare = async (): Promise<RequestInit> => {
      if (sealed === null || !mayHaveArrived) sealed = await seal(kind, body);
      return { method: 'POST', headers: { 'content-type': 'application/cbor' }, body: new Uint8Array(sealed) };
    };
    const retryable = (failure: unknown): boolean => {
      if (failure instanceof MusterError) return failure.code === 'REQUEST_REPLAYED';
      if (!neverSent(failure)) mayHaveArrived = true;
      return true;
    };
    const lasting = (answer: Answer): boolean => isLasting(answer) && !(mayHaveArrived && replayedOutcome(answer) === 'running');
    const answer = await persist('/v1/messages', prepare, maxJsonBytes, retryable, lasting);
    const outcome = mayHaveArrived ? replayedOutcome(answer) : null;
    if (outcome === 'accepted') return null;
    if (isErrorCode(outcome)) throw new MusterError(outcome, `${kind} was refused; the answer with the reasons was lost`);
    return readJson(answer);
  };

  // Not HEAD: undici closes the connection after one.
  const has = async (cid: string): Promise<boolean> => {
    const prepare = async (): Promise<RequestInit> => ({
      headers: { accept: 'application/vnd.ipld.raw', 'if-none-match': `"${cid}.raw"` },
    });
    const { status } = await persist(`/ipfs/${parseCid(cid)}?format=raw`, prepare, maxObjectBytes, () => true);
    return status === 304 || status === 200;
  };

  const blobs: BlobStore = {
    async put(bytes, codec) {
      if (bytes.length > maxObjectBytes) {
        throw new MusterError('BYTES_TOO_LARGE', `a block of ${bytes.length} bytes, at most ${maxObjectBytes}`, { bytes: bytes.length });
      }
      const cid = cidOfBytes(bytes, codec);
      if (bytes.length >= askFirstBytes && (await has(cid))) return cid;
      // A fresh envelope each time: storing twice is harmless.
      const prepare = async (): Promise<RequestInit> => {
        const sealed = await seal('put', { cid, bytes: bytes.length });
        const headers = { 'content-type': 'application/vnd.ipld.raw', authorization: `Muster ${toBase64Url(sealed)}` };
        return { method: 'PUT', headers, body: new Uint8Array(bytes) };
      };
      readJson(await persist(`/ipfs/${cid}`, prepare, maxJsonBytes, (failure) => !isOwnFault(failure)));
      return cid;
    },
    async get(cid) {
      const answer = await persist(`/ipfs/${parseCid(cid)}?format=raw`, rawRequest, maxObjectBytes, () => true);
      if (answer.status !== 200) {
        const error = coded(answer);
        if (error.code === 'OBJECT_MISSING') return null;
        throw error;
      }
      if (cidOfBytes(answer.bytes, codecOf(cid)) !== cid) {
        throw new MusterError('STORE_DAMAGED', `${base} answered ${cid} with bytes that do not hash to it`, { cid, url: base });
      }
      return answer.bytes;
    },
    has,
  };

  return { url: base, get, message, blobs, events: (signal) => readEvents({ url: `${base}/v1/events`, signal, patienceMs, backoffMs }) };
}

/** Whether trying again could not change the answer. */
function isLasting({ status }: Answer): boolean {
  return status < 502 || status > 504;
}

/** What became of a message that the coordinator says it has seen before; null for any other answer. */
function replayedOutcome(answer: Answer): unknown {
  if (answer.status !== errorCatalogue.REQUEST_REPLAYED.status) return null;
  const { code, details } = coded(answer);
  return code === 'REQUEST_REPLAYED' ? (details['outcome'] ?? null) : null;
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCatalogue, value);
}

async function rawRequest(): Promise<RequestInit> {
  return { headers: { accept: 'application/vnd.ipld.raw' } };
}

function baseUrl(text: string): string {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Reported below, with other addresses that are no use.
  }
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new MusterError('FIELD_INVALID', `not an http address: "${text.slice(0, 80)}"`, { field: 'url' });
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** A request that could not be made at all, such as one without a key: retrying cannot help. */
function isOwnFault(failure: unknown): boolean {
  return failure instanceof MusterError && (failure.code === 'SIGNATURE_MISSING' || failure.code === 'FIELD_INVALID');
}

function unreachable(url: string, failure: unknown): MusterError {
  if (failure instanceof MusterError) return failure;
  const cause = failure instanceof Error && failure.cause instanceof Error ? failure.cause : failure;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new MusterError('PEER_UNREACHABLE', `${url} does not answer: ${reason}`, { url }, { cause: failure });
}

/** Whether the connection was refused before a byte of the request went out. Unknown failures count as sent. */
function neverSent(failure: unknown): boolean {
  const cause = failure instanceof Error ? failure.cause : null;
  const code = cause instanceof Error && 'code' in cause ? cause.code : null;
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'UND_ERR_CONNECT_TIMEOUT';
}

function readJson(answer: Answer): unknown {
  if (answer.status >= 400) throw coded(answer);
  return parseJson(answer.bytes);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new MusterError('INTERNAL', 'the coordinator answered with something that is not JSON', {}, { cause });
  }
}

/** The error an answer carries; INTERNAL where its code is unknown here or it carries none. */
function coded(answer: Answer): MusterError {
  const nothing = new MusterError(
    answer.status >= 502 && answer.status <= 504 ? 'PEER_UNREACHABLE' : 'INTERNAL',
    `HTTP status ${answer.status}`,
  );
  let value: unknown;
  try {
    value = parseJson(answer.bytes);
  } catch {
    return nothing;
  }
  const error = fieldOf(value, 'error');
  const code = fieldOf(error, 'code');
  const message = fieldOf(error, 'message');
  if (typeof code !== 'string' || typeof message !== 'string') return nothing;
  const details = detailsOf(fieldOf(error, 'details'));
  return isErrorCode(code) ? new MusterError(code, message, details) : new MusterError('INTERNAL', `${code}: ${message}`, details);
}

function fieldOf(value: unknown, name: string): unknown {
  return value !== null && typeof value === 'object' && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}

function detailsOf(value: unknown): ErrorDetails {
  if (value === null || typeof value !== 'object') return {};
  const scalars = Object.entries(value).filter(([, item]) => item === null || ['string', 'number', 'boolean'].includes(typeof item));
  return Object.fromEntries(scalars);
}

async function pause(milliseconds: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
