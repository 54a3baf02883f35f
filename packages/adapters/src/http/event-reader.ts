/**
 * Reading server-sent events across lost connections: each reconnect asks for what came after the last event read.
 */
import { MusterError } from '@muster/protocol';
import { createParser } from 'eventsource-parser';
import { chunksOf } from './body.ts';

export interface ReceivedEvent {
  readonly id: string;
  readonly event: string;
  /** Decoded JSON; null where the data was not JSON. */
  readonly data: unknown;
}

export interface EventReaderOptions {
  readonly url: string;
  readonly signal: AbortSignal;
  /** How long the server may be out of reach. */
  readonly patienceMs: number;
  readonly backoffMs: number;
  /** A connection that is silent for so long, keep-alive comments included, counts as lost. Default 45 s. */
  readonly silenceMs?: number;
}

const maxEventCharacters = 4 * 1024 * 1024;

/** Events until `signal` aborts. Throws PEER_UNREACHABLE when no connection could be made for `patienceMs`. */
export async function* readEvents(options: EventReaderOptions): AsyncGenerator<ReceivedEvent> {
  const { signal, patienceMs, backoffMs } = options;
  let lastId: string | null = null;
  let lastContact = Date.now();
  let pauseMs = backoffMs;
  while (!signal.aborted) {
    let failure: unknown = null;
    try {
      for await (const item of oneConnection(options, lastId)) {
        lastContact = Date.now();
        pauseMs = backoffMs;
        if (item === null) continue;
        lastId = item.id;
        yield item;
        if (signal.aborted) return;
      }
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    if (Date.now() + pauseMs > lastContact + patienceMs) {
      throw new MusterError('PEER_UNREACHABLE', `${options.url} does not answer`, { url: options.url }, { cause: failure });
    }
    await pauseOrAbort(pauseMs, signal);
    pauseMs = Math.min(2 * pauseMs, 5000);
  }
}

/** Events of one connection, and null for each sign of life that is not one. Ends when the connection does. */
async function* oneConnection(options: EventReaderOptions, lastId: string | null): AsyncGenerator<ReceivedEvent | null> {
  const silent = new AbortController();
  const silenceMs = options.silenceMs ?? 45_000;
  let watchdog = setTimeout(() => silent.abort(), silenceMs);
  try {
    const headers = { accept: 'text/event-stream', ...(lastId === null ? {} : { 'last-event-id': lastId }) };
    const response = await fetch(options.url, { headers, signal: AbortSignal.any([options.signal, silent.signal]), redirect: 'error' });
    if (response.status !== 200 || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const ready: ReceivedEvent[] = [];
    const parser = createParser({
      maxBufferSize: maxEventCharacters,
      onEvent: ({ id, event, data }) => ready.push({ id: id ?? lastId ?? '', event: event ?? 'message', data: parseOrNull(data) }),
    });
    const decoder = new TextDecoder();
    for await (const chunk of chunksOf(response.body)) {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => silent.abort(), silenceMs);
      parser.feed(decoder.decode(chunk, { stream: true }));
      yield null;
      yield* ready.splice(0);
    }
  } finally {
    clearTimeout(watchdog);
    silent.abort();
  }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function pauseOrAbort(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
