/**
 * Compares the tables of a chain file, byte for byte and type for type, with those that executing its blocks again gives.
 *
 * Every row of both sides is read in the order of its key; a row that only one side has is named like one that differs.
 */
import type { DatabaseSync } from 'node:sqlite';
import { keccak256 } from 'viem';
import type { ChainStore } from '../embedded/store.ts';
import { fault } from './fault.ts';

interface Table {
  readonly name: string;
  /** Key columns first. */
  readonly columns: readonly string[];
  readonly keys: number;
  /** Name for people of the row, or of its `column`. */
  readonly object: (row: Cells, column: string | null) => string;
}

/** Column → type and bytes, `blob:00ff…`. */
type Cells = Readonly<Record<string, string>>;

const bytes = (row: Cells, column: string): string => `0x${(row[column] ?? '').replace(/^[a-z]*:/, '').toLowerCase()}`;
const text = (row: Cells, column: string): string => Buffer.from(bytes(row, column).slice(2), 'hex').toString();

/** Columns of `transactions` that a receipt is made from. */
const receiptColumns: readonly string[] = ['status', 'gas_used', 'cumulative_gas', 'gas_price', 'bloom', 'created'];

const tables: readonly Table[] = [
  {
    name: 'sqlite_schema',
    columns: ['name', 'type', 'tbl_name', 'sql'],
    keys: 1,
    object: (row) => `schema of ${text(row, 'name')}`,
  },
  { name: 'meta', columns: ['key', 'value'], keys: 1, object: (row) => `meta ${text(row, 'key')}` },
  { name: 'blocks', columns: ['number', 'hash', 'time', 'rlp'], keys: 1, object: (row) => `block ${text(row, 'number')}` },
  {
    name: 'transactions',
    columns: ['hash', 'block', 'position', 'raw', 'sender', ...receiptColumns],
    keys: 1,
    object: (row, column) => {
      const name = `transaction ${bytes(row, 'hash')} in block ${text(row, 'block')}`;
      return column !== null && receiptColumns.includes(column) ? `receipt of ${name}` : name;
    },
  },
  {
    name: 'logs',
    columns: ['block', 'log', 'tx', 'position', 'address', 'topic0', 'topic1', 'topic2', 'topic3', 'data'],
    keys: 2,
    object: (row) => `log ${text(row, 'log')} of block ${text(row, 'block')}`,
  },
  {
    name: 'nodes',
    columns: ['key', 'value'],
    keys: 1,
    // 32 bytes: a node's hash. 33 bytes: `c` and a code's hash.
    object: (row) => (bytes(row, 'key').length === 68 ? `code 0x${bytes(row, 'key').slice(4)}` : `trie node ${bytes(row, 'key')}`),
  },
];

/** Compares all tables but `held`; returns the rows per table. Throws AUDIT_FAILED naming the first row that differs. */
export function compareTables(file: DatabaseSync, rebuilt: ChainStore): ReadonlyMap<string, number> {
  return new Map(tables.map((table) => [table.name, compareTable(table, file, rebuilt)]));
}

function compareTable(table: Table, file: DatabaseSync, rebuilt: ChainStore): number {
  const cells = table.columns.map((column) => `typeof(${column}) || ':' || hex(CAST(${column} AS BLOB)) AS ${column}`);
  const keys = table.columns.slice(0, table.keys);
  const sql = `SELECT ${cells.join(', ')} FROM ${table.name} AS t ORDER BY ${keys.map((key) => `t.${key}`).join(', ')}`;
  const actual = file.prepare(sql).iterate() as IterableIterator<Cells>;
  const expected = rebuilt.rows(sql) as IterableIterator<Cells>;
  for (let rows = 0; ; rows++) {
    const [a, b] = [next(actual), next(expected)];
    if (a === null && b === null) return rows;
    if (a === null || (b !== null && isBefore(b, a, keys))) {
      throw fault(table.object(b ?? {}, null), `the table ${table.name} lacks it`);
    }
    if (b === null || isBefore(a, b, keys)) throw fault(table.object(a, null), `${strange(table, a)}, but the table ${table.name} has it`);
    const column = table.columns.find((name) => a[name] !== b[name]);
    if (column !== undefined) {
      const source = isFixed(table) ? 'this chain’s files have' : 'executing the blocks again gives';
      throw fault(table.object(b, column), `its ${column} is not what ${source}${inShort(a, b, column)}`);
    }
  }
}

function next(rows: IterableIterator<Cells>): Cells | null {
  const { done, value } = rows.next();
  return done === true ? null : value;
}

/** Order of keys as stored: integers by value, bytes by bytes. */
function isBefore(a: Cells, b: Cells, keys: readonly string[]): boolean {
  for (const key of keys) {
    const [left, right] = [a[key] ?? '', b[key] ?? ''];
    if (left === right) continue;
    if (left.startsWith('integer:') && right.startsWith('integer:')) return BigInt(text(a, key)) < BigInt(text(b, key));
    return left < right;
  }
  return false;
}

/** Whether the table says what kind of file it is, which no execution gives. */
const isFixed = ({ name }: Table): boolean => name === 'sqlite_schema' || name === 'meta';

function strange(table: Table, row: Cells): string {
  if (isFixed(table)) return 'this chain’s files do not have it';
  if (table.name !== 'nodes') return 'executing the blocks again does not give it';
  const key = bytes(row, 'key').slice(-64);
  const holds = keccak256(bytes(row, 'value') as `0x${string}`).slice(2) === key;
  return holds ? 'no block’s state reaches it' : 'its bytes do not hash to its key';
}

function inShort(a: Cells, b: Cells, column: string): string {
  const [found, right] = [a[column] ?? '', b[column] ?? ''].map((cell) =>
    cell.startsWith('blob:') ? `0x${cell.slice(5).toLowerCase()}` : null,
  );
  if (found === null) return `: ${text(a, column).slice(0, 80)} instead of ${text(b, column).slice(0, 80)}`;
  return (found?.length ?? 0) <= 66 && (right?.length ?? 0) <= 66 ? `: ${found} instead of ${right}` : '';
}
