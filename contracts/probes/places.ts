/**
 * What can be covered, and what of it was: places in the sources, and the sums over them. Pure; knows neither solc nor tests.
 */

/** A statement, or one outcome of a condition. */
export interface Place {
  /** Number that the probe reports. */
  readonly id: number;
  readonly kind: 'statement' | 'branch';
  /** Source file as solc names it, `src/…`. */
  readonly file: string;
  /** First line is 1. */
  readonly line: number;
  /** What did not happen where this place is not covered: `a < b is never false`. Short, one line. */
  readonly what: string;
}

export interface FileCoverage {
  readonly file: string;
  readonly lines: { readonly covered: number; readonly total: number };
  readonly branches: { readonly covered: number; readonly total: number };
  /** Not covered, in the order of the file. */
  readonly uncovered: readonly Place[];
}

/**
 * Coverage by file, files in ascending order, those without any place left out. A line counts as covered where every statement that
 * starts on it has run; a branch is one outcome of one atomic condition (an operand of `&&` and `||` is one), or one arm of `try` or `switch`.
 */
export function coverageOf(places: readonly Place[], hits: ReadonlySet<number>): FileCoverage[] {
  const files = [...new Set(places.map(({ file }) => file))].sort();
  return files.map((file) => {
    const own = places.filter((place) => place.file === file);
    const statements = own.filter(({ kind }) => kind === 'statement');
    const branches = own.filter(({ kind }) => kind === 'branch');
    const lines = new Set(statements.map(({ line }) => line));
    const missed = new Set(statements.filter(({ id }) => !hits.has(id)).map(({ line }) => line));
    return {
      file,
      lines: { covered: lines.size - missed.size, total: lines.size },
      branches: { covered: branches.filter(({ id }) => hits.has(id)).length, total: branches.length },
      uncovered: own.filter(({ id }) => !hits.has(id)).sort((a, b) => a.line - b.line || a.id - b.id),
    };
  });
}

/** Sum over files. */
export function totalOf(files: readonly FileCoverage[]): Pick<FileCoverage, 'lines' | 'branches'> {
  const sum = (kind: 'lines' | 'branches') => ({
    covered: files.reduce((all, file) => all + file[kind].covered, 0),
    total: files.reduce((all, file) => all + file[kind].total, 0),
  });
  return { lines: sum('lines'), branches: sum('branches') };
}

/** Percent, 0 to 100, rounded down to a tenth so that 100 means all; 100 where there is nothing to cover. */
export function percentOf({ covered, total }: { readonly covered: number; readonly total: number }): number {
  return total === 0 ? 100 : Math.floor((1000 * covered) / total) / 10;
}

/** The table and the list of what is not covered, as text of whole lines. */
export function describeCoverage(files: readonly FileCoverage[]): string {
  const width = Math.max(5, ...files.map(({ file }) => file.length));
  const row = (name: string, part: Pick<FileCoverage, 'lines' | 'branches'>): string =>
    `${name.padEnd(width)} ${cell(part.lines)} ${cell(part.branches)}\n`;
  const head = `${''.padEnd(width)} ${'lines'.padStart(18)} ${'branches'.padStart(18)}\n`;
  const missing = files.flatMap(({ uncovered }) => uncovered.map(({ file, line, what }) => `  ${file}:${line} ${what}\n`));
  const list = missing.length === 0 ? '' : `\nnot covered:\n${missing.join('')}`;
  return head + files.map((file) => row(file.file, file)).join('') + row('total', totalOf(files)) + list;
}

function cell(part: { readonly covered: number; readonly total: number }): string {
  return `${`${percentOf(part)} %`.padStart(8)} ${`${part.covered}/${part.total}`.padStart(9)}`;
}
