/**
 * Importer of CSV: numeric feature columns as float32, one target column (class, value) or none.
 *
 * The grammar is RFC 4180 with LF or CRLF; fields are trimmed of spaces, empty lines are skipped. Rows are counted as lines of the
 * file, from 1, so that an error can be found in an editor. Own parser: it needs no platform types and stops at the first bad row.
 */
import { MusterError } from '@muster/protocol';
import { dataError, type RawDataset, type RawSplit, type SourceFile, storeClasses, storeFloats } from './dataset.ts';
import { gunzipFile } from './gzip.ts';
import { type HeldOut, holdOut } from './heldout.ts';
import { maxChunkBytes, maxClasses, type RecordType, type SplitName, type TargetType } from './manifest.ts';
import { decodeUtf8 } from './utf8.ts';

export interface CsvOptions {
  /** Target column: its name, its index from 0, −1 for the last; null for records without target. */
  readonly label: string | number | null;
  /** `class`: integers or names, mapped to 0 …; `value`: a float32 number. */
  readonly target: 'class' | 'value';
  /** Whether the first row names the columns; `auto`: yes, if a feature column of it is not a number or `label` is a name. */
  readonly header: boolean | 'auto';
  readonly separator: ',' | ';' | '\t';
}

export const defaultCsvOptions: CsvOptions = { label: -1, target: 'class', header: 'auto', separator: ',' };

export interface CsvRow {
  /** Line of the file where the row starts, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

const numeral = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const notFinite = /^[+-]?(?:nan|inf|infinity)$/i;
const maxColumns = maxChunkBytes / 4;
const maxCellCharacters = 65_536;
/** Largest CSV file: 256 MiB. Longer text does not fit a string everywhere. */
export const maxCsvBytes = 256 * 1024 * 1024;

/** Rows of `text`. Throws DATA_MALFORMED naming the line of an unclosed or misplaced quote, too long a cell, too many columns. */
export function* csvRows(file: string, text: string, separator: string): Generator<CsvRow, void, undefined> {
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const start = line;
    const cells: string[] = [];
    let ended = false;
    while (!ended) {
      let cell: string;
      while (text[at] === ' ') at++;
      if (text[at] === '"') {
        const parts: string[] = [];
        for (;;) {
          const close = text.indexOf('"', at + 1);
          if (close < 0) throw dataError('DATA_MALFORMED', file, start, 'a quote is not closed');
          const part = text.slice(at + 1, close);
          parts.push(part);
          for (let feed = part.indexOf('\n'); feed >= 0; feed = part.indexOf('\n', feed + 1)) line++;
          at = close + 1;
          if (text[at] !== '"') break;
          parts.push('"');
        }
        cell = parts.join('');
        while (text[at] === ' ') at++;
        if (at < text.length && text[at] !== separator && text[at] !== '\n' && !text.startsWith('\r\n', at)) {
          throw dataError('DATA_MALFORMED', file, line, 'text after a closing quote');
        }
      } else {
        const from = at;
        while (at < text.length && text[at] !== separator && text[at] !== '\n') {
          if (text[at] === '"') throw dataError('DATA_MALFORMED', file, line, 'a quote inside an unquoted field');
          at++;
        }
        cell = text.slice(from, at).trim();
      }
      if (text.startsWith('\r\n', at)) at++;
      if (cell.length > maxCellCharacters)
        throw dataError('DATA_MALFORMED', file, start, `a field of ${cell.length} characters, at most ${maxCellCharacters}`);
      cells.push(cell);
      if (cells.length > maxColumns) throw dataError('DATA_MALFORMED', file, start, `more than ${maxColumns} columns`);
      ended = text[at] !== separator;
      at++;
    }
    line++;
    if (cells.length > 1 || cells[0] !== '') yield { line: start, cells };
  }
}

/**
 * The dataset of CSV files: float32 features [columns], splits train and, with a `test` file or `heldOut`, test.
 * Class names are the labels of the train file: ascending if all are integers, else in code unit order; a label that occurs only
 * in the test file is an error. Throws DATA_MALFORMED, DATA_UNLABELLED, DATA_NOT_FINITE naming file and row; BYTES_TOO_LARGE.
 */
export function importCsv(
  name: string,
  train: SourceFile,
  test: SourceFile | null,
  options: CsvOptions,
  heldOut: HeldOut,
  maxBytes: number,
): RawDataset {
  const trainTable = readTable(train, options, maxBytes, null);
  const testTable = test === null ? null : readTable(test, options, maxBytes, trainTable);
  const names = options.label === null || options.target === 'value' ? null : classNames(train.name, trainTable);
  const target: TargetType =
    options.label === null
      ? { kind: 'none' }
      : names === null
        ? { kind: 'value', shape: [] }
        : { kind: 'class', classes: names.length, names };
  const record: RecordType = { feature: { dtype: 'float32', shape: [trainTable.columns] }, target };
  const splits = [splitOfTable('train', train.name, trainTable, target)];
  if (test !== null && testTable !== null) splits.push(splitOfTable('test', test.name, testTable, target));
  return holdOut({ name, record, splits }, heldOut);
}

interface Table {
  readonly width: number;
  readonly columns: number;
  readonly header: readonly string[] | null;
  readonly values: Float32Array;
  readonly labels: readonly string[];
  readonly lines: readonly number[];
}

function readTable(file: SourceFile, options: CsvOptions, byteLimit: number, like: Table | null): Table {
  const maxBytes = Math.min(byteLimit, maxCsvBytes);
  const content = gunzipFile(file, maxBytes);
  if (content.bytes.length > maxBytes)
    throw new MusterError('BYTES_TOO_LARGE', `${file.name}: ${content.bytes.length} bytes, at most ${maxBytes}`, { file: file.name });
  const text = decodeUtf8(content.bytes);
  if (typeof text !== 'string') {
    const before = content.bytes.subarray(0, text.malformedAt);
    throw dataError(
      'DATA_MALFORMED',
      file.name,
      before.reduce((lines, byte) => lines + (byte === 10 ? 1 : 0), 1),
      'not UTF-8 text',
    );
  }
  let header: readonly string[] | null = null;
  let width: number | null = null;
  let labelColumn: number | null = null;
  const values = new FloatList();
  const labels: string[] = [];
  const lines: number[] = [];
  for (const { line, cells } of csvRows(file.name, text, options.separator)) {
    if (width === null) {
      width = cells.length;
      if (like !== null && width !== like.width)
        throw dataError('DATA_MALFORMED', file.name, line, `${width} columns, the train file has ${like.width}`);
      const named =
        typeof options.label === 'string' || (typeof options.header === 'boolean' ? options.header : looksLikeHeader(cells, options.label));
      if (named) header = cells;
      labelColumn = findColumn(file.name, line, options.label, cells);
      if (width - (labelColumn === null ? 0 : 1) < 1) throw dataError('DATA_MALFORMED', file.name, line, 'no feature column');
      if (named) {
        if (like?.header && like.header.join('\n') !== cells.join('\n'))
          throw dataError('DATA_MALFORMED', file.name, line, 'the columns are not named as in the train file');
        continue;
      }
    }
    if (cells.length !== width) throw dataError('DATA_MALFORMED', file.name, line, `${cells.length} fields instead of ${width}`);
    cells.forEach((cell, column) => {
      if (column === labelColumn) {
        if (cell === '') throw dataError('DATA_UNLABELLED', file.name, line, 'the label is empty');
        labels.push(cell);
      } else values.push(readNumber(file.name, line, column, cell));
    });
    lines.push(line);
  }
  if (width === null || lines.length === 0) throw dataError('DATA_MALFORMED', file.name, null, 'no rows');
  return { width, columns: width - (labelColumn === null ? 0 : 1), header, values: values.values(), labels, lines };
}

/** A float32 array that grows by doubling. */
class FloatList {
  #values = new Float32Array(1024);
  #length = 0;

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float32Array(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  values(): Float32Array {
    return this.#values.subarray(0, this.#length);
  }
}

function looksLikeHeader(cells: readonly string[], label: string | number | null): boolean {
  const skipped = typeof label === 'number' ? (label < 0 ? cells.length + label : label) : -1;
  return cells.some((cell, column) => column !== skipped && !numeral.test(cell) && !notFinite.test(cell) && cell !== '');
}

function findColumn(file: string, line: number, label: string | number | null, cells: readonly string[]): number | null {
  if (label === null) return null;
  const column = typeof label === 'string' ? cells.indexOf(label) : label < 0 ? cells.length + label : label;
  if (!Number.isInteger(column) || column < 0 || column >= cells.length) {
    throw dataError('DATA_UNLABELLED', file, line, `no label column ${typeof label === 'string' ? `"${label.slice(0, 60)}"` : label}`);
  }
  return column;
}

function readNumber(file: string, line: number, column: number, cell: string): number {
  const place = `column ${column + 1}`;
  if (notFinite.test(cell)) throw dataError('DATA_NOT_FINITE', file, line, `${place} is ${cell}`);
  if (cell === '') throw dataError('DATA_MALFORMED', file, line, `${place} is empty`);
  if (!numeral.test(cell)) throw dataError('DATA_MALFORMED', file, line, `${place} is not a number: "${cell.slice(0, 60)}"`);
  const value = Math.fround(Number(cell));
  if (!Number.isFinite(value)) throw dataError('DATA_NOT_FINITE', file, line, `${place} is beyond float32: ${cell.slice(0, 60)}`);
  return value;
}

function classNames(file: string, table: Table): string[] {
  const first = new Map<string, number>();
  table.labels.forEach((label, row) => {
    if (!first.has(label)) first.set(label, table.lines[row] ?? 0);
    if (first.size > maxClasses) throw dataError('DATA_MALFORMED', file, table.lines[row] ?? null, `more than ${maxClasses} classes`);
    if (label.length > 200)
      throw dataError('DATA_MALFORMED', file, table.lines[row] ?? null, `a label of ${label.length} characters, at most 200`);
  });
  const names = [...first.keys()];
  const allIntegers = names.every((label) => /^[+-]?\d{1,15}$/.test(label));
  return names.sort((a, b) => (allIntegers ? Number(a) - Number(b) : 0) || (a < b ? -1 : a > b ? 1 : 0));
}

function splitOfTable(name: SplitName, file: string, table: Table, target: TargetType): RawSplit {
  return { name, records: table.lines.length, features: storeFloats(table.values), targets: storeTargets(file, table, target) };
}

function storeTargets(file: string, table: Table, target: TargetType): Uint8Array {
  if (target.kind === 'value') return storeFloats(table.labels.map((label, row) => readNumber(file, table.lines[row] ?? 0, -1, label)));
  if (target.kind !== 'class') return new Uint8Array(0);
  const indexOf = new Map((target.names ?? []).map((label, index) => [label, index]));
  const indices = table.labels.map((label, row) => {
    const index = indexOf.get(label);
    if (index === undefined)
      throw dataError('DATA_MALFORMED', file, table.lines[row] ?? null, `label "${label.slice(0, 60)}" does not occur in the train file`);
    return index;
  });
  return storeClasses(indices, target.classes);
}
