/**
 * What the program prints: lines for people, or with --json one object per line with an `event` field on stdout.
 * Progress bars go to stderr, and only to a terminal.
 */
import { errorCatalogue, type MusterError } from '@muster/protocol';
import cliProgress from 'cli-progress';

export type Fields = Readonly<Record<string, unknown>>;

export interface Output {
  readonly json: boolean;
  /** Something happened: a JSON line, or `text` for people (null: nothing to say). */
  event(event: string, fields: Fields, text: string | null): void;
  /** A line for people only. */
  line(text: string): void;
  progress(label: string, total: number): Progress;
}

export interface Progress {
  update(done: number, note?: string): void;
  stop(): void;
}

const silent: Progress = { update: () => undefined, stop: () => undefined };

/** JSON with bigint as decimal text. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item));
}

export function createOutput(json: boolean): Output {
  return {
    json,
    event(event, fields, text) {
      if (json) process.stdout.write(`${jsonLine({ event, ...fields })}\n`);
      else if (text !== null) process.stdout.write(`${text}\n`);
    },
    line(text) {
      if (!json) process.stdout.write(`${text}\n`);
    },
    progress(label, total) {
      if (json || !process.stderr.isTTY) return silent;
      const bar = new cliProgress.SingleBar(
        { format: `${label} {bar} {value}/{total} {note}`, hideCursor: true, clearOnComplete: true },
        cliProgress.Presets.shades_classic,
      );
      bar.start(total, 0, { note: '' });
      return { update: (done, note = '') => bar.update(done, { note }), stop: () => bar.stop() };
    },
  };
}

/** An error for people: what happened, where, and what to do about it. */
export function describeError(error: MusterError): string {
  const entry = errorCatalogue[error.code];
  return `error ${error.code}: ${error.message}\n  ${entry.what} ${entry.do}`;
}

/** `0x1234…cdef` for tables. */
export const shortId = (id: string): string => (id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`);

/** Wei as ether with up to 6 decimals, for people. */
export function ether(wei: bigint): string {
  const micro = wei / 10n ** 12n;
  const whole = micro / 1_000_000n;
  const rest = (micro % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '');
  return rest === '' ? whole.toString() : `${whole}.${rest}`;
}

export const percent = (share: number | null): string => (share === null ? '–' : `${(100 * share).toFixed(2)} %`);
