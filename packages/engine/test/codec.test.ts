import { MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeProgram, encodeProgram, maxProgramBytes, maxProgramItems, ProgramBuilder } from '@muster/engine';
import { programs } from './trace-arbitrary.ts';

const decodingCodes = new Set(['BYTES_TOO_LARGE', 'BYTES_MALFORMED', 'BYTES_NOT_CANONICAL', 'FIELD_INVALID', 'PROGRAM_INVALID']);

function codeOf(bytes: Uint8Array): string {
  try {
    decodeProgram(bytes);
    return 'none';
  } catch (error) {
    return error instanceof MusterError ? error.code : `not coded: ${String(error)}`;
  }
}

function sample(): Uint8Array {
  const builder = new ProgramBuilder('sample');
  const x = builder.input({ name: 'x', dtype: 'float32', shape: [2, 3] });
  const table = builder.constant({ dtype: 'float32', shape: [3], data: Float32Array.of(-0, Infinity, 1.5) });
  const mask = builder.constant({ dtype: 'bool', shape: [2, 1], data: Uint8Array.of(1, 0) });
  const sum = builder.apply('where', {}, mask, builder.apply('min', {}, x, table), x);
  const [left, right] = builder.operation('split', { axis: 1, sizes: [1, 2] }, sum);
  const bits = builder.apply('random_bits', { shape: [4], mode: 0 }, builder.scalar('uint32', 7), builder.scalar('uint32', 2 ** 32 - 1));
  return encodeProgram(
    builder.finish([
      { name: 'left', value: left ?? x },
      { name: 'right', value: right ?? x },
      { name: 'bits', value: bits },
    ]),
  );
}

describe('program codec', () => {
  test('a program survives encoding and decoding, and has one encoding', () => {
    fc.assert(
      fc.property(programs, (program) => {
        const bytes = encodeProgram(program);
        const decoded = decodeProgram(bytes);
        expect(decoded).toEqual(program);
        expect(encodeProgram(decoded)).toEqual(bytes);
      }),
      { numRuns: 100 },
    );
  });

  test('constants keep minus zero, infinity, bools and both ends of the integers', () => {
    const decoded = decodeProgram(sample());
    expect(decoded.constants.map((constant) => [...constant.data])).toEqual([[-0, Infinity, 1.5], [1, 0], [7], [2 ** 32 - 1]]);
    expect(Object.is(decoded.constants[0]?.data[0], -0)).toBe(true);
  });

  test('random bytes give a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(decodingCodes).toContain(codeOf(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test('a program with changed, removed or inserted bytes decodes to a checked program or gives a coded error', () => {
    const valid = sample();
    const edit = fc.record({ at: fc.nat(valid.length - 1), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let bytes = [...valid];
        for (const { at, remove, insert } of edits) bytes = bytes.toSpliced(at, remove, ...insert);
        const code = codeOf(Uint8Array.from(bytes));
        if (code !== 'none') expect(decodingCodes).toContain(code);
      }),
      { numRuns: 3000 },
    );
  });

  test('deep nesting is refused as malformed, not by exhausting the stack', () => {
    expect(codeOf(new Uint8Array(200_000).fill(0x81))).toBe('BYTES_MALFORMED');
  });

  test('a length prefix that promises more than the bytes hold is refused', () => {
    expect(codeOf(Uint8Array.of(0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff))).toBe('BYTES_MALFORMED');
    expect(codeOf(Uint8Array.of(0x5b, 0, 0, 0, 1, 0, 0, 0, 0, 1))).toBe('BYTES_MALFORMED');
  });

  test('more items than the limit are refused before they are decoded', () => {
    const many = new Uint8Array(maxProgramItems + 5).fill(0x80);
    many.set([0x9a, maxProgramItems >> 24, (maxProgramItems >> 16) & 0xff, (maxProgramItems >> 8) & 0xff, maxProgramItems & 0xff]);
    expect(codeOf(many)).toBe('BYTES_TOO_LARGE');
  });

  test('more bytes than the limit are refused before they are read', () => {
    expect(codeOf(new Uint8Array(maxProgramBytes + 1))).toBe('BYTES_TOO_LARGE');
  });
});
