/** The safetensors container and the mapping of its tensors to a model's parameters. Files are made by hand: the format is the oracle. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NamedType, Tensor } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import {
  decodeSafetensors,
  encodeSafetensors,
  floatsOf,
  parametersFromSafetensors,
  parametersToSafetensors,
  sameNames,
} from '@muster/models';

const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)];

/** A file with `header` as its JSON, as it stands. */
function fileOf(header: string | object, data: readonly number[] = []): Uint8Array {
  const json = bytesOf(typeof header === 'string' ? header : JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return Uint8Array.from([...length, ...json, ...data]);
}

const entry = (dtype: string, shape: readonly number[], begin: number, end: number): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

function problemOf(attempt: () => unknown): { readonly code: string; readonly message: string } {
  try {
    attempt();
  } catch (error) {
    if (error instanceof MusterError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('nothing was refused');
}

const matrix = (shape: readonly number[], ...values: readonly number[]): Tensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from(values),
});
const named = (name: string, ...shape: readonly number[]): NamedType => ({ name, dtype: 'float32', shape });

const decodes = (bytes: Uint8Array): void => {
  try {
    const stored = decodeSafetensors(bytes).tensors.reduce((sum, tensor) => sum + tensor.bytes.length, 0);
    expect(stored).toBeLessThanOrEqual(bytes.length - 8);
  } catch (error) {
    expect(error).toBeInstanceOf(MusterError);
    expect(['DATA_MALFORMED', 'BYTES_TOO_LARGE']).toContain((error as MusterError).code);
  }
};

const floats = (dtype: string, data: readonly number[], count: number): number[] => {
  const [tensor] = decodeSafetensors(fileOf({ a: entry(dtype, [count], 0, data.length) }, data)).tensors;
  if (tensor === undefined) throw new Error('no tensor');
  return [...floatsOf(tensor)];
};

const raw = (
  values: ArrayLike<number> | ArrayLike<bigint>,
  set: (view: DataView, at: number, index: number) => void,
  size: number,
): number[] => {
  const view = new DataView(new ArrayBuffer(size * values.length));
  for (let i = 0; i < values.length; i++) set(view, i * size, i);
  return [...new Uint8Array(view.buffer)];
};

describe('the container', () => {
  it('reads a file byte by byte as the format says', () => {
    const file = fileOf(
      `{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[2,10]},"b":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}   `,
      [0x00, 0x3c, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0],
    );
    const { metadata, tensors } = decodeSafetensors(file);
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual([
      { name: 'b', dtype: 'F16', shape: [] },
      { name: 'a', dtype: 'F32', shape: [2] },
    ]);
    expect(tensors.map((tensor) => [...floatsOf(tensor)])).toEqual([[1], [1, -2]]);
  });

  it('takes empty tensors wherever they stand, and a file without tensors', () => {
    const { tensors } = decodeSafetensors(
      fileOf({ full: entry('U8', [2], 0, 2), before: entry('F32', [0, 3], 0, 0), after: entry('F64', [0], 2, 2) }, [1, 2]),
    );
    expect(tensors.map(({ name }) => name)).toEqual(['before', 'full', 'after']);
    expect(decodeSafetensors(fileOf('{}')).tensors).toEqual([]);
  });

  it('writes what the reference implementation writes: names ascend, narrow dtypes last, header padded to 8', () => {
    const file = encodeSafetensors(
      [
        { name: 'w', tensor: matrix([1, 2], 1, -2) },
        { name: 'mask', tensor: { dtype: 'bool', shape: [1], data: Uint8Array.of(1) } },
        { name: 'b', tensor: matrix([], 0.5) },
      ],
      { made: 'here' },
    );
    const header =
      '{"__metadata__":{"made":"here"},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[12,13]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(file).toEqual(fileOf(padded, [0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 1]));
  });

  it('gives back what it wrote, whatever the names and shapes', () => {
    const tensor = fc.array(fc.nat(3), { maxLength: 4 }).chain((shape) => {
      const count = shape.reduce((product, extent) => product * extent, 1);
      return fc
        .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: count, maxLength: count })
        .map((values) => matrix(shape, ...values));
    });
    const name = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => text !== '__metadata__');
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 6 }), (entries) => {
        const file = encodeSafetensors(entries.map(([key, value]) => ({ name: key, tensor: value })));
        const decoded = new Map(decodeSafetensors(file).tensors.map((stored) => [stored.name, stored]));
        expect(decoded.size).toBe(entries.length);
        for (const [key, { shape, data }] of entries) {
          const stored = decoded.get(key);
          expect(stored?.shape).toEqual(shape);
          if (stored !== undefined) expect(floatsOf(stored)).toEqual(data);
        }
      }),
      { numRuns: 200 },
    );
  });

  const f32 = entry('F32', [1], 0, 4);
  it.each<[string, Uint8Array, RegExp]>([
    ['fewer than eight bytes', Uint8Array.of(1, 0, 0), /fewer than the 8/],
    ['a header longer than the file', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d), /header of 9 bytes in a file of 10/],
    ['a header that does not start with a brace', fileOf(' {}'), /start with/],
    ['a header that is no object', fileOf('{"a":1}'), /is not an object/],
    ['a header that is not JSON', fileOf('{"a":}'), /not JSON/],
    ['a header that is not UTF-8', Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff), /not UTF-8 at byte 1/],
    ['a name that appears twice', fileOf(`{"a":${JSON.stringify(f32)},"\\u0061":${JSON.stringify(f32)}}`, [0, 0, 0, 0]), /"a" twice/],
    ['a field that appears twice', fileOf('{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', [0]), /"dtype" twice/],
    ['metadata that is not text', fileOf('{"__metadata__":{"x":1}}'), /"x" is not text/],
    ['an unknown dtype', fileOf({ a: entry('F31', [1], 0, 4) }, [0, 0, 0, 0]), /unknown dtype "F31"/],
    ['a dtype named after a property of every object', fileOf({ a: entry('toString', [1], 0, 4) }, [0, 0, 0, 0]), /unknown dtype/],
    ['an unknown field', fileOf({ a: { ...f32, order: 'C' } }, [0, 0, 0, 0]), /unknown field "order"/],
    ['a missing field', fileOf({ a: { dtype: 'F32', shape: [1] } }, [0, 0, 0, 0]), /data_offsets/],
    ['a negative extent', fileOf({ a: entry('F32', [-1], 0, 4) }, [0, 0, 0, 0]), /shape is not a list of sizes/],
    ['offsets that run backwards', fileOf({ a: entry('F32', [0], 4, 0) }, [0, 0, 0, 0]), /\[begin, end\]/],
    ['offsets that do not fit the shape', fileOf({ a: entry('F32', [2], 0, 4) }, [0, 0, 0, 0]), /do not hold F32\[2\]/],
    ['extents whose product overflows', fileOf({ a: entry('F32', [2 ** 53 - 1, 2 ** 53 - 1, 0], 0, 0) }), /do not hold/],
    ['a tensor of half a byte', fileOf({ a: entry('F4', [1], 0, 1) }, [0]), /do not hold/],
    ['a tensor that ends after the file', fileOf({ a: f32 }, [0, 0]), /ends at 4 of 2/],
    ['tensors that overlap', fileOf({ a: f32, b: entry('F32', [1], 2, 6) }, [0, 0, 0, 0, 0, 0]), /"b" starts at 2 .* overlaps/],
    ['a hole between tensors', fileOf({ a: f32, b: entry('U8', [1], 5, 6) }, [0, 0, 0, 0, 0, 0]), /leaves a hole/],
    ['a hole before the first', fileOf({ a: entry('U8', [1], 1, 2) }, [0, 0]), /leaves a hole/],
    ['bytes after the last', fileOf({ a: f32 }, [0, 0, 0, 0, 0]), /1 bytes after the last/],
  ])('refuses %s', (_, file, expected) => {
    const { code, message } = problemOf(() => decodeSafetensors(file));
    expect(code).toBe('DATA_MALFORMED');
    expect(message).toMatch(expected);
  });

  it('refuses a header above the limit before it reads it', () => {
    const file = new Uint8Array(16);
    new DataView(file.buffer).setBigUint64(0, 2n ** 64n - 1n, true);
    expect(problemOf(() => decodeSafetensors(file)).code).toBe('BYTES_TOO_LARGE');
  });

  it('refuses to write a name twice and the reserved name', () => {
    const tensor = matrix([], 1);
    for (const names of [['a', 'a'], ['__metadata__']]) {
      expect(problemOf(() => encodeSafetensors(names.map((name) => ({ name, tensor })))).code).toBe('DATA_MALFORMED');
    }
  });

  it('takes changed bytes as a file or refuses them with a code', () => {
    const file = encodeSafetensors([
      { name: 'one', tensor: matrix([2, 2], 1, 2, 3, 4) },
      { name: 'two', tensor: matrix([3], 5, 6, 7) },
    ]);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (at, byte) => decodes(file.with(at, byte))),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodes(bytes)),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.json(), (json) => decodes(fileOf(json))),
      { numRuns: 500 },
    );
  });
});

describe('elements as float32', () => {
  it('reads every binary16 as the number it is', () => {
    const finite = Array.from({ length: 0x10000 }, (_, bits) => bits).filter((bits) => (bits & 0x7c00) !== 0x7c00);
    const data = raw(finite, (view, at, i) => view.setUint16(at, finite[i] as number, true), 2);
    // Built from text: an independent reading of sign, exponent and fraction.
    const expected = finite.map((bits) => {
      const digits = bits.toString(2).padStart(16, '0');
      const exponent = Number.parseInt(digits.slice(1, 6), 2);
      const fraction = Number.parseInt(`${exponent === 0 ? '0' : '1'}${digits.slice(6)}`, 2) / 1024;
      return (digits[0] === '1' ? -1 : 1) * fraction * 2 ** (Math.max(exponent, 1) - 15);
    });
    expect(floats('F16', data, finite.length)).toEqual(expected);
  });

  it('reads bfloat16 as the upper half of a float32', () => {
    expect(floats('BF16', [0x80, 0x3f, 0x49, 0xc0, 0x01, 0x00], 3)).toEqual([1, -3.140625, 2 ** -133]);
  });

  it('rounds float64 and wide integers once, to nearest even', () => {
    const doubles = [0.1, 1 + 2 ** -24, 1 + 2 ** -24 + 2 ** -50, -0];
    expect(
      floats(
        'F64',
        raw(doubles, (view, at, i) => view.setFloat64(at, doubles[i] as number, true), 8),
        4,
      ),
    ).toEqual([Math.fround(0.1), 1, 1 + 2 ** -23, -0]);
    const integers = [3n, -(2n ** 53n), 16_777_217n];
    expect(
      floats(
        'I64',
        raw(integers, (view, at, i) => view.setBigInt64(at, integers[i] as bigint, true), 8),
        3,
      ),
    ).toEqual([3, -(2 ** 53), 16_777_216]);
    expect(floats('U8', [0, 255], 2)).toEqual([0, 255]);
    expect(floats('I8', [255], 1)).toEqual([-1]);
    expect(floats('I16', [0, 0x80], 1)).toEqual([-32_768]);
    expect(floats('U16', [0, 0x80], 1)).toEqual([32_768]);
    expect(floats('I32', [255, 255, 255, 255], 1)).toEqual([-1]);
    expect(floats('U32', [255, 255, 255, 255], 1)).toEqual([2 ** 32]);
    expect(floats('U64', [255, 0, 0, 0, 0, 0, 0, 0], 1)).toEqual([255]);
    expect(floats('BOOL', [0, 1], 2)).toEqual([0, 1]);
  });

  it.each([
    ['F16', [0, 0x7c], 'DATA_NOT_FINITE'],
    ['F32', [0, 0, 0xc0, 0x7f], 'DATA_NOT_FINITE'],
    ['F64', [255, 255, 255, 255, 255, 255, 0xef, 0x7f], 'DATA_NOT_FINITE'],
    ['I64', [1, 0, 0, 0, 0, 0, 0x20, 0], 'DATA_NOT_FINITE'],
    ['U64', [0, 0, 0, 0, 0, 0, 0x40, 0], 'DATA_NOT_FINITE'],
    ['BOOL', [2], 'DATA_NOT_FINITE'],
    ['C64', [0, 0, 0, 0, 0, 0, 0, 0], 'TENSOR_MISMATCH'],
    ['F8_E4M3', [0], 'TENSOR_MISMATCH'],
  ])('refuses what has no finite float32 in %s', (dtype, data, code) => {
    const problem = problemOf(() => floats(dtype, data, 1));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain('"a"');
  });
});

describe('parameters', () => {
  const parameters = [named('dense1.kernel', 2, 3), named('dense1.bias', 3)];
  const values = [matrix([2, 3], 1, 2, 3, 4, 5, 6), matrix([3], 7, 8, 9)];

  it('come back from their own file', () => {
    const file = parametersToSafetensors(parameters, values, { family: 'mlp' });
    expect(decodeSafetensors(file).metadata).toEqual({ family: 'mlp' });
    expect(parametersFromSafetensors(decodeSafetensors(file), parameters)).toEqual(values);
  });

  it("come from a PyTorch file by patterns of names, with Linear's weight turned", () => {
    const file = decodeSafetensors(
      encodeSafetensors([
        { name: 'layers.1.weight', tensor: matrix([3, 2], 1, 4, 2, 5, 3, 6) },
        { name: 'layers.1.bias', tensor: matrix([3], 7, 8, 9) },
        { name: 'unused', tensor: matrix([], 0) },
      ]),
    );
    const mapping = {
      names: [
        ['dense*.kernel', 'layers.*.weight'],
        ['dense*.*', 'layers.*.*'],
      ] as const,
      transposed: ['*.kernel'],
      ignoreExtra: true,
    };
    expect(parametersFromSafetensors(file, parameters, mapping)).toEqual(values);
    expect(problemOf(() => parametersFromSafetensors(file, parameters, { ...mapping, ignoreExtra: false })).message).toMatch(/"unused"/);
    expect(problemOf(() => parametersFromSafetensors(file, parameters, { ...mapping, transposed: [] })).message).toMatch(
      /it is the transpose/,
    );
    expect(problemOf(() => parametersFromSafetensors(file, parameters, { ...mapping, transposed: ['*'] })).message).toMatch(
      /dense1\.bias has not two axes/,
    );
  });

  it('are refused by name when missing, mapped twice, or of another shape', () => {
    const file = decodeSafetensors(encodeSafetensors([{ name: 'dense1.kernel', tensor: values[0] as Tensor }]));
    const refused = (types: readonly NamedType[], mapping = sameNames) => problemOf(() => parametersFromSafetensors(file, types, mapping));
    expect(refused(parameters)).toEqual({ code: 'TENSOR_MISMATCH', message: 'the file has no tensor "dense1.bias"' });
    expect(refused([named('dense1.kernel', 6)]).message).toBe('tensor "dense1.kernel" is [2, 3], dense1.kernel needs [6]');
    expect(refused([named('other', 2, 3)]).message).toBe('the file has no tensor "other"; it has "dense1.kernel" instead');
    expect(refused(parameters, { ...sameNames, names: [['*', 'dense1.kernel']] }).message).toMatch(/both mapped/);
  });

  it('are not written when they are not what the model says', () => {
    expect(problemOf(() => parametersToSafetensors(parameters, values.slice(1))).code).toBe('TENSOR_MISMATCH');
    expect(problemOf(() => parametersToSafetensors(parameters, values.toReversed())).message).toMatch(/dense1\.kernel/);
  });
});
