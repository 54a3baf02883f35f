import { parse } from 'csv-parse/sync';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CsvOptions, csvRows, defaultCsvOptions, importCsv, noHeldOut, packDataset } from '../src/index.ts';
import { errorOf, onlyCoded, textFile } from './support.ts';

const read = (content: string, options: Partial<CsvOptions> = {}, testContent: string | null = null) =>
  importCsv(
    't',
    textFile('a.csv', content),
    testContent === null ? null : textFile('b.csv', testContent),
    { ...defaultCsvOptions, ...options },
    noHeldOut,
    1_000_000,
  );
const floats = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];
const cells = (content: string) => [...csvRows('a.csv', content, ',')].map((row) => row.cells);

describe('importCsv', () => {
  test('reads a header, numbers and named classes, under a pinned content id', () => {
    const dataset = read('a,b,kind\r\n1,2.5,cat\r\n-3e1,.5,"ant"\r\n0,1,cat\r\n');
    expect(dataset.record).toEqual({
      feature: { dtype: 'float32', shape: [2] },
      target: { kind: 'class', classes: 2, names: ['ant', 'cat'] },
    });
    expect(floats(dataset.splits[0]!.features)).toEqual([1, 2.5, -30, 0.5, 0, 1]);
    expect([...dataset.splits[0]!.targets]).toEqual([1, 0, 1]);
    expect(packDataset(dataset).cid).toMatchInlineSnapshot(`"bafyreihh4x557pcojworroagxkkiuscf2l4h76wl5fd2phm3tl7thrbr3e"`);
  });

  test('orders integer labels by number, others by code unit', () => {
    expect(read('1,10\n1,9\n1,-2').record.target).toMatchObject({ names: ['-2', '9', '10'] });
    expect(read('1,b\n1,10\n1,9\n1,B').record.target).toMatchObject({ names: ['10', '9', 'B', 'b'] });
  });

  test('finds the label column by name, by index and from the end', () => {
    for (const label of ['k', 1, -2]) {
      const dataset = read('a,k,b\n1,x,2\n3,y,4', { label });
      expect(floats(dataset.splits[0]!.features)).toEqual([1, 2, 3, 4]);
      expect(dataset.record.target).toMatchObject({ names: ['x', 'y'] });
    }
  });

  test('reads values and records without target', () => {
    const values = read('x,y\n1,2.5\n3,4', { target: 'value' });
    expect(values.record.target).toEqual({ kind: 'value', shape: [] });
    expect(floats(values.splits[0]!.targets)).toEqual([2.5, 4]);
    expect(read('1,2\n3,4', { label: null }).record).toEqual({ feature: { dtype: 'float32', shape: [2] }, target: { kind: 'none' } });
  });

  test('rounds numbers to float32 once', () => {
    expect(floats(read('0.1,a\n16777217,a').splits[0]!.features)).toEqual([Math.fround(0.1), 16777216]);
  });

  test('takes the classes of the train file for the test file', () => {
    expect([...read('1,b\n2,a', {}, '3,b').splits[1]!.targets]).toEqual([1]);
  });
});

const failure = (content: string, options: Partial<CsvOptions> = {}, testContent: string | null = null) => {
  const { code, details } = errorOf(() => read(content, options, testContent));
  return [code, details['file'], details['row']];
};

describe('refused, naming file and row, is', () => {
  test('a NaN', () => expect(failure('a,b\n1,x\nNaN,x')).toEqual(['DATA_NOT_FINITE', 'a.csv', 3]));
  test('an infinity, spelled or overflowing', () => {
    expect(failure('1,x\n-inf,x')).toEqual(['DATA_NOT_FINITE', 'a.csv', 2]);
    expect(failure('1,x\n1e39,x')).toEqual(['DATA_NOT_FINITE', 'a.csv', 2]);
  });
  test('a NaN in the first row, which is no header for that', () => expect(failure('nan,x\n1,x')).toEqual(['DATA_NOT_FINITE', 'a.csv', 1]));
  test('an empty cell', () => expect(failure('1,2,x\n1,,x')).toEqual(['DATA_MALFORMED', 'a.csv', 2]));
  test('a word where a number belongs', () => expect(failure('1,x\n0x10,x')).toEqual(['DATA_MALFORMED', 'a.csv', 2]));
  test('a ragged row', () => expect(failure('a,b\n1,x\n\n1,2,x')).toEqual(['DATA_MALFORMED', 'a.csv', 4]));
  test('an empty label', () => expect(failure('1,x\n1,')).toEqual(['DATA_UNLABELLED', 'a.csv', 2]));
  test('a missing label column', () => {
    expect(failure('a,b\n1,x', { label: 'z' })).toEqual(['DATA_UNLABELLED', 'a.csv', 1]);
    expect(failure('1,2', { label: 7 })).toEqual(['DATA_UNLABELLED', 'a.csv', 1]);
  });
  test('a value that is not finite', () => expect(failure('1,2\n1,inf', { target: 'value' })).toEqual(['DATA_NOT_FINITE', 'a.csv', 2]));
  test('an unknown label of the test file', () => expect(failure('1,a', {}, '1,a\n1,b')).toEqual(['DATA_MALFORMED', 'b.csv', 2]));
  test('a test file of other columns', () => {
    expect(failure('1,a', {}, '1,2,a')).toEqual(['DATA_MALFORMED', 'b.csv', 1]);
    expect(failure('p,q\n1,a', {}, 'q,p\n1,a')).toEqual(['DATA_MALFORMED', 'b.csv', 1]);
  });
  test('an open quote and text after one', () => {
    expect(failure('1,a\n1,"b\n\n')).toEqual(['DATA_MALFORMED', 'a.csv', 2]);
    expect(failure('1,"a"b')).toEqual(['DATA_MALFORMED', 'a.csv', 1]);
    expect(failure('1,a"b')).toEqual(['DATA_MALFORMED', 'a.csv', 1]);
  });
  test('a file without rows', () => {
    expect(failure('')).toEqual(['DATA_MALFORMED', 'a.csv', null]);
    expect(failure('a,b\n')).toEqual(['DATA_MALFORMED', 'a.csv', null]);
  });
  test('a file with one column, the label', () => expect(failure('a\nb')).toEqual(['DATA_MALFORMED', 'a.csv', 1]));
  test('text that is not UTF-8', () => {
    const bytes = Uint8Array.of(49, 44, 97, 10, 49, 44, 0xc0, 0x80);
    expect(errorOf(() => importCsv('t', { name: 'a.csv', bytes }, null, defaultCsvOptions, noHeldOut, 1000)).details).toMatchObject({
      file: 'a.csv',
      row: 2,
    });
  });
});

test('lines inside quotes are counted', () => {
  expect(errorOf(() => read('1,"a\nb"\nnan,c')).details['row']).toBe(3);
});

test('rows are those of csv-parse', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', '1', ' ', ',', '"', '\n', 'é', '😀'), maxLength: 6 });
  const quoted = cell.map((content) => `"${content.replaceAll('"', '""')}"`);
  const plain = fc.string({ unit: fc.constantFrom('a', '1', 'é', '😀'), maxLength: 4 });
  const row = fc.array(fc.oneof(quoted, plain), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), fc.constantFrom('\n', '\r\n'), fc.boolean(), (rows, newline, ended) => {
      const content = rows.map((fields) => fields.join(',')).join(newline) + (ended ? newline : '');
      const theirs: string[][] = parse(content, { relax_column_count: true, skip_empty_lines: true, record_delimiter: newline });
      expect(cells(content)).toEqual(theirs.filter((fields) => fields.length > 1 || fields[0] !== ''));
    }),
  );
});

test('random text and bytes give coded errors only', () => {
  const codes = ['DATA_MALFORMED', 'DATA_UNLABELLED', 'DATA_NOT_FINITE'] as const;
  const piece = fc.constantFrom('1', ',', '\n', '"', 'a', ' ', '\r', '1e999', 'nan', '-', '.5', '\u0000', 'é');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.uint8Array({ maxLength: 60 }), (pieces, bytes) => {
      onlyCoded(() => read(pieces.join('')), codes);
      onlyCoded(() => importCsv('t', { name: 'a.csv', bytes }, null, defaultCsvOptions, noHeldOut, 1000), codes);
    }),
    { numRuns: 1500 },
  );
});
