import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressText,
  bool,
  byteString,
  cidOfBytes,
  cidText,
  finite,
  integer,
  jobIdText,
  link,
  linkOf,
  list,
  literal,
  MusterError,
  nodeIdText,
  nullable,
  oneOf,
  rootText,
  type Schema,
  struct,
  text,
  variant,
} from '@muster/protocol';

const cid = cidOfBytes(Uint8Array.of(1), 'raw');
const root = `0x${'ab'.repeat(32)}`;

function refusal(schema: Schema<unknown>, value: unknown): unknown {
  try {
    schema(value, 'x');
  } catch (error) {
    return error instanceof MusterError ? { code: error.code, field: error.details['field'] } : error;
  }
  return null;
}

const invalid = (field: string): unknown => ({ code: 'FIELD_INVALID', field });

describe('schemas of single values', () => {
  it.each<[string, Schema<unknown>, readonly unknown[], readonly unknown[]]>([
    ['integer', integer(1, 5), [1, 5], [0, 6, 1.5, '1', null, undefined, Number.NaN, 1n]],
    ['finite', finite(-1, 1), [-1, 0.5], [2, Number.NaN, Number.POSITIVE_INFINITY, '0', null]],
    ['text', text(3, /^[a-z]*$/), ['', 'abc'], ['abcd', 'A', 1, null, ['a']]],
    ['bool', bool, [true, false], [0, 1, 'true', null]],
    ['byte string', byteString(2), [new Uint8Array(0), new Uint8Array(2)], [new Uint8Array(3), [1, 2], 'ab', null]],
    ['exact byte string', byteString(2, true), [new Uint8Array(2)], [new Uint8Array(1), new Uint8Array(3)]],
    ['literal', literal(1), [1], ['1', true, 2, null]],
    ['one of', oneOf('a', 'b'), ['a', 'b'], ['c', 'constructor', 0, null]],
    ['nullable', nullable(integer(0)), [null, 0], [undefined, '0', -1]],
    ['list', list(integer(0), 2, 1), [[1], [1, 2]], [[], [1, 2, 3], 'ab', { length: 1 }, null]],
    ['root', rootText, [root], [root.slice(2), root.toUpperCase(), `${root}00`, 1]],
    ['node id', nodeIdText, [root], ['0x', null]],
    ['job id', jobIdText, [root], ['0x', null]],
    ['address', addressText, [`0x${'cd'.repeat(20)}`], [root, null]],
    ['content id text', cidText, [cid], ['bafy', `${cid}a`, linkOf(cid), null]],
  ])('%s takes what it says and refuses the rest with FIELD_INVALID naming the place', (_name, schema, good, bad) => {
    for (const value of good) expect(schema(value, 'x')).toEqual(value);
    for (const value of bad) expect(refusal(schema, value), String(value)).toEqual(invalid('x'));
  });

  it('reads a link as its text', () => {
    expect(link(linkOf(cid), 'x')).toBe(cid);
    for (const value of [cid, null, {}, { '/': cid }]) expect(refusal(link, value)).toEqual(invalid('x'));
  });
});

describe('schemas of objects', () => {
  const schema = struct({ a: integer(0), inner: struct({ items: list(text(5), 3) }) });

  it('take exactly their fields', () => {
    const value = { a: 1, inner: { items: ['x'] } };
    expect(schema(value, 'x')).toEqual(value);
  });

  it('name the path of a wrong, missing or unknown field', () => {
    expect(refusal(schema, { a: -1, inner: { items: [] } })).toEqual(invalid('x.a'));
    expect(refusal(schema, { inner: { items: [] } })).toEqual(invalid('x.a'));
    expect(refusal(schema, { a: 1, inner: { items: ['ok', 7] } })).toEqual(invalid('x.inner.items[1]'));
    expect(refusal(schema, { a: 1, inner: { items: [], more: 1 } })).toEqual(invalid('x.inner.more'));
    for (const value of [null, 1, 'x', [], new Uint8Array(1), linkOf(cid)]) expect(refusal(schema, value)).toEqual(invalid('x'));
  });

  it('do not take inherited fields for their own', () => {
    expect(refusal(schema, Object.create({ a: 1, inner: { items: [] } }))).toEqual(invalid('x.a'));
  });

  it('tell the members of a union apart by their tag', () => {
    const shape = variant('kind', { one: struct({ kind: literal('one') }), two: struct({ kind: literal('two'), n: integer(0) }) });
    expect(shape({ kind: 'two', n: 3 }, 'x')).toEqual({ kind: 'two', n: 3 });
    expect(refusal(shape, { kind: 'one', n: 3 })).toEqual(invalid('x.n'));
    for (const value of [{}, { kind: 'three' }, { kind: 'constructor' }, { kind: 1 }, null, 'one']) {
      expect(refusal(shape, value)).toEqual(invalid('x.kind'));
    }
  });

  it('answer any value whatever with a value or FIELD_INVALID', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withTypedArray: true, withDate: true }), (value) => {
        const refused = refusal(schema, value);
        if (refused !== null) expect(refused).toMatchObject({ code: 'FIELD_INVALID' });
      }),
      { numRuns: 500 },
    );
  });
});
