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
  /** A new reader's body, resuming after `lastEventId`; null when there are too many readers. */
  connect(lastEventId: string | null): ReadableStream<Uint8Array> | null;
  /** Sends every reader a comment, so that dead connections show and idle ones stay. */
  keepAlive(): void;
  readers(): number;
  close(): void;
}

export function createEventStream(life: string, limits: EventStreamLimits): EventStream {
  const encoder = new TextEncoder();
  const readers = new Set<ReadableStreamDefaultController<Uint8Array>>();
  let newest = 0;
  /** Frames of events `newest − kept.length + 1 … newest`. */
  const kept: Uint8Array[] = [];

  const frame = (number: number, event: string, data: unknown): Uint8Array =>
    encoder.encode(`id: ${life}-${number}\nevent: ${event}\ndata: ${toJsonText(data)}\n\n`);

  const send = (reader: ReadableStreamDefaultController<Uint8Array>, bytes: Uint8Array): void => {
    if ((reader.desiredSize ?? 0) < bytes.length) {
      readers.delete(reader);
      reader.error(new Error('the reader is too slow'));
    } else {
      reader.enqueue(bytes);
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
      for (const reader of readers) send(reader, bytes);
    },
    connect(lastEventId) {
      if (readers.size >= limits.maxReaders) return null;
      const after = resumable(lastEventId);
      let self: ReadableStreamDefaultController<Uint8Array> | undefined;
      const replay = after === null ? [] : kept.slice(kept.length - (newest - after));
      const waiting = replay.reduce((sum, bytes) => sum + bytes.length, 0);
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            self = controller;
            readers.add(controller);
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
      const comment = encoder.encode(': keep-alive\n\n');
      for (const reader of readers) send(reader, comment);
    },
    readers: () => readers.size,
    close() {
      for (const reader of readers) reader.close();
      readers.clear();
    },
  };
}
