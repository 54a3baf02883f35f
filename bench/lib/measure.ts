/** Timing of several candidates in one process, taken in turns so that a busy machine slows all of them alike; and the rows of a suite. */
import { type Measured, type Ratio, speedup } from './alternate.ts';
import { median, round } from './statistics.ts';

export { median, round };

/** One candidate; `run` does the work once and is awaited. */
export interface Candidate {
  readonly name: string;
  readonly run: () => unknown;
}

/**
 * One line of a suite. `peers` holds figures in the same unit, or why there is none. `ratio`: ours against the best peer, > 1 is better.
 * `ratios`: the same for each peer, where they were measured in turns; `target`: what `ratio` must reach.
 */
export interface Row {
  readonly bench: string;
  readonly unit: string;
  readonly ours: number;
  readonly peers: Readonly<Record<string, number | string>>;
  readonly ratio: number | null;
  readonly ratios?: Readonly<Record<string, Ratio>>;
  readonly target?: number;
}

/** Median milliseconds of one run of each candidate, over at least `repeats` turns and 1.5 s. Each is warmed up first. */
export async function interleave(candidates: readonly Candidate[], repeats: number): Promise<Map<string, number>> {
  const times = new Map(candidates.map(({ name }) => [name, [] as number[]]));
  const warmUntil = performance.now() + 1000;
  for (let turn = 0; turn < 3 || (turn < repeats && performance.now() < warmUntil); turn++) for (const { run } of candidates) await run();
  const until = performance.now() + 1500;
  for (let turn = 0; turn < repeats || (performance.now() < until && turn < 20 * repeats); turn++) {
    for (const { name, run } of candidates) {
      const start = performance.now();
      await run();
      times.get(name)?.push(performance.now() - start);
    }
  }
  return new Map([...times].map(([name, values]) => [name, median(values)]));
}

/** A row of rates: `rate` turns milliseconds of one run into the unit, larger being better. `missing` names peers that could not run. */
export function rateRow(
  bench: string,
  unit: string,
  milliseconds: ReadonlyMap<string, number>,
  rate: (ms: number) => number,
  missing: Readonly<Record<string, string>>,
): Row {
  const measured = [...milliseconds].filter(([name]) => name !== 'ours').map(([name, ms]) => [name, round(rate(ms))] as const);
  const ours = round(rate(milliseconds.get('ours') ?? Number.NaN));
  const best = Math.max(...measured.map(([, value]) => value));
  return {
    bench,
    unit,
    ours,
    peers: { ...Object.fromEntries(measured), ...missing },
    ratio: measured.length === 0 ? null : round(ours / best),
  };
}

/** How many times faster `ours` is than `peer`, rounded. */
export function roundedSpeedup(ours: Measured, peer: Measured): Ratio {
  const { median: middle, low, high, fastest } = speedup(ours, peer);
  return { median: round(middle), low: round(low), high: round(high), fastest: round(fastest) };
}

/** A row of what was measured in turns. `figure` turns milliseconds of one run into the unit; `target` is what the ratio must reach. */
export function turnsRow(
  bench: string,
  unit: string,
  ours: Measured,
  peers: readonly Measured[],
  figure: (ms: number) => number,
  missing: Readonly<Record<string, string>>,
  target?: number,
): Row {
  const ratios = peers.map((peer): [string, Ratio] => [peer.name, roundedSpeedup(ours, peer)]);
  return {
    bench,
    unit,
    ours: round(figure(ours.milliseconds)),
    peers: { ...Object.fromEntries(peers.map(({ name, milliseconds }) => [name, round(figure(milliseconds))])), ...missing },
    ratio: ratios.length === 0 ? null : Math.min(...ratios.map(([, ratio]) => ratio.median)),
    ratios: Object.fromEntries(ratios),
    ...(target === undefined ? {} : { target }),
  };
}

/** A row of a figure that has no candidate beside it. `peers` says why. */
export function plainRow(bench: string, unit: string, ours: number, peers: Row['peers']): Row {
  return { bench, unit, ours: round(ours), peers, ratio: null };
}

/** A row of something that cannot be measured here. */
export function missingRow(bench: string, reason: string): Row {
  return { bench, unit: '', ours: Number.NaN, peers: { reason }, ratio: null };
}
