/**
 * Figures of an earlier run on the same kind of machine, from `bench/baseline.json`: `--save-baseline` writes the rows of a run there, and
 * other runs print them beside their own. A run on a busy machine is not saved: a baseline must not excuse slowness.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Row } from './measure.ts';

interface Figure {
  readonly date: string;
  readonly ours: number;
  readonly unit: string;
}
/** Figures by machine, then by row. */
type Baseline = Readonly<Record<string, Readonly<Record<string, Figure>>>>;

const path = fileURLToPath(new URL('../baseline.json', import.meta.url));
/** Largest load average, in processes, before a run whose figures are kept. */
const quiet = 0.5;

const machine = `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} cores`;

function read(): Baseline {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Baseline) : {};
}

/** What the baseline says about the row `bench` on this kind of machine. */
export function baselineOf(bench: string): Figure | null {
  return read()[machine]?.[bench] ?? null;
}

/** Keeps figures of a run that began when the load average was `load`, in place of older ones of the same rows; says what it did. */
export function saveBaseline(rows: readonly Row[], load: number): string {
  if (load > quiet) return `baseline not saved: a load average of ${load.toFixed(2)} before the run, at most ${quiet}`;
  const date = new Date().toISOString().slice(0, 10);
  const figures = rows
    .filter(({ ours }) => Number.isFinite(ours))
    .map(({ bench, ours, unit }): [string, Figure] => [bench, { date, ours, unit }]);
  const all = read();
  writeFileSync(path, `${JSON.stringify({ ...all, [machine]: { ...all[machine], ...Object.fromEntries(figures) } }, null, 2)}\n`);
  return `baseline saved: ${figures.length} rows of ${machine}, load average ${(loadavg()[0] ?? 0).toFixed(2)} after the run`;
}
