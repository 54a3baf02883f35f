/**
 * What every event log does, as tests. Call `eventLogCompliance` from a test file of the implementation.
 */
import type { EventLog } from '@muster/ports';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

export interface OpenedEventLog {
  readonly log: EventLog;
  /** Closes the log and opens it again, as after a restart; null where nothing survives one. */
  readonly reopen: (() => Promise<EventLog>) | null;
  close(): Promise<void>;
}

const bytesOf = (...values: readonly number[]): Uint8Array => Uint8Array.from(values);

export function eventLogCompliance(name: string, open: () => Promise<OpenedEventLog>): void {
  describe(`event log: ${name}`, () => {
    let opened: OpenedEventLog;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      await opened.close();
    });

    it('numbers the entries of each stream from 1 without gaps', async () => {
      const { log } = opened;
      expect(await log.append('a', 10, [bytesOf(1), bytesOf(2)])).toBe(2);
      expect(await log.append('b', 11, [bytesOf(9)])).toBe(1);
      expect(await log.append('a', 12, [bytesOf(3)])).toBe(3);
      expect(await log.read('a', 0, 100)).toEqual([
        { stream: 'a', sequence: 1, timeMs: 10, bytes: bytesOf(1) },
        { stream: 'a', sequence: 2, timeMs: 10, bytes: bytesOf(2) },
        { stream: 'a', sequence: 3, timeMs: 12, bytes: bytesOf(3) },
      ]);
      expect(await log.streams()).toEqual(['a', 'b']);
    });

    it('reads after a sequence, up to a limit', async () => {
      const { log } = opened;
      await log.append(
        's',
        1,
        Array.from({ length: 20 }, (_, index) => bytesOf(index)),
      );
      expect((await log.read('s', 5, 3)).map((entry) => entry.sequence)).toEqual([6, 7, 8]);
      expect(await log.read('s', 20, 3)).toEqual([]);
      expect(await log.read('s', 0, 0)).toEqual([]);
      expect(await log.read('elsewhere', 0, 3)).toEqual([]);
    });

    it('appends nothing for an empty list', async () => {
      const { log } = opened;
      expect(await log.append('s', 1, [])).toBe(0);
      expect(await log.streams()).toEqual([]);
      await log.append('s', 1, [bytesOf(1)]);
      expect(await log.append('s', 2, [])).toBe(1);
    });

    it('keeps each of many concurrent appends whole', async () => {
      const { log } = opened;
      await Promise.all(
        Array.from({ length: 20 }, async (_, writer) => await log.append('s', writer, [bytesOf(writer, 0), bytesOf(writer, 1)])),
      );
      const entries = await log.read('s', 0, 100);
      expect(entries.map((entry) => entry.sequence)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
      for (let index = 0; index < 40; index += 2) {
        expect(entries[index]?.bytes[0]).toBe(entries[index + 1]?.bytes[0]);
        expect([entries[index]?.bytes[1], entries[index + 1]?.bytes[1]]).toEqual([0, 1]);
      }
    });

    it('gives back any bytes in order, under any stream name, also after a restart', async () => {
      const entry = fc.record({ stream: fc.string({ minLength: 1, maxLength: 20 }), bytes: fc.uint8Array({ maxLength: 200 }) });
      const entries = fc.sample(entry, { numRuns: 60, seed: 7 });
      const expected = new Map<string, Uint8Array[]>();
      for (const [index, { stream, bytes }] of entries.entries()) {
        const sequence = await opened.log.append(stream, index, [bytes]);
        const list = expected.get(stream) ?? [];
        list.push(new Uint8Array(bytes));
        expected.set(stream, list);
        expect(sequence).toBe(list.length);
      }
      const log = (await opened.reopen?.()) ?? opened.log;
      for (const [stream, list] of expected) {
        expect((await log.read(stream, 0, 1000)).map((found) => new Uint8Array(found.bytes))).toEqual(list);
      }
      expect((await log.streams()).length).toBe(expected.size);
    });
  });
}
