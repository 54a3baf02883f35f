import * as fc from 'fast-check';
import { CID } from 'multiformats/cid';
import { base58btc } from 'multiformats/bases/base58';
import * as digest from 'multiformats/hashes/digest';
import { describe, expect, it } from 'vitest';
import {
  bytesToHex,
  cidOfBytes,
  hexToBytes,
  MusterError,
  parseAddress,
  parseCid,
  parseJobId,
  parseNodeId,
  parseRoot,
} from '@muster/protocol';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof MusterError ? error.code : 'not coded';
  }
  return 'none';
};

describe('hex ids', () => {
  it('accept exactly their own length in lower case', () => {
    for (const [parse, bytes] of [
      [parseRoot, 32],
      [parseNodeId, 32],
      [parseJobId, 32],
      [parseAddress, 20],
    ] as const) {
      const good = `0x${'ab'.repeat(bytes)}`;
      expect(parse(good)).toBe(good);
      for (const bad of [
        `0x${'AB'.repeat(bytes)}`,
        'ab'.repeat(bytes),
        `0x${'ab'.repeat(bytes - 1)}`,
        `${good}00`,
        `${good}\n`,
        '',
        '0x',
        `0x${'zz'.repeat(bytes)}`,
      ]) {
        expect(
          codeOf(() => parse(bad)),
          bad,
        ).toBe('FIELD_INVALID');
      }
    }
  });

  it('give back any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(hexToBytes(bytesToHex(bytes))).toEqual(new Uint8Array(bytes));
      }),
    );
  });

  it('refuse any other text with a code', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(['none', 'FIELD_INVALID']).toContain(codeOf(() => hexToBytes(text)));
        expect(codeOf(() => parseRoot(text))).toBe('FIELD_INVALID');
      }),
    );
  });
});

describe('content id text', () => {
  const cid = cidOfBytes(Uint8Array.of(1), 'raw');

  it('is accepted in its one form', () => {
    expect(parseCid(cid)).toBe(cid);
  });

  it('is refused in any other version, base, hash, codec or length', () => {
    const parsed = CID.parse(cid);
    const sha512 = digest.create(0x13, new Uint8Array(64));
    const short = digest.create(0x12, new Uint8Array(20));
    const others = [
      CID.createV0(CID.createV1(0x70, parsed.multihash).multihash as never).toString(),
      CID.createV1(0x70, parsed.multihash).toString(),
      CID.createV1(0x55, sha512).toString(),
      CID.createV1(0x55, short).toString(),
      parsed.toString(base58btc),
      cid.toUpperCase(),
      ` ${cid}`,
      `${cid}a`,
      cid.slice(0, -1),
      'bafkqaaa',
      '',
      'b',
      'z'.repeat(100_000),
    ];
    for (const text of others)
      expect(
        codeOf(() => parseCid(text)),
        text.slice(0, 80),
      ).toBe('CID_INVALID');
  });

  it('is refused with a code whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^b[a-z2-7]{0,80}$/)), (text) => {
        expect(codeOf(() => parseCid(text))).toBe('CID_INVALID');
      }),
    );
  });
});
