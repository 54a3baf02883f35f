import * as dagCbor from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidOfBytes,
  cidOfRoot,
  codecOf,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  encodeObject,
  integer,
  linkOf,
  MusterError,
  sha256,
  struct,
  verifyCid,
} from '@muster/protocol';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof MusterError ? error.code : 'not coded';
  }
  return 'none';
};

/** Values DAG-CBOR can hold: no undefined, no NaN, no infinities, integers that are safe. */
const value = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Number.isInteger(number)),
    fc.string(),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => new Uint8Array(bytes)),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => linkOf(cidOfBytes(bytes, 'raw'))),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('any'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).any;

describe('canonical bytes', () => {
  it('decode to the value they were written from', () => {
    fc.assert(
      fc.property(value, (original) => {
        const decoded = decodeCanonical(encodeCanonical(original));
        expect(encodeCanonical(decoded)).toEqual(encodeCanonical(original));
        expect(dagCbor.encode(decoded)).toEqual(dagCbor.encode(original));
      }),
    );
  });

  it('do not depend on the order in which fields were written', () => {
    expect(encodeCanonical({ b: 1, a: 2, aa: 3 })).toEqual(encodeCanonical({ aa: 3, a: 2, b: 1 }));
  });

  it('refuse, with a code, any bytes that are not exactly a canonical encoding', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const code = codeOf(() => decodeCanonical(bytes));
        expect(['none', 'BYTES_MALFORMED', 'BYTES_NOT_CANONICAL']).toContain(code);
        if (code === 'none') expect(encodeCanonical(decodeCanonical(bytes))).toEqual(new Uint8Array(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('refuse every single change of a byte or decode it to another value', () => {
    const bytes = encodeCanonical({
      name: 'x',
      list: [1, 2, { deep: Uint8Array.of(1, 2, 3) }],
      link: linkOf(cidOfBytes(Uint8Array.of(1), 'raw')),
    });
    for (let place = 0; place < bytes.length; place++) {
      for (const flip of [1, 0x20, 0x80]) {
        const changed = bytes.slice();
        changed[place] = (changed[place] ?? 0) ^ flip;
        const code = codeOf(() => decodeCanonical(changed));
        expect(['none', 'BYTES_MALFORMED', 'BYTES_NOT_CANONICAL']).toContain(code);
      }
    }
  });

  it.each([
    ['an integer longer than need be', [0x18, 0x01]],
    ['a half float', [0xf9, 0x3c, 0x00]],
    ['fields out of order', [0xa2, 0x61, 0x62, 0x01, 0x61, 0x61, 0x02]],
    ['a field twice', [0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02]],
    ['an indefinite list', [0x9f, 0x01, 0xff]],
    ['undefined', [0xf7]],
    ['NaN', [0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]],
    ['an unknown tag', [0xc1, 0x01]],
    ['bytes after the end', [0x01, 0x01]],
    ['a key that is no text', [0xa1, 0x01, 0x01]],
    ['nothing', []],
    ['a list of four billion items in five bytes', [0x9a, 0xff, 0xff, 0xff, 0xff]],
    ['text of two to the 62 bytes', [0x7b, 0x40, 0, 0, 0, 0, 0, 0, 0]],
  ])('refuse %s', (_what, bytes) => {
    expect(['BYTES_MALFORMED', 'BYTES_NOT_CANONICAL']).toContain(codeOf(() => decodeCanonical(Uint8Array.from(bytes))));
  });

  it('keep a field named __proto__ a plain field, which no schema takes', () => {
    const bytes = Uint8Array.from([0xa1, 0x69, ...new TextEncoder().encode('__proto__'), 0xa1, 0x61, 0x61, 0x01]);
    const decoded = decodeCanonical(bytes);
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    expect((decoded as { a?: unknown }).a).toBeUndefined();
    expect(codeOf(() => struct({})(decoded, 'x'))).toBe('FIELD_INVALID');
  });

  it('read an integer that is not safe as a bigint, which no schema takes', () => {
    const decoded = decodeCanonical(Uint8Array.of(0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
    expect(decoded).toBe(2n ** 64n - 1n);
    expect(codeOf(() => integer()(decoded, 'x'))).toBe('FIELD_INVALID');
  });

  it('refuse nesting so deep that a stack would end, without ending ours', () => {
    const code = codeOf(() => decodeCanonical(new Uint8Array(2_000_000).fill(0x81)));
    expect(['BYTES_MALFORMED', 'BYTES_NOT_CANONICAL']).toContain(code);
  });

  it('refuse what is over the limit before looking at it', () => {
    expect(codeOf(() => decodeCanonical(new Uint8Array(11), 10))).toBe('BYTES_TOO_LARGE');
    expect(codeOf(() => decodeCanonical(new Uint8Array(4 * 1024 * 1024 + 1)))).toBe('BYTES_TOO_LARGE');
  });

  it('cannot be made of what DAG-CBOR does not hold', () => {
    for (const bad of [undefined, Number.NaN, Number.POSITIVE_INFINITY, { a: undefined }, () => 1, Symbol('x')]) {
      expect(codeOf(() => encodeCanonical(bad))).toBe('INTERNAL');
    }
  });
});

describe('content ids', () => {
  it('are those that the specification gives', () => {
    // Computed apart from this code, with Python's hashlib and base64, from the specification.
    const raw = cidOfBytes(new TextEncoder().encode('hello world'), 'raw');
    expect(raw).toBe('bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e');
    expect(encodeObject({ hello: 'world' }).cid).toBe('bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae');
  });

  it('carry codec and digest, there and back', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    for (const codec of ['raw', 'dag-cbor'] as const) {
      const cid = cidOfBytes(bytes, codec);
      expect(codecOf(cid)).toBe(codec);
      expect(cidOfRoot(digestOf(cid), codec)).toBe(cid);
      expect(CID.parse(cid).multihash.digest).toEqual(sha256(bytes));
      expect(linkOf(cid).toString()).toBe(cid);
    }
  });

  it('hold for their bytes only', () => {
    const cid = cidOfBytes(Uint8Array.of(1, 2, 3), 'raw');
    verifyCid(cid, Uint8Array.of(1, 2, 3));
    expect(codeOf(() => verifyCid(cid, Uint8Array.of(1, 2, 4)))).toBe('CID_MISMATCH');
  });
});
