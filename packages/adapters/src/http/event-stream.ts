/**
 * Server-sent events with resume: one numbered stream, a bounded memory of it, and readers that keep up or are dropped.
 *
 * Ids are `<life>-<number>`; `life` is drawn at each start, so that an id from before a restart is recognised as unknown.
 * Every connection begins with the event `hello` and data `{"resumed": boolean}`: false means that events were missed (or that none
 * were asked for), and that the reader should fetch the present state. Source: WHATWG HTML, server-sent events.
 */
import { toJsonText } from './json.ts';

export interface StreamEvent {
  /** Name of the event: letters, digits, `.`, `-` and `_`. */
  readonly event: string;
  /** Sent as JSON; see `toJsonText`. */
  readonly data: unknown;
}

export interface EventStreamLimits {
  /** Events kept for readers that come back. */
  readonly replayEvents: number;
  readonly maxReaders: number;
  /** Bytes that may wait for one reader before it is dropped. */
  readonly maxWaitingBytes: number;
}

export interface EventStream {
  broadcast(event: StreamEvent): void;
  /** A new reader's body, resuming after `lastEventId`; null when there are too many. `drop` closes the connection of one too slow. */
  connect(lastEventId: string | null, drop: () => void): ReadableStream<Uint8Array> | null;
  /** Sends every reader a comment, so that dead connections show and idle ones stay. */
  keepAlive(): void;
  readers(): number;
  close(): void;
}

export function createEventStream(life: string, limits: EventStreamLimits): EventStream {
  const encoder = new TextEncoder();
  const readers = new Map<ReadableStreamDefaultController<Uint8Array>, () => void>();
  let newest = 0;
  /** Frames of events `newest − kept.length + 1 … newest`. */
  const kept: Uint8Array[] = [];

  const frame = (number: number, event: string, data: unknown): Uint8Array =>
    encoder.encode(`id: ${life}-${number}\nevent: ${event}\ndata: ${toJsonText(data)}\n\n`);

  const sendAll = (bytes: Uint8Array): void => {
    for (const [reader, drop] of readers) {
      if ((reader.desiredSize ?? 0) >= bytes.length) {
        reader.enqueue(bytes);
      } else {
        readers.delete(reader);
        drop();
      }
    }
  };

  /** Number of the event `id` names, if all after it are still kept. */
  const resumable = (id: string | null): number | null => {
    if (id === null || !id.startsWith(`${life}-`)) return null;
    const number = Number(id.slice(life.length + 1));
    return Number.isSafeInteger(number) && number <= newest && number >= newest - kept.length ? number : null;
  };

  return {
    broadcast({ event, data }) {
      if (!/^[\w.-]{1,64}$/.test(event)) throw new TypeError(`not an event name: ${event.slice(0, 80)}`);
      const bytes = frame(++newest, event, data);
      kept.push(bytes);
      if (kept.length > limits.replayEvents) kept.shift();
      sendAll(bytes);
    },
    connect(lastEventId, drop) {
      if (readers.size >= limits.maxReaders) return null;
      const after = resumable(lastEventId);
      let self: ReadableStreamDefaultController<Uint8Array> | undefined;
      const replay = after === null ? [] : kept.slice(kept.length - (newest - after));
      const waiting = replay.reduce((sum, bytes) => sum + bytes.length, 0);
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            self = controller;
            readers.set(controller, drop);
            controller.enqueue(frame(after ?? newest, 'hello', { resumed: after !== null }));
            for (const bytes of replay) controller.enqueue(bytes);
          },
          cancel() {
            if (self !== undefined) readers.delete(self);
          },
        },
        { highWaterMark: limits.maxWaitingBytes + waiting, size: (chunk) => chunk.byteLength },
      );
    },
    keepAlive() {
      sendAll(encoder.encode(': keep-alive\n\n'));
    },
    readers: () => readers.size,
    close() {
      for (const reader of readers.keys()) reader.close();
      readers.clear();
    },
  };
}
