/** Summaries of measured values. */

/** The middle value, the upper one of two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Four significant digits, and two decimals at most from a hundred on. */
export function round(value: number): number {
  return Math.abs(value) < 100 ? Number(value.toPrecision(4)) : Math.round(value * 100) / 100;
}
